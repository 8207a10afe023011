"""Render the templates of tasks that nobody has vouched for where they can run no code."""

import contextlib
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def sandboxed_templates(holder: Any) -> Iterator[None]:
    """Have the module that holds Jinja's environment as `env` render in a sandbox.

    Without it a template can run any code. What is rendered is the same.
    """
    from jinja2.sandbox import SandboxedEnvironment

    before = holder.env
    holder.env = SandboxedEnvironment(
        loader=before.loader,
        undefined=before.undefined,
        keep_trailing_newline=before.keep_trailing_newline,
    )
    holder.env.filters = before.filters
    try:
        yield
    finally:
        holder.env = before
