"""Who scores: what is asked for, HFLM where a model cannot be packed, and for a compressed model
what scored its dense one."""

import json
import logging

import pytest
from helpers.fakes import save_tiny, tiny_model
from helpers.scored import VOCAB_SIZE, corpus, metric, perplexity_of, write_task, zero_shot_of
from helpers.sweeps import read_records
from lm_eval import __version__

from calib_sweep.errors import StoreError
from calib_sweep.evaluation.corpora.divergence import Divergence
from calib_sweep.evaluation.scorers import engines
from calib_sweep.evaluation.scorers.hflm import HFLMScorer
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.evaluation.suite import Evaluation

HFLM = f"hflm {__version__}"


@pytest.fixture
def prepare(task_folder, tokenizer):
    def prepared(engine="packed", *tasks):
        tasks = tasks or ("t_choice", "t_word", "t_page")
        headline = {"t_page": None} if "t_page" in tasks else {}
        return Evaluation(
            perplexity=perplexity_of(corpus("stories"), max_windows=3),
            zero_shot=zero_shot_of(task_folder, *tasks, headline=headline, scorer=engine),
            divergence=Divergence(num_tokens=50),
        ).prepare(tokenizer)

    return prepared


@pytest.fixture(scope="module")
def windowed():
    """A model whose attention sees 16 tokens: packing loses that."""
    return tiny_model("mistral", vocab_size=VOCAB_SIZE)


def scored(suite, model):
    return suite.score(suite.scorer(model), None)


def test_a_model_that_cannot_be_packed_is_scored_by_hflm_and_that_is_said_once(
    prepare, windowed, caplog
):
    suite = prepare()
    found, expected = scored(suite, windowed), scored(prepare("hflm"), windowed)
    assert found.versions["scorer"] == expected.versions["scorer"] == HFLM
    assert found.scores == expected.scores
    assert found.items.equals(expected.items)
    scored(suite, windowed)
    (told,) = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert "MistralForCausalLM is scored by lm-eval's HFLM" in told
    assert "in a row with others" in told


def test_a_model_that_can_be_packed_is_and_nothing_is_said(prepare, model, caplog):
    found = scored(prepare(), model)
    assert found.versions["scorer"] == "packed 1"
    expected = scored(prepare("hflm"), model)
    assert expected.versions["scorer"] == HFLM
    assert found.scores == pytest.approx(expected.scores, rel=1e-4)
    assert found.scores != expected.scores  # other last digits
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_whether_a_model_can_be_packed_is_found_out_once_for_all_cells(prepare, model, monkeypatch):
    asked = []
    monkeypatch.setattr(engines, "difference", lambda *_: asked.append("probe"))
    suite = prepare()
    for _ in range(3):
        assert isinstance(suite.scorer(model), PackedScorer)
    assert asked == ["probe"]


def test_every_task_is_probed_whole_texts_too(prepare, windowed):
    """t_word asks for nothing beyond the window of 16 tokens, but for some items; pages do."""
    assert isinstance(prepare("packed", "t_page").scorer(windowed), HFLMScorer)
    wide = tiny_model("mistral", vocab_size=VOCAB_SIZE, sliding_window=64)
    assert isinstance(prepare("packed", "t_word").scorer(wide), PackedScorer)
    assert isinstance(prepare("packed", "t_word", "t_page").scorer(wide), HFLMScorer)


def test_a_compressed_model_is_scored_by_what_scored_its_dense_one(
    prepare, model, windowed, monkeypatch
):
    suite = prepare()
    monkeypatch.setattr(engines, "difference", None)  # it is known, and not found out
    assert isinstance(suite.scorer(model, HFLM), HFLMScorer)
    assert isinstance(suite.scorer(windowed, "packed 1"), PackedScorer)
    by_hflm = prepare("hflm")
    assert isinstance(by_hflm.scorer(model, HFLM), HFLMScorer)
    with pytest.raises(StoreError, match=r"scored by 'packed 1', and here is 'hflm .*NEW_NAME"):
        by_hflm.scorer(model, "packed 1")
    with pytest.raises(StoreError, match="'packed 1' or 'hflm "):
        suite.scorer(model, "packed 9")


def test_the_fallback_has_the_settings_of_what_it_stands_for(prepare, windowed):
    suite = prepare()
    asked_for = suite.settings.scorer(windowed, suite.tokenizer)
    instead = suite.scorer(windowed)
    for setting in ("batch_tokens", "window_tokens", "model", "tokenizer"):
        assert getattr(instead, setting) is getattr(asked_for, setting)


def run_grid(run_cli, tiny_world, cwd, *words):
    """Dense and compressed cells of the small model in `cwd`, one task."""
    save_tiny("mistral", cwd / "tiny")
    item = {"question": "the river and the hill " * 2, "choices": ["a cat", "a dog"]}
    (cwd / "tasks").mkdir(exist_ok=True)
    write_task(
        cwd / "tasks",
        "t_far",
        [{**item, "label": label} for label in (0, 1)],
        output_type="multiple_choice",
        doc_to_text="question",
        doc_to_target="label",
        doc_to_choice="choices",
        metric_list=[metric("acc")],
    )
    kept = [word for word in tiny_world if not word.startswith(("model", "evaluation.zero_shot"))]
    tasks = [
        "evaluation.zero_shot.tasks=[t_far]",
        f"evaluation.zero_shot.include_path={cwd / 'tasks'}",
    ]
    model = ["model=hf", f"model.path={cwd / 'tiny'}", "model.dtype=float32", "model.device=cpu"]
    return run_cli("-m", *kept, *model, *tasks, *words, cwd=cwd)


def test_records_name_the_engine_and_a_later_cell_follows_the_dense_one(
    run_cli, tiny_world, tmp_path
):
    ended = run_grid(run_cli, tiny_world, tmp_path, "method=magnitude")
    assert ended.code == 0, ended.err
    records = read_records(tmp_path / "results/default")
    assert [r["versions"]["scorer"] for r in records] == [HFLM, HFLM]
    assert ended.err.count("is scored by lm-eval's HFLM") == 1
    # Another process, in which the dense model is never scored.
    ended = run_grid(run_cli, tiny_world, tmp_path, "method=rtn")
    assert ended.code == 0, ended.err
    assert "is scored by lm-eval's HFLM" not in ended.err
    (later,) = [
        r for r in read_records(tmp_path / "results/default") if r["cell"]["method"] == "rtn"
    ]
    assert later["versions"]["scorer"] == HFLM


def test_a_cell_whose_dense_cell_was_scored_by_another_engine_fails_and_says_so(
    run_cli, tiny_world, tmp_path
):
    assert run_grid(run_cli, tiny_world, tmp_path, "method=dense").code == 0
    (path,) = (tmp_path / "results/default").glob("*/record.json")
    record = json.loads(path.read_text())
    record["versions"]["scorer"] = "packed 0"
    path.write_text(json.dumps(record))
    ended = run_grid(run_cli, tiny_world, tmp_path, "method=magnitude")
    assert ended.code == 3
    assert "the dense model was scored by 'packed 0'" in ended.err
