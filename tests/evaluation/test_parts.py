"""Parts: a score that was made before stands in the place of one that is made now."""

import dataclasses
import shutil
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
from helpers.scored import corpus, names_of_scored, perplexity_of, zero_shot_of

from calib_sweep.evaluation.corpora.divergence import Divergence
from calib_sweep.evaluation.parts import Part
from calib_sweep.evaluation.scoring import Scoring
from calib_sweep.evaluation.suite import Evaluation

LABELS, TASKS = ("stories@32", "letters@32"), ("t_choice", "t_word")


def evaluation(folder, **changes):
    settings = {
        "perplexity": perplexity_of(corpus("stories"), corpus("letters"), max_windows=4),
        "zero_shot": zero_shot_of(folder, *TASKS, num_items=10),
        "divergence": Divergence(num_tokens=100),
    }
    return Evaluation(**(settings | changes))


@pytest.fixture(scope="module")
def suite(task_folder, tokenizer):
    return evaluation(task_folder).prepare(tokenizer)


def parts_of(suite, scorer, dense):
    """Every part of a model, each scored on its own."""
    scoring = Scoring(scorer, suite.settings.divergence, suite.hashes(), dense)
    found = [scoring.corpus(windows) for windows in suite.windows]
    found += [scoring.task(suite.tasks, name) for name in reversed(TASKS)]
    return {part.name: part for part in found}


def test_a_part_that_compiled_blocks_scored_stands_in_no_place_of_another(
    suite, task_folder, tokenizer, model
):
    """Compiled blocks give other last digits."""
    scorer, (plain, compiled) = (
        suite.scorer(model),
        (
            evaluation(task_folder, compile=is_compiled).prepare(tokenizer)
            for is_compiled in (False, True)
        ),
    )
    assert plain.identities(scorer, None) == suite.identities(scorer, None)
    others = compiled.identities(scorer, None)
    assert not set(others.values()) & set(plain.identities(scorer, None).values())


@pytest.mark.parametrize("known", [LABELS, TASKS, (LABELS[1], TASKS[0]), (*LABELS, *TASKS)])
def test_parts_scored_before_and_now_make_the_scores_of_a_fresh_run(
    suite, model, other_model, known, monkeypatch
):
    asked = names_of_scored(monkeypatch)
    dense = None
    for one in (model, other_model):
        fresh = suite.score(suite.scorer(one), dense)
        before = parts_of(suite, suite.scorer(one), dense)
        assert set(before) == {*LABELS, *TASKS}
        asked.clear()
        again = suite.score(suite.scorer(one), dense, known={name: before[name] for name in known})
        assert sorted(asked) == sorted({*LABELS, *TASKS} - set(known))
        assert list(again.scores.items()) == list(fresh.scores.items())  # in order
        assert (again.stderr, again.metrics) == (fresh.stderr, fresh.metrics)
        assert again.parts == fresh.parts and list(fresh.parts) == [*LABELS, *TASKS]
        pd.testing.assert_frame_equal(again.items, fresh.items)
        if dense is None:
            for name in (*LABELS, *TASKS):
                assert again.reference.content_of(name) == fresh.reference.content_of(name)
        dense = fresh.reference
    assert dense is None or fresh.reference is None


def test_means_are_those_of_the_parts_that_count(model, suite):
    made = [
        Part(
            kind="task", name="a", headline="acc/a", scores={"acc/a": 0.5}, stderr={"acc/a": 0.03}
        ),
        Part(kind="task", name="b", headline=None, scores={"acc/b": 0.9}),
        Part(
            kind="task", name="c", headline="acc/c", scores={"acc/c": 0.8}, stderr={"acc/c": 0.04}
        ),
        Part(kind="window", name="x", headline="ppl/x", scores={"ppl/x": 2.0}),
        Part(kind="window", name="y", headline="ppl/y", scores={"ppl/y": 8.0}),
    ]
    for part in made:
        part.rows = {"kind": [part.kind], "name": [part.name], "item": [0]}
    found = Scoring(Mock(), None, {}, None).result(made, {}, {})
    assert found.scores["acc/mean"] == pytest.approx(0.65)
    assert found.stderr["acc/mean"] == pytest.approx(0.05 / 2)
    assert found.scores["ppl/geomean"] == pytest.approx(4.0)
    assert "ppl/geomean" not in found.stderr and found.reference is None


