import gzip
import json
import math

import numpy as np
import pytest
import torch
from helpers.scored import Known, corpus, perplexity_of, scorer_of, slow_nll

from calib_sweep.dataset.vocabulary import Vocabulary
from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.corpora.perplexity import (
    nll,
    perplexity,
    token_perplexity,
)
from calib_sweep.evaluation.scorers import forward as module
from calib_sweep.evaluation.windows import Windows, has_context, windows_of


def window_nll(model, windows, batch_tokens=1024):
    """Mean NLL of each window."""
    nll_P = np.full(windows.num_positions, np.nan)
    for part, log_probs_PV in scorer_of(model, batch_tokens=batch_tokens).log_probs(windows):
        nll_P[part] = nll(log_probs_PV, windows.targets()[part])
    return nll_P.reshape(len(windows.tokens_NT), -1).mean(1)


def of_windows(nll_N):
    """Perplexity of windows of a single scored token each."""
    return perplexity([np.array([nll]) for nll in nll_N])


def padded(label, tokens_NT, lengths_N):
    lengths_N = None if lengths_N is None else np.asarray(lengths_N)
    return Windows(label, tokens_NT, has_context(tokens_NT, lengths_N))


def stories(tokenizer, **changes):
    settings = {"seq_len": 32, "stride": None, "bos": "stream", "max_windows": 7} | changes
    return windows_of(corpus(), tokenizer, **settings)


def test_perplexity_of_a_known_model_by_hand():
    # After 0 the tokens 0, 1 have odds 1:3, after 1 they have odds 1:1.
    model = Known([[0.0, math.log(3)], [5.0, 5.0]])
    windows = Windows.whole("hand@3", np.array([[0, 1, 0], [0, 0, 1], [1, 1, 1]]))
    nll_N = window_nll(model, windows)
    by_hand = [
        (math.log(4 / 3) + math.log(2)) / 2,  # 0 -> 1, 1 -> 0
        (math.log(4) + math.log(4 / 3)) / 2,  # 0 -> 0, 0 -> 1
        math.log(2),  # 1 -> 1 twice
    ]
    assert nll_N == pytest.approx(by_hand, rel=1e-6)
    value, error = of_windows(nll_N)
    assert value == pytest.approx(math.exp(sum(by_hand) / 3), rel=1e-6)
    mean = sum(by_hand) / 3
    sd = math.sqrt(sum((x - mean) ** 2 for x in by_hand) / 2)
    assert error == pytest.approx(value * sd / math.sqrt(3), rel=1e-5)


def test_the_perplexity_of_padded_samples_by_hand():
    """After 0 the tokens 0, 1 have odds 1:3, after 1 odds 1:1; each scored token counts once."""
    model = Known([[0.0, math.log(3)], [5.0, 5.0]])
    tokens_NT = np.array([[0, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 0]])
    value = token_perplexity(
        scorer_of(model, batch_tokens=8), padded("hand@4", tokens_NT, [4, 2, 1])
    )
    # 0 -> 1, 1 -> 0, 0 -> 0 of the first; 0 -> 0 of the second; nothing of the third
    by_hand = math.log(4 / 3) + math.log(2) + math.log(4) + math.log(4)
    assert value == pytest.approx(math.exp(by_hand / 4), rel=1e-6)
    full = token_perplexity(scorer_of(model, batch_tokens=8), Windows.whole("hand@4", tokens_NT))
    assert full == token_perplexity(
        scorer_of(model, batch_tokens=8), padded("hand@4", tokens_NT, [4, 4, 4])
    )
    assert full != pytest.approx(value, rel=0.01)


def test_padding_counts_as_if_it_were_not_there(model, tokenizer):
    tokens_NT = stories(tokenizer, max_windows=3).tokens_NT
    lengths_N = np.array([32, 7, 2])
    windows = padded("p@32", np.where(np.arange(32) < lengths_N[:, None], tokens_NT, 0), lengths_N)
    alone = [
        slow_nll(model, row[:length]) for row, length in zip(tokens_NT, lengths_N, strict=True)
    ]
    wanted = math.exp(float(np.average(alone, weights=lengths_N - 1)))
    before = torch.get_rng_state()
    found = token_perplexity(scorer_of(model, batch_tokens=64), windows)
    assert found == pytest.approx(wanted, rel=1e-5)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("lengths_N", [None, np.array([1, 1])])
