"""Every conf/evaluation/*.yaml composes, builds and can be typed over; the miniature one is run."""

import subprocess
import sys
from dataclasses import replace

import pytest
from helpers.repository import ROOT
from helpers.scored import text
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.suite import Evaluation
from calib_sweep.evaluation.windows import windows_of
from calib_sweep.places import DOMAINS, TASKS, WEIGHTS

CONF = ROOT / "conf"
NAMES = sorted(path.stem for path in (CONF / "evaluation").glob("*.yaml"))


def build(name, *overrides):
    with initialize_config_dir(str(CONF), version_base=None):
        config = compose(f"evaluation/{name}", overrides=[f"evaluation.{o}" for o in overrides])
    return instantiate(OmegaConf.to_container(config.evaluation), _convert_="all")


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("\n\n".join(text(i) for i in range(40)))
    return path


@pytest.mark.parametrize("name", NAMES)
def test_it_builds_and_passes_its_own_check(name, story):
    corpora = [f"perplexity.corpora=[{story}]"] if name == "text" else []
    evaluation = build(name, *corpora)
    assert isinstance(evaluation, Evaluation)
    evaluation.check(context_length=4096)


def test_the_paper_scores_ten_tasks_once_storycloze_is_given(tmp_path):
    assert len(build("paper").zero_shot.names()) == 9
    cloze = tmp_path / "cloze.csv"
    assert (
        build("paper", f"zero_shot.storycloze_path={cloze}").zero_shot.names()[-1] == "storycloze"
    )
    assert build("paper").perplexity.names() == ["wikitext2", "c4"]
    assert build("paper").perplexity == build("perplexity").perplexity


def test_wikitext2_is_the_same_corpus_alone_and_beside_c4():
    alone, both = build("wikitext2").perplexity, build("perplexity").perplexity
    assert alone.corpora[0] == both.corpora[0]
    assert alone.cutting("wikitext2") == both.cutting("wikitext2")


@pytest.mark.slow
def test_c4_is_cut_as_the_papers_cut_it(tmp_path, tokenizer):
    """On a copy with the hub's file layout, against the lines of their loaders."""
    import gzip
    import json

    texts = [text(i) for i in range(1200)]
    for shard, own in enumerate((texts, ["another shard"])):
        file = tmp_path / "en" / f"c4-validation.{shard:05d}-of-00008.json.gz"
        file.parent.mkdir(exist_ok=True)
        rows = [{"text": t, "timestamp": "2019-04-25T12:57:54Z", "url": "u"} for t in own]
        file.write_bytes(gzip.compress("".join(json.dumps(r) + "\n" for r in rows).encode()))
    perplexity = build("perplexity").perplexity
    c4 = replace(perplexity.corpora[1], path=str(tmp_path))
    short = perplexity.cutting("c4") | {"seq_len": 64}
    windows = windows_of(c4, tokenizer, **short)
    valenc = tokenizer(" ".join(texts[:1100]), verbose=False)["input_ids"]
    valenc = valenc[: 256 * 64]
    nsamples = len(valenc) // 64
    assert windows.tokens_NT.tolist() == [valenc[i * 64 : (i + 1) * 64] for i in range(nsamples)]
    assert (windows.label, nsamples) == ("c4@64", 256)
    # Where 1,100 documents fill fewer windows, no more documents are read.
    windows = windows_of(c4, tokenizer, **short | {"max_windows": 10**6})
    assert len(windows.tokens_NT) == len(tokenizer(" ".join(texts[:1100]))["input_ids"]) // 64


def test_wikitext2_is_cut_as_the_papers_cut_it():
    perplexity = build("wikitext2").perplexity
    assert (perplexity.seq_len, perplexity.bos, perplexity.max_windows) == (2048, "stream", None)
    (test_split,) = perplexity.corpora
    assert test_split.num_documents is None
    assert test_split.join == "\n\n"
    assert test_split.data_files == ["wikitext-2-raw-v1/test-00000-of-00001.parquet"]


@pytest.mark.parametrize("name", NAMES)
def test_a_text_file_takes_the_place_of_the_corpora(name, story, tokenizer):
    changes = [f"perplexity.{one}" for one in (f"corpora=[{story}]", "seq_len=64")]
    evaluation = build(name, *changes, "perplexity.max_windows=null", "zero_shot=null")
    evaluation.check(None)
    (windows,) = evaluation.prepare(tokenizer).windows
    assert windows.label == "story@64"


