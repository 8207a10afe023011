import dataclasses

import pytest
from helpers.scored import metric, write_task, zero_shot_of

from calib_sweep.errors import ConfigError, UnavailableError
from calib_sweep.evaluation import harness
from calib_sweep.evaluation.tasks import loading
from calib_sweep.evaluation.tasks.definitions import METRICS, read_definition
from calib_sweep.evaluation.tasks.selection import select
from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks
from calib_sweep.places import TASKS, task_folder


def find_tasks(names, folders):
    return {name: member.path for name, member in select(names, folders).tasks.items()}


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
        ({"batch_tokens": "auto"}, "batch_tokens='auto': expected an integer"),
        ({"batch_tokens": 0}, "batch_tokens=0"),
        ({"scorer": "vllm"}, "scorer='vllm': expected one of packed, hflm"),
        ({"num_items": 0}, "num_items=0"),
        ({"repeats": 0}, "repeats=0: expected an integer >= 1"),
        ({"num_fewshot": -1}, "num_fewshot=-1: expected an integer >= 0, or null"),
        ({"max_gen_toks": 0}, "max_gen_toks=0: expected an integer >= 1, or null"),
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
        (folder / name).write_text("task: mine\n")
    settings = zero_shot_of(folder, "mine", "mini_facts", storycloze_path=str(cloze))
    assert settings.own_files() == [cloze, *sorted(folder / name for name in names[:4])]


def test_own_files_are_also_those_that_own_tasks_name_elsewhere(tmp_path, monkeypatch):
    """Items, included definitions and code: what they say decides what is asked."""
    tasks, elsewhere = tmp_path / "tasks", tmp_path / "elsewhere"
    for folder in (tasks, elsewhere / "deep"):
        folder.mkdir(parents=True)
    for name in ("a.jsonl", "b.jsonl", "c.csv", "base.yaml", "code.py", "deep/d.txt", "unnamed"):
        (elsewhere / name).write_text("x")
    (elsewhere / "base.yaml").write_text(
        "dataset_kwargs: {data_files: {train: [elsewhere/b.jsonl], test: elsewhere/a*.jsonl}}\n"
        "process_docs: !function code.process\n"
    )
    (tasks / "mine.yaml").write_text(
        f"task: mine\ninclude: ../elsewhere/base.yaml\ndataset_path: {elsewhere}/deep\n"
        "fewshot_config: {data_files: elsewhere/c.csv}\ndata_dir: org/of_the_hub\n"
    )
    monkeypatch.chdir(tmp_path)
    settings = zero_shot_of(tasks, "mine", "arc_easy", "mini_facts")
    named = ("a.jsonl", "b.jsonl", "base.yaml", "c.csv", "code.py", "deep/d.txt")
    assert settings.own_files() == [tasks / "mine.yaml", *(elsewhere / name for name in named)]


def define(folder, name="own", **definition):
    """A definition without items: what is refused is refused before they are looked for."""
    settings = {"output_type": "multiple_choice", "metric_list": [metric("acc")], **definition}
    write_task(folder, name, [], **{k: v for k, v in settings.items() if v is not None})
    return folder / f"{name}.yaml"


@pytest.mark.parametrize("output_type", ["generate_until", None])
def test_a_task_whose_answers_are_written_needs_the_metric_that_counts(tmp_path, output_type):
    define(tmp_path, output_type=output_type, metric_list=None)
    with pytest.raises(ConfigError) as raised:
        zero_shot_of(tmp_path, "own", "gsm8k", "mini_facts").check()
    own, gsm8k = raised.value.problems
    assert "headline.own='acc'" in own and "each item: exact_match. Example" in own
    filtered = "exact_match,strict-match, exact_match,flexible-extract"
    assert "headline.gsm8k='acc'" in gsm8k and filtered in gsm8k
    headline = {"own": "exact_match", "gsm8k": "exact_match,strict-match"}
    zero_shot_of(tmp_path, "own", "gsm8k", headline=headline).check()


@pytest.mark.parametrize("headline", ["acc", "acc,second", "acc_norm,first"])
def test_a_headline_is_named_with_the_filter_it_stands_behind(tmp_path, headline):
    define(tmp_path, filter_list=[{"name": "first", "filter": [{"function": "take_first"}]}])
    with pytest.raises(ConfigError, match=r"headline\.own='.*each item: acc,first\. Example"):
        zero_shot_of(tmp_path, "own", headline={"own": headline}).check()
    zero_shot_of(tmp_path, "own", headline={"own": "acc,first"}).check()
    zero_shot_of(tmp_path, "own", headline={"own": None}).check()


