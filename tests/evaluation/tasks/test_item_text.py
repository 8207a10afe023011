"""Test items that stand in a calibration set, counted by hand."""

import numpy as np
import pytest
from helpers.scored import metric, sentence, write_task, zero_shot_of
from helpers.words import ids_of, make_tokenizer, text_of

from calib_sweep.dataset.calibration.overlap import Overlap, SetRuns
from calib_sweep.dataset.documents.tokenizing import encode
from calib_sweep.evaluation.tasks.item_text import ItemRuns, strings_of, strings_of_items
from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks


def test_every_string_of_an_item_is_its_text():
    item = {"id": 7, "query": "one", "choices": ["two", " "], "inner": {"page": "three"}, "x": None}
    assert list(strings_of(item)) == ["one", "two", "three"]


def test_items_are_seen_where_most_of_their_runs_are():
    """Of 20 words there are 8 runs of 13: the set holds all of item 0, 4 of item 1, 5 of item 2."""
    items = [[text_of(0, 20)], [text_of(100, 20)], [text_of(200, 20)], [text_of(300, 12)]]
    runs = ItemRuns.of(items, make_tokenizer())
    rows = [ids_of(0, 20), [*ids_of(100, 16), *ids_of(900, 4)], [*ids_of(200, 17), *ids_of(950, 3)]]
    drawn = SetRuns(np.array(rows), None)
    assert runs.seen(drawn).tolist() == [True, False, True, False]
    assert runs.overlap(drawn) == Overlap(share=(8 + 4 + 5) / 24, samples=2, items=2)


def test_a_run_that_two_strings_of_an_item_have_counts_once():
    """The second string repeats the first and goes on: 8 runs of its own, of which none is held."""
    items = [[text_of(0, 20), text_of(0, 28)]]
    runs = ItemRuns.of(items, make_tokenizer())
    assert len(runs.hashes_R) == 16
    assert runs.seen(SetRuns(np.array([ids_of(0, 20)]), None)).tolist() == [False]
    assert runs.seen(SetRuns(np.array([ids_of(0, 21)]), None)).tolist() == [True]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A task of four short fields, asked alone and after an example."""
    folder = tmp_path_factory.mktemp("fields")
    rows = [{"first": sentence("first", i), "last": sentence("last", i)} for i in range(8)]
    asked = {
        "doc_to_text": "{{first}}",
        "doc_to_target": "{{' '+last}}",
        "output_type": "loglikelihood",
    }
    for name, shots in (("alone", 0), ("shown", 2)):
        changes = {"num_fewshot": shots, "fewshot_split": "test", "metric_list": [metric("acc")]}
        write_task(folder, name, rows, **asked, **changes)
    return folder


def test_fields_are_joined_as_they_are_asked_but_for_examples(folder, tokenizer):
    tasks = prepare_tasks(zero_shot_of(folder, "alone", "shown"), tokenizer).tasks
    first, last = sentence("first", 3), sentence("last", 3)
    assert strings_of_items(tasks["alone"])[3] == [first, last, f"{first} {last}"]
    assert strings_of_items(tasks["shown"])[3] == [first, last]


def test_a_suite_names_the_task_whose_items_are_drawn(folder, tokenizer):
    from calib_sweep.evaluation.suite import Evaluation

    settings = Evaluation(perplexity=None, zero_shot=zero_shot_of(folder, "alone"), divergence=None)
    suite = settings.prepare(tokenizer)
    text = f"{sentence('first', 3)} {sentence('last', 3)}"
    (ids,) = encode(tokenizer, [text], special=False)
    found = suite.overlap(np.array([ids]), None)
    assert found["alone"] == {"share": 1.0, "samples": 1, "items": 1}
    other = suite.overlap(np.array([ids[::-1]]), None)
    assert other["alone"] == {"share": 0.0, "samples": 0, "items": 0}
