"""Measures the shipped model against its gates: `python -m calib_sweep.miniature.card`.

Perplexity of the dense model and of a trigram model on each domain's held-out text, accuracy of
each task against chance, sizes. Exit code 1 when a gate does not hold.
"""

import argparse
import logging
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from calib_sweep.miniature import DOMAINS, WEIGHTS
from calib_sweep.miniature.corpus import document
from calib_sweep.miniature.tasks import TASKS
from calib_sweep.miniature.tasks.load import read
from calib_sweep.miniature.trigram import Trigram

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

CHANCE = {
    "mini_facts": 0.25,
    # Who knows what kind of word is due and picks any such word of the passage: one in one to four.
    "mini_lastword": 0.58,
    "mini_coref": 0.5,
    "mini_story": 0.5,
    "mini_boolq": 0.5,
}
PERPLEXITY_RATIO = 0.7  # dense over trigram, at most
STANDARD_ERRORS = 3.0  # above chance, at least
MAX_BYTES = 6_000_000
SEQ_LEN = 256


def main() -> None:
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(
        prog="python -m calib_sweep.miniature.card", description=__doc__
    )
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument(
        "--documents", type=int, default=2_000, help="per domain, counted by the trigram model"
    )
    parser.add_argument(
        "--windows", type=int, default=64, help="held-out windows of 256 tokens per domain"
    )
    args = parser.parse_args()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(args.weights)
    model = AutoModelForCausalLM.from_pretrained(args.weights, dtype="float32").eval()
    lines = [
        *perplexity_lines(model, tokenizer, args.documents, args.windows),
        *accuracy_lines(model, tokenizer),
        size_line(args.weights, sum(p.numel() for p in model.parameters())),
    ]
    failed = 0
    for passed, line in lines:
        failed += not passed
        sys.stdout.write(f"{'pass' if passed else 'FAIL'}  {line}\n")
    sys.exit(1 if failed else 0)


def perplexity_lines(
    model: "PreTrainedModel",
    tokenizer: "PreTrainedTokenizerBase",
    num_documents: int,
    num_windows: int,
) -> Iterator[tuple[bool, str]]:
    """Dense and trigram perplexity on the same held-out windows, one gate per domain."""
    counted = [tokens(tokenizer, domain, "train", range(num_documents)) for domain in DOMAINS]
    trigram = Trigram(np.concatenate(counted), len(tokenizer))
    for domain in DOMAINS:
        windows_NT = held_out_windows(tokenizer, domain, num_windows)
        dense = dense_perplexity(model, windows_NT)
        counting = trigram.perplexity(windows_NT.ravel())
        ratio = dense / counting
        line = f"{domain:14} perplexity {dense:5.2f}, trigram {counting:5.2f}, ratio {ratio:.2f}"
        yield ratio <= PERPLEXITY_RATIO, line


def tokens(
    tokenizer: "PreTrainedTokenizerBase", domain: str, split: str, indices: range
) -> np.ndarray:
    """Tokens of documents joined by blank lines."""
    backend = cast("Tokenizer", tokenizer.backend_tokenizer)  # type: ignore[attr-defined]
    return np.array(backend.encode("\n\n".join(document(domain, split, i) for i in indices)).ids)


def held_out_windows(
    tokenizer: "PreTrainedTokenizerBase", domain: str, num_windows: int
) -> np.ndarray:
    """int64 [N, T]: the first windows of the domain's held-out text."""
    # A document has some 500 tokens; twice as many as are needed are written.
    stream = tokens(tokenizer, domain, "heldout", range(num_windows + 4))
    return stream[: num_windows * SEQ_LEN].reshape(-1, SEQ_LEN)


def dense_perplexity(model: "PreTrainedModel", windows_NT: np.ndarray) -> float:
    """exp of the mean nats per token; the first token of each window is not scored."""
    import torch

    with torch.inference_mode():
        losses = [
            float(model(input_ids=batch, labels=batch).loss)
            for batch in torch.from_numpy(windows_NT).split(1)
        ]
    return math.exp(float(np.mean(losses)))


def accuracy_lines(
    model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase"
) -> Iterator[tuple[bool, str]]:
    """Accuracy of every task by lm-eval, one gate per task."""
    from calib_sweep.evaluation.tasks import ZeroShot
    from calib_sweep.evaluation.zero_shot import prepare_tasks

    settings = ZeroShot(
        tasks=list(TASKS),
        headline={},
        include_path=None,
        storycloze_path=None,
        num_items=None,
        batch_size=32,
    )
    for task, score in prepare_tasks(settings, tokenizer).score(model).items():
        accuracy, chance, count = score.metrics["acc"], CHANCE[task], len(read(task))
        error = math.sqrt(accuracy * (1 - accuracy) / (count - 1))
        line = (
            f"{task:14} accuracy {accuracy:.3f}, SE {error:.3f}, {count} items, chance {chance:.2f}"
        )
        yield accuracy - chance >= STANDARD_ERRORS * max(error, 1 / count), line


def size_line(folder: Path, num_parameters: int) -> tuple[bool, str]:
    size = (folder / "model.safetensors").stat().st_size
    return size < MAX_BYTES, f"{num_parameters:,} parameters, {size:,} bytes of weights"


if __name__ == "__main__":
    main()
