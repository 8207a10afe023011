"""lm-eval's own front door, which our scores are compared with."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest


def simple_evaluate(
    model: Any,
    tokenizer: Any,
    folder: Path,
    tasks: Iterable[str],
    monkeypatch: pytest.MonkeyPatch,
    batch_size: int = 16,
    **changes: Any,
) -> Any:
    """Score tasks of a folder without lm-eval's inventory of the machine."""
    from lm_eval import evaluator
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    monkeypatch.setattr(evaluator, "add_env_info", lambda results: None)
    return evaluator.simple_evaluate(
        model=HFLM(pretrained=model, tokenizer=tokenizer, batch_size=batch_size),
        tasks=list(tasks),
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        bootstrap_iters=2,
        **changes,
    )
