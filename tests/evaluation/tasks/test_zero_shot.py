import json
import random

import numpy as np
import pytest
import torch
from helpers.by_lm_eval import simple_evaluate
from helpers.fakes import tiny_model
from helpers.scored import (
    metric,
    random_llama,
    scorer_of,
    sentence,
    train_tokenizer,
    write_task,
    zero_shot_of,
)

from calib_sweep.errors import ConfigError, UnavailableError
from calib_sweep.evaluation.suite import Evaluation
from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks

KINDS = ("t_choice", "t_word", "t_page")


@pytest.fixture(scope="module")
def prepared(task_folder, tokenizer):
    settings = zero_shot_of(task_folder, *KINDS, headline={"t_page": None})
    return prepare_tasks(settings, tokenizer)


@pytest.mark.parametrize("engine", ["packed", "hflm"])
def test_scores_are_those_of_simple_evaluate(
    engine, prepared, model, other_model, tokenizer, task_folder, monkeypatch
):
    for scored in (model, other_model):
        ours = prepared.score(scorer_of(scored, engine=engine))
        theirs = simple_evaluate(scored, tokenizer, task_folder, KINDS, monkeypatch)
        for task in KINDS:
            results, samples = theirs["results"][task], theirs["samples"][task]
            names = {key.removesuffix(",none") for key in results if key.endswith(",none")}
            assert set(ours[task].metrics) == {n for n in names if not n.endswith("_stderr")}
            for name, value in ours[task].metrics.items():
                tolerance = 0 if name.startswith("acc") else 1e-6
                assert value == pytest.approx(results[f"{name},none"], rel=tolerance)
            for name in {"acc", "acc_norm"} & set(ours[task].metrics):
                assert ours[task].stderr[name] == results[f"{name}_stderr,none"]
            responses = [i.resps for i in prepared.tasks[task].instances]
            expected = [response for sample in samples for response in sample["resps"]]
            assert np.asarray(responses, dtype=float) == pytest.approx(
                np.asarray(expected, dtype=float), rel=1e-6
            )
            told = theirs["higher_is_better"][task]  # by lm-eval's own evaluator
            assert ours[task].directions == {
                name: 1 if told[name] else -1 for name in ours[task].metrics
            }
            assert ours[task].rows["item"] == [sample["doc_id"] for sample in samples]
            assert ours[task].rows["item_hash"] == [sample["doc_hash"] for sample in samples]
            if task != "t_page":
                assert ours[task].rows["correct"] == [sample["acc"] for sample in samples]
        assert ours["t_choice"].rows["correct_norm"] == [
            sample["acc_norm"] for sample in theirs["samples"]["t_choice"]
        ]
        assert prepared.versions() | theirs["versions"] == prepared.versions()


def test_the_models_under_test_differ_in_their_answers(prepared, model, other_model):
    one, other = (prepared.score(scorer_of(m))["t_choice"].rows for m in (model, other_model))
    assert one["choice"] != other["choice"]
    assert 0 < sum(one["correct"]) < len(one["correct"])


@pytest.mark.parametrize("architecture", ["opt", "gpt2", "gpt_neox", "qwen2"])
def test_other_architectures_score_as_with_lm_eval(
    architecture, task_folder, tokenizer, monkeypatch
):
    model = tiny_model(architecture, vocab_size=300)
    tasks = prepare_tasks(zero_shot_of(task_folder, "t_choice", num_items=12), tokenizer)
    tasks.score(scorer_of(model, engine="hflm"))
    theirs = simple_evaluate(model, tokenizer, task_folder, ["t_choice"], monkeypatch, limit=12)
    ours = [i.resps[0] for i in tasks.tasks["t_choice"].instances]
    expected = [r[0] for sample in theirs["samples"]["t_choice"] for r in sample["resps"]]
    assert np.asarray(ours, dtype=float) == pytest.approx(np.asarray(expected, dtype=float))


def test_a_model_that_always_makes_all_logits_scores_the_same(prepared, model):
    class Whole(type(model)):
        def forward(self, input_ids, use_cache=None):
            assert input_ids.shape[1] <= 128
            return super().forward(input_ids=input_ids, use_cache=use_cache)

    whole = Whole(model.config).eval()
    whole.load_state_dict(model.state_dict())
    for task, score in prepared.score(scorer_of(model)).items():
        other = prepared.score(scorer_of(whole, engine="hflm"))[task]
        assert other.rows["choice"] == score.rows["choice"]
        assert other.metrics == pytest.approx(score.metrics, rel=1e-6)


