"""A dataset of which a selector chooses: a seeded pool is drawn first, then n samples of it.

The pool is the source's own set of that seed with `pool_size` samples, so every design, window and
kind of dataset works, and disjoint pools make disjoint sets. A mixture draws part after part: its
pool is shuffled before it is shown, or a selector that takes the first that will do would choose
from the first part alone. Numbers of candidates in the card are those of the source's own order.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from calib_sweep.cell import kind_of
from calib_sweep.dataset.base import Dataset, check_part, draw_part
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Card
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.selector.base import KEY, Pool, Selection, Selector
from calib_sweep.errors import ConfigError
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Selected(Dataset):
    """A dataset and who chooses from it. `dataset/selector=NAME` makes one of any dataset."""

    source: Dataset
    selector: Selector
    name: str = field(init=False)  # the source's: tables show the selector beside it

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.source.name)

    @property
    def needs_model(self) -> bool:
        """Tell whether the source or the selector does."""
        return self.source.needs_model or self.selector.needs_model

    @property
    def tells_answers(self) -> bool:
        """Tell whether the source does."""
        return self.source.tells_answers

    def draw(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel | None" = None,
    ) -> CalibrationSet:
        """Return what the selector chooses from the pool of this seed."""
        pool = self._of_pool(draw_part, tokenizer, calibration, seed, model)
        order_C = self._order(pool, seed)
        start = time.perf_counter()
        selection = self.selector.select(
            Pool(
                candidates=pool.take(order_C, pool.card),
                draw_name=self.draw_name(),
                seed=seed,
                tokenizer=tokenizer,
                model=model if self.selector.needs_model else None,
            ),
            calibration.num_samples,
        )
        seconds = round(time.perf_counter() - start, 3)
        chosen_N = _checked(selection, len(pool.samples), calibration.num_samples, self.selector)
        chosen_N = order_C[chosen_N]
        if selection.scores_C is not None:
            selection = replace(selection, scores_C=selection.scores_C[np.argsort(order_C)])
        card = self._card(pool.card, selection, chosen_N, seconds)
        return pool.take(chosen_N, card)

    def check(
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> None:
        """Check the selector, then the pool: it is drawn where the source needs no model."""
        self._of_pool(check_part, tokenizer, calibration, seed)

    def provenance(self) -> dict[str, object]:
        """Return where the text is from; the card of a set says what was chosen of it."""
        return self.source.provenance()

    def fingerprint(self) -> str | None:
        """The source's: a selector reads no files."""
        return self.source.fingerprint()

    def draw_name(self) -> str:
        """The source's: equal text is chosen from alike, whatever its label."""
        return self.source.draw_name()

    def sources(self) -> dict[str, str]:
        """Those of the source."""
        return self.source.sources()

    def _order(self, pool: CalibrationSet, seed: int) -> np.ndarray:
        """Return the order in which the selector sees the candidates: always a random one [C]."""
        if not any("part" in sample for sample in pool.samples):
            return np.arange(len(pool.samples))  # drawn in random order
        return stream("selector/order", self.draw_name(), seed).permutation(len(pool.samples))

    def _of_pool(
        self,
        action: Callable[..., Any],
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        *model: object,
    ) -> Any:
        """Draw or check the pool; say of one that is too small which setting asks for so many."""
        self.selector.check(calibration.num_samples)
        size = self.selector.size_for(calibration.num_samples)
        of_pool = replace(calibration, num_samples=size)
        try:
            return action(self.source, tokenizer, of_pool, seed, *model)
        except ConfigError as error:
            here = [
                p.replace("calibration.num_samples", f"{KEY}.pool_size") for p in error.problems
            ]
            raise type(error)(*here) from error

    def _card(
        self, of_pool: Card, selection: Selection, chosen_N: np.ndarray, seconds: float
    ) -> Card:
        """Return the card of the pool as that of the set, with what was chosen and its cost."""
        scores = None if selection.scores_C is None else selection.scores_C.tolist()
        told: dict[str, object] = {
            "selector": _described(self.selector),
            "pool_size": of_pool["num_samples"],
            "chosen": chosen_N.tolist(),
            "scores": scores,
            **selection.notes,
        }
        cost = _sum(of_pool.get("cost", {}), {"seconds": seconds, **selection.cost})
        if "selection" in of_pool:  # the source chose as well
            told["selection_of_pool"] = of_pool["selection"]
        changed = {"num_samples": len(chosen_N), "selection": told, "cost": cost}
        return cast(Card, {**of_pool, **changed})


def _checked(
    selection: Selection, num_candidates: int, num_samples: int, selector: Selector
) -> np.ndarray:
    """Return what was chosen; a selector of somebody's own may choose what it must not."""
    chosen_N = np.asarray(selection.chosen, dtype=np.int64)
    different = len(np.unique(chosen_N)) == len(chosen_N) == num_samples
    if not different or chosen_N.min() < 0 or chosen_N.max() >= num_candidates:
        raise ConfigError(
            f"{KEY}: expected {type(selector).__name__}.select to choose {num_samples} different "
            f"candidates, numbers from 0 to {num_candidates - 1}, but it chose "
            f"{len(np.unique(chosen_N))}. Correct the class."
        )
    return chosen_N


def _described(selector: Selector) -> dict[str, object]:
    kind = type(selector)
    return {"kind": kind_of(f"{kind.__module__}.{kind.__qualname__}"), **vars(selector)}


def _sum(one: Mapping[str, float], other: Mapping[str, float]) -> dict[str, float]:
    return {key: one.get(key, 0) + other.get(key, 0) for key in {**one, **other}}
