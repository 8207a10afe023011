"""Render the templates of tasks: each is compiled once, and those nobody vouches for run no code.

lm-eval compiles a template anew for every item and every use of it, which takes ten times as long
as to fill it in. What is rendered is the same.
"""

import contextlib
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, cast

MAX_TEMPLATES = 4096  # kept compiled; a task has a handful, unless its code makes one of each item

KEPT = ("loader", "undefined", "keep_trailing_newline")  # of lm-eval's settings, in a sandbox


@contextlib.contextmanager
def templates_of(holder: Any, *, are_trusted: bool) -> Iterator[None]:
    """Have the module that holds Jinja's environment as `env` render by another one meanwhile.

    Not `are_trusted`: in a sandbox. Without it a template can run any code.
    """
    before = holder.env
    holder.env = _environment(before, is_sandboxed=not are_trusted)
    try:
        yield
    finally:
        holder.env = before


@cache
def _environment(before: Any, *, is_sandboxed: bool) -> Any:
    """Return an environment with the settings of `before` that remembers what it compiled."""
    own: Any = before.overlay()
    if is_sandboxed:
        from jinja2.sandbox import SandboxedEnvironment

        settings = {key: getattr(before, key) for key in KEPT}
        own = cast("Any", SandboxedEnvironment(**settings))
        own.filters = before.filters
    own.from_string = lru_cache(MAX_TEMPLATES)(own.from_string)
    return own