def test_mmlu_is_asked_with_five_solved_questions_and_counts_once():
    zero_shot = build("mmlu").zero_shot
    assert len(zero_shot.files()) == 57 and zero_shot.selection.counted == ["mmlu"]
    assert {zero_shot.shots_of(name) for name in zero_shot.files()} == {5}


def test_modern_counts_each_of_its_tasks_once_by_the_metric_that_is_reported():
    zero_shot = build("modern").zero_shot
    counts = {name: zero_shot.headline_of(name) for name in zero_shot.selection.counted}
    assert counts == {
        "mmlu": "acc",
        "gsm8k": "exact_match,strict-match",
        "ifeval": "prompt_level_strict_acc",
        "arc_challenge": "acc_norm",
        "hellaswag": "acc_norm",
        "winogrande": "acc",
        "truthfulqa_mc1": "acc",
        "truthfulqa_mc2": None,
    }
    shots = {name: zero_shot.shots_of(name) for name in ("mmlu_virology", "gsm8k", "arc_challenge")}
    assert shots == {"mmlu_virology": 5, "gsm8k": None, "arc_challenge": 25}
    told = "tasks='ifeval': .*1024 tokens, but they may have 1280. Type .*max_gen_toks=512"
    with pytest.raises(ConfigError, match=told):
        build("modern", "perplexity=null").check(context_length=1024)
    build("modern", "perplexity=null", "zero_shot.max_gen_toks=512").check(context_length=1024)


def test_quick_is_a_part_of_the_paper():
    quick, paper = build("quick"), build("paper")
    assert set(quick.zero_shot.tasks) < set(paper.zero_shot.tasks)
    assert (quick.zero_shot.num_items, quick.perplexity.max_windows) == (200, 32)


def test_the_miniature_with_answers_is_the_miniature_and_one_task_more():
    plain, answers = build("miniature"), build("miniature_answers")
    more = replace(
        plain.zero_shot,
        tasks=[*plain.zero_shot.tasks, "mini_answers"],
        headline={"mini_answers": "exact_match"},
    )
    assert answers == replace(plain, zero_shot=more)


def test_parts_are_switched_off_by_null():
    assert build("miniature", "zero_shot=null", "divergence=null").divergence is None
    assert build("miniature", "perplexity=null").perplexity is None
    with pytest.raises(Exception, match="perplexity, zero_shot or both"):
        build("miniature", "perplexity=null", "zero_shot=null")


def test_a_window_longer_than_the_context_is_found_before_any_weight_is_read():
    with pytest.raises(ConfigError, match=r"seq_len=2048: expected at most 256"):
        build("miniature", "perplexity.seq_len=2048").check(context_length=256)


def test_building_and_checking_imports_nothing_heavy():
    script = f"""
import sys
from hydra.utils import instantiate
from omegaconf import OmegaConf
config = OmegaConf.load({str(CONF / "evaluation" / "miniature.yaml")!r})
instantiate(OmegaConf.to_container(config), _convert_="all").check(256)
heavy = ["torch", "transformers", "datasets", "lm_eval", "pandas", "accelerate"]
print([name for name in heavy if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.skipif(not (WEIGHTS / "model.safetensors").exists(), reason="weights not built yet")
def test_the_miniature_world_is_scored():
    from transformers import AutoModelForCausalLM, AutoTokenizer

    evaluation = build("miniature", "zero_shot.num_items=20", "perplexity.max_windows=2")
    suite = evaluation.prepare(AutoTokenizer.from_pretrained(WEIGHTS))
    model = AutoModelForCausalLM.from_pretrained(WEIGHTS, dtype="float32").eval()
    dense = suite.score(suite.scorer(model), None)
    corpora = [f"ppl/{domain}@256" for domain in DOMAINS]
    assert set(corpora + [f"acc/{task}" for task in TASKS]) < set(dense.scores)
    assert all(1 < dense.scores[name] < 10 for name in corpora)
    assert 0.4 < dense.scores["acc/mean"] <= 1
    again = suite.score(suite.scorer(model), dense.reference)
    assert all(abs(again.scores[f"kl/{domain}@256"]) < 2e-6 for domain in DOMAINS)
    assert all(again.scores[f"flips/{task}"] == 0 for task in TASKS)
