"""How much an evaluation scores, from its configuration: by hand, and beside what is scored."""

import pytest

from calib_sweep.evaluation.requests import Request
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF
from calib_sweep.sweep.cost.scored import PADDING, TASKS, Task, _scored, items_of, windows_of
from calib_sweep.sweep.plan import compose_command_line


def test_windows_are_counted_by_hand(tmp_path):
    settings = {"corpora": ["a.txt", {"name": "b"}], "seq_len": 64, "max_windows": 10}
    scored = windows_of(settings)
    assert (scored.tokens, scored.length, scored.logits) == (1280, 64, 1280)
    assert (scored.rows, scored.unknown) == (20, ())
    assert windows_of({**settings, "stride": 16})[:3] == (1280, 64, 2 * 10 * 16)
    assert windows_of({**settings, "max_windows": {"a": 10, "b": 5}}).tokens == 15 * 64
    assert windows_of({**settings, "max_windows": {"b": 10, "a": 5}}).tokens == 960
    clash = {"corpora": ["one/a.txt", "two/a.txt"], "max_windows": {"one/a": 10, "two/a": 5}}
    assert windows_of({**settings, **clash}).tokens == 15 * 64
    assert windows_of(None).tokens == 0


def test_all_windows_are_counted_by_a_table_or_a_files_size(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("a" * 4000)
    settings = {"corpora": [str(path), {"name": "wikitext2"}, {"name": "secret"}], "seq_len": 64}
    scored = windows_of({**settings, "max_windows": None})
    assert scored.tokens == 1000 + 341_000 and scored.unknown == ("secret",)
    strided = windows_of({**settings, "max_windows": None, "stride": 16})
    assert (strided.tokens, strided.logits) == (4 * scored.tokens, scored.logits)
    some = windows_of({**settings, "max_windows": {"secret": 3}})
    assert some.tokens == scored.tokens + 3 * 64 and some.unknown == ()


def test_items_are_counted_packed_and_one_by_one():
    """10 tokens of a question, 3 answers of 5: a question once, or with each answer."""
    task = Task(100, 10, 3, 5)
    packed, plain = (_scored(task, 20, 0, scorer, False) for scorer in ("packed", "hflm"))
    assert packed.tokens == pytest.approx(1.04 * 20 * (10 + 3 * 4))
    assert plain.tokens == pytest.approx(1.04 * 20 * 3 * (10 + 4))
    assert (packed.length, plain.length) == (512, 15)
    assert packed.logits == plain.logits == 20 * 3 * 5 and packed.requests == 60
    one = Task(100, 10, 4, 1)  # share a row in either
    for scorer in ("packed", "hflm"):
        assert _scored(one, 20, 0, scorer, False).tokens == pytest.approx(1.04 * 200)
    assert _scored(one, 20, 5, "packed", True).tokens == pytest.approx(1.04 * 20 * 10 * 7)


def test_what_is_written_is_counted_to_the_bound():
    """100 of GSM8K's items hold 900 + 64 tokens while each of 64 is written."""
    settings = {"tasks": ["gsm8k"], "num_items": 100, "max_gen_toks": 64}
    scored = items_of(settings)
    assert scored.writing == 100 * 964 * 64 and scored.logits == 6400
    assert items_of({**settings, "max_gen_toks": None}).writing == 100 * 1156 * 256


def test_items_that_nobody_can_count_are_named():
    settings = {"tasks": ["arc_easy", "mine"], "num_items": None}
    scored = items_of(settings)
    assert scored.unknown == ("mine",) and scored.rows == TASKS["arc_easy"].items
    few = items_of({**settings, "num_items": 50})
    assert few.unknown == () and few.rows == 100
    each = {"tasks": ["mmlu"], "num_items": 10, "num_fewshot": {"mmlu": 5}}
    assert items_of(each).rows == 570
    assert items_of(each).tokens == pytest.approx(1.04 * 570 * 95 * 7)
    many = items_of({"tasks": ["mmlu_anatomy"], "num_items": 10**6})
    assert many.rows == 14042 // 57


def test_the_ten_tasks_have_the_tokens_that_were_counted_with_llamas_tokenizer():
    """3.0 million packed, 5.6 million one by one (an eighth: 377,289 and 705,195)."""
    (point,) = compose_command_line(CONF, ["evaluation=paper"])
    settings = {**point.config["evaluation"]["zero_shot"], "storycloze_path": "there"}
    for scorer, counted in (("packed", 377_289), ("hflm", 705_195)):
        told = items_of({**settings, "scorer": scorer}).tokens / PADDING
        assert told == pytest.approx(8 * counted, rel=0.05)


def test_the_miniatures_tasks_have_the_tokens_of_their_requests():
    (point,) = compose_command_line(CONF, [])
    builder, settings = Builder(), point.config["evaluation"]
    tokenizer = builder.build("model", point.config["model"]).load_tokenizer()
    prepared = builder.build("evaluation", {**settings, "perplexity": None}).prepare(tokenizer)
    questions: dict[tuple[str, int], list[Request]] = {}
    tasks = prepared.tasks
    for one, request in zip(tasks._instances("loglikelihood"), tasks.requests, strict=True):
        questions.setdefault((one.task_name, one.doc_id), []).append(request)
    true = sum(map(packed_tokens, questions.values()))
    told = items_of({**settings["zero_shot"], "scorer": "packed"})
    assert told.tokens / PADDING == pytest.approx(true, rel=0.15)
    assert told.requests == len(tasks.requests)
    assert told.rows == len(questions)


def packed_tokens(requests):
    """What the requests of an item begin with in common once, and what follows, each once."""
    inputs = [[*one.context, *one.continuation][:-1] for one in requests]
    shared = 0
    while all(len(one) > shared for one in inputs) and len({one[shared] for one in inputs}) == 1:
        shared += 1
    return shared + sum(len(rest) for rest in {tuple(one[shared:]) for one in inputs})
