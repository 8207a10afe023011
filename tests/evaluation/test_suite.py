import dataclasses
import hashlib

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.scored import corpus, perplexity_of, slow_nll, zero_shot_of

from calib_sweep.errors import ConfigError, StoreError
from calib_sweep.evaluation.corpora.divergence import QUANTILES, Divergence
from calib_sweep.evaluation.items import COLUMNS
from calib_sweep.evaluation.reference import FILE, DenseReference
from calib_sweep.evaluation.suite import Evaluation
from calib_sweep.hashing import file_sha256

NUM_TOKENS = 96  # scored: of three windows of 32, and three of the fourth
LABELS = ("stories@32", "letters@32")


def evaluation(folder, **changes):
    parts = {
        "perplexity": perplexity_of(corpus("stories"), corpus("letters"), max_windows=6),
        "zero_shot": zero_shot_of(folder, "t_choice", "t_word", headline={"t_choice": "acc_norm"}),
        "divergence": Divergence(num_tokens=NUM_TOKENS),
    }
    return Evaluation(**(parts | changes))


@pytest.fixture(scope="module")
def suite(task_folder, tokenizer):
    return evaluation(task_folder).prepare(tokenizer)


@pytest.fixture(scope="module")
def dense(suite, model):
    return suite.score(suite.scorer(model), None)


@pytest.fixture(scope="module")
def other(suite, other_model, dense):
    return suite.score(suite.scorer(other_model), dense.reference)


def test_names_of_the_scores(dense, other):
    both = {
        *(f"ppl/{label}" for label in LABELS),
        *("acc/t_choice", "acc_norm/t_choice", "acc/t_word", "perplexity/t_word", "acc/mean"),
        "ppl/geomean",
    }
    assert set(dense.scores) == both
    percentiles = {f"{kind}/{label}" for kind in QUANTILES for label in LABELS}
    means = {f"{kind}/{label}" for kind in ("kl", "same_top") for label in LABELS}
    against_dense = means | percentiles | {"flips/t_choice", "flips/t_word"}
    assert set(other.scores) == both | against_dense
    assert set(other.stderr) == set(other.scores) - percentiles
    assert all(isinstance(v, float) and np.isfinite(v) for v in other.scores.values())


def test_the_dense_model_alone_makes_a_reference(dense, other):
    assert other.reference is None
    assert dense.reference.log_probs["stories@32"].shape == (3 * 31 + 3, 300)
    assert dense.reference.log_probs["stories@32"].dtype == torch.float16
    assert set(dense.reference.correct) == {"t_choice", "t_word"}


def test_the_dense_model_does_not_diverge_from_itself(suite, model, dense):
    again = suite.score(suite.scorer(model), dense.reference)
    for label in LABELS:
        assert abs(again.scores[f"kl/{label}"]) < 2e-6
        assert again.scores[f"kl_p999/{label}"] < 4e-5
        assert again.scores[f"same_top/{label}"] == 1
    assert again.scores["flips/t_choice"] == again.scores["flips/t_word"] == 0
    assert {name: again.scores[name] for name in dense.scores} == dense.scores


def test_perplexity_and_kl_are_those_of_a_slow_loop(suite, model, other_model, other):
    windows = suite.windows[0]
    slow = [slow_nll(other_model, window) for window in windows.tokens_NT]
    assert other.scores["ppl/stories@32"] == pytest.approx(np.exp(np.mean(slow)), rel=1e-5)
    kl, same = [], []
    for window in windows.tokens_NT[:4]:
        p, q = (
            m(input_ids=torch.from_numpy(window[None])).logits[0, :-1].double().log_softmax(-1)
            for m in (model, other_model)
        )
        kl.append((p.exp() * (p - q)).sum(-1).numpy())
        same.append((p.argmax(-1) == q.argmax(-1)).numpy())
    kl[3], same[3] = kl[3][:3], same[3][:3]  # where the budget ends
    expected = np.concatenate(kl).mean()
    assert other.scores["kl/stories@32"] == pytest.approx(expected, rel=1e-3)
    for kind, share in QUANTILES.items():
        expected = np.quantile(np.concatenate(kl), share)
        assert other.scores[f"{kind}/stories@32"] == pytest.approx(expected, rel=1e-2)
    assert other.scores["same_top/stories@32"] == np.concatenate(same).mean()
    items = other.items[other.items["name"] == "stories@32"]
    assert items["nll"].tolist() == pytest.approx(slow, rel=1e-5)
    assert items["kl"].tolist()[:4] == pytest.approx([w.mean() for w in kl], rel=1e-2)
    assert items["kl"].isna().tolist() == [False] * 4 + [True] * 2


def test_every_window_is_forwarded_once(suite, other_model, dense, monkeypatch):
    seen = []
    forward = other_model.forward

    def watched(input_ids, **settings):
        seen.append(input_ids)
        return forward(input_ids=input_ids, **settings)

    monkeypatch.setattr(other_model, "forward", watched)
    perplexity_alone = dataclasses.replace(suite, tasks=None)
    perplexity_alone.score(perplexity_alone.scorer(other_model), dense.reference)
    forwarded = torch.cat(seen).numpy()
    assert (forwarded == np.concatenate([w.tokens_NT for w in suite.windows])).all()


