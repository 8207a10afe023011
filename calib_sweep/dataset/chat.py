"""Conversations through the chat template of the model's tokenizer: from files, or from the hub.

A set tells which of its tokens are answers: those that the assistant writes, with what ends a turn.
A conversation is a document: `calibration.window` says whether samples are cut out of long ones
(slice), out of all of them joined (pack), or whether each has its own (document).
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING

from calib_sweep.dataset.answered import AnsweredDataset
from calib_sweep.dataset.conversations.layout import Layout, known_layout
from calib_sweep.dataset.conversations.template import is_template, template_file, template_of
from calib_sweep.dataset.documents.files import find_files
from calib_sweep.dataset.documents.marked import MarkedDocuments, MarkedText
from calib_sweep.dataset.documents.records import Records, read_records
from calib_sweep.dataset.documents.repository import Repository
from calib_sweep.dataset.hub import HubText
from calib_sweep.dataset.text import TextFiles
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.hashing import file_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Chat(AnsweredDataset):
    """Conversations of records; where these are, a class of its own says."""

    name: str  # label in records and tables; of local files null: the name of file or folder
    messages: str | None  # column with the turns; null: in columns of their own, as follows
    prompt: list[str]  # columns that the user says, an empty line between them
    answer: str | None  # column that the assistant answers
    system: str | None  # system prompt of conversations that bring none; null: none is added
    template: str | None  # Jinja text, a .jinja file, or a known name; null: the tokenizer's own
    license: str | None

    def __post_init__(self) -> None:
        with collected() as problems:
            text = problems.of(self.text)
            if text is not None:  # named by its file, where nothing else names it
                object.__setattr__(self, "name", text.name)
            problems.of(self.layout.check)
            problems.of(
                require,
                is_template(self.template),
                "dataset.template",
                self.template,
                "Jinja text, a .jinja file, chatml, alpaca, or null for the tokenizer's own",
                "Example: dataset.template=chatml.",
            )

    @abstractmethod
    def text(self) -> TextFiles | HubText:
        """Return the same files as a dataset of text; `ConfigError` if there can be none."""

    @abstractmethod
    def records(self) -> Records:
        """Return all records, in an order that never changes."""

    @cached_property
    def known_records(self) -> Records:
        """All records, read once for all seeds."""
        return self.records()

    @property
    def layout(self) -> Layout:
        """The columns of a record."""
        return Layout(
            messages=self.messages, prompt=self.prompt, answer=self.answer, system=self.system
        )

    def documents_for(self, tokenizer: "PreTrainedTokenizerBase") -> MarkedDocuments:
        """Return every conversation as the template writes it."""
        with collected() as problems:
            template = problems.of(template_of, self.template, tokenizer)
            records = problems.of(lambda: self.known_records)
        layout = self.layout

        def read(positions: Sequence[int]) -> list[MarkedText]:
            texts = []
            for position, record in zip(positions, records.read(positions), strict=True):
                name = records.id(position)
                texts.append(template.render(layout.conversation(record, name), name))
            return texts

        return MarkedDocuments(
            num_documents=records.num_records,
            read=read,
            id=records.id,
            key=records.key,
            is_complete=True,
        )

    def provenance(self) -> dict[str, object]:
        """Return where the conversations are from, for the card of every set."""
        own = {
            "messages": self.messages,
            "prompt": list(self.prompt),
            "answer": self.answer,
            "system": self.system,
            "template": self.template,
        }
        told = self.text().provenance() | own | {"fingerprint": self.fingerprint()}
        return {key: value for key, value in told.items() if key not in ("column", "where")}

    def fingerprint(self) -> str | None:
        """Content hash of the local files, that of a template too; None for hub data alone."""
        file = template_file(self.template)
        try:
            of_template = None if file is None else file_sha256(file)[:32]
        except OSError as error:
            raise ConfigError(
                f"dataset.template={self.template!r}: expected a file with a chat template, but it "
                f"cannot be read ({error.strerror}). Correct the path."
            ) from error
        found = [self.text().fingerprint(), of_template]
        return ",".join(one for one in found if one is not None) or None

    def draw_name(self) -> str:
        """Name the random streams as the files do: every template has the same conversations."""
        return self.text().draw_name()

    def sources(self) -> dict[str, str]:
        """Each file by its content or address."""
        return self.text().sources()


@dataclass(frozen=True, kw_only=True)
class ChatFiles(Chat):
    """Conversations in local record files. Their contents and order decide what is drawn."""

    path: str  # file, folder (all files below it) or pattern

    def text(self) -> TextFiles:
        """Return the same files as a dataset of text."""
        return TextFiles(
            name=self.name,
            path=self.path,
            column="text",
            separator=None,
            join="",
            license=self.license,
        )

    def records(self) -> Records:
        """All records, in the order of file names and lines."""
        records = read_records(*find_files(self.path), self.layout.columns, hint=known_layout)
        return replace(records, key=str)  # their names hang on those of the files


@dataclass(frozen=True, kw_only=True)
class HubChat(Chat):
    """Conversations of a hub repository, or of a local copy of it with the same file layout."""

    hub_id: str  # owner/name of the dataset repository
    revision: str | None  # commit; null: whatever the hub serves today
    data_files: list[str]  # paths in the repository, patterns allowed
    num_documents: int | None  # the first so many conversations; null: all
    path: str | None  # folder with a copy of the repository; null: the hub and its local cache

    def text(self) -> HubText:
        """Return the same files as a dataset of text."""
        return HubText(
            name=self.name,
            hub_id=self.hub_id,
            revision=self.revision,
            data_files=self.data_files,
            num_documents=self.num_documents,
            column="text",
            join="",
            license=self.license,
            path=self.path,
        )

    def records(self) -> Records:
        """All records, in the order of file names and rows."""
        files = Repository(
            label=self.name,
            hub_id=self.hub_id,
            revision=self.revision,
            data_files=self.data_files,
            path=self.path,
        )
        root = files.root()
        read = partial(read_records, root, files.files(root), self.layout.columns)
        return read(cache_dir=self._cache_dir(), hint=known_layout, most=self.num_documents)

    def prefetch(self) -> None:
        """Download what is not in the local cache yet, and prove that it can be read."""
        _ = self.known_records

    def _cache_dir(self) -> str | None:
        if self.path is not None:
            return None
        from datasets import config  # shared with everybody who uses the hub's files here

        return str(config.HF_DATASETS_CACHE)