def test_logits_are_made_for_the_scored_end_alone(prepared, model, monkeypatch):
    made, seen = [], []
    head = model.lm_head.forward

    def watched(hidden):
        made.append(hidden.shape[0] * hidden.shape[1])
        return head(hidden)

    monkeypatch.setattr(model.lm_head, "forward", watched)
    embed = model.model.embed_tokens.forward
    monkeypatch.setattr(
        model.model.embed_tokens,
        "forward",
        lambda ids: (seen.append(ids.numel()), embed(ids))[1],
    )
    prepared.score(scorer_of(model, engine="hflm"))
    t_page = sum(
        len(v) for (text, _), v in prepared.encoder.strings._known.items() if len(text) > 1000
    )
    assert sum(made) - t_page < 0.75 * (sum(seen) - t_page)


def test_requests_are_built_and_tokenised_once(task_folder, model, other_model, monkeypatch):
    from lm_eval.api.task import Task
    from transformers import PreTrainedTokenizerFast

    counts = {"encode": 0, "build": 0}

    def counted(name, function):
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    encode, build = PreTrainedTokenizerFast._encode_plus, Task.build_all_requests
    monkeypatch.setattr(PreTrainedTokenizerFast, "_encode_plus", counted("encode", encode))
    monkeypatch.setattr(Task, "build_all_requests", counted("build", build))
    tasks = prepare_tasks(
        zero_shot_of(task_folder, *KINDS, headline={"t_page": None}), train_tokenizer()
    )
    tasks.score(scorer_of(model))
    first = dict(counts)
    assert first["build"] == 3
    assert 3 <= first["encode"] <= 6  # of each task all strings that are tokenised alike
    tasks.score(scorer_of(other_model))
    tasks.score(scorer_of(model))
    assert counts == first


@pytest.mark.parametrize("engine", ["packed", "hflm"])
def test_the_batch_size_does_not_move_the_result(engine, prepared, model):
    by_size = {}
    for size in (1, 700, 5000):
        scores = prepared.score(scorer_of(model, engine=engine, batch_tokens=size))
        by_size[size] = {f"{m}/{t}": v for t in KINDS for m, v in scores[t].metrics.items()}
        again = prepared.score(scorer_of(model, engine=engine, batch_tokens=size))
        assert [again[task].metrics for task in KINDS] == [scores[task].metrics for task in KINDS]
    assert by_size[1] == pytest.approx(by_size[5000], rel=1e-5)
    assert by_size[700] == pytest.approx(by_size[5000], rel=1e-5)


def test_the_same_model_scores_bit_equal_after_another(prepared, model, other_model):
    before = prepared.score(scorer_of(model))
    prepared.score(scorer_of(other_model))
    after = prepared.score(scorer_of(model))
    assert [after[t].metrics for t in KINDS] == [before[t].metrics for t in KINDS]


def test_the_choice_is_the_likeliest_answer(prepared, model):
    rows = prepared.score(scorer_of(model))["t_choice"].rows
    task = prepared.tasks["t_choice"]
    for item, choice in enumerate(rows["choice"]):
        answers = [i for i in task.instances if i.doc_id == item]
        best = max(answers, key=lambda i: i.resps[0][0])
        assert choice == best.idx
        assert rows["correct"][item] == float(best.idx == best.doc["label"])
    assert prepared.score(scorer_of(model))["t_word"].rows["choice"] == [None] * 25


def test_the_error_of_perplexity_is_the_delta_methods(prepared, model):
    score = prepared.score(scorer_of(model))["t_word"]
    logs = [i.resps[0][0] for i in prepared.tasks["t_word"].instances]
    expected = score.metrics["perplexity"] * np.std(logs, ddof=1) / 5
    assert score.stderr["perplexity"] == pytest.approx(expected)
    assert "word_perplexity" not in prepared.score(scorer_of(model))["t_page"].stderr


def test_num_items_takes_the_first_ones(task_folder, tokenizer, model, prepared):
    few = prepare_tasks(zero_shot_of(task_folder, "t_choice", num_items=5), tokenizer)
    assert few.item_hashes["t_choice"] == prepared.item_hashes["t_choice"][:5]
    rows = few.score(scorer_of(model))["t_choice"].rows
    assert rows["correct"] == prepared.score(scorer_of(model))["t_choice"].rows["correct"][:5]


def test_random_state_is_left_as_it_was(task_folder, tokenizer, model):
    def states():
        numpy = np.random.get_state()[1].tolist()  # noqa: NPY002
        return random.getstate(), numpy, torch.get_rng_state().tolist()

    # States that nobody else leaves behind: lm-eval itself seeds with 0 and 1234.
    random.seed(987)
    np.random.seed(987)  # noqa: NPY002
    torch.manual_seed(987)
    before = states()
    prepare_tasks(zero_shot_of(task_folder, "t_choice", num_items=2), tokenizer).score(
        scorer_of(model)
    )
    assert states() == before


