"""Training items as calibration text: every form, and never an item that is scored."""

import json
from pathlib import Path

import pytest
import yaml
from helpers.words import BOS, EOS, PAD, ids_of, make_tokenizer, text_of

from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.tasks.training import TaskItems, content_of

TRAIN = [
    {"id": f"a-{i}", "q": text_of(10 * i, 2), "c": [text_of(10 * i + 2, 1), text_of(10 * i + 3, 2)],
     "gold": i % 2, "rationale": text_of(10 * i + 5, 3)}
    for i in range(8)
]  # fmt: skip
SCORED = [{**TRAIN[0], "q": text_of(200 + 10 * i, 2), "gold": -1} for i in range(3)]
CHOICES = {
    "output_type": "multiple_choice",
    "training_split": "train",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "c",
    "doc_to_target": "gold",
}


def write_task(folder, name, train=TRAIN, scored=SCORED, **definition):
    files = {}
    for split, items in (("train", train), ("test", scored)):
        files[split] = str(folder / f"{name}.{split}.jsonl")
        lines = (json.dumps(item) + "\n" for item in items)
        Path(files[split]).write_text("".join(lines))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": files},
        "test_split": "test",
        **CHOICES,
        **definition,
    }
    task = {key: value for key, value in task.items() if value is not None}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


def task_items(folder, *tasks, **changed):
    chosen = {
        "name": "task",
        "form": "answered",
        "items": 1,
        "split": None,
        "reasoning": None,
        "trust_task_code": False,
        "license": None,
    }
    own = tasks or ("own",)
    return TaskItems(tasks=list(own), include_path=str(folder), **{**chosen, **changed})


def texts(source):
    documents = source.documents_for(make_tokenizer())
    read = documents.read(range(documents.num_documents))
    return [(one.text, [one.text[start:stop] for start, stop in one.answers]) for one in read]