def test_tokens_without_one_before_them_have_no_perplexity(lengths_N):
    model, length = Known([[0.0, 0.0]] * 2), 1 if lengths_N is None else 3
    windows = padded("one@1", np.zeros((2, length), dtype=np.int64), lengths_N)
    assert token_perplexity(scorer_of(model, batch_tokens=8), windows) is None
    assert model.shapes == []


def test_a_uniform_model_has_the_perplexity_of_its_vocabulary():
    model = Known([[0.0] * 5] * 5)
    value, error = of_windows(
        window_nll(model, Windows.whole("u@4", np.arange(20).reshape(5, 4) % 5))
    )
    assert value == pytest.approx(5, rel=1e-6)
    assert error == pytest.approx(0, abs=1e-6)


def test_one_window_has_no_standard_error():
    assert of_windows([1.0]) == (pytest.approx(math.e), None)


def test_a_ruined_model_has_infinite_or_undefined_perplexity_and_raises_nothing():
    assert of_windows([900.0])[0] == math.inf
    assert math.isnan(of_windows([math.nan, 1.0])[0])


def test_windows_score_as_a_slow_loop_in_float64(model, tokenizer):
    windows = stories(tokenizer, max_windows=2)
    slow = [slow_nll(model, window) for window in windows.tokens_NT]
    assert window_nll(model, windows) == pytest.approx(slow, rel=1e-5)


def test_a_stride_scores_each_token_as_a_loop_with_the_text_before_it(model, tokenizer):
    """Strides of HF's guide: each token by the window that reaches it first, in float64."""
    found = stories(tokenizer, seq_len=16, stride=6, max_windows=4)
    text = stories(tokenizer, seq_len=34, max_windows=1).tokens_NT[0]
    nats = []
    for place in range(1, 16 + 3 * 6):
        start = 0 if place < 16 else 6 * math.ceil((place - 15) / 6)
        logits = model(input_ids=torch.from_numpy(text[None, start:place])).logits[0, -1].double()
        nats.append(-float(logits.log_softmax(-1)[text[place]]))
    value = token_perplexity(scorer_of(model), found)
    assert value == pytest.approx(math.exp(np.mean(nats)), rel=1e-5)


def test_the_batch_size_does_not_move_the_result(model, tokenizer):
    windows = stories(tokenizer)
    one_by_one = window_nll(model, windows, batch_tokens=1)
    for batch_tokens in (64, 100, 10_000):
        assert window_nll(model, windows, batch_tokens) == pytest.approx(one_by_one, rel=1e-5)


def test_batches_hold_as_many_windows_as_the_tokens_allow():
    model = Known([[0.0, 1.0], [1.0, 0.0]])
    windows = Windows.whole("x@4", np.zeros((7, 4), dtype=np.int64))
    window_nll(model, windows, batch_tokens=13)
    assert model.shapes == [(3, 4), (3, 4), (1, 4)]


def test_memory_parts_do_not_move_the_result(model, tokenizer, monkeypatch):
    windows = stories(tokenizer)
    whole = window_nll(model, windows)
    monkeypatch.setattr(module, "ELEMENTS_ON_CPU", 300 * 10)  # ten positions at once
    assert (window_nll(model, windows) == whole).all()


def test_losses_are_float32_whatever_the_model_computes_in():
    logits = [[0.0, 8.0], [3.0, 0.0]]
    tokens = Windows.whole("x@3", np.array([[0, 1, 0]]))
    exact = window_nll(Known(logits), tokens)
    # 8 and 3 are exact in bfloat16, so that only the arithmetic after the logits could differ.
    assert (window_nll(Known(logits, torch.bfloat16), tokens) == exact).all()


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/my.text.txt", "b.jsonl.gz", "c.json.gz", "d.parquet"], ["my.text", "b", "c", "d"]),
        (["one/test.txt", "two/test.txt", "test/other.txt"], ["one/test", "two/test", "other"]),
    ],
)
def test_a_text_file_is_named_by_its_stem_and_its_folder_where_stems_clash(paths, names):
    settings = perplexity_of(*paths)
    assert settings.names() == names
    assert [dataset.name for dataset in settings.datasets()] == names


