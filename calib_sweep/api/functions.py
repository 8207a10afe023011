"""The front door for Python: what the command line says, as functions.

    model=miniature                                 model("miniature")
    method=gptq method.bits=3                       method("gptq", bits=3)
    rotation=hadamard                               rotation("hadamard")
    activations=int8                                activations("int8")
    dataset=text dataset.path=my/texts.jsonl        dataset("text", path="my/texts.jsonl")
    evaluation=paper                                evaluation("paper")
    -m method=wanda,rtn 'seed=range(5)'             run(["method=wanda,rtn", "seed=range(5)"])

Every default is the YAML's. Names and keys are looked up, checked and told as those of the command
line are, also in folders of your own (`./conf.local`, `$CALIB_SWEEP_CONF`). Modules of the current
folder are found. A mistake raises `calib_sweep.errors.ConfigError`. Building a part reads no
weights and no text: using it does.

One cell by hand has the scores that the command line writes into its record:

    >>> model = calib_sweep.model("miniature").load()
    >>> drawn = calib_sweep.draw("mini_web", "miniature", seed=0)
    >>> layers = calib_sweep.compress(model, "wanda", drawn)
    >>> calib_sweep.evaluate(model, "miniature").scores["ppl/geomean"]
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.api.composing import build, built, compose, part_of, part_or_none
from calib_sweep.api.given import (
    check_walk,
    compared_with,
    context_length,
    data_of,
    folder_of,
    in_eval_mode,
    model_of,
    require_model,
    require_scores,
    tokenizer_of,
)
from calib_sweep.errors import require
from calib_sweep.parts.interfaces import Evaluation, Model
from calib_sweep.sweep.words import word
from calib_sweep.targets import ACTIVATIONS, DATASET, EVALUATION, METHOD, ROTATION

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.activations.base import Activations
    from calib_sweep.analysis.report.opened import Report
    from calib_sweep.api.given import Lengths, Tokens, Weights
    from calib_sweep.compression.layer import LayerReport
    from calib_sweep.dataset.base import Dataset
    from calib_sweep.dataset.calibration.calibration_set import CalibrationSet
    from calib_sweep.evaluation.suite import Scores
    from calib_sweep.method.base import Method
    from calib_sweep.rotation.settings import Rotation

# A model whose YAML sets nothing else.
ANY_MODEL = ["model=hf", "model.path=."]


def model(name: str, /, **settings: object) -> Model:
    """Return the model of `model=NAME`, not loaded yet.

    `.load()` returns a Hugging Face model with its weights, `.load_tokenizer()` its tokenizer.

    Example: `calib_sweep.model("hf", path="facebook/opt-125m", dtype="float16").load()`.
    """
    return build("model", name, settings)


def method(name: str, /, **settings: object) -> "Method":
    """Return the compression method of `method=NAME`.

    Example: `calib_sweep.method("owl", sparsity=0.7, base={"pattern": "unstructured"})`.
    """
    return build("method", name, settings)


def rotation(name: str, /, **settings: object) -> "Rotation":
    """Return the rotation of `rotation=NAME`, for `compress`.

    Example: `calib_sweep.rotation("hadamard", seed=1)`.
    """
    return build("rotation", name, settings)


def activations(name: str, /, **settings: object) -> "Activations":
    """Return the quantiser of inputs of `activations=NAME`, for `compress`.

    Example: `calib_sweep.activations("int8", scaling="static")`.
    """
    return build("activations", name, settings)


def dataset(name: str, /, **settings: object) -> "Dataset":
    """Return the source of calibration text of `dataset=NAME`.

    Example: `calib_sweep.dataset("text", path="my/texts.jsonl", name="mine")`.
    With a selector: `selector="zipf"`, or `selector={"name": "zipf", "pool_size": 1024}`.
    """
    return build("dataset", name, settings)


def evaluation(name: str, /, **settings: object) -> Evaluation:
    """Return the evaluation of `evaluation=NAME`.

    Example: `calib_sweep.evaluation("miniature", zero_shot=None, perplexity={"max_windows": 2})`.
    """
    return build("evaluation", name, settings)


def draw(
    dataset: "str | Dataset",
    tokenizer: "str | Model | PreTrainedModel | PreTrainedTokenizerBase",
    *,
    num_samples: int | None = None,
    seq_len: int | Sequence[int] | None = None,
    seed: int | None = None,
    **settings: object,
) -> "CalibrationSet":
    """Draw the calibration set of a seed: `num_samples` sequences of `seq_len` tokens.

    dataset: a name, or what `dataset` returns.
    tokenizer: a tokenizer, a model that has one, or the name of a model. With a name, sizes are by
    default what they are under this model: the miniature's YAML brings smaller sets.
    seq_len: a list mixes lengths. settings: the other keys of `calibration`: design, window, bos.

    Example: `calib_sweep.draw("c4", "llama_7b", num_samples=64, seed=1).tokens_NT.shape`.
    """
    sizes = {"num_samples": num_samples, "seq_len": seq_len}
    given = {key: value for key, value in sizes.items() if value is not None} | settings
    typed = [word(f"calibration.{key}", value) for key, value in given.items()]
    typed += [word("seed", seed)] if seed is not None else []
    typed += [word("dataset", dataset)] if isinstance(dataset, str) else []
    typed += [word("model", tokenizer)] if isinstance(tokenizer, str) else ANY_MODEL
    config = compose(typed)
    from calib_sweep import drawing
    from calib_sweep.dataset.calibration.lengths import draw_set
    from calib_sweep.dataset.calibration.settings import Calibration, check_seed, sized

    check_seed(config["seed"])
    calibration = Calibration(**sized(config["calibration"]))
    source = part_of("dataset", DATASET, dataset, config)
    owner = built("model", config) if isinstance(tokenizer, str) else tokenizer
    if source.needs_model:
        with in_eval_mode(model_of(owner)) as loaded:
            return drawing.draw(source, loaded, tokenizer_of(owner), calibration, config["seed"])
    return draw_set(source, tokenizer_of(owner), calibration, config["seed"])


def compress(
    model: "PreTrainedModel",
    method: "str | Method",
    tokens: "Tokens | None" = None,
    *,
    rotation: "str | Rotation | None" = None,
    activations: "str | Activations | None" = None,
    lengths: "Lengths | None" = None,
    weights: "str | Weights | None" = None,
    **settings: object,
) -> "list[LayerReport]":
    """Compress a Hugging Face causal language model in place; return a report of every layer.

    The model is left in eval mode.

    method: a name, with the defaults of its YAML, or what `method` returns.
    tokens: token ids [num_samples, seq_len] or what `draw` returns; None will do for a method that
    needs no data.
    rotation: a name, or what `rotation` returns: how the model is rotated, first of all. None: not.
    activations: a name, or what `activations` returns: what inputs of linear layers are put through
    in the walk and from then on. None: nothing.
    lengths: valid tokens of each sample [num_samples], 1 to seq_len, where samples are padded on
    the right. What `draw` returns has its own.
    weights: how often each token counts in the method's statistics, numbers from 0 of the shape of
    tokens; or of a set the words of `calibration.weighting`: tokens, sequences, answers_only. None:
    each once. The model reads all tokens.
    settings: the keys of `walk`: propagate, true_sequential, batch_tokens, all_experts,
    tensor_cores.

    Example: `calib_sweep.compress(model, calib_sweep.method("wanda", sparsity=0.6), tokens)`.
    """
    require_model(model)
    typed = [word(f"walk.{key}", value) for key, value in settings.items()]
    chosen = {"method": method, "rotation": rotation, "activations": activations}
    typed += [word(group, name) for group, name in chosen.items() if isinstance(name, str)]
    config = compose(typed)
    from calib_sweep.compression.settings import Walk
    from calib_sweep.compression.walk import walk

    part = part_of("method", METHOD, method, config)
    rotating = part_or_none("rotation", ROTATION, rotation, config)
    quantizing = part_or_none("activations", ACTIVATIONS, activations, config)
    how, data = Walk(**config["walk"]), data_of(model, tokens, lengths, weights)
    if rotating is not None:
        rotating.check_method(part, is_quantized=quantizing is not None)
        check_walk(model, part, quantizing, how, data)  # what is refused leaves the model as it is
        rotating.apply(model, is_quantized=quantizing is not None)
    return walk(model, part, activations=quantizing, settings=how, **data)


def evaluate(
    model: "PreTrainedModel",
    evaluation: "str | Evaluation",
    *,
    tokenizer: "PreTrainedTokenizerBase | None" = None,
    dense: "Scores | None" = None,
) -> "Scores":
    """Score a model: `.scores` and `.stderr` by name, `.items` with a row for each item and window.

    The model is scored in eval mode, and is then again in the mode in which it was given.

    evaluation: a name, or what `evaluation` returns.
    tokenizer: of the model; None: the one that lies where the model was loaded from.
    dense: what this returned for the dense model, to have KL divergence and flips against it.

    Example: `calib_sweep.evaluate(model, "miniature").scores["ppl/geomean"]`.
    """
    require_model(model)
    require_scores(dense)
    config = compose([word("evaluation", evaluation)] if isinstance(evaluation, str) else [])
    part = part_of("evaluation", EVALUATION, evaluation, config)
    require(
        dense is None or part.divergence is None or dense.reference is not None,
        "dense",
        "scores without a reference",
        "what evaluate returned for the dense model, by an evaluation with divergence",
        "Score the dense model with the same evaluation, and hand over what that returns.",
    )
    part.check(context_length(model))
    prepared = part.prepare(tokenizer_of(model if tokenizer is None else tokenizer))
    with in_eval_mode(model), compared_with(dense) as reference:
        engine = None if dense is None else str(dense.versions["scorer"])
        return prepared.score(prepared.scorer(model, engine), reference)


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The end of a sweep."""

    code: int  # 0: all cells are done; 3: some failed, and a row of the scores says why
    folder: Path  # the records: results_dir/sweep_name

    def scores(self) -> "pd.DataFrame":
        """Return the scores of all cells, as `load_scores` does."""
        return load_scores(self.folder)


