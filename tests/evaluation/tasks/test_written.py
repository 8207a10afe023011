"""Tasks whose answers are written: lm-eval's scores, item by item; drawn ones by named streams."""

import dataclasses

import numpy as np
import pytest
from helpers.by_lm_eval import simple_evaluate
from helpers.scored import metric, random_llama, scorer_of, sentence, write_task, zero_shot_of

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.corpora.divergence import flips
from calib_sweep.evaluation.harness import HFLM_
from calib_sweep.evaluation.tasks.definitions import MAX_GEN_TOKS
from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks

GREEDY = {"until": ["\n"], "do_sample": False, "max_gen_toks": 12}
DRAWN = {"until": ["."], "do_sample": True, "temperature": 0.9, "max_gen_toks": 6}


def write_generated(folder, name, num_items=12, **definition):
    """Right is an answer that holds the letter which is asked for."""
    items = [
        {"question": f"{sentence(name, i)[: 10 + 12 * i]} \u00e4\u2603", "letter": "no"[i % 2]}
        for i in range(num_items)
    ]
    settings = {
        "output_type": "generate_until",
        "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_target": "letter",
        "generation_kwargs": GREEDY,
        "filter_list": [
            {"name": "letter", "filter": [REGEX | {"regex_pattern": "([no])"}, FIRST]},
            {"name": "last", "filter": [REGEX | {"group_select": -1}, FIRST]},
        ],
        "metric_list": [metric("exact_match")],
    }
    write_task(folder, name, items, **settings | definition)


REGEX = {"function": "regex", "regex_pattern": "([a-z])"}
FIRST = {"function": "take_first"}
HEAD = "exact_match,letter"


def prepared_of(folder, tokenizer, *names, **changes):
    headline = dict.fromkeys(names, HEAD)
    return prepare_tasks(zero_shot_of(folder, *names, headline=headline, **changes), tokenizer)


def responses(prepared, name):
    return [instance.resps for instance in prepared.tasks[name].instances]


KINDS = {
    "plain": {},
    "shots": {"num_fewshot": 2},
    "unbounded": {"generation_kwargs": {"until": ["e", "the"]}},
    "voted": {"repeats": 3},
    "default": {"generation_kwargs": None},
}


@pytest.mark.parametrize(("seed", "batch_size"), [(0, 1), (1, 16)])
def test_scores_are_those_of_simple_evaluate(tmp_path, tokenizer, monkeypatch, seed, batch_size):
    scored = random_llama(seed)
    # Where these differ, a row of lm-eval's goes on behind the tokenizer's end of the text, as
    # long as other rows of its batch do.
    scored.generation_config.eos_token_id = tokenizer.eos_token_id
    for name, changes in KINDS.items():
        write_generated(tmp_path, name, 8, **{k: v for k, v in changes.items() if v is not None})
    bound = {"gen_kwargs": {"max_gen_toks": 12}}  # of 128 tokens that the model reads at once
    prepared = prepared_of(tmp_path, tokenizer, *KINDS, max_gen_toks=12)
    ours = prepared.score(scorer_of(scored))
    theirs = simple_evaluate(scored, tokenizer, tmp_path, KINDS, monkeypatch, batch_size, **bound)
    for name in KINDS:
        results, samples = theirs["results"][name], theirs["samples"][name]
        first = [one for one in samples if one["filter"] == "letter"]
        assert responses(prepared, name) == [one["resps"][0] for one in first]
        for key in (HEAD, "exact_match,last"):
            assert ours[name].metrics[key] == results[key]
            assert ours[name].stderr[key] == results[key.replace(",", "_stderr,")]
        assert ours[name].rows["correct"] == [one["exact_match"] for one in first]
        assert ours[name].rows["item_hash"] == [one["doc_hash"] for one in first]
        assert ours[name].directions[HEAD] == 1
    written = [text for own in responses(prepared, "plain") for text in own]
    assert len(set(written)) > 4 and 0 < ours["plain"].metrics[HEAD] < 1


def test_a_prompt_that_is_too_long_loses_its_beginning_as_in_lm_eval(
    tmp_path, tokenizer, model, monkeypatch
):
    write_generated(tmp_path, "long", doc_to_text="{{question * 30}}\nA:")
    prepared = prepared_of(tmp_path, tokenizer, "long")
    prepared.score(scorer_of(model))
    assert max(len(one.tokens) for one in prepared.writings) > model.config.max_position_embeddings
    theirs = simple_evaluate(model, tokenizer, tmp_path, ["long"], monkeypatch)
    samples = [one for one in theirs["samples"]["long"] if one["filter"] == "letter"]
    assert responses(prepared, "long") == [one["resps"][0] for one in samples]


def test_no_budget_and_no_other_task_moves_an_answer(tmp_path, tokenizer, model):
    for name, settings in (("one", GREEDY), ("two", DRAWN), ("three", DRAWN)):
        write_generated(tmp_path, name, generation_kwargs=settings)
    prepared = prepared_of(tmp_path, tokenizer, "one", "two", "three")
    prepared.score(scorer_of(model))
    expected = {name: responses(prepared, name) for name in ("one", "two", "three")}
    prepared.score(scorer_of(model, batch_tokens=1))
    assert {name: responses(prepared, name) for name in expected} == expected
    alone = prepared_of(tmp_path, tokenizer, "three")
    alone.score(scorer_of(model))
    assert responses(alone, "three") == expected["three"] != expected["two"]


