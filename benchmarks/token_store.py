"""Measure a draw from documents whose token ids are kept, and from text.

    python benchmarks/token_store.py                     a million documents: 1 GB, two minutes
    python benchmarks/token_store.py --documents 10000

Documents are as long as those of C4: their tokens are log-normal with a mean of 480, two in a
hundred have 2,048. Their ids are drawn, not made by a tokenizer. The set has 128 samples of 2,048
tokens. Printed: seconds of wall clock and of processor time, best of five, in this process

    look up    choose the samples and read their tokens: by a store that was open before
    open       the same, by a store that is opened first, as in a new process
    draw       a whole draw: tokens, the text of each sample, the card
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from transformers import AutoTokenizer

from calib_sweep.dataset.calibration.sampling import _cut, draw_from_source
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.calibration.windows import Source
from calib_sweep.dataset.documents.documents import Documents, generated
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.dataset.documents.token_store import TokenStore
from calib_sweep.dataset.documents.tokenizing import Tokenised
from calib_sweep.places import WEIGHTS
from calib_sweep.seeding import stream

MEAN_TOKENS, SIGMA = 480, 1.1
BATCH = 20_000


def main() -> None:
    parser = argparse.ArgumentParser(description="A draw from documents that are kept")
    parser.add_argument("--documents", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    texts = generated(options.documents, str, str).named(lambda: "drawn ids")
    with tempfile.TemporaryDirectory() as folder, kept_in(Path(folder)):
        store = TokenStore.of(texts, tokenizer, special=False)
        assert store is not None
        fill(store, options.documents, len(tokenizer))
        num_bytes = sum(file.stat().st_size for file in store.folder.iterdir())
        print(f"{options.documents} documents, {num_bytes / 1e9:.2f} GB on disk")
        for window in ("slice", "pack", "document"):
            for design in ("disjoint", "independent"):
                measure(source_of(texts, tokenizer, design, window), options.repeats)


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


def source_of(texts: Documents, tokenizer, design: str, window: str) -> Source:
    """Return the source of a set as papers draw it."""
    calibration = Calibration(
        num_samples=128, seq_len=2048, design=design, window=window, bos="none"
    )
    return Source(
        name="c4",
        streams="c4",
        documents=texts,
        tokenizer=tokenizer,
        calibration=calibration,
    )


def measure(source: Source, repeats: int) -> None:
    """Print what a set of this source takes."""
    calibration = source.calibration

    def opened() -> Source:
        return Source(
            name=source.name,
            streams=source.streams,
            documents=source.documents,
            tokenizer=source.tokenizer,
            calibration=calibration,
        )

    seeds = range(repeats)
    cut = _cut(source, 0)
    pool = f"{cut.eligible} samples in the pool"
    print(f"{calibration.design}, {calibration.window}: {pool}")
    report("look up", [lambda k=k: _cut(source, k) for k in seeds])
    report("open", [lambda k=k: _cut(opened(), k) for k in seeds])
    report("draw", [lambda k=k: draw_from_source(opened(), k, {}) for k in seeds])


def report(name: str, tries: list[Callable[[], object]]) -> None:
    """Print the seconds of the fastest."""
    taken = []
    for one in tries:
        start, cpu = time.perf_counter(), time.process_time()
        one()
        taken.append((time.perf_counter() - start, time.process_time() - cpu))
    wall, cpu = np.array(taken).min(0)
    print(f"  {name:8} {wall:7.3f} s, {cpu:7.3f} s of a processor")


if __name__ == "__main__":
    main()