def test_flips_are_of_the_headline_metric(dense, other):
    def column(scores, task, name):
        return scores.items[scores.items["name"] == task][name].to_numpy()

    for task, name in (("t_choice", "correct_norm"), ("t_word", "correct")):
        differing = column(dense, task, name) != column(other, task, name)
        assert other.scores[f"flips/{task}"] == pytest.approx(differing.mean())
    assert 0 < other.scores["flips/t_choice"] < 1


def test_the_mean_is_unweighted_over_the_headline_metrics(other):
    one, two = other.scores["acc_norm/t_choice"], other.scores["acc/t_word"]  # 40 and 25 items
    assert other.scores["acc/mean"] == pytest.approx((one + two) / 2)
    errors = other.stderr["acc_norm/t_choice"], other.stderr["acc/t_word"]
    assert other.stderr["acc/mean"] == pytest.approx(np.hypot(*errors) / 2)


def test_the_headline_perplexity_is_the_geometric_mean_over_the_corpora(other):
    one, two = (other.scores[f"ppl/{label}"] for label in LABELS)
    assert other.scores["ppl/geomean"] == pytest.approx(np.sqrt(one * two), rel=1e-12)
    relative = [other.stderr[f"ppl/{label}"] / other.scores[f"ppl/{label}"] for label in LABELS]
    error = other.scores["ppl/geomean"] * np.hypot(*relative) / 2
    assert other.stderr["ppl/geomean"] == pytest.approx(error, rel=1e-12)


def test_items_are_rows_of_known_columns_and_survive_a_file(other, suite, tmp_path):
    items = other.items
    assert list(items.columns) == list(COLUMNS)
    assert items["kind"].value_counts().to_dict() == {"task": 65, "window": 12}
    assert (items[items["kind"] == "window"]["tokens"] == 31).all()
    tasks = items[items["kind"] == "task"]
    assert tasks[tasks["name"] == "t_choice"]["choice"].notna().all()
    assert tasks[tasks["name"] == "t_word"]["choice"].isna().all()
    assert tasks["correct"].isin([0.0, 1.0]).all()
    window = suite.windows[0].tokens_NT[2]
    row = items[(items["name"] == "stories@32") & (items["item"] == 2)].iloc[0]
    assert row["item_hash"] == hashlib.sha256(window.tobytes()).hexdigest()
    items.to_parquet(tmp_path / "items.parquet", index=False)
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "items.parquet"), items)


def test_records_say_what_guessing_scores(dense):
    of_choices = np.mean([1 / num for num in [2 + i % 3 for i in range(30)] + [2] * 10])
    told = {name: said.get("chance") for name, said in dense.metrics.items()}
    assert told["acc/t_choice"] == told["acc_norm/t_choice"] == pytest.approx(of_choices)
    assert told["acc/t_word"] == 0 and told["perplexity/t_word"] is None
    assert told["acc/mean"] == pytest.approx(of_choices / 2)


def test_versions_are_recorded(dense):
    assert dense.versions["t_choice"] == 3.0
    assert dense.versions["lm_eval"].startswith("0.")


def test_a_reference_survives_a_file(dense, suite, other_model, other, tmp_path):
    dense.reference.save(tmp_path / "reference")
    assert [path.name for path in (tmp_path / "reference").iterdir()] == [FILE]
    loaded = DenseReference.load(tmp_path / "reference")
    assert loaded.hashes == dense.reference.hashes
    assert suite.score(suite.scorer(other_model), loaded).scores == other.scores


def test_a_missing_or_truncated_reference_is_named(dense, tmp_path):
    with pytest.raises(StoreError, match=rf"{FILE}: the dense model's reference cannot be read"):
        DenseReference.load(tmp_path)
    dense.reference.save(tmp_path)
    (tmp_path / FILE).write_bytes((tmp_path / FILE).read_bytes()[:1000])
    with pytest.raises(StoreError, match="the dense model is then scored again"):
        DenseReference.load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        (
            {"perplexity": perplexity_of(corpus("stories"), corpus("notes"), max_windows=6)},
            r"notes@32\b",
        ),
        ({"perplexity": perplexity_of(corpus("stories"), max_windows=5)}, r"stories@32\b"),
        ({"divergence": Divergence(num_tokens=95)}, r"shape \(96, 300\), expected \(95, 300\)"),
    ],
)
def test_a_reference_of_other_tokens_is_refused(
    changes, names, task_folder, tokenizer, other_model, dense
):
    suite = evaluation(task_folder, zero_shot=None, **changes).prepare(tokenizer)
    with pytest.raises(StoreError, match=names):
        suite.score(suite.scorer(other_model), dense.reference)


