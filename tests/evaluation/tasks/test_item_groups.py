"""Which items belong together: the field of a task that says so, and the column of the table."""

import dataclasses

import pytest
from helpers.scored import metric, scorer_of, sentence, write_task, zero_shot_of

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.items import item_table
from calib_sweep.evaluation.tasks.item_groups import FIELDS, field_of
from calib_sweep.evaluation.tasks.zero_shot import check_own_items, prepare_tasks

PASSAGES = [0, 0, 1, 2, 1, 0]
CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{passage}} {{q}}",
    "doc_to_choice": "{{c}}",
    "doc_to_target": "g",
    "metric_list": [metric("acc")],
}


@pytest.fixture
def folder(tmp_path):
    """A task whose six questions are about three passages."""
    choices = [" a", " the old town"]
    items = [
        {"passage": sentence("passage", p), "q": sentence(i), "c": choices, "g": i % 2}
        for i, p in enumerate(PASSAGES)
    ]
    write_task(tmp_path, "own", items, **CHOICE)
    return tmp_path


def groups_in_table(settings, tokenizer, model):
    prepared = prepare_tasks(settings, tokenizer)
    rows = prepared.score(scorer_of(model))["own"].rows
    table = item_table([{"kind": ["task"] * len(PASSAGES), **rows}])
    return table["group"]


def test_a_field_that_the_user_names_groups_the_items(folder, tokenizer, model):
    settings = zero_shot_of(folder, "own", groups={"own": "passage"})
    found = groups_in_table(settings, tokenizer, model)
    assert found.notna().all() and found.nunique() == 3
    assert (
        found.map({group: p for group, p in zip(found, PASSAGES, strict=True)}).tolist() == PASSAGES
    )


def test_without_a_known_field_each_item_is_on_its_own(folder, tokenizer, model):
    assert groups_in_table(zero_shot_of(folder, "own"), tokenizer, model).isna().all()


def test_groups_move_no_score(folder, tokenizer, model):
    plain = zero_shot_of(folder, "own")
    scores = [
        prepare_tasks(settings, tokenizer).score(scorer_of(model))["own"]
        for settings in (plain, dataclasses.replace(plain, groups={"own": "passage"}))
    ]
    assert scores[0].metrics == scores[1].metrics and scores[0].stderr == scores[1].stderr


def test_a_field_that_items_lack_is_refused_with_those_they_have(folder, tokenizer):
    settings = zero_shot_of(folder, "own", "mini_facts", groups={"own": "article"})
    for prepare in (prepare_tasks, check_own_items):
        with pytest.raises(ConfigError) as caught:
            prepare(settings, tokenizer)
        wanted = "evaluation.zero_shot.groups.own='article': expected a field of every item of the "
        assert str(caught.value).startswith(f"{wanted}task: c, g, passage, q.")


@pytest.mark.parametrize("groups", [{"other": "passage"}, {"own": 3}, "passage", {"own": ""}])
def test_what_is_no_field_of_a_task_that_is_run_is_refused(tmp_path, groups):
    with pytest.raises(ConfigError, match=r"evaluation\.zero_shot\.groups="):
        zero_shot_of(tmp_path, "own", groups=groups)


def test_the_table_of_tasks_is_looked_up_by_whole_words():
    assert field_of("boolq", {}) == field_of("boolq_tr", {}) == "passage"
    assert field_of("race", {}) == "article"
    assert field_of("racer", {}) is None
    assert field_of("anli_r1", {}) == "premise"
    assert field_of("boolq", {"boolq": None}) is None


def test_miniature_stories_share_beginnings(tokenizer):
    settings = zero_shot_of("unused", "mini_story", include_path=None)
    groups = prepare_tasks(settings, tokenizer).item_groups["mini_story"]
    assert (len(groups), len(set(groups))) == (320, 284)
    assert "mini_facts" not in FIELDS
