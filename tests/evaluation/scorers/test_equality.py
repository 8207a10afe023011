"""Packed answers are plain lm-eval's, whatever a task asks: each response, each metric.

float32: a continuation's log-likelihood is within 1e-4, decisions are the same.
"""

import copy

import numpy as np
import pytest
import torch
from helpers.by_lm_eval import responses, simple_evaluate
from helpers.scored import metric, scorer_of, sentence, text, write_task, zero_shot_of
from transformers import AutoModelForCausalLM, AutoTokenizer

from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks
from calib_sweep.places import TASKS, WEIGHTS, task_folder

CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_target": "label",
    "doc_to_choice": "choices",
    "metric_list": [metric("acc"), metric("acc_norm")],
}
UNICODE = (
    "caf\u00e9 \u4e2d\u6587",
    "\U0001f642\U0001f642",
    "\u0645\u0631\u062d\u0628\u0627",
    "\u200b",
)


def numbers_of_choices():
    """One to seven choices; some begin alike, some are equal, some items stand twice."""
    items = [
        {
            "question": sentence("n", i),
            "choices": [sentence("n", i, "a" * (j // 2), j % 2) for j in range(1 + i % 7)],
            "label": i % (1 + i % 7),
        }
        for i in range(14)
    ]
    items += [items[5], items[5], {**items[3], "choices": [items[3]["choices"][0]] * 4}]
    return items


def one_token():
    return [
        {"question": sentence("one", i), "choices": ["Q", "Z", "QZ", "Q"], "label": i % 4}
        for i in range(6)
    ]


def odd_texts():
    """Letters of several tokens, choices of nothing or of spaces, questions that end in spaces."""
    odd = [{"question": one, "choices": [*UNICODE, one + one], "label": 1} for one in UNICODE]
    odd += [
        {"question": f"{sentence('s', n)}{' ' * n}", "choices": ["", "a"], "label": 0}
        for n in range(3)
    ]
    odd += [{"question": "", "choices": ["the cat", " ", "the\n\n"], "label": 2}]
    return odd


def too_long():
    """Items beyond the model's 128 tokens: in their question, with some choices, with all."""
    page = text("long", num_sentences=12)
    return [
        {"question": page, "choices": [sentence("l", j) for j in range(3)], "label": 1},
        {"question": page[:200], "choices": ["no", page[:150], page[:250]], "label": 0},
        {"question": "x", "choices": [page[:200] + " a", page[:200] + " b"], "label": 1},
        {"question": sentence("l"), "choices": ["one", "other"], "label": 1},
    ]


def blanks():
    """The choice stands in the question, as in WinoGrande."""
    return [
        {
            "answer": i % 2,
            "options": [f"{sentence('b', i)} {name}" for name in ("Anna", "Ben the fox")],
            "rest": sentence("rest", i),
        }
        for i in range(10)
    ]


def write_all(folder):
    write_task(folder, "e_numbers", numbers_of_choices(), **CHOICES)
    write_task(folder, "e_one_token", one_token(), **CHOICES)
    write_task(folder, "e_odd", odd_texts(), **CHOICES)
    write_task(folder, "e_long", too_long(), **CHOICES)
    # Choices by themselves are asked too.
    by_information = {"metric_list": [metric("acc"), metric("acc_mutual_info")]}
    write_task(folder, "e_alone", numbers_of_choices()[1:7], **{**CHOICES, **by_information})
    shots = {"num_fewshot": 3, "fewshot_split": "test"}
    write_task(folder, "e_few_shot", numbers_of_choices()[2:9], **CHOICES, **shots)
    write_task(
        folder,
        "e_blank",
        blanks(),
        output_type="multiple_choice",
        doc_to_text="answer",
        doc_to_choice="options",
        doc_to_target="rest",
        metric_list=[metric("acc")],
    )
    write_task(
        folder,
        "e_word",
        [{"text": sentence("w", i) + UNICODE[i % 4]} for i in range(8)],
        output_type="loglikelihood",
        doc_to_text="{{text.split(' ')[:-1]|join(' ')}}",
        doc_to_target="{{' '+text.split(' ')[-1]}}",
        metric_list=[metric("perplexity", "perplexity", False), metric("acc")],
    )
    write_task(
        folder,
        "e_page",
        [{"page": text("p", i, num_sentences=n)} for i, n in enumerate((1, 9, 20))]
        + [{"page": UNICODE[0]}, {"page": text("p", 1, num_sentences=9)}],
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{page}}",
        metric_list=[
            metric("word_perplexity", "weighted_perplexity", False),
            metric("byte_perplexity", "weighted_perplexity", False),
            metric("bits_per_byte", "bits_per_byte", False),
        ],
    )


NAMES = ("e_numbers", "e_one_token", "e_odd", "e_long", "e_alone", "e_few_shot", "e_blank")
NAMES += ("e_word", "e_page")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("equality")
    write_all(made)
    return made


def prepared(folder, tokenizer, *names, **changes):
    headline = dict.fromkeys({"e_page"} & set(names))  # has none
    return prepare_tasks(zero_shot_of(folder, *names, headline=headline, **changes), tokenizer)


def said(tasks, name):
    """What the last model that was scored said to each request of a task."""
    answers = [instance.resps[0] for instance in tasks.tasks[name].instances]
    return [(one, True) if isinstance(one, float) else tuple(one) for one in answers]


def check_equal(found, expected):
    values, greedy = zip(*found, strict=True)
    others, are_greedy = zip(*expected, strict=True)
    assert values == pytest.approx(others, rel=0, abs=1e-4)
    assert greedy == are_greedy


@pytest.mark.filterwarnings("ignore:divide by zero")  # choices of no letter have no length
@pytest.mark.parametrize("name", NAMES)
def test_every_response_and_metric_is_that_of_simple_evaluate(
    name, folder, tokenizer, model, monkeypatch
):
    tasks = prepared(folder, tokenizer, name)
    ours = tasks.score(scorer_of(model))[name]
    theirs = simple_evaluate(model, tokenizer, folder, [name], monkeypatch)
    check_equal(said(tasks, name), responses(theirs, name))
    results = theirs["results"][name]
    metrics = {key.removesuffix(",none") for key in results if key.endswith(",none")}
    assert set(ours.metrics) == {one for one in metrics if not one.endswith("_stderr")}
    for key, value in ours.metrics.items():
        counts = key.startswith(("acc", "exact"))
        assert value == pytest.approx(results[f"{key},none"], rel=0 if counts else 1e-5)
    assert len(said(tasks, name)) > 3


@pytest.mark.parametrize("limit", [1, 5])
def test_the_first_items_are_those_of_limit(limit, folder, tokenizer, model, monkeypatch):
    tasks = prepared(folder, tokenizer, "e_numbers", num_items=limit)
    ours = tasks.score(scorer_of(model))["e_numbers"]
    theirs = simple_evaluate(model, tokenizer, folder, ["e_numbers"], monkeypatch, limit=limit)
    check_equal(said(tasks, "e_numbers"), responses(theirs, "e_numbers"))
    assert ours.metrics["acc"] == theirs["results"]["e_numbers"]["acc,none"]


def test_a_few_shot_context_is_longer_than_the_question(folder, tokenizer):
    own, plain = (prepared(folder, tokenizer, name) for name in ("e_few_shot", "e_numbers"))
    assert min(len(r.context) for r in own.requests) > max(len(r.context) for r in plain.requests)


def all_said(folder, tokenizer, model, names, **changes):
    tasks = prepared(folder, tokenizer, *names)
    tasks.score(scorer_of(model, **changes))
    return {name: said(tasks, name) for name in names}


def test_tokens_at_once_move_memory_and_no_decision(folder, tokenizer, model):
    expected = all_said(folder, tokenizer, model, NAMES)
    for batch_tokens in (1, 100_000):
        found = all_said(folder, tokenizer, model, NAMES, batch_tokens=batch_tokens)
        for name in NAMES:
            check_equal(found[name], expected[name])


def test_other_tasks_and_their_order_move_no_bit_of_an_answer(folder, tokenizer, model):
    expected = all_said(folder, tokenizer, model, NAMES)
    some = (NAMES[::-1], NAMES[5:2:-1], *([name] for name in NAMES[::3]))
    for names in some:
        for name, answers in all_said(folder, tokenizer, model, names).items():
            assert answers == expected[name]


def test_a_model_says_the_same_to_the_last_bit_after_another(folder, tokenizer, model, other_model):
    tasks = prepared(folder, tokenizer, *NAMES)
    heard = []
    for one in (model, other_model, model):
        scores = tasks.score(scorer_of(one))
        heard.append(({name: said(tasks, name) for name in NAMES}, scores))
    (first, scored), (other, _), (again, rescored) = heard
    assert first == again != other
    assert [scored[n].metrics for n in NAMES] == [rescored[n].metrics for n in NAMES]
    assert [scored[n].rows for n in NAMES] == [rescored[n].rows for n in NAMES]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_no_further_from_float32_than_by_hflm(dtype, folder, tokenizer, model):
    tasks = prepared(folder, tokenizer, "e_numbers", "e_blank", "e_word")
    half = copy.deepcopy(model).to(dtype)

    def values(one, engine, batch_tokens):
        answers = scorer_of(one, tokenizer, engine, batch_tokens).loglikelihoods(tasks.requests)
        return np.array([answer.log_likelihood for answer in answers])

    exact = values(model, "hflm", 1)
    own, *theirs = (
        np.abs(values(half, engine, batch_tokens) - exact).mean()
        for engine, batch_tokens in (("packed", 512), ("hflm", 1), ("hflm", 4096))
    )
    assert 0 < own <= max(theirs)


@pytest.mark.parametrize("num_items", [30, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", TASKS)
def test_the_tasks_of_the_miniature_world_are_answered_as_by_hflm(name, num_items):
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype="float32").eval()
    tasks = prepare_tasks(zero_shot_of(task_folder(), name, num_items=num_items), tokenizer)
    both = []
    for engine in ("packed", "hflm"):
        score = tasks.score(scorer_of(model, tokenizer, engine, batch_tokens=2048))[name]
        both.append((said(tasks, name), score))
    (found, ours), (expected, theirs) = both
    check_equal(found, expected)
    assert ours.rows["choice"] == theirs.rows["choice"]
    assert ours.rows["correct"] == theirs.rows["correct"]