def test_a_reference_of_other_items_is_refused(task_folder, tokenizer, other_model, dense):
    fewer = zero_shot_of(task_folder, "t_word", num_items=5)
    suite = evaluation(task_folder, perplexity=None, zero_shot=fewer).prepare(tokenizer)
    with pytest.raises(StoreError, match=r"other tokens or documents of t_word, .*Delete"):
        suite.score(suite.scorer(other_model), dense.reference)


def test_compile_is_true_or_false():
    with pytest.raises(ConfigError, match=r"evaluation\.compile='maybe': expected true or false"):
        Evaluation(perplexity=None, zero_shot=None, divergence=None, compile="maybe")


def test_parts_can_be_left_out(task_folder, tokenizer, model):
    perplexity = evaluation(task_folder, zero_shot=None, divergence=None).prepare(tokenizer)
    scores = perplexity.score(perplexity.scorer(model), None)
    assert set(scores.scores) == {*(f"ppl/{label}" for label in LABELS), "ppl/geomean"}
    assert scores.reference is None
    tasks = evaluation(task_folder, perplexity=None, divergence=None).prepare(tokenizer)
    scores = tasks.score(tasks.scorer(model), None)
    assert set(scores.items["kind"]) == {"task"}
    with pytest.raises(ConfigError, match="perplexity, zero_shot or both"):
        evaluation(task_folder, perplexity=None, zero_shot=None)


def test_progress_names_what_begins(suite, model):
    steps = []
    suite.score(suite.scorer(model), None, on_progress=lambda *step: steps.append(step))
    names = ["stories@32", "letters@32", "t_choice", "t_word", ""]
    assert steps == [(number, 4, name) for number, name in enumerate(names)]


def test_check_reports_the_problems_of_all_parts(task_folder):
    settings = evaluation(
        task_folder,
        perplexity=perplexity_of("nowhere.txt", seq_len=4096),
        zero_shot=zero_shot_of(task_folder, "t_chioce"),
    )
    with pytest.raises(ConfigError) as raised:
        settings.check(context_length=2048)
    problems = raised.value.problems
    assert [p.split(":")[0].split("=")[0] for p in problems] == [
        "evaluation.perplexity.seq_len",
        "evaluation.perplexity.corpora",
        "evaluation.zero_shot.tasks",
    ]
    assert "t_choice" in problems[2]


def test_every_corpus_that_is_too_short_is_reported(task_folder, tokenizer):
    short = perplexity_of(corpus("a", 1), corpus("b", 1), seq_len=10_000)
    with pytest.raises(ConfigError) as raised:
        evaluation(task_folder, perplexity=short).prepare(tokenizer)
    assert [("'a'" in p, "'b'" in p) for p in raised.value.problems] == [
        (True, False),
        (False, True),
    ]


def test_the_fingerprint_follows_the_users_files(tmp_path, task_folder):
    text = tmp_path / "text.txt"
    text.write_text("one")
    settings = evaluation(task_folder, perplexity=perplexity_of(str(text)), zero_shot=None)
    one = settings.fingerprint()
    text.write_text("two")
    assert settings.fingerprint() != one
    text.write_text("one")
    assert settings.fingerprint() == one
    assert evaluation(task_folder, zero_shot=None).fingerprint() is None
    assert evaluation(task_folder, perplexity=None).fingerprint() is not None


def test_settings_are_equal_when_they_say_the_same(task_folder):
    # What is loaded once per process is found again by comparing settings.
    one, two = (evaluation(task_folder) for _ in range(2))
    assert one == two
    assert one != evaluation(task_folder, divergence=None)


def test_a_reference_is_held_against_the_hash_that_was_kept_of_it(dense, tmp_path):
    dense.reference.save(tmp_path)
    kept = file_sha256(tmp_path / FILE)
    assert DenseReference.load(tmp_path, kept).hashes == dense.reference.hashes
    damaged = bytearray((tmp_path / FILE).read_bytes())
    damaged[-1] ^= 1  # of a log-probability: it can be read, and is another one
    (tmp_path / FILE).write_bytes(bytes(damaged))
    assert DenseReference.load(tmp_path).hashes == dense.reference.hashes
    with pytest.raises(
        StoreError, match=rf"{FILE}: .* is damaged: .*dense model is then scored again"
    ):
        DenseReference.load(tmp_path, kept)


def test_each_part_is_handed_over_as_it_is_scored_and_stands_for_itself_later(
    suite, other_model, dense, other
):
    parts = {}
    again = suite.score(
        suite.scorer(other_model), dense.reference, on_part=lambda p: parts.update({p.name: p})
    )
    assert list(parts) == [*LABELS, "t_choice", "t_word"] == list(again.parts)
    known = {name: parts.pop(name) for name in ("letters@32", "t_word")}
    handed = []
    found = suite.score(
        suite.scorer(other_model), dense.reference, known=known, on_part=handed.append
    )
    assert [part.name for part in handed] == ["stories@32", "t_choice"]
    assert (found.scores, found.stderr) == (other.scores, other.stderr)
    pd.testing.assert_frame_equal(found.items, other.items)
