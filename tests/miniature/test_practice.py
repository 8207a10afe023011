"""Training items of the miniature's tasks: always the same, and on the side of training text."""

import hashlib
import json

import pytest
from helpers.repository import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from transformers import AutoTokenizer

from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.evaluation.tasks.training import content_of
from calib_sweep.miniature.tasks import build, practice
from calib_sweep.miniature.tasks.load import read
from calib_sweep.miniature.text.passages.writer import is_held_out, sentences
from calib_sweep.places import TASKS, WEIGHTS

FROZEN = "f8699ae7f3f65e447e440c50a26bcbe137c569847d4918ec24fb1e7fefe036b4"
COUNT = 30


@pytest.fixture(autouse=True, scope="module")
def few():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(practice, "NUM_ITEMS", COUNT)
        practice.made.cache_clear()
        yield
    practice.made.cache_clear()


def test_items_are_always_the_same():
    content = json.dumps([practice.made(task) for task in TASKS])
    assert hashlib.sha256(content.encode()).hexdigest() == FROZEN


@pytest.mark.parametrize("task", TASKS)
def test_no_item_is_on_the_side_of_those_that_are_scored(task):
    items = practice.made(task)
    assert len(items) == COUNT
    assert items[0].keys() == read(task)[0].keys() - {"fact"}
    said = {s.strip() for one in items for text in build.requests(task, one)[:1]
            for s in sentences(text)}  # fmt: skip
    assert said or task == "mini_facts"  # some questions of four words belong to no side
    assert not any(map(is_held_out, said))
    assert not set(map(content_of, items)) & set(map(content_of, read(task)))


def test_a_set_of_all_tasks_is_drawn_with_answers():
    dataset = instantiate(OmegaConf.load(ROOT / "conf/dataset/mini_task.yaml"), _convert_="all")
    calibration = Calibration(
        num_samples=5, seq_len=200, design="disjoint", window="document", bos="document"
    )
    drawn = dataset.draw(AutoTokenizer.from_pretrained(WEIGHTS), calibration, 0)
    assert [pool.name for pool in dataset.pools] == [f"{task}_practice" for task in TASKS]
    assert 0.1 < drawn.answers_NT.mean() < 0.5 and drawn.answers_NT.any(axis=1).all()
    assert all(name.split("/")[1] == "practice" for name in (s["document"] for s in drawn.samples))