def run(overrides: Sequence[str]) -> Finished:
    """Run a grid, given in the words of the command line; finished cells are not run again.

    It is run as there, by any launcher, in a process of its own that finds the modules that this
    one finds. Raises `ConfigError` with all mistakes where the command line refuses.
    """
    from calib_sweep.api.child import run_in_child, words_of

    code, folder = run_in_child(words_of(overrides))
    return Finished(code=code, folder=folder)


def load_scores(folder: str | Path) -> "pd.DataFrame":
    """Return the scores of a sweep, a row for each cell and score.

    Columns: model, method, dataset, seed, replicate, one for each setting that was swept, settings
    (all of them as text), metric, value, stderr, status, error, cell_id; and what was measured of
    the cell: sparsity and bits per weight of the compressed layers, removed (the share of weights
    that went with whole parts), compress_s, total_s, peak_memory_gib.

    Example: `calib_sweep.load_scores("results/default").query("metric == 'acc/mean'")`.
    """
    from calib_sweep.analysis.report.write import require_records
    from calib_sweep.analysis.scores.table import read_table

    path = folder_of(folder)
    require_records(path)
    return read_table(path)


def load_report(folder: str | Path, settings: Sequence[str] = ()) -> "Report":
    """Return the tables, figures and sentences of a sweep's report, made anew from its records.

    `settings` are the words that the verb report takes: "analysis.published=self_calibration".

    Example: `calib_sweep.load_report("results/default").figure("seeds", "ppl/geomean")`.
    """
    from calib_sweep.analysis.report.opened import Report
    from calib_sweep.analysis.settings import read_settings

    words = [settings] if isinstance(settings, str) else settings
    return Report.of(folder_of(folder), read_settings(words))
