"""Conversations to text by a chat template, and where in that text the assistant answers.

Few templates mark the answers themselves (`{% generation %}`). So an answer is found by rendering
the conversation once more with a sign in its place that occurs nowhere: what the two texts do not
share, from the front and from the back, is the answer as the template writes it. What the template
writes to end the conversation after its last answer (<|im_end|>, </s>) belongs to each answer that
ends so: a model writes it too. Headers before an answer belong to none.

A template that asks for the date would make other tokens every day: it is told `DATE`, the day that
Llama 3.1's falls back on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.dataset.conversations.layout import Message
from calib_sweep.dataset.documents.marked import MarkedText, Span
from calib_sweep.errors import ConfigError
from calib_sweep.places import expanded

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

ASSISTANT = "assistant"
DATE = "26 Jul 2024"
_DATE_PARTS = {
    **{"%d": "26", "%b": "Jul", "%B": "July", "%Y": "2024", "%m": "07", "%y": "24", "%j": "208"},
    **{"%A": "Friday", "%a": "Fri", "%H": "12", "%M": "00", "%S": "00", "%-d": "26", "%-m": "7"},
}
# Defined in front of a template, it hides the function of that name that tells today's date.
_FIXED_DATE = (
    "{%- macro strftime_now(format) -%}{{- format"
    + "".join(f"|replace({part!r},{value!r})" for part, value in _DATE_PARTS.items())
    + " -}}{%- endmacro %}{{ '' }}"
)

# For tokenizers without a template: OpenAI's ChatML, and the prompt of Alpaca (Taori et al. 2023).
TEMPLATES = {
    "chatml": (
        "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' "
        "+ message['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    ),
    "alpaca": (
        "{{ bos_token or '' }}{% if messages[0]['role'] != 'system' %}"
        "{{ 'Below is an instruction that describes a task. Write a response that appropriately "
        "completes the request.\n\n' }}{% endif %}{% for message in messages %}"
        "{% if message['role'] == 'system' %}{{ message['content'] + '\n\n' }}"
        "{% elif message['role'] == 'user' %}"
        "{{ '### Instruction:\n' + message['content'] + '\n\n' }}"
        "{% else %}{{ '### Response:\n' + message['content'] + '\n\n' }}{% endif %}{% endfor %}"
    ),
}
ENDING = ".jinja"  # of a file with a template


@dataclass(frozen=True, eq=False)
class ChatTemplate:
    """A template and the tokenizer whose special tokens it writes."""

    text: str
    tokenizer: "PreTrainedTokenizerBase"

    def render(self, messages: Sequence[Message], name: str) -> MarkedText:
        """Return a conversation, called `name` in errors, as one text with its answers marked."""
        if not messages:
            return MarkedText("")

        def write(conversation: Sequence[Message]) -> str:
            return self._write(conversation, name)

        text = write(messages)
        told = [number for number, one in enumerate(messages) if one["role"] == ASSISTANT]
        if not told:
            return MarkedText(text)
        sign = _unused(text)
        closing = _with_sign(write, messages[: told[-1] + 1], told[-1], sign)
        closing = closing.rpartition(sign)[2].rstrip()
        found = [_answer(text, _with_sign(write, messages, n, sign), sign, closing) for n in told]
        return MarkedText(text, tuple(span for span in found if span is not None))

    def _write(self, messages: Sequence[Message], name: str) -> str:
        from jinja2 import TemplateError

        given = _FIXED_DATE + self.text if "strftime_now" in self.text else self.text
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(one) for one in messages],  # type: ignore[arg-type]
                chat_template=given,
                tokenize=False,
                date_string=DATE,
            )
        except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(
                f"dataset.template: expected a template that renders every conversation, but with "
                f"{name} it ends in {type(error).__name__}: {reason}. Correct that record, take it "
                "out, or give another template. Example: dataset.template=chatml."
            ) from error
        return str(text)


def template_of(template: str | None, tokenizer: "PreTrainedTokenizerBase") -> ChatTemplate:
    """Return the template that a setting asks for."""
    if template is not None:
        return ChatTemplate(_read(template), tokenizer)
    if not tokenizer.chat_template:
        raise ConfigError(
            "dataset.template=null: expected a tokenizer with a chat template, but "
            f"{tokenizer.name_or_path or type(tokenizer).__name__} has none. Choose a model that "
            "was tuned on conversations, or give a template: Jinja text, a .jinja file, or one of "
            f"{', '.join(TEMPLATES)}. Example: dataset.template=alpaca."
        )
    return ChatTemplate(tokenizer.get_chat_template(), tokenizer)


def _read(template: str) -> str:
    if template in TEMPLATES:
        return TEMPLATES[template]
    if not template.endswith(ENDING):
        return template
    try:
        return expanded(template).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"dataset.template={template!r}: expected a file with a chat template, but it cannot "
            f"be read ({error}). Correct the path."
        ) from error


def is_template(value: object) -> bool:
    """Tell whether a setting may be a template: a known name, a file's, or Jinja text."""
    if value is None:
        return True
    is_text = isinstance(value, str)
    return is_text and (value in TEMPLATES or value.endswith(ENDING) or "{" in value)


def template_file(template: str | None) -> Path | None:
    """Return the file that a setting names; None if it names none."""
    if template is None or template in TEMPLATES or not template.endswith(ENDING):
        return None
    return expanded(template)


def _with_sign(
    write: Callable[[Sequence[Message]], str], messages: Sequence[Message], number: int, sign: str
) -> str:
    """Return the conversation with `sign` for all that message `number` says."""
    other: Message = {"role": messages[number]["role"], "content": sign}
    return write([*messages[:number], other, *messages[number + 1 :]])


def _answer(text: str, other: str, sign: str, closing: str) -> Span | None:
    """Return where in `text` stands what `other` has `sign` for; None: it is left out."""
    if sign not in other:
        return None
    start = _shared(lambda n: text[:n] == other[:n], min(len(text), len(other)))
    most = min(len(text) - start, len(other))
    stop = len(text) - _shared(lambda n: text[len(text) - n :] == other[len(other) - n :], most)
    return start, stop + (len(closing) if text.startswith(closing, stop) else 0)


def _shared(is_shared: Callable[[int], bool], most: int) -> int:
    """Return the largest length, up to `most`, at which two texts agree."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        if is_shared(middle):
            low = middle
        else:
            high = middle - 1
    return low


def _unused(text: str) -> str:
    """Return a character of the private use area that a text does not have."""
    return next(sign for code in range(0xE000, 0xF900) if (sign := chr(code)) not in text)
