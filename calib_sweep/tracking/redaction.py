"""Keys, tokens and passwords, which no tracker is told: of a command, a configuration, an error.

They are known by the name before them (`HF_TOKEN=...`, `storage.secret_key`), by their place in an
address (`https://me:password@host`), or by their own form (`hf_...`).
"""

import re
from collections.abc import Mapping
from typing import Any

HIDDEN = "***"
# The end of a name. Tokens of a vocabulary are no secrets, nor are numbers of tokens.
NAME = (
    r"(?<![a-z0-9])(?:[a-z0-9_.-]*[_.-])?(?<!bos_)(?<!eos_)(?<!pad_)(?<!unk_)(?<!sep_)(?<!cls_)"
    r"(?<!mask_)(?:token|passw(?:or)?d|secret|credentials?|authorization|"
    r"(?:api|access|account|secret|private|auth)_?key(?:_id)?)"
)
NAMED = re.compile(NAME, re.IGNORECASE)
ASSIGNED = re.compile(
    rf"""({NAME}["']?\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;'"\])}}]+)""", re.IGNORECASE
)
IN_ADDRESS = re.compile(r"(?<=://)[^\s/?#@'\"]+@")
KNOWN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{20,}|gh[oprsu]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|"
    r"sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|wandb_v1_\w{20,})"
)


def redacted(text: str) -> str:
    """Return `text` with *** for each secret in it."""
    text = IN_ADDRESS.sub(f"{HIDDEN}@", text)
    return KNOWN.sub(HIDDEN, ASSIGNED.sub(rf"\1{HIDDEN}", text))


def redacted_word(word: str) -> str:
    """Return a word of a command line, KEY=VALUE in most cases, without secrets."""
    key, is_setting, _ = word.partition("=")
    is_secret = is_setting and NAMED.fullmatch(key.lstrip("+~"))
    return f"{key}={HIDDEN}" if is_secret else redacted(word)


def redacted_values(value: Any) -> Any:
    """Return a configuration, or a part of one, with *** for the text of each secret."""
    if isinstance(value, Mapping):
        return {
            key: HIDDEN
            if isinstance(inner, str) and NAMED.fullmatch(key)
            else redacted_values(inner)
            for key, inner in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted_values(inner) for inner in value]
    return redacted(value) if isinstance(value, str) else value
