"""Hands the shipped items to lm-eval (`custom_dataset` in the YAML files) without a download."""

import json
from typing import Any

from calib_sweep.places import task_folder


def read(task: str) -> list[dict[str, Any]]:
    """The items of one task."""
    lines = (task_folder() / "items" / f"{task}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_split(items: str, **_: Any) -> dict[str, Any]:
    """Split name -> dataset of the task called `items`; lm-eval's metadata is not needed."""
    from datasets import Dataset

    return {"test": Dataset.from_list(read(items))}
