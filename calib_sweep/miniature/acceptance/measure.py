"""Measure a checkpoint outside the grid: its dense scores, copying, what moves weights.

Perplexity and accuracy are those of any cell, on more windows and on all items.

Shapes: N lists or windows, L tokens of a list, T tokens of a window.
"""

import copy
import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from calib_sweep import atomic, valid_json
from calib_sweep.cell import Config, digest
from calib_sweep.compression.walk import compress
from calib_sweep.evaluation.suite import PreparedSuite
from calib_sweep.evaluation.windows import JOIN, Windows
from calib_sweep.method.base import Method
from calib_sweep.miniature import corpus
from calib_sweep.miniature.acceptance.gates import Dense
from calib_sweep.miniature.acceptance.grid import model_overrides
from calib_sweep.miniature.acceptance.guessing import guessing
from calib_sweep.miniature.acceptance.trigram import Trigram
from calib_sweep.miniature.tasks.load import read
from calib_sweep.parts.building import Builder
from calib_sweep.places import CONF, DOMAINS, TASKS
from calib_sweep.seeding import stream
from calib_sweep.sweep.plan import compose_command_line

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

NUM_WINDOWS = 64  # of each domain
NUM_LISTS, LIST_LENGTH = 64, 32  # of words that are one token each
DATA_FREE = {
    "magnitude": ["method=magnitude"],
    "magnitude_24": ["method=magnitude_24"],
    "rtn 3 bit": ["method=rtn", "method.bits=3"],
}
TRIGRAMS = "miniature_trigram.json"  # counting takes longer than all else here
CHUNK = 500  # documents that are tokenised at once


def measure(weights: Path, results: Path, num_documents: int) -> Dense:
    """Score the checkpoint; `num_documents` of each domain are counted by its trigram model."""
    config = _config(
        *model_overrides(weights),
        f"evaluation.perplexity.max_windows={NUM_WINDOWS}",
        "evaluation.zero_shot.num_items=null",
        "evaluation.divergence=null",
    )
    torch.set_num_threads(config["num_threads"])
    build = Builder().build
    part = build("model", config["model"])
    model, tokenizer = part.load(), part.load_tokenizer()
    suite = build("evaluation", config["evaluation"]).prepare(tokenizer)
    assert isinstance(suite, PreparedSuite)
    scores = suite.score(suite.scorer(model), None).scores
    trigram = {
        domain: trigram_perplexity(windows, domain, tokenizer, num_documents, results / TRIGRAMS)
        for domain, windows in zip(DOMAINS, suite.windows, strict=True)
    }
    return Dense(
        perplexity={
            domain: scores[f"ppl/{windows.label}"]
            for domain, windows in zip(DOMAINS, suite.windows, strict=True)
        },
        trigram=trigram,
        accuracy={task: scores[f"acc/{task}"] for task in TASKS},
        guessing={task: guessing(task) for task in TASKS},
        num_items=len(read(TASKS[0])),
        copying=copying(model, word_lists(tokenizer)),
        moved={
            name: num_moved(model, build("method", _config(*choice)["method"]))
            for name, choice in DATA_FREE.items()
        },
        num_parameters=sum(parameter.numel() for parameter in model.parameters()),
        num_bytes=(weights / "model.safetensors").stat().st_size,
    )


def _config(*overrides: str) -> Config:
    """The configuration of one cell, composed as from the command line."""
    (point,) = compose_command_line(CONF, overrides)
    return point.config


def trigram_perplexity(
    windows: Windows,
    domain: str,
    tokenizer: "PreTrainedTokenizerBase",
    num_documents: int,
    cache: Path,
) -> float:
    """Perplexity of the tokens that the model is scored on, by counts of the domain's own text."""
    text = "\n".join(corpus.documents(domain, "train", 2))
    key = digest([text, tokenizer.get_vocab(), num_documents, windows.hash(), domain])
    known = valid_json.numbers(json.loads(cache.read_text())) if cache.exists() else {}
    if key not in known:
        counted = Trigram(domain_tokens(domain, tokenizer, num_documents), len(tokenizer))
        known[key] = counted_perplexity(counted, windows)
        cache.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(cache, valid_json.dumps(known, indent=1) + "\n")
    return known[key]


def domain_tokens(
    domain: str, tokenizer: "PreTrainedTokenizerBase", num_documents: int
) -> np.ndarray:
    """Tokens of the first training documents of a domain, joined by blank lines."""
    parts = []
    for first in range(0, num_documents, CHUNK):
        last = min(first + CHUNK, num_documents)
        texts = (corpus.document(domain, "train", i) + JOIN for i in range(first, last))
        encoded: Any = tokenizer(
            "".join(texts), verbose=False
        )  # longer than the context, on purpose
        parts.append(np.array(encoded["input_ids"], dtype=np.uint16))
    return np.concatenate(parts)


def counted_perplexity(trigram: Trigram, windows: Windows) -> float:
    """Over the scored tokens: all but the first of each window, and the second of the first."""
    nats = trigram.nats(windows.tokens_NT.ravel())
    place = np.arange(2, windows.tokens_NT.size) % windows.seq_len
    return math.exp(float(nats[place > 0].mean()))


def word_lists(tokenizer: "PreTrainedTokenizerBase") -> np.ndarray:
    """Random lists of different words, one token each [N, L]."""
    texts = [str(tokenizer.decode([token])) for token in range(len(tokenizer))]
    words = [
        token
        for token, text in enumerate(texts)
        if text[:1] == " " and text[1:].isalpha() and text[1:].islower() and len(text) > 3
    ]
    draws = [stream("miniature-word-list", index) for index in range(NUM_LISTS)]
    return np.array([draw.choice(words, LIST_LENGTH, replace=False) for draw in draws])


@torch.inference_mode()
def copying(model: "PreTrainedModel", lists_NL: np.ndarray) -> tuple[float, float]:
    """Nats per token of lists that are said twice: the first time, the second time.

    The first token of a list is left out, as it has no context the first time.
    """
    num_first = lists_NL.shape[1]
    tokens_NT = torch.from_numpy(np.concatenate([lists_NL, lists_NL], axis=1))
    log_probs_NTV = model(input_ids=tokens_NT).logits[:, :-1].float().log_softmax(-1)
    nats_NT = -log_probs_NTV.gather(-1, tokens_NT[:, 1:, None]).squeeze(-1)
    return float(nats_NT[:, : num_first - 1].mean()), float(nats_NT[:, num_first:].mean())


def num_moved(model: "PreTrainedModel", method: Method) -> int:
    """Weights that differ when `method` is given one calibration set and another."""
    compressed = []
    for seed in range(2):
        draw = stream("miniature-random-set", seed)
        tokens_NT = torch.from_numpy(draw.integers(0, model.config.vocab_size, (2, 32)))
        compressed.append(copy.deepcopy(model))
        compress(compressed[-1], method, tokens_NT)
    pairs = zip(*(one.parameters() for one in compressed), strict=True)
    return sum(int((first != again).sum()) for first, again in pairs)
