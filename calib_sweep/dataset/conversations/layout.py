"""Records to conversations: where a record keeps who said what.

a column of turns      messages or conversations: a list whose entries have role and content, or
                       from and value
columns of one turn    what the user says (several columns, such as instruction and input, with an
                       empty line between them) and what the assistant answers
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.wording import typed

Message = dict[str, object]  # role, content, and what else a turn has
Record = Mapping[str, object]

ROLES = {"human": "user", "gpt": "assistant", "chatgpt": "assistant", "bot": "assistant"}
TURN_KEYS = (("role", "content"), ("from", "value"))
TURN = "turns with role and content, or from and value"
BETWEEN_PROMPTS = "\n\n"

# Columns by which common records are known, and what to type for them.
KNOWN = (
    (("messages",), "dataset.messages=messages"),
    (("conversations",), "dataset.messages=conversations"),
    (
        ("instruction", "input", "output"),
        "dataset.messages=null 'dataset.prompt=[instruction,input]' dataset.answer=output",
    ),
    (
        ("instruction", "output"),
        "dataset.messages=null 'dataset.prompt=[instruction]' dataset.answer=output",
    ),
    *(
        (
            (prompt, answer),
            f"dataset.messages=null 'dataset.prompt=[{prompt}]' dataset.answer={answer}",
        )
        for prompt in ("prompt", "question", "instruction")
        for answer in ("response", "answer", "completion")
    ),
)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The columns of a record that make its conversation."""

    messages: str | None
    prompt: Sequence[str]
    answer: str | None
    system: str | None  # of conversations that bring none

    def check(self) -> None:
        """Raise `ConfigError` for settings that name no columns, or too many."""
        names = list(self.prompt) if isinstance(self.prompt, list | tuple) else [None]
        with collected() as problems:
            problems.of(
                require,
                (self.messages is None) != (len(names) == 0 and self.answer is None),
                "dataset.messages",
                self.messages,
                "either a column with turns, or null and columns of their own: dataset.prompt and "
                "dataset.answer",
                "Example: dataset.messages=messages.",
            )
            problems.of(
                require,
                (len(names) == 0) == (self.answer is None),
                "dataset.answer",
                self.answer,
                "a column to go with dataset.prompt, or null without it",
                "Example: 'dataset.prompt=[instruction,input]' dataset.answer=output.",
            )
            problems.of(
                require,
                all(isinstance(name, str) and name for name in names),
                "dataset.prompt",
                self.prompt,
                "a list of columns",
                "Example: 'dataset.prompt=[instruction,input]'.",
            )
            for key, value in (
                ("messages", self.messages),
                ("answer", self.answer),
                ("system", self.system),
            ):
                problems.of(
                    require,
                    value is None or (isinstance(value, str) and value != ""),
                    f"dataset.{key}",
                    value,
                    "a non-empty string, or null",
                    f"Example: dataset.{key}=null.",
                )

    @property
    def columns(self) -> dict[str, str]:
        """The columns that are read, and the key that names each."""
        if self.messages is not None:
            return {self.messages: "messages"}
        assert self.answer is not None, "checked before"
        return {**dict.fromkeys(self.prompt, "prompt"), self.answer: "answer"}

    def conversation(self, record: Record, name: str) -> list[Message]:
        """Return the messages of a record, called `name` in errors; none for an empty one."""
        if self.messages is not None:
            found = self._turns(record.get(self.messages), name)
        else:
            found = self._question(record, name)
        if found and self.system is not None and found[0]["role"] != "system":
            found = [{"role": "system", "content": self.system}, *found]
        return found

    def _turns(self, turns: object, name: str) -> list[Message]:
        if turns is None:
            return []
        if not isinstance(turns, list):
            raise _no_conversation(name, f"column {self.messages} holds {type(turns).__name__}")
        return [_message(turn, f"{name}, turn {number}") for number, turn in enumerate(turns)]

    def _question(self, record: Record, name: str) -> list[Message]:
        assert self.answer is not None, "checked before"
        parts = [_text(record.get(column), f"{name}, column {column}") for column in self.prompt]
        prompt = BETWEEN_PROMPTS.join(part for part in parts if part.strip())
        answer = _text(record.get(self.answer), f"{name}, column {self.answer}")
        if not prompt and not answer.strip():
            return []
        return [{"role": "user", "content": prompt}, {"role": "assistant", "content": answer}]


def known_layout(columns: Sequence[str]) -> str:
    """Say what to type for records with these columns; nothing if none of the common ones."""
    fits = (remedy for needed, remedy in KNOWN if set(needed) <= set(columns))
    remedy = next(fits, None)
    return "" if remedy is None else f" These look as if you should type {remedy}."


def _message(turn: object, name: str) -> Message:
    if not isinstance(turn, Mapping):
        raise _no_conversation(name, f"it is {type(turn).__name__}")
    told = _told(turn)
    for role, content in TURN_KEYS:
        if role in told:
            who = str(told.pop(role))
            text = _text(told.pop(content, None), name)
            return {"role": ROLES.get(who, who), "content": text, **told}
    raise _no_conversation(name, f"it has the keys {', '.join(map(str, told)) or 'of none'}")


def _told(value: Any) -> Any:
    """Return a turn without empty keys, at any depth: a table fills up what other rows have."""
    if isinstance(value, Mapping):
        return {key: _told(item) for key, item in value.items() if item is not None}
    return [_told(item) for item in value] if isinstance(value, list) else value


def _text(value: object, name: str) -> str:
    """Return a text, or the joined texts of a list of parts as multimodal sets have them."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else [value]
    texts = [part.get("text") if isinstance(part, Mapping) else part for part in parts]
    if not all(isinstance(text, str) for text in texts):
        raise _no_conversation(name, f"its content holds {type(value).__name__} that is no text")
    return "".join(str(text) for text in texts)


def _no_conversation(name: str, what: str) -> ConfigError:
    return ConfigError(
        f"dataset: expected {TURN} in {name}, but {what}. Correct that record, or name another "
        f"column. Example: {typed('dataset.messages', 'conversations')}."
    )
