"""Groups and tags stand for the tasks, and groups for the scores, that lm-eval makes of them."""

import numpy as np
import pytest
import yaml
from helpers.by_lm_eval import simple_evaluate
from helpers.scored import metric, scorer_of, write_tasks, zero_shot_of

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.suite import Evaluation
from calib_sweep.evaluation.tasks.selection import select
from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks

ACC = {"metric": "acc", "weight_by_size": True}


def write_yaml(folder, name, **content):
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))


@pytest.fixture
def folder(tmp_path):
    """t_choice and t_word; further tasks of some of their items; groups in groups."""
    write_tasks(tmp_path)
    for name, tag, changes in (
        ("c_few", "c_tag", {"process_docs": None}),
        ("c_shots", ["other", "c_tag"], {"num_fewshot": 1}),
        ("w_more", None, {}),
    ):
        base = "t_word" if name == "w_more" else "t_choice"
        settings = yaml.safe_load((tmp_path / f"{base}.yaml").read_text())
        settings |= {"task": name, "tag": tag, **changes}
        write_yaml(tmp_path, name, **{k: v for k, v in settings.items() if v is not None})
    words = {"metric_list": [metric("acc")], "num_fewshot": 2}
    write_yaml(
        tmp_path,
        "g_all",
        group="g_all",
        task=["g_inner", {"task": "t_word", **words}, "w_more"],
        aggregate_metric_list=[ACC],
        metadata={"version": 7},
    )
    write_yaml(
        tmp_path,
        "g_inner",
        group="g_inner",
        task=["c_tag"],
        aggregate_metric_list=[ACC | {"weight_by_size": False}, {"metric": "acc_norm"}],
    )
    write_yaml(tmp_path, "g_list", group="g_list", task=["t_choice", "w_more"])
    return tmp_path


def score(settings, model, tokenizer, dense=None):
    suite = Evaluation(perplexity=None, zero_shot=settings, divergence=None).prepare(tokenizer)
    return suite.score(suite.scorer(model), dense)


def test_a_group_scores_as_with_lm_eval(folder, model, tokenizer, monkeypatch):
    ours = score(zero_shot_of(folder, "g_all"), model, tokenizer)
    theirs = simple_evaluate(model, tokenizer, folder, ["g_all"], monkeypatch)
    assert set(theirs["group_subtasks"]) == {"g_all", "g_inner"}
    for name, results in theirs["results"].items():
        for key, value in results.items():
            if not key.endswith(",none"):
                continue
            of_error = "_stderr" in key
            kept = ours.stderr if of_error else ours.scores
            short = key.removesuffix(",none").replace("_stderr", "")
            if value != "N/A" and not (of_error and short == "perplexity"):
                assert kept[f"{short}/{name}"] == pytest.approx(value, rel=1e-6), (name, key)
    assert {"acc/g_all", "acc/g_inner", "acc_norm/g_inner", "acc/c_few"} <= set(ours.scores)
    assert ours.metrics["acc/g_all"]["direction"] == 1
    assert ours.versions["g_all"] == 7
    assert theirs["n-shot"]["t_word"] == 2  # what the group says otherwise
    assert len(ours.items) == 40 + 40 + 25 + 25


def test_the_mean_counts_a_group_once_and_a_list_or_tag_by_its_tasks(folder, model, tokenizer):
    scored = score(zero_shot_of(folder, "g_all", "t_choice"), model, tokenizer)
    found = scored.scores
    assert scored.metrics["acc/mean"]["over"] == "t_choice, g_all"
    assert found["acc/mean"] == pytest.approx((found["acc/g_all"] + found["acc/t_choice"]) / 2)
    scored = score(zero_shot_of(folder, "g_list", "c_tag"), model, tokenizer)
    found = scored.scores
    assert "over" not in scored.metrics["acc/mean"]  # all that have an accuracy
    tasks = ["t_choice", "w_more", "c_few", "c_shots"]
    assert found["acc/mean"] == pytest.approx(np.mean([found[f"acc/{name}"] for name in tasks]))
    assert "acc/g_list" not in found


def test_flips_of_a_group_are_those_of_all_its_items(folder, model, other_model, tokenizer):
    from calib_sweep.evaluation.corpora.divergence import Divergence

    settings = zero_shot_of(folder, "g_all")
    with_kl = {"perplexity": None, "divergence": Divergence(num_tokens=2)}
    suite = Evaluation(zero_shot=settings, **with_kl).prepare(tokenizer)
    dense = suite.score(suite.scorer(model), None)
    other = suite.score(suite.scorer(other_model), dense.reference)
    flipped = (other.items["correct"] != dense.items["correct"]).mean()
    assert other.scores["flips/g_all"] == pytest.approx(flipped) and 0 < flipped < 1


def test_what_is_said_of_a_group_is_said_of_its_tasks(folder, tokenizer):
    settings = zero_shot_of(
        folder,
        "g_inner",
        "t_word",
        headline={"g_inner": "acc_norm", "c_few": None},
        num_fewshot={"g_inner": 3, "c_shots": 0},
    )
    settings.check()
    told = {name: settings.headline_of(name) for name in ("g_inner", "c_few", "c_shots", "t_word")}
    assert told == {"g_inner": "acc_norm", "c_few": None, "c_shots": "acc_norm", "t_word": "acc"}
    shots = {name: settings.shots_of(name) for name in ("c_few", "c_shots", "t_word")}
    assert shots == {"c_few": 3, "c_shots": 0, "t_word": None}
    prepared = prepare_tasks(settings, tokenizer)
    contexts = {name: task.instances[0].args[0] for name, task in prepared.tasks.items()}
    assert {name: text.count("Q: ") for name, text in contexts.items()} == {
        "c_few": 4,
        "c_shots": 1,
        "t_word": 0,
    }


