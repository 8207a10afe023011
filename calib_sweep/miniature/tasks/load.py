"""Hand the shipped items to lm-eval (`custom_dataset` in the YAML files) without a download."""

import json
from typing import TYPE_CHECKING, Any

from calib_sweep.places import task_folder

if TYPE_CHECKING:
    from datasets import Dataset

Item = dict[str, Any]  # one item of a task, as its YAML reads it


def read(task: str) -> list[Item]:
    """Read the items of one task."""
    lines = (task_folder() / "items" / f"{task}.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_split(items: str, **_: object) -> dict[str, "Dataset"]:
    """Return split name -> dataset of the task `items`; lm-eval's metadata is not needed."""
    from datasets import Dataset

    return {"test": Dataset.from_list(read(items))}
