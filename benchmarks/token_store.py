"""Measure draws from documents whose token ids are kept.

    python benchmarks/token_store.py          1 GB on disk, two minutes
    python benchmarks/token_store.py --documents 10000 --texts 200 --samples 16

First a million documents as long as those of C4: their tokens are log-normal with a mean of 480.
Their ids are drawn, not made by a tokenizer. A set has 128 samples of 2,048 tokens. Printed for
each window and design: seconds of wall clock and of one core, the fastest of five seeds

    look up    choose the samples and read their tokens, by a store that is open
    open       the same, by a store that is opened first, as in a new process
    draw       all: store, tokens, the text of each sample, the card

Then the sets of ten seeds, 32 samples of 512 tokens each, one after the other, from 2,000 texts of
the miniature world: seconds of one core, and how many documents were tokenised

    anew       nothing is kept
    kept       what was tokenised is
    whole      the corpus is tokenised whole before the first set
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from calib_sweep.dataset.calibration.sampling import cut_for, draw_from_source
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.calibration.windows import Source
from calib_sweep.dataset.documents.documents import Documents, generated
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.dataset.documents.token_store import TokenStore
from calib_sweep.dataset.documents.tokenizing import Tokenised
from calib_sweep.miniature import corpus
from calib_sweep.places import DOMAINS, WEIGHTS
from calib_sweep.seeding import stream

MEAN_TOKENS, SIGMA = 480, 1.1
BATCH = 20_000
NUM_SEEDS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="Draws from documents that are kept")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--samples", type=int, default=128)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    look_up(tokenizer, options.documents, options.samples)
    compare_ways(tokenizer, options.texts, options.samples // 4)


def look_up(tokenizer: PreTrainedTokenizerBase, num_documents: int, num_samples: int) -> None:
    """Print what a set takes from documents that are all kept."""
    texts = generated(num_documents, str, str).named(lambda: "drawn ids")
    with tempfile.TemporaryDirectory() as folder, kept_in(Path(folder)):
        store = TokenStore.of(texts, tokenizer, special=False)
        assert store is not None
        fill(store, num_documents, len(tokenizer))
        num_bytes = sum(file.stat().st_size for file in store.folder.iterdir())
        print(f"{num_documents:,} documents, {num_bytes / 1e9:.2f} GB on disk")
        for window in ("slice", "pack", "document"):
            for design in ("disjoint", "independent"):
                source = source_of(texts, tokenizer, window, num_samples, 2048, design)
                held = cut_for(source, 0).eligible
                print(f"{design}, {window}: {held:,} samples in the pool")
                report("look up", lambda seed, source=source: cut_for(source, seed))
                report("open", lambda seed, source=source: cut_for(replace(source), seed))
                report("draw", lambda seed, source=source: whole_draw(source, seed))


def whole_draw(source: Source, seed: int) -> object:
    """Draw as a cell does, by a store that is not open yet."""
    return draw_from_source(replace(source), seed, {})


def fill(store: TokenStore, num_documents: int, num_tokens: int) -> None:
    """Keep documents of drawn ids."""
    draws = stream("benchmarks/token_store", num_documents)
    for start in range(0, num_documents, BATCH):
        count = min(BATCH, num_documents - start)
        mean = np.log(MEAN_TOKENS) - SIGMA**2 / 2
        ends = np.cumsum(1 + draws.lognormal(mean, SIGMA, count).astype(int))
        ids = draws.integers(num_tokens, size=ends[-1])
        parts = np.split(ids, ends[:-1])
        store.add([Tokenised(start + row, True, part) for row, part in enumerate(parts)])
    store.flush()


def source_of(
    texts: Documents,
    tokenizer: PreTrainedTokenizerBase,
    window: str,
    num_samples: int,
    seq_len: int,
    design: str = "disjoint",
) -> Source:
    """Return the source of a set."""
    calibration = Calibration(
        num_samples=num_samples, seq_len=seq_len, design=design, window=window, bos="none"
    )
    return Source(
        name="texts",
        streams="texts",
        documents=texts,
        tokenizer=tokenizer,
        calibration=calibration,
    )


def report(name: str, work: Callable[[int], object]) -> None:
    """Print the seconds of the fastest seed."""
    taken = []
    for seed in range(5):
        start, cpu = time.perf_counter(), time.process_time()
        work(seed)
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
    wall, cpu = np.array(taken).min(0)
    print(f"  {name:8} {wall:6.3f} s, {cpu:6.3f} s of one core")


def compare_ways(tokenizer: PreTrainedTokenizerBase, num_texts: int, num_samples: int) -> None:
    """Print what the sets of ten seeds take from text."""
    written = write_texts(num_texts)
    print(
        f"{NUM_SEEDS} seeds from {num_texts:,} texts of {np.mean([*map(len, written)]):,.0f} bytes"
    )
    for way in ("anew", "kept", "whole"):
        read: list[int] = []

        def texts_at(positions: Sequence[int], read: list[int] = read) -> list[str]:
            read.extend(positions)
            return [written[i] for i in positions]

        texts = Documents(num_documents=num_texts, read=texts_at, id=str).named(lambda: "texts")
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            with kept_in(None if way == "anew" else Path(folder)):
                for seed in range(NUM_SEEDS):
                    source = source_of(texts, tokenizer, "slice", num_samples, 512)
                    if way == "whole":
                        source.tokenised.complete()
                    draw_from_source(source, seed, {})
            taken = time.process_time() - start
        print(f"  {way:8} {taken:6.2f} s of one core, {len(read):,} documents tokenised")


def write_texts(num_texts: int) -> list[str]:
    """Join documents of the miniature world to texts of very different lengths."""
    draws = stream("benchmarks/token_store/texts", num_texts)
    known = [corpus.document(DOMAINS[0], "calibration", i) for i in range(200)]
    counts = 1 + draws.lognormal(0, 1, num_texts).astype(int)
    return ["\n".join(known[i] for i in draws.integers(len(known), size=n)) for n in counts]


if __name__ == "__main__":
    main()
