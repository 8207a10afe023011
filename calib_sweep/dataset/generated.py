"""Text that the model writes itself: the calibration data of what it knows.

    self_calibration   from nothing but the token that stands before text; Williams, Chrysostomou
                       and Aletras 2025, arXiv:2410.17170
    continued          from the first tokens of other documents, then only what the model itself
                       finds likely is kept; Ji et al. 2024, "Beware of calibration data"

A text ends with the token that ends texts, which stays in the sample. Further texts, each written
from its own beginning, fill the sample; `calibration.window=document` takes one text instead and
pads. No text is empty, and one that does not end is cut at the end of the sample (`writing`).
`bos: document` keeps the token before a text where the tokenizer sets it before documents, `bos:
sample` keeps the one at the head of the sample, `bos: none` keeps none; the model sees it anyway.

Sample i of a seed has its own stream: the first n samples are the same for every larger n, and no
sample depends on its batch, but for the rounding of half precision. On a GPU batches are therefore
always full. Sets are drawn once for each model and kept (`drawing`).

With `keep_below` a pool of `pool_size` samples is written, and those are taken in order whose
perplexity under the model is below that quantile of the pool.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.base import Dataset, check_part, draw_part
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Sample
from calib_sweep.dataset.calibration.sampling import make_card
from calib_sweep.dataset.calibration.settings import Calibration, check_seed
from calib_sweep.dataset.documents.tokenizing import encode
from calib_sweep.dataset.generating.first_words import first_tokens, start_token
from calib_sweep.dataset.generating.padding import assemble
from calib_sweep.dataset.generating.pool import below_quantile, num_below, smallest_pool
from calib_sweep.dataset.generating.settings import check_settings
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.model.writing import Page, Sampling

log = logging.getLogger(__name__)

PREFIXES = 16  # of a sample: its texts go on from so many stretches of its document, in turn


@dataclass(frozen=True, kw_only=True)
class Generated(Dataset):
    """Samples that the model writes token by token."""

    name: str  # label in records and tables; also names the random streams of the draw
    t_init: float  # temperature of the first token of a text; 0: the likeliest token
    t_final: float  # temperature from token t_tokens on; between them it changes linearly
    t_tokens: int  # 0: t_final from the first token on
    top_k: int | None  # draw from so many likeliest tokens; None: from all
    top_p: float | None  # draw from the likeliest tokens that have this share together; None: all
    repetition_penalty: float  # of tokens that the text has already; 1: none
    first_tokens: str | Sequence[str] | None  # words that texts begin with | english | None: any
    prefix: Dataset | None  # texts go on from the beginnings of its documents; None: from nothing
    prefix_tokens: int | None  # how long these are; with `prefix`
    keep_below: float | None  # keep samples below this quantile of the pool's perplexity; None: all
    pool_size: int | None  # samples written to choose from; with `keep_below`
    rows: int | None  # samples written at once: memory, speed; None: by device

    @property
    def needs_model(self) -> bool:
        """Tell that the model is asked, always."""
        return True

    def __post_init__(self) -> None:
        check_settings({field.name: getattr(self, field.name) for field in fields(self)})

    def check(
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> None:
        """Raise `ConfigError` for all that hinders the draw and shows without the model."""
        with collected() as problems:
            problems.of(check_seed, seed)
            problems.of(
                require,
                calibration.design != "reference",
                "calibration.design",
                calibration.design,
                "disjoint or independent, as no published loader has the model write",
                "Type calibration.design=disjoint.",
            )
            problems.of(start_token, tokenizer)
            problems.of(first_tokens, tokenizer, self.first_tokens)
            problems.of(self._check_pool, calibration)
            if self.prefix is not None:
                problems.of(check_part, self.prefix, tokenizer, self._of_prefix(calibration), seed)

    @property
    def tells_answers(self) -> bool:
        """Text that the model writes is not told apart."""
        return False

    def draw(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel | None" = None,
    ) -> CalibrationSet:
        """Return the calibration set of this seed, written by `model`."""
        assert model is not None
        self.check(tokenizer, calibration, seed)
        start = time.perf_counter()
        written, num_written = self._write(tokenizer, calibration, seed, model)
        tokens_NT, lengths_N = assemble(written, calibration, tokenizer)
        chosen, selection = self._select(model, tokens_NT, lengths_N, calibration)
        tokens_NT, lengths_N = tokens_NT[chosen], None if lengths_N is None else lengths_N[chosen]
        card = make_card(self.name, self.provenance(), None, calibration, seed, tokenizer)
        seconds = round(time.perf_counter() - start, 3)
        card["cost"] = {"seconds": seconds, "tokens_written": num_written}
        if selection is not None:
            card["selection"] = selection
        lengths = [len(written[i]) for i in chosen]
        samples: list[Sample] = [
            {"document": f"{seed}:{i}", "offset": 0, "text": str(tokenizer.decode(row[:length]))}
            for i, row, length in zip(chosen, tokens_NT, lengths, strict=True)
        ]
        return CalibrationSet(tokens_NT=tokens_NT, lengths_N=lengths_N, samples=samples, card=card)

    def provenance(self) -> dict[str, object]:
        """Return how the text is written."""
        settings = {field.name: getattr(self, field.name) for field in fields(self)}
        del settings["name"]
        prefix = None if self.prefix is None else self.prefix.name
        return {"source": "written by the model", **settings, "prefix": prefix}

    def fingerprint(self) -> str | None:
        """Content hash of the files that prefixes are from; None: nothing is read."""
        return None if self.prefix is None else self.prefix.fingerprint()

    def sources(self) -> dict[str, str]:
        """Return where prefixes are from."""
        return {} if self.prefix is None else self.prefix.sources()

    def _check_pool(self, calibration: Calibration) -> None:
        if self.keep_below is None or self.pool_size is None:
            return
        num_kept, count = num_below(self.keep_below, self.pool_size), calibration.num_samples
        least = smallest_pool(self.keep_below, count)
        require(
            num_kept >= count,
            "dataset.pool_size",
            self.pool_size,
            f"at least {least}, as {num_kept} of {self.pool_size} samples are below the quantile "
            f"{self.keep_below} and calibration.num_samples={count}",
            f"Example: dataset.pool_size={least}.",
        )

    def _of_prefix(self, calibration: Calibration) -> Calibration:
        """How prefixes are drawn: the head of one document for each sample."""
        num_samples = self.pool_size or calibration.num_samples
        length = PREFIXES * (self.prefix_tokens or 1)
        how = {"num_samples": num_samples, "seq_len": length, "window": "document", "bos": "none"}
        return replace(calibration, **how)

    def _write(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel",
    ) -> tuple[list[list[int]], int]:
        """Return the tokens of every sample of the pool, and how many the model wrote for them."""
        from calib_sweep.model.writing import rows_at_once, write

        page, sampling = self._page(tokenizer, calibration, model), self._sampling()
        prefixes = self._prefixes(tokenizer, calibration, seed, model)
        num_samples, length = self.pool_size or calibration.num_samples, calibration.seq_len
        num_rows = self.rows or rows_at_once(model, length)
        written: list[list[int]] = []
        num_written, started = 0, time.perf_counter()
        while len(written) < num_samples:
            first = len(written)
            end = first + num_rows
            if model.device.type == "cpu":  # where rows that nobody asked for take their time
                end = min(end, num_samples)
            names = [("calibration/generated", self.name, seed, i) for i in range(first, end)]
            uniform_BT = np.stack([stream(*name).random(length) for name in names])
            own = prefixes and [prefixes[i % num_samples] for i in range(first, end)]
            found = write(model, page, sampling, uniform_BT, own)
            written += found
            num_written += sum(map(len, found))
            speed = num_written / (time.perf_counter() - started)
            told = "%s seed %d: the model has written %d of %d samples, %.0f tokens/s"
            log.info(told, self.name, seed, min(len(written), num_samples), num_samples, speed)
        return written[:num_samples], num_written

    def _page(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        model: "PreTrainedModel",
    ) -> "Page":
        from calib_sweep.model.generation import ends_of
        from calib_sweep.model.writing import Page

        start = start_token(tokenizer)
        is_added = encode(tokenizer, ["a"], special=True)[0][0] == start
        keeps = {"none": "none", "sample": "sample", "document": "text" if is_added else "none"}
        known = model.config.get_text_config(decoder=True).vocab_size
        return Page(
            num_tokens=calibration.seq_len,
            start=start,
            keeps_start=keeps[calibration.bos],
            ends=ends_of(model, tokenizer),
            is_joined=calibration.window != "document",
            vocabulary=min(len(tokenizer), known),
            first=first_tokens(tokenizer, self.first_tokens),
        )

    def _sampling(self) -> "Sampling":
        from calib_sweep.model.writing import Sampling

        return Sampling(
            t_init=self.t_init,
            t_final=self.t_final,
            t_tokens=self.t_tokens,
            top_k=self.top_k,
            top_p=self.top_p,
            repetition_penalty=self.repetition_penalty,
        )

    def _prefixes(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel",
    ) -> list[list[list[int]]] | None:
        """Return for every sample the stretches of a document that its texts go on from in turn."""
        if self.prefix is None or self.prefix_tokens is None:
            return None
        drawn = draw_part(self.prefix, tokenizer, self._of_prefix(calibration), seed, model)
        rows = [r[:n].tolist() for r, n in zip(drawn.tokens_NT, drawn.ends_N, strict=True)]
        size = self.prefix_tokens
        return [[row[at : at + size] for at in range(0, len(row), size)] for row in rows]

    def _select(
        self,
        model: "PreTrainedModel",
        tokens_NT: np.ndarray,
        lengths_N: np.ndarray | None,
        calibration: Calibration,
    ) -> tuple[list[int], Mapping[str, object] | None]:
        """Return which samples of the pool are taken, and the note of how."""
        from calib_sweep.model.likelihood import sample_perplexities, token_log_probs

        if self.keep_below is None:
            return list(range(len(tokens_NT))), None
        score_N = sample_perplexities(token_log_probs(model, tokens_NT, lengths_N))
        chosen = below_quantile(score_N, self.keep_below)[: calibration.num_samples]
        if len(chosen) < calibration.num_samples:
            raise ConfigError(
                f"dataset.pool_size={self.pool_size}: expected more, as only {len(chosen)} of its "
                f"samples have a perplexity below the quantile {self.keep_below}: others are "
                f"equal. Example: dataset.pool_size={2 * len(tokens_NT)}."
            )
        return chosen, {
            "selector": f"perplexity below the quantile {self.keep_below}",
            "pool_size": len(tokens_NT),
            "scores": [round(float(score), 4) for score in score_N],
            "chosen": chosen,
        }
