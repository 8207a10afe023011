"""Conversations about the miniature world, as a dataset: questions, and answers that are true.

Conversation i has its own stream. All sentences stand on the side of training text, with the label
in front that the template gives an answer, so none is in held-out text or in an item of a task; and
no question asks for a fact that is kept for the tasks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from calib_sweep.dataset.answered import AnsweredDataset
from calib_sweep.dataset.conversations.layout import Message
from calib_sweep.dataset.conversations.template import is_template, template_of
from calib_sweep.dataset.documents.marked import MarkedDocuments, MarkedText
from calib_sweep.errors import collected, require
from calib_sweep.miniature.corpus import writer_for
from calib_sweep.miniature.text.knowledge import facts
from calib_sweep.miniature.text.knowledge.world import RELATIONS, world
from calib_sweep.miniature.text.passages import blocks, questions
from calib_sweep.miniature.text.passages.writer import Writer
from calib_sweep.values import is_int

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

NUM_CONVERSATIONS = 2_000
VERSION = "1"  # raised whenever a conversation changes
LABEL = "Answer: "  # in front of an answer, in the text of the tasks and of the template
FEWEST_TURNS, MOST_TURNS = 6, 20  # questions in a conversation

Turn = tuple[str, str]  # question, answer; two empty texts where there is none


def conversation(index: int) -> list[Message]:
    """Conversation number `index`, always the same."""
    writer = writer_for("train", "chat", index)
    messages: list[Message] = []
    for _ in range(writer.draw.between(FEWEST_TURNS, MOST_TURNS)):
        kind = writer.draw.pick((_about_one, _about_one, _about_passage, _tell))
        for question, answer in kind(writer):
            messages.append({"role": "user", "content": question})
            messages.append({"role": "assistant", "content": answer})
    return messages


def _about_one(writer: Writer) -> list[Turn]:
    """Questions about one entity, answered by the value alone or in a sentence."""
    draw = writer.draw
    entity = _any_entity(writer)
    turns = []
    for relation in draw.sample(RELATIONS[entity.kind], draw.between(1, 2)):
        made = questions.fact_question(writer, entity, relation, ("Question:",))
        if made is None:
            continue
        said = _answer(writer, entity, (relation,)) if draw.chance(0.5) else made.answer
        turns.append((made.question, said or made.answer))
    return turns


def _about_passage(writer: Writer) -> list[Turn]:
    """A passage and a question about it; more questions follow without it."""
    made = questions.yes_no(writer, writer.draw.between(1, 3), writer.draw.between(1, 3))
    if made is None:
        return []
    asked = [f"{made.passage}\n{made.questions[0]}", *made.questions[1:]]
    return [(one, "yes" if is_so else "no") for one, is_so in zip(asked, made.answers, strict=True)]


def _tell(writer: Writer) -> list[Turn]:
    """A request to tell of an entity, and most of its facts."""
    entity = _any_entity(writer)
    relations = writer.draw.shuffled(RELATIONS[entity.kind])
    question = writer.say(
        ("Question: Tell me about {s}.", "Question: What do you know about {s}?"), s=entity.name
    )
    answer = _answer(writer, entity, tuple(relations)) if question else ""
    return [(question, answer)] if answer else []


def _any_entity(writer: Writer) -> facts.Entity:
    return writer.draw.pick([one for kind in world().entities.values() for one in kind])


def _answer(writer: Writer, entity: facts.Entity, relations: Sequence[str]) -> str:
    """Facts as sentences, on the side of training text with the label in front as well."""

    def labelled() -> str:
        said = [blocks.state(writer, entity, relation) for relation in relations]
        return LABEL + " ".join(sentence for sentence in said if sentence)

    return writer.insist(labelled).removeprefix(LABEL)


_conversation = lru_cache(maxsize=NUM_CONVERSATIONS)(conversation)


@dataclass(frozen=True, kw_only=True)
class MiniatureChat(AnsweredDataset):
    """The first `num_documents` conversations."""

    name: str  # label in records and tables; also names the random streams of the draw
    num_documents: int  # the pool
    template: str | None  # Jinja text, a .jinja file, or a known name; null: the tokenizer's own

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                is_int(self.num_documents, 1) and self.num_documents <= NUM_CONVERSATIONS,
                "dataset.num_documents",
                self.num_documents,
                f"a whole number from 1 to {NUM_CONVERSATIONS}",
                "Example: dataset.num_documents=400.",
            )
            problems.of(
                require,
                is_template(self.template),
                "dataset.template",
                self.template,
                "Jinja text, a .jinja file, chatml, alpaca, or null for the tokenizer's own",
                "Example: dataset.template=chatml.",
            )

    def documents_for(self, tokenizer: "PreTrainedTokenizerBase") -> MarkedDocuments:
        """Return every conversation as the template writes it."""
        template = template_of(self.template, tokenizer)

        def read(positions: Sequence[int]) -> list[MarkedText]:
            return [template.render(_conversation(i), _name(i)) for i in positions]

        return MarkedDocuments(
            num_documents=self.num_documents, read=read, id=_name, is_complete=True
        )

    def provenance(self) -> dict[str, object]:
        """Describe the conversations, for the card of every set."""
        return {
            "source": "calib_sweep.miniature.chats",
            "num_documents": self.num_documents,
            "template": self.template,
            "version": VERSION,
            "license": "Apache-2.0",
        }

    def fingerprint(self) -> str:
        """Return the version of the generator."""
        return f"miniature-chat-{VERSION}"

    def sources(self) -> dict[str, str]:
        """The conversations: however many, they begin with the same ones."""
        return {"mini_chat": "miniature:chat"}


def _name(index: int) -> str:
    return f"mini_chat/{index}"
