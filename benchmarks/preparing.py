"""Measure what it costs a process to get ready to score ten tasks, and to count one cell's answers.

    python benchmarks/preparing.py                 all 78,559 requests: three minutes
    python benchmarks/preparing.py --share 0.01

Items are text of the miniature world, as many and as long as those of the ten tasks (TASKS of
`task_requests.py`), under a template of each. Printed: seconds of processor time

    alone     as lm-eval by itself: a template compiled at every use, strings tokenised one by one
    first     the first process of a sweep, which keeps token ids on disk
    others    the next one, which finds them
"""

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from task_requests import TASKS, Task
from transformers import AutoTokenizer

from calib_sweep.evaluation import harness, tokenised
from calib_sweep.evaluation.tasks import zero_shot
from calib_sweep.evaluation.tasks.loading import templates_of_tasks
from calib_sweep.evaluation.tasks.settings import ZeroShot
from calib_sweep.evaluation.tokenised import Shelf
from calib_sweep.miniature import corpus
from calib_sweep.places import CONF, WEIGHTS

NUM_DOCUMENTS = 400


def main() -> None:
    parser = argparse.ArgumentParser(description="What it costs to prepare ten tasks")
    parser.add_argument("--share", type=float, default=1.0, help="of the items of each task")
    share = parser.parse_args().share
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    with tempfile.TemporaryDirectory() as folder:
        tasks, results = Path(folder, "tasks"), Path(folder, "results")
        settings = write_tasks(tasks, share)
        shelf = Shelf(tokenizer, results)
        zero_shot.prepare_tasks(replace(settings, num_items=1), tokenizer)  # reads the files once
        report("first", lambda: zero_shot.prepare_tasks(settings, tokenizer, shelf))
        report("others", lambda: zero_shot.prepare_tasks(settings, tokenizer, shelf))
        harness.templates_of = lambda *_, **__: contextlib.nullcontext()
        tokenised.Strings.learn = lambda *_: None
        report("alone", lambda: zero_shot.prepare_tasks(settings, tokenizer))


def report(name: str, prepare: Callable[[], zero_shot.PreparedTasks]) -> None:
    """Print what it takes to build and tokenise all requests, and to count answers to them."""
    start = time.process_time()
    prepared = prepare()
    requests = prepared.requests
    ready = time.process_time()
    for task in prepared.tasks.values():
        for instance in task.instances:
            instance.resps, instance.filtered_resps = [(-1.0 - instance.idx, False)], {}
    with templates_of_tasks(prepared.settings):
        for task in prepared.tasks.values():
            zero_shot.values_of(task)
    counted = time.process_time() - ready
    print(f"{name:8}{ready - start:8.2f} s for {len(requests):,} requests{counted:8.2f} s a cell")


def write_tasks(folder: Path, share: float) -> ZeroShot:
    """Write tasks of these sizes; return the settings that run them."""
    folder.mkdir()
    words = " ".join(corpus.document("mini_web", "train", i) for i in range(NUM_DOCUMENTS)).split()
    for name, task in TASKS.items():
        write_task(folder, name, task, words, max(2, round(task.num_items * share)))
    plain = yaml.safe_load((CONF / "evaluation" / "miniature.yaml").read_text())["zero_shot"]
    plain |= {"tasks": [f"like_{name}" for name in TASKS], "include_path": str(folder)}
    del plain["_target_"]
    return ZeroShot(**plain | {"num_items": None})


def write_task(folder: Path, name: str, task: Task, words: list[str], num_items: int) -> None:
    """Write one task and its items."""
    generator = np.random.default_rng(len(name))

    def text(tokens: tuple[float, float]) -> str:
        number = max(1, round(tokens[0]))
        start = int(generator.integers(len(words) - number))
        return " ".join(words[start : start + number])

    items = [
        {
            "question": text(task.context),
            "choices": [text(task.continuation) for _ in range(task.num_choices)],
            "answer": int(generator.integers(task.num_choices)),
        }
        for _ in range(num_items)
    ]
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    settings = {
        "task": f"like_{name}",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(path)}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "Question: {{question}}\nAnswer:",
        "doc_to_target": "{{answer}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(settings))


if __name__ == "__main__":
    main()
