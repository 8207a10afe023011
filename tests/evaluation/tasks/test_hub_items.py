"""Items of tasks on the hub, through the real clients: fetched, read again offline, refused."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from helpers.hub_client import client_of
from helpers.hub_server import READ_ONLY, Server, answer, serving
from helpers.scored import metric, sentence, zero_shot_of

from calib_sweep.errors import FETCH, ConfigError, UnavailableError
from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks

ITEMS = [{"q": sentence(i), "c": [" a", " fox"], "g": i % 2} for i in range(5)]
COMMIT = "c" * 40


@pytest.fixture
def hub() -> Iterator[Server]:
    lines = "".join(json.dumps(item) + "\n" for item in ITEMS).encode()
    with serving() as server:
        server.put("datasets", "me/items", {"test.jsonl": lines}, COMMIT)
        yield server


@pytest.fixture
def settings(tmp_path: Path):
    task = {
        "task": "own",
        "dataset_path": "me/items",
        "dataset_kwargs": {"revision": COMMIT},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{c}}",
        "doc_to_target": "g",
        "metric_list": [metric("acc")],
        "metadata": {"version": 1.0},
    }
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "own.yaml").write_text(yaml.safe_dump(task))
    return zero_shot_of(tmp_path / "tasks", "own")


def test_items_are_fetched_once_and_read_again_without_the_hub(
    hub, tmp_path, settings, tokenizer, monkeypatch
):
    with client_of(hub, tmp_path):
        first = prepare_tasks(settings, tokenizer).item_hashes["own"]
        assert len(first) == len(ITEMS)
        hub.faults["any request"] = answer(503)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
        hub.asked.clear()
        assert prepare_tasks(settings, tokenizer).item_hashes["own"] == first and not hub.asked


@pytest.mark.parametrize("is_gated", [True, False])
def test_items_that_are_gated_or_not_there_are_a_mistake(
    hub, tmp_path, settings, tokenizer, is_gated
):
    if is_gated:
        hub.repositories["datasets", "me/items"].is_gated = True
    else:
        del hub.repositories["datasets", "me/items"]
    with client_of(hub, tmp_path), pytest.raises(ConfigError, match="hf auth login") as caught:
        prepare_tasks(settings, tokenizer)
    assert not isinstance(caught.value, UnavailableError) and "me/items" in str(caught.value)
    if is_gated:
        with client_of(hub, tmp_path, READ_ONLY):
            assert prepare_tasks(settings, tokenizer).item_hashes["own"]


def test_items_of_a_hub_that_is_down_are_a_note_in_a_check(tmp_path, settings, tokenizer):
    with serving() as gone:
        pass
    with client_of(gone, tmp_path), pytest.raises(UnavailableError) as caught:
        prepare_tasks(settings, tokenizer)
    assert FETCH in str(caught.value)