@pytest.mark.parametrize("num_fewshot", [0, 2, None])
def test_solved_items_stand_in_front_as_in_lm_eval(
    folder, model, tokenizer, monkeypatch, num_fewshot
):
    names = ["t_choice", "c_shots"]
    prepared = prepare_tasks(
        zero_shot_of(folder, *names, num_fewshot=num_fewshot, num_items=6), tokenizer
    )
    prepared.score(scorer_of(model))
    theirs = simple_evaluate(
        model, tokenizer, folder, names, monkeypatch, num_fewshot=num_fewshot, limit=6
    )
    for name in names:
        asked = [[i.args[0] for i in own] for own in _items(prepared.tasks[name])]
        expected = [[one[0] for one in s["arguments"]] for s in theirs["samples"][name]]
        assert asked == expected
    assert len(prepared.tasks["t_choice"].instances[0].args[0].split("Q: ")) == 2 + (
        num_fewshot or 0
    )


def _items(task):
    from calib_sweep.evaluation.tasks.task_scores import by_item

    return by_item(task.instances)


def test_a_group_that_holds_itself_is_named_with_its_ring(folder):
    write_yaml(folder, "ring", group="ring", task=["t_word", "ring_2"])
    write_yaml(folder, "ring_2", group="ring_2", task=["ring"])
    with pytest.raises(ConfigError, match=r"a group holds itself: ring > ring_2 > ring .*Correct"):
        zero_shot_of(folder, "ring").check()


def test_names_inside_a_group_that_are_not_known_are_named(folder):
    write_yaml(folder, "odd", group="odd", task=["t_wrod", {"task": "t_choise"}, "arc_easy"])
    with pytest.raises(ConfigError) as raised:
        zero_shot_of(folder, "odd").check()
    first, second = raised.value.problems
    assert "tasks='t_wrod' (named by odd)" in first and "Near it: t_word" in first
    assert "tasks='t_choise' (named by odd)" in second and "lm_eval/tasks" in second


def test_a_task_is_run_once(folder):
    with pytest.raises(ConfigError, match=r"c_few is in g_inner and c_few. Name one of them"):
        zero_shot_of(folder, "g_inner", "c_few").check()
    with pytest.raises(ConfigError, match="t_word is in g_all and t_word"):
        zero_shot_of(folder, "g_all", "t_word").check()


def test_a_group_inside_a_group_may_be_written_there(folder):
    inner = {"group": "there", "task": ["t_word"], "aggregate_metric_list": [ACC]}
    write_yaml(folder, "outer", group="outer", task=[inner, "t_choice"], num_fewshot=1)
    found = select(["outer"], [folder])
    assert list(found.tasks) == ["t_word", "t_choice"]
    assert found.groups["outer"].members == ("outer::there", "t_choice")
    assert found.counted == ["outer::there", "t_choice"]
    assert found.tasks["t_word"].changes == {"num_fewshot": 1}


def test_a_group_cannot_give_code_to_its_tasks(folder):
    (folder / "odd.yaml").write_text(
        "group: odd\ntask: [{task: t_word, process_docs: !function code.process}]\n"
    )
    with pytest.raises(ConfigError, match=r"gives t_word other code: code.process"):
        zero_shot_of(folder, "odd").check()


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"headline": {"g_inner": "f1"}}, r"headline\.g_inner='f1': .*each item: acc, acc_norm"),
        ({"num_fewshot": {"g_inner": -1}}, r"num_fewshot\.g_inner=-1: expected an integer >= 0"),
        ({"num_fewshot": {"w_more": 1}}, r"num_fewshot=\['w_more'\]: expected tasks that are run"),
    ],
)
def test_what_is_wrong_with_a_group_is_named(folder, changes, told):
    with pytest.raises(ConfigError, match=told):
        zero_shot_of(folder, "g_inner", **changes).check()


def test_shots_that_move_nothing_are_refused(folder):
    settings = yaml.safe_load((folder / "t_word.yaml").read_text())
    write_yaml(folder, "none", **settings | {"task": "none", "num_fewshot": 0})
    for shots in (3, {"none": 3}):
        with pytest.raises(ConfigError, match=r"num_fewshot=.*lm-eval keeps to that"):
            zero_shot_of(folder, "none", num_fewshot=shots).check()
    zero_shot_of(folder, "none", "t_word", num_fewshot=3).check()


def test_mmlu_is_the_57_tasks_of_lm_eval(folder):
    settings = zero_shot_of(folder, "mmlu")
    settings.check()
    assert len(settings.files()) == 57
    assert settings.selection.counted == ["mmlu"]
    stem = settings.selection.groups["mmlu_stem"].members
    assert len(stem) == 19 and stem[0] == "mmlu_abstract_algebra" and list(stem) == sorted(stem)
    assert settings.selection.groups["mmlu"].metrics == ["acc"]
