import pytest
from scored import write_task, zero_shot_of

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.tasks import find_tasks
from calib_sweep.miniature.tasks import TASKS, task_folder


def test_the_five_miniature_tasks_are_found():
    found = find_tasks(TASKS, [task_folder()])
    assert {name: path.name for name, path in found.items()} == {n: f"{n}.yaml" for n in TASKS}


def test_lm_evals_own_tasks_are_found_when_the_folders_have_no_such_name(task_folder):
    found = find_tasks(["t_choice", "arc_easy", "rte", "winogrande"], [task_folder])
    assert found["t_choice"] == task_folder / "t_choice.yaml"
    assert [found[name].parent.name for name in ("arc_easy", "rte", "winogrande")] == [
        "arc",
        "rte",
        "winogrande",
    ]


def test_a_folder_of_the_users_comes_before_the_others(tmp_path):
    own = zero_shot_of(tmp_path, "mini_facts", "arc_easy", "mini_story")
    for name in ("mini_facts", "arc_easy"):
        write_task(tmp_path, name, [])
    found = own.files()
    assert found["mini_facts"].parent == found["arc_easy"].parent == tmp_path
    assert found["mini_story"].parent == task_folder()


def test_every_unknown_name_is_reported_with_near_ones_and_where_it_was_looked_for(tmp_path):
    with pytest.raises(ConfigError) as raised:
        zero_shot_of(tmp_path, "mini_fact", "arc_easy", "helaswag", "zzzzqqqq").check()
    first, second, third = raised.value.problems
    assert "tasks='mini_fact'" in first and "mini_facts" in first and str(tmp_path) in first
    assert "'helaswag'" in second and "hellaswag" in second and "lm_eval/tasks" in second
    assert "No name is near it." in third and "include_path=FOLDER" in third


def test_a_group_of_tasks_is_no_task(task_folder):
    with pytest.raises(ConfigError, match=r"'mmlu': .*one task, and this is a group of several"):
        zero_shot_of(task_folder, "mmlu").check()


def test_missing_folders_and_files_are_reported_with_the_names(tmp_path):
    settings = zero_shot_of(
        tmp_path / "nowhere", "mini_fact", storycloze_path=str(tmp_path / "cloze.csv")
    )
    with pytest.raises(ConfigError) as raised:
        settings.check()
    folder, file, name = raised.value.problems
    assert "include_path" in folder and "a folder that exists" in folder
    assert "storycloze_path" in file and "a file that exists" in file
    assert "'mini_fact'" in name


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"batch_size": "auto"}, "batch_size='auto': expected an integer"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"num_items": 0}, "num_items=0"),
        ({"headline": {"boolq": "acc"}}, "headline=['boolq']: expected tasks that are run: t_word"),
    ],
)
def test_bad_settings_are_named(task_folder, changes, phrase):
    with pytest.raises(ConfigError) as raised:
        zero_shot_of(task_folder, "t_word", **changes)
    assert phrase in str(raised.value)


@pytest.mark.parametrize("tasks", [[], ["t_word", "t_word"]])
def test_tasks_are_different_names(task_folder, tasks):
    with pytest.raises(ConfigError, match="expected a list of different task names"):
        zero_shot_of(task_folder, *tasks)


def test_own_files_are_those_that_the_user_wrote(tmp_path):
    cloze = tmp_path / "cloze.csv"
    cloze.write_text("InputStoryid\n")
    folder = tmp_path / "tasks"
    (folder / "__pycache__").mkdir(parents=True)
    names = ["mine.yaml", "base.yaml", "code.py", "items.jsonl", "__pycache__/code.pyc", ".hidden"]
    for name in names:
        (folder / name).write_text("task: mine\ninclude: base.yaml\n")
    settings = zero_shot_of(folder, "mine", "mini_facts", storycloze_path=str(cloze))
    assert settings.own_files() == [cloze, *sorted(folder / name for name in names[:4])]