def test_the_shared_tokenizer_is_left_as_it_was(task_folder, model):
    tokenizer = train_tokenizer(bos=False)  # has no padding token, which lm-eval adds
    size = len(tokenizer)
    tasks = zero_shot_of(task_folder, "t_choice", num_items=3)
    suite = Evaluation(perplexity=None, zero_shot=tasks, divergence=None).prepare(tokenizer)
    suite.score(suite.scorer(model), None)
    assert tokenizer.pad_token is None and len(tokenizer) == size


def test_nothing_is_printed(task_folder, tokenizer, model, capfd):
    prepare_tasks(zero_shot_of(task_folder, *KINDS[:2]), tokenizer).score(scorer_of(model))
    assert capfd.readouterr() == ("", "")


def test_a_headline_that_the_task_does_not_have_is_named(task_folder, tokenizer, model):
    settings = zero_shot_of(task_folder, "t_word", headline={"t_word": "acc_norm"})
    with pytest.raises(
        ConfigError, match=r"headline.t_word='acc_norm': .*each item: perplexity, acc\."
    ):
        prepare_tasks(settings, tokenizer)


def test_a_headline_must_be_right_or_wrong(task_folder, tokenizer, model):
    settings = zero_shot_of(task_folder, "t_word", headline={"t_word": "perplexity"})
    with pytest.raises(ConfigError, match="right or wrong for each item"):
        prepare_tasks(settings, tokenizer).score(scorer_of(model))


def test_items_that_cannot_be_loaded_are_reported_for_every_task(tmp_path, tokenizer):
    for name in ("one", "two"):
        write_task(tmp_path, name, [], output_type="loglikelihood", metric_list=[metric("acc")])
        (tmp_path / f"{name}.jsonl").unlink()
    with pytest.raises(UnavailableError) as raised:
        prepare_tasks(zero_shot_of(tmp_path, "one", "two"), tokenizer)
    assert [p.split(":")[0] for p in raised.value.problems] == [
        "evaluation.zero_shot.tasks='one'",
        "evaluation.zero_shot.tasks='two'",
    ]


def test_a_definition_that_lm_eval_cannot_build_is_named(tmp_path, tokenizer):
    items = [{"text": sentence(1)}]
    defined = {"output_type": "loglikelihood", "doc_to_text": "x", "metric_list": [metric("acc")]}
    write_task(tmp_path, "typo", items, doc_to_target="{{wrong_column}}", **defined)
    write_task(tmp_path, "kind", items, doc_to_target="y", **(defined | {"output_type": "guess"}))
    with pytest.raises(ConfigError) as raised:
        prepare_tasks(zero_shot_of(tmp_path, "typo", "kind"), tokenizer)
    typo, kind = raised.value.problems
    assert "tasks='typo'" in typo and "wrong_column" in typo and "typo.yaml" in typo
    assert "tasks='kind'" in kind and "guess" in kind
    assert not isinstance(raised.value, UnavailableError)


CLOZE = {
    "InputStoryid": "x",
    **{f"InputSentence{i}": sentence("cloze", i) for i in range(1, 5)},
    "RandomFifthSentenceQuiz1": sentence("cloze", "a"),
    "RandomFifthSentenceQuiz2": sentence("cloze", "b"),
}


@pytest.mark.parametrize("ending", [".csv", ".jsonl"])
def test_storycloze_comes_from_the_users_file(tmp_path, tokenizer, model, ending):
    path = tmp_path / f"cloze{ending}"
    rows = [{**CLOZE, "AnswerRightEnding": answer} for answer in (1, 2, 2)]
    if ending == ".csv":
        lines = [",".join(CLOZE) + ",AnswerRightEnding"]
        lines += [",".join(str(value) for value in row.values()) for row in rows]
        path.write_text("\n".join(lines) + "\n")
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = zero_shot_of(tmp_path, "mini_facts", storycloze_path=str(path), num_items=3)
    tasks = prepare_tasks(settings, tokenizer)
    first = tasks.tasks["storycloze"].instances[0]
    context = " ".join(CLOZE[f"InputSentence{i}"] for i in range(1, 5))
    assert first.args == (context, " " + CLOZE["RandomFifthSentenceQuiz1"])
    score = tasks.score(scorer_of(model))["storycloze"]
    choice = score.rows["choice"][0]
    assert score.rows["correct"] == [float(answer - 1 == choice) for answer in (1, 2, 2)]


def test_random_models_of_the_tests_are_functions_of_their_seed():
    assert torch.equal(random_llama(3).lm_head.weight, random_llama(3).lm_head.weight)
