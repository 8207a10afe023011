"""Training data: one long token array, windows drawn from it, and the repeats that teach copying.

Shapes: B batch, T tokens of a window.
"""

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from calib_sweep.miniature.corpus import document, practice_page
from calib_sweep.miniature.training.tokenizer import BOS, EOS, load_or_train
from calib_sweep.places import DOMAINS
from calib_sweep.seeding import stream

_CHUNK = 200  # documents that one worker writes at a time
NUM_PAGES = 8  # practice pages beside one document of every domain
REPEAT_SHARE = 0.25  # of the windows of a batch


def token_array(folder: Path, documents_per_domain: int, num_workers: int) -> np.ndarray:
    """uint16 tokens: the first training documents of every domain, and practice pages.

    One document of each domain, then the pages, in turn. Half of the joints are a blank line, as in
    evaluation text, half an end and a begin token.
    """
    load_or_train(folder)
    jobs = [
        (folder, first, min(first + _CHUNK, documents_per_domain))
        for first in range(0, documents_per_domain, _CHUNK)
    ]
    if num_workers <= 1:
        return np.concatenate([_encode(job) for job in jobs])
    with ProcessPoolExecutor(num_workers, mp_context=get_context("spawn")) as pool:
        return np.concatenate(list(pool.map(_encode, jobs)))


def _encode(job: tuple[Path, int, int]) -> np.ndarray:
    folder, first, last = job
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = load_or_train(folder)
    encode = tokenizer.backend_tokenizer.encode  # says nothing about texts beyond the context
    separators = (
        encode("\n\n").ids,
        encode(EOS + BOS).ids,
    )
    tokens: list[int] = []
    for index in range(first, last):
        texts = [document(domain, "train", index) for domain in DOMAINS]
        texts += [practice_page(NUM_PAGES * index + page) for page in range(NUM_PAGES)]
        for place, text in enumerate(texts):
            tokens += encode(text).ids
            tokens += separators[(index + place) % 2]
    return np.array(tokens, dtype=np.uint16)


class Batches:
    """The batch of a step is a function of the seed and the step, so training can be resumed."""

    def __init__(self, tokens: np.ndarray, seed: int) -> None:
        self.tokens, self.seed = tokens, seed
        # Square root: rare tokens must be copied too.
        weights = np.sqrt(np.bincount(tokens, minlength=int(tokens.max()) + 1))
        self._cumulative = np.cumsum(weights / weights.sum())

    @staticmethod
    def num_text(num_windows: int) -> int:
        """Windows of text in a batch; the others, behind them, repeat random tokens."""
        return num_windows - int(num_windows * REPEAT_SHARE)

    def draw(self, step: int, num_windows: int, seq_len: int) -> np.ndarray:
        """int64 [B, T]: windows of text, then windows that repeat a few random tokens."""
        generator = stream("miniature-batch", self.seed, step)
        num_text = self.num_text(num_windows)
        starts = generator.integers(0, len(self.tokens) - seq_len, num_text)
        text = self.tokens[starts[:, None] + np.arange(seq_len)]
        repeats = [self._repeat(generator, seq_len) for _ in range(num_windows - num_text)]
        return np.concatenate([text, *repeats]).astype(np.int64)

    def _repeat(self, generator: np.random.Generator, seq_len: int) -> np.ndarray:
        """A random segment again and again; in one window of four its pairs change order each time.

        The second kind can only be continued by looking up what followed a token.
        """
        length = 2 * int(generator.integers(4, 50))
        picks = np.searchsorted(self._cumulative, generator.random(length))
        segment = np.minimum(picks, len(self._cumulative) - 1).astype(np.uint16)
        if generator.random() < 0.75:
            return np.resize(segment, (1, seq_len))
        pairs = segment.reshape(-1, 2)
        rounds = [generator.permutation(pairs).ravel() for _ in range(seq_len // length + 1)]
        return np.concatenate(rounds)[None, :seq_len]