def test_code_of_own_tasks_is_named_and_runs_only_when_it_is_trusted(tmp_path):
    path = define(tmp_path, process_docs="PLACE", metric_list=[{"metric": "org/accuracy"}])
    path.write_text(path.read_text().replace("PLACE", "!function code.process"))
    ran = tmp_path / "ran"
    (tmp_path / "code.py").write_text(f"open({str(ran)!r}, 'w')\ndef process(docs): return docs\n")
    untrusted = zero_shot_of(tmp_path, "own", headline={"own": None})
    for check in (untrusted.check, lambda: prepare_tasks(untrusted, None)):
        with pytest.raises(ConfigError) as raised:
            check()
        (told,) = raised.value.problems
        assert f"code.process (in {path}), metric org/accuracy (in {path})" in told
        assert told.endswith("type evaluation.zero_shot.trust_task_code=true.")
    assert not ran.exists()
    trusted = dataclasses.replace(untrusted, trust_task_code=True)
    trusted.check()
    with pytest.raises(ConfigError):  # it has no items
        prepare_tasks(trusted, None)
    assert ran.exists()


@pytest.mark.parametrize("place", ["harm.py", "harm/harm.py"])
def test_a_metric_that_is_a_program_in_the_current_folder_runs_only_when_it_is_trusted(
    tmp_path, monkeypatch, tokenizer, place
):
    """lm-eval takes a name that it does not know for a program, and runs what is called so."""
    items = [{"q": "a", "c": ["x", "y"], "g": 0}]
    texts = {"doc_to_text": "{{q}}", "doc_to_choice": "{{c}}", "doc_to_target": "g"}
    listed = {"output_type": "multiple_choice", "metric_list": [metric("acc"), metric("harm")]}
    write_task(tmp_path, "own", items, **texts, **listed)
    (tmp_path / place).parent.mkdir(exist_ok=True)
    (tmp_path / place).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    monkeypatch.chdir(tmp_path)
    settings = zero_shot_of(tmp_path, "own")
    with pytest.raises(ConfigError, match=r"this one would run metric harm \(in .*own\.yaml\)"):
        prepare_tasks(settings, tokenizer)
    assert not (tmp_path / "ran").exists()


def test_the_metrics_of_lm_eval_are_no_programs():
    import lm_eval.api.metrics  # noqa: F401
    from lm_eval.api.registry import METRIC_REGISTRY

    assert set(METRIC_REGISTRY.keys()) <= METRICS


def test_code_of_shipped_tasks_needs_no_trust(tmp_path):
    assert read_definition(find_tasks(["mini_facts"], [task_folder()])["mini_facts"]).code
    zero_shot_of(tmp_path, "mini_facts", "winogrande", "hellaswag").check()


@pytest.mark.parametrize(
    ("content", "phrase"),
    [
        ("task: own\nx: [", "expected the YAML of a task"),
        ("task: own\ninclude: own.yaml", "itself"),
    ],
)
def test_a_definition_that_cannot_be_read_is_named(tmp_path, content, phrase):
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(ConfigError, match=rf"own\.yaml: .*{phrase}"):
        zero_shot_of(tmp_path, "own").check()


@pytest.mark.parametrize(("name", "asks"), [("mini_facts", False), ("arc_easy", True)])
def test_a_hub_that_does_not_answer_is_asked_once_for_items_that_only_it_has(
    name, asks, tmp_path, tokenizer, monkeypatch
):
    import datasets
    from huggingface_hub import constants

    seen, asked = [], []

    def load(*_):
        seen.append((constants.HF_HUB_OFFLINE, datasets.config.HF_HUB_OFFLINE))
        raise ConnectionError("no route to host")

    for place in (constants, datasets.config):
        monkeypatch.setattr(place, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(loading, "hub_answers", lambda: asked.append(name))
    monkeypatch.setattr(harness, "load_task", load)
    with pytest.raises(UnavailableError, match="not on this machine and cannot be fetched"):
        prepare_tasks(zero_shot_of(tmp_path, name), tokenizer)
    assert seen == [(asks, asks)] and len(asked) == asks
    assert not constants.HF_HUB_OFFLINE and not datasets.config.HF_HUB_OFFLINE