def test_replicates_are_the_mean_of_answers_that_are_drawn(tmp_path, tokenizer, model, other_model):
    write_generated(tmp_path, "drawn", 12, generation_kwargs=DRAWN)
    write_generated(tmp_path, "greedy", 12)
    prepared = prepared_of(tmp_path, tokenizer, "drawn", "greedy", repeats=4)
    scores = prepared.score(scorer_of(model))
    once = prepared_of(tmp_path, tokenizer, "drawn", "greedy").score(scorer_of(model))
    one = scores["drawn"]
    assert one.correct.shape == (4, 12)
    assert one.correct[0].tolist() == once["drawn"].rows["correct"] != one.correct[1].tolist()
    assert one.metrics[HEAD] == pytest.approx(one.correct.mean())
    assert one.rows["correct"] == pytest.approx(one.correct.mean(axis=0))
    error = one.correct.mean(axis=0).std(ddof=1) / np.sqrt(12)
    assert one.stderr[HEAD] == pytest.approx(error)
    assert scores["greedy"].metrics == once["greedy"].metrics
    assert scores["greedy"].correct.shape == (12,)
    again = prepared.score(scorer_of(model))
    assert np.array_equal(again["drawn"].correct, one.correct)
    other = prepared.score(scorer_of(other_model))["drawn"]
    flipped = (other.correct != one.correct).mean(axis=0)
    assert flips(other.correct, one.correct)[0] == pytest.approx(flipped.mean())


def test_a_task_that_counts_several_answers_draws_them(tmp_path, tokenizer, model):
    write_generated(tmp_path, "drawn", 3, generation_kwargs=DRAWN, repeats=5)
    prepared = prepared_of(tmp_path, tokenizer, "drawn")
    prepared.score(scorer_of(model))
    for answers in responses(prepared, "drawn"):
        assert len(answers) == 5 and len(set(answers)) > 1


def test_the_record_is_told_the_bound_and_how_many_answers_reached_it(tmp_path, tokenizer, model):
    write_generated(tmp_path, "one")
    for bound, expected in ((None, 12), (5, 5), (50, 12)):
        prepared = prepared_of(tmp_path, tokenizer, "one", max_gen_toks=bound)
        told = prepared.score(scorer_of(model))["one"].written
        assert told.max_gen_toks == expected
        whole = sum(
            not any(stop in text for stop in ("\n", "</s>")) and len(text) > 0
            for own in responses(prepared, "one")
            for text in own
        )
        assert 0 < told.share_cut <= whole / 12
    write_generated(
        tmp_path,
        "at_once",
        generation_kwargs={"until": list("aeiouy ,.\u2603"), "max_gen_toks": 99},
    )
    prepared = prepared_of(tmp_path, tokenizer, "at_once", max_gen_toks=60)
    assert prepared.score(scorer_of(model))["at_once"].written.share_cut == 0


def test_the_bound_of_lm_eval_is_ours():
    assert HFLM_.max_gen_toks.fget(None) == MAX_GEN_TOKS


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"num_beams": 4}, "num_beams=4"),
        ({"do_sample": True}, "do_sample=true without a temperature above 0"),
        ({"do_sample": True, "temperature": 1.0, "eta_cutoff": 0.1}, "eta_cutoff=0.1"),
        ({"max_gen_toks": 0}, "max_gen_toks=0"),
    ],
)
def test_ways_to_write_that_are_not_done_are_named(tmp_path, tokenizer, settings, told):
    write_generated(tmp_path, "own", 2, generation_kwargs={"until": ["."], **settings})
    with pytest.raises(ConfigError, match=rf"tasks='own': .*{told}\. Correct"):
        _ = prepared_of(tmp_path, tokenizer, "own").writings


def test_an_answer_that_leaves_no_room_for_its_prompt_is_refused_before_anything_is_loaded(
    tmp_path, tokenizer, model
):
    write_generated(tmp_path, "own", generation_kwargs={"until": ["."]})
    settings = zero_shot_of(tmp_path, "own", headline={"own": HEAD})
    told = "tasks='own': .*reads at once, 128 tokens, but they may have 256. Type .*=64"
    with pytest.raises(ConfigError, match=told):
        settings.check(128)
    settings.check(257)
    dataclasses.replace(settings, max_gen_toks=127).check(128)
    with pytest.raises(ConfigError, match=told):
        prepare_tasks(settings, tokenizer).score(scorer_of(model))


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"repeats": 2}, "repeats=2: .*draws its answers"), ({"max_gen_toks": 9}, "max_gen_toks=9: ")],
)
def test_a_setting_without_effect_is_refused(tmp_path, changes, told):
    with pytest.raises(ConfigError, match=told):
        zero_shot_of(tmp_path, "mini_facts", **changes).check()


def test_programs_pictures_and_sound_are_refused(tmp_path):
    write_generated(tmp_path, "runs", unsafe_code=True)
    write_generated(tmp_path, "sees", doc_to_image="{{question}}")
    headline = {"runs": HEAD, "sees": HEAD}
    with pytest.raises(ConfigError) as raised:
        zero_shot_of(tmp_path, "runs", "sees", headline=headline).check()
    runs, sees = raised.value.problems
    assert "tasks='runs'" in runs and "runs what the model writes" in runs
    assert "tasks='sees'" in sees and "pictures or sound" in sees
    zero_shot_of(tmp_path, "runs", headline={"runs": HEAD}, trust_task_code=True).check()