def answer(item):
    return item["c"][item["gold"]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("tasks")
    write_task(made, "own")
    write_task(made, "described", description="w90 w91:\n", fewshot_delimiter="\n--\n")
    return made


def test_items_with_their_answers(folder):
    expected = [(f"{item['q']} {answer(item)}", [answer(item)]) for item in TRAIN]
    assert texts(task_items(folder)) == expected


def test_items_alone(folder):
    assert texts(task_items(folder, form="plain")) == [(item["q"], []) for item in TRAIN]


def test_items_with_their_reasoning(folder):
    expected = [f"{one['rationale']} So the answer is {answer(one)}." for one in TRAIN]
    found = texts(task_items(folder, form="chain_of_thought"))
    assert found == [(f"{one['q']} {own}", [own]) for one, own in zip(TRAIN, expected, strict=True)]
    named = task_items(folder, form="chain_of_thought", reasoning="rationale")
    assert texts(named) == found


def test_reasoning_that_ends_with_the_answer_is_not_told_it_twice(tmp_path):
    item = {**TRAIN[0], "rationale": f"w900 so {answer(TRAIN[0])}."}
    write_task(tmp_path, "own", train=[item])
    (_, (found,)), = texts(task_items(tmp_path, form="chain_of_thought"))  # fmt: skip
    assert found == item["rationale"]


def test_several_items_are_joined_below_the_description_of_the_task(folder):
    first, second, last = texts(task_items(folder, "described", items=3))
    solved = [f"{item['q']} {answer(item)}" for item in TRAIN]
    assert first[0] == "w90 w91:\n" + "\n--\n".join(solved[:3])
    assert last == ("w90 w91:\n" + "\n--\n".join(solved[6:]), [answer(one) for one in TRAIN[6:]])
    assert second[1] == [answer(one) for one in TRAIN[3:6]]


@pytest.mark.parametrize(
    "definition",
    [
        {},
        {"description": "Solve.\n\n", "fewshot_delimiter": "\n"},
        {"target_delimiter": " is: "},
        {"gen_prefix": "So"},
        {"doc_to_text": "gold", "doc_to_choice": "c", "doc_to_target": "q"},  # as WinoGrande
        {"output_type": "generate_until", "doc_to_choice": None, "doc_to_target": "{{c[gold]}}"},
        {"output_type": "generate_until", "doc_to_choice": None, "doc_to_target": "c"},
    ],
)
def test_joined_items_are_what_lm_eval_writes_as_solved_examples(tmp_path, definition):
    from calib_sweep.evaluation.harness import open_task

    own = {"fewshot_config": {"sampler": "first_n"}, "num_fewshot": 3, **definition}
    write_task(tmp_path, "own", **own)
    task = open_task("own", str(tmp_path / "own.yaml"))
    theirs = task.fewshot_context(TRAIN[7] | {"gold": 0}, 3, gen_prefix=task.config.gen_prefix)
    theirs = theirs[0] if isinstance(theirs, list) else theirs
    (ours, _), *_ = texts(task_items(tmp_path, items=3))
    assert theirs.startswith(ours + task.config.fewshot_delimiter)


def test_an_answer_that_brings_its_space_gets_no_other(tmp_path):
    last_word = {
        "output_type": "loglikelihood",
        "doc_to_choice": None,
        "doc_to_target": "{{' ' + c[0]}}",
    }
    write_task(tmp_path, "own", **last_word)
    (text, (found,)), *_ = texts(task_items(tmp_path))
    assert text == f"{TRAIN[0]['q']} {TRAIN[0]['c'][0]}" and found == f" {TRAIN[0]['c'][0]}"


def test_a_set_tells_which_tokens_are_answers(folder, settings_of):
    drawn = task_items(folder).draw(make_tokenizer(), settings_of(), 0)
    for sample, (row, told) in enumerate(zip(drawn.tokens_NT, drawn.answers_NT, strict=True)):
        name, split, number = drawn.samples[sample]["document"].split("/")
        assert (name, split) == ("own", "train")
        item = TRAIN[int(number)]
        head = [BOS, *ids_of(10 * int(number), 2)]
        own = [int(word[1:]) + 10 for word in answer(item).split()]
        padding = [PAD] * (8 - len(head) - len(own))
        assert row.tolist() == head + own + padding
        assert told.tolist() == [False] * len(head) + [True] * len(own) + [False] * len(padding)
    packed = task_items(folder).draw(make_tokenizer(), settings_of(window="pack"), 0)
    assert EOS in packed.tokens_NT and not packed.answers_NT[packed.tokens_NT == EOS].any()


@pytest.fixture
def settings_of():
    def make(**changed):
        chosen = {"num_samples": 2, "seq_len": 8, "design": "disjoint", "bos": "document"}
        return Calibration(**{"window": "document", **chosen, **changed})

    return make


def test_an_item_that_is_scored_is_left_out_whatever_it_is_called(tmp_path):
    stolen = {**SCORED[1], "id": "other", "gold": 1, "q": SCORED[1]["q"].upper() + "  "}
    write_task(tmp_path, "own", train=[*TRAIN[:3], stolen, TRAIN[3]])
    assert [text for text, _ in texts(task_items(tmp_path))] == [
        *(f"{item['q']} {answer(item)}" for item in TRAIN[:3]),
        "",
        f"{TRAIN[3]['q']} {answer(TRAIN[3])}",
    ]
    joined = texts(task_items(tmp_path, items=5))
    assert len(joined) == 1 and joined[0][1] == [answer(item) for item in TRAIN[:4]]


def test_an_item_is_known_again_though_the_scored_one_hides_its_reasoning(tmp_path):
    """Scored splits leave out what answers: TRAIN[2] is scored, and TRAIN[3] only resembles one."""
    scored = [{**TRAIN[2], "rationale": "", "gold": -1}, {**TRAIN[3], "q": text_of(300, 2)}]
    write_task(tmp_path, "own", scored=scored)
    joined = texts(task_items(tmp_path, items=4))
    assert joined[0][1] == [answer(TRAIN[i]) for i in (0, 1, 3)]


def test_texts_are_compared_without_labels_and_names():
    one = {"id": "test-1", "q": "Who is  it?", "c": ["An ox", "a cat"], "gold": -1}
    assert content_of(one) == content_of({**one, "id": "train-9", "gold": 2, "q": "who IS it?"})
    assert content_of(one) != content_of({**one, "q": "Who was it?"})
    assert content_of({"word": "ox"}) == {"ox"}


@pytest.mark.parametrize(
    ("definition", "changed", "phrase"),
    [
        ({"training_split": None}, {}, "names none; it has test, train, and test is scored"),
        ({"training_split": "test"}, {}, "its split 'test' is the one that is scored"),
        ({}, {"split": "test"}, "its split 'test' is the one that is scored"),
        ({}, {"split": "dev"}, r"has no split 'dev', only test, train.*dataset\.split=train"),
        ({"train": SCORED}, {}, "its split 'train' holds items of 'test', which is scored"),
        ({}, {"form": "chain_of_thought", "reasoning": "why"}, "columns why, but .* has id,"),
        ({"doc_to_text": "{{ q.no.such }}"}, {}, r"dataset\.tasks='own': .*: UndefinedError"),
    ],
)
def test_a_task_that_cannot_be_used_is_explained(
    tmp_path, definition, changed, phrase, settings_of
):
    write_task(tmp_path, "own", **definition)
    with pytest.raises(ConfigError, match=phrase) as told:
        task_items(tmp_path, **changed).draw(make_tokenizer(), settings_of(), 0)
    assert "zero_shot" not in str(told.value)


def test_another_split_serves_where_a_task_trains_on_none(tmp_path):
    write_task(tmp_path, "own", training_split=None)
    assert len(texts(task_items(tmp_path, split="train"))) == len(TRAIN)


def test_all_tasks_that_cannot_be_used_are_told_at_once(tmp_path):
    for name in ("one", "two"):
        write_task(tmp_path, name, training_split=None)
    with pytest.raises(ConfigError) as told:
        texts(task_items(tmp_path, "one", "two"))
    assert len(told.value.problems) == 2
    with pytest.raises(ConfigError, match=r"dataset\.tasks='thre': expected the name of a task"):
        texts(task_items(tmp_path, "thre"))


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConfigError) as told:
        task_items("", "a", "a", form="cot", items=0, split="", reasoning=3)
    keys = [one.partition("=")[0].removeprefix("dataset.") for one in told.value.problems]
    assert keys == ["tasks", "form", "items", "split", "reasoning"]


def test_the_fingerprint_covers_definitions_and_items(tmp_path):
    write_task(tmp_path, "own")
    first = task_items(tmp_path).fingerprint()
    assert task_items(tmp_path).fingerprint() == first
    write_task(tmp_path, "own", train=TRAIN[:5])
    second = task_items(tmp_path).fingerprint()
    write_task(tmp_path, "own", train=TRAIN[:5], target_delimiter="\n")
    assert len({first, second, task_items(tmp_path).fingerprint()}) == 3


def test_code_of_the_users_own_is_not_run_unasked(tmp_path):
    write_task(tmp_path, "own")
    definition = (tmp_path / "own.yaml").read_text()
    (tmp_path / "own.yaml").write_text(definition + "process_docs: !function own.clean\n")
    with pytest.raises(ConfigError, match=r"own\.clean"):
        texts(task_items(tmp_path))
