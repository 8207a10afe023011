"""lm-eval's own front door, without its inventory of the machine."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any


def simple_evaluate(
    model: object,
    tokenizer: object,
    folder: Path,
    tasks: Iterable[str],
    monkeypatch,
    batch_size: int = 16,
    **changes,
) -> dict[str, Any]:
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


def responses(found: dict[str, Any], task: str) -> list[tuple[float, bool]]:
    """Return what the model said to each request of a task, in order."""
    said = [one[0] for sample in found["samples"][task] for one in sample["resps"]]
    return [(one, True) if isinstance(one, float) else one for one in said]