def test_text_files_are_corpora(tokenizer, tmp_path):
    texts = corpus().texts
    (tmp_path / "plain.txt").write_text("\n\n".join(texts))
    with gzip.open(tmp_path / "records.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in texts)
    settings = perplexity_of(*(str(path) for path in sorted(tmp_path.iterdir())))
    assert settings.names() == ["plain", "records"]
    plain, records = (
        windows_of(dataset, tokenizer, **settings.cutting(dataset.name))
        for dataset in settings.datasets()
    )
    assert plain.label == "plain@32"
    assert (plain.tokens_NT == records.tokens_NT).all()


@pytest.mark.parametrize(
    ("changes", "phrase"),
    [
        ({"seq_len": 1}, "seq_len=1: expected an integer >= 2"),
        ({"seq_len": "long"}, "seq_len='long'"),
        ({"batch_tokens": 0}, "batch_tokens=0"),
        ({"max_windows": 0}, "max_windows=0"),
        ({"max_windows": True}, "max_windows=True"),
        ({"max_windows": {"stories": 0}}, "max_windows={'stories': 0}: expected an integer >= 1"),
        ({"stride": 32}, "stride=32: expected an integer from 1 to 31, or null"),
        ({"stride": 31, "bos": "window"}, "stride=31: expected an integer from 1 to 30"),
        ({"stride": 0}, "stride=0: expected an integer from 1 to 31"),
        ({"bos": "always"}, "bos='always': expected one of stream, window, none"),
    ],
)
def test_bad_settings_are_named(changes, phrase):
    with pytest.raises(ConfigError) as raised:
        perplexity_of(corpus(), **changes)
    assert phrase in str(raised.value)


def test_corpora_must_be_a_list():
    with pytest.raises(ConfigError, match=r"corpora=.*expected a list"):
        perplexity_of()


@pytest.mark.parametrize("other", [None, 5, {"path": "a.txt"}, object(), Vocabulary(name="r")])
def test_a_corpus_is_a_path_or_a_dataset_with_documents(other):
    with pytest.raises(ConfigError, match=r"corpora=.*derived from calib_sweep\.dataset\.base"):
        perplexity_of(corpus(), other)


def test_check_reports_every_problem_at_once(tmp_path):
    (tmp_path / "stories.txt").write_text("text")
    missing = str(tmp_path / "nowhere.txt")
    settings = perplexity_of(missing, corpus(), str(tmp_path / "stories.txt"), seq_len=4096)
    with pytest.raises(ConfigError) as raised:
        settings.check(context_length=2048)
    problems = raised.value.problems
    assert len(problems) == 3
    assert "seq_len=4096: expected at most 2048" in problems[0]
    assert missing in problems[1] and "there is none" in problems[1]
    assert "2 corpora are called 'stories'" in problems[2]


def test_some_corpora_have_a_number_of_windows_of_their_own():
    settings = perplexity_of(corpus("a"), corpus("b"), max_windows={"a": 3})
    settings.check(None)
    assert [settings.cutting(name)["max_windows"] for name in "ab"] == [3, None]


def test_windows_of_a_corpus_that_is_not_scored_are_a_mistake():
    settings = perplexity_of(corpus("a"), max_windows={"c4": 256})
    with pytest.raises(ConfigError, match=r"max_windows\.c4: expected one of a, .*=null"):
        settings.check(None)


def test_check_accepts_the_context_length_itself_and_models_without_one():
    perplexity_of(corpus(), seq_len=2048).check(context_length=2048)
    perplexity_of(corpus(), seq_len=4096).check(context_length=None)