def identities(evaluation, tokenizer, model, dense=None):
    prepared = evaluation.prepare(tokenizer)
    return prepared.identities(prepared.scorer(model), dense)


def test_more_corpora_and_tasks_leave_the_identity_of_the_others(
    task_folder, tokenizer, model, suite
):
    own = suite.identities(suite.scorer(model), None)
    assert len(set(own.values())) == len(own) == 4
    fewer = evaluation(
        task_folder,
        perplexity=perplexity_of(corpus("letters"), max_windows=4),
        zero_shot=zero_shot_of(
            task_folder, "t_page", "t_word", num_items=10, headline={"t_page": None}
        ),
    )
    found = identities(fewer, tokenizer, model)
    assert [name for name in found if found[name] == own.get(name)] == ["letters@32", "t_word"]


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"divergence": Divergence(num_tokens=64)}, (*LABELS, *TASKS)),
        ({"divergence": None}, (*LABELS, *TASKS)),
        ({"items": 9}, TASKS),
        ({"headline": {"t_choice": "acc_norm"}}, ("t_choice",)),
        ({"max_windows": 3}, LABELS),
        ({"stories": "letters"}, ("stories@32",)),
        ({"batch": 3}, ()),
    ],
)
def test_what_moves_a_score_moves_the_identity_of_its_part(
    task_folder, tokenizer, model, suite, changes, moved
):
    own = suite.identities(suite.scorer(model), None)
    changed = dict(changes)
    zero_shot = {"num_items": changed.pop("items", 10), "headline": changed.pop("headline", {})}
    texts = [corpus(changed.pop("stories", "stories")), corpus("letters")]
    texts[0] = dataclasses.replace(texts[0], name="stories")
    windows = {"max_windows": changed.pop("max_windows", 4)}
    windows |= {"batch_tokens": 64} if changed.pop("batch", None) else {}
    again = evaluation(
        task_folder,
        perplexity=perplexity_of(*texts, **windows),
        zero_shot=zero_shot_of(task_folder, *TASKS, **zero_shot),
        **changed,
    )
    found = identities(again, tokenizer, model)
    assert {name for name in own if found[name] != own[name]} == set(moved)


def test_another_prompt_or_item_is_another_part(task_folder, tokenizer, model, suite, tmp_path):
    own = suite.identities(suite.scorer(model), None)
    folder = tmp_path / "tasks"
    shutil.copytree(task_folder, folder)
    (path,) = folder.glob("t_word*.yaml")
    text = path.read_text()
    path.write_text(text.replace("doc_to_text: '", "doc_to_text: 'So: "))
    assert path.read_text() != text
    found = identities(evaluation(folder), tokenizer, model)
    assert found["t_word"] != own["t_word"]


def test_a_part_is_compared_with_one_reference(suite, model, other_model):
    dense = suite.score(suite.scorer(model), None).reference
    own = suite.identities(suite.scorer(other_model), dense)
    alone = suite.identities(suite.scorer(other_model), None)
    assert all(own[name] != alone[name] for name in own)
    log_probs = {**dense.log_probs, "letters@32": dense.log_probs["letters@32"] + 1}
    correct = {**dense.correct, "t_word": 1 - np.asarray(dense.correct["t_word"])}
    other = dataclasses.replace(dense, log_probs=log_probs, correct=correct, _contents={})
    found = suite.identities(suite.scorer(other_model), other)
    assert {name for name in own if own[name] != found[name]} == {"letters@32", "t_word"}


def test_another_scorer_makes_other_parts(suite, model):
    own = suite.identities(suite.scorer(model), None)
    other = Mock(engine="another 1")
    assert not set(own.values()) & set(suite.identities(other, None).values())
