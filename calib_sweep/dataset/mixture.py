"""Several datasets in one calibration set, in stated proportions.

Counts are rounded by largest remainder, so they add up to `num_samples` and none is off by one or
more. Every part draws with its own streams: its samples are those that it would draw alone for that
seed and count, and adding a part never moves another part's draw (only its count).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from calib_sweep.dataset.base import Dataset, check_part, draw_part
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Sample
from calib_sweep.dataset.calibration.sampling import make_card
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.errors import collected, require
from calib_sweep.wording import typed

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True, kw_only=True)
class Mixture(Dataset):
    """Named datasets and how much of each. Counts work as well: only proportions matter."""

    name: str  # label in records and tables
    parts: Mapping[str, Dataset]
    weights: Mapping[str, float]

    def __post_init__(self) -> None:
        for key, part in self.parts.items():
            require(
                isinstance(part, Dataset),
                f"dataset.parts.{key}",
                part,
                "a dataset: a class derived from calib_sweep.dataset.base.Dataset",
                "Copy conf/dataset/mixture.yaml and edit the copy.",
            )
        require(
            len(self.parts) > 0 and set(self.weights) == set(self.parts),
            "dataset.weights",
            dict(self.weights),
            f"one weight for each of dataset.parts: {', '.join(self.parts)}",
            f"Example: {typed('dataset.weights', dict.fromkeys(self.parts, 1))}.",
        )
        require(
            all(_is_weight(weight) for weight in self.weights.values())
            and sum(self.weights.values()) > 0,
            "dataset.weights",
            dict(self.weights),
            "numbers >= 0, not all of them 0",
            f"Example: {typed('dataset.weights', dict.fromkeys(self.parts, 1))}, for equal parts.",
        )
        names = [part.name for part in self.parts.values()]
        require(
            len(set(names)) == len(names),
            "dataset.parts",
            names,
            "datasets with different names, as a table tells them apart by these",
            f"Example: dataset.parts.{next(iter(self.parts))}.name=NEW_NAME.",
        )

    @property
    def needs_model(self) -> bool:
        """Tell whether a part that has a share does."""
        return any(part.needs_model for key, part in self.parts.items() if self.weights[key] > 0)

    @property
    def tells_answers(self) -> bool:
        """Tell whether a part that has a share does."""
        return any(part.tells_answers for key, part in self.parts.items() if self.weights[key] > 0)

    def draw(
        self,
        tokenizer: "PreTrainedTokenizerBase",
        calibration: Calibration,
        seed: int,
        model: "PreTrainedModel | None" = None,
    ) -> CalibrationSet:
        """The parts' sets of this seed, one after the other."""
        self._refuse_equal_text()
        counts = share_out(calibration.num_samples, self.weights)
        drawn = {
            key: draw_part(
                part, tokenizer, replace(calibration, num_samples=counts[key]), seed, model
            )
            for key, part in self.parts.items()
            if counts[key] > 0
        }
        samples: list[Sample] = [
            {"part": key, **sample} for key, part in drawn.items() for sample in part.samples
        ]
        provenance = {
            "source": "mixture",
            "parts": {key: {"count": counts[key], "card": drawn[key].card} for key in drawn},
        }
        pool = {key: part.card["pool"] for key, part in drawn.items()}
        card = make_card(self.name, provenance, pool, calibration, seed, tokenizer)
        if costs := [part.card["cost"] for part in drawn.values() if "cost" in part.card]:
            kinds = dict.fromkeys(kind for cost in costs for kind in cost)
            card["cost"] = {kind: sum(cost.get(kind, 0) for cost in costs) for kind in kinds}
        return CalibrationSet(
            tokens_NT=np.concatenate([part.tokens_NT for part in drawn.values()]),
            lengths_N=_join_lengths(list(drawn.values())),
            answers_NT=_join_answers(list(drawn.values())),
            samples=samples,
            card=card,
        )

    def check(
        self, tokenizer: "PreTrainedTokenizerBase", calibration: Calibration, seed: int
    ) -> None:
        """Draw the parts that need no model; check the others."""
        counts = share_out(calibration.num_samples, self.weights)
        with collected() as problems:
            problems.of(self._refuse_equal_text)
            for key, part in self.parts.items():
                if counts[key] > 0:
                    share = replace(calibration, num_samples=counts[key])
                    problems.of(check_part, part, tokenizer, share, seed)

    def _refuse_equal_text(self) -> None:
        """The same text under two labels would give the same samples twice."""
        shares = {key: part for key, part in self.parts.items() if self.weights[key] > 0}
        for (key, part), (other, equal) in combinations(shares.items(), 2):
            require(
                not _are_drawn_alike(part, equal),
                f"dataset.parts.{other}",
                equal.name,
                f"other text than that of dataset.parts.{key}, as equal text is drawn alike",
                f"Leave dataset.parts.{other} out, and add its weight to that of {key}.",
            )

    def provenance(self) -> dict[str, object]:
        """Return what is mixed; the card of a set holds the parts' cards besides."""
        return {"source": "mixture", "weights": dict(self.weights)}

    def fingerprint(self) -> str | None:
        """The parts' fingerprints; None when no part has any."""
        prints = {key: part.fingerprint() for key, part in self.parts.items()}
        if not any(prints.values()):
            return None
        return ",".join(f"{key}={prints[key]}" for key in sorted(prints))

    def sources(self) -> dict[str, str]:
        """Those of all parts that have a share."""
        drawn = [part for key, part in self.parts.items() if self.weights[key] > 0]
        return {name: text for part in drawn for name, text in part.sources().items()}


def share_out(total: int, weights: Mapping[str, float]) -> dict[str, int]:
    """Whole counts in these proportions that add up to `total`; ties go to the part named first."""
    whole = sum(weights.values())
    quotas = {key: total * weight / whole for key, weight in weights.items()}
    counts = {key: int(quota) for key, quota in quotas.items()}
    by_remainder = sorted(quotas, key=lambda key: counts[key] - quotas[key])
    for key in by_remainder[: total - sum(counts.values())]:
        counts[key] += 1
    return counts


def _are_drawn_alike(one: Dataset, other: Dataset) -> bool:
    """Tell whether two datasets are the same but for their labels and the places of their files."""
    if type(one) is not type(other) or not is_dataclass(one) or not is_dataclass(other):
        return False
    labels = {"name", "path", "license", "join"}
    fixed = [field.name for field in fields(one) if field.name not in labels]
    alike = all(getattr(one, key) == getattr(other, key) for key in fixed)
    return alike and one.draw_name() == other.draw_name()


def _is_weight(weight: object) -> bool:
    if isinstance(weight, bool) or not isinstance(weight, int | float):
        return False
    return 0 <= weight < float("inf")


def _join_lengths(parts: list[CalibrationSet]) -> np.ndarray | None:
    if all(part.lengths_N is None for part in parts):
        return None
    return np.concatenate([part.ends_N for part in parts])


def _join_answers(parts: list[CalibrationSet]) -> np.ndarray | None:
    """Join the marks of answers; a part that tells nothing has none in its samples."""
    if all(part.answers_NT is None for part in parts):
        return None
    return np.concatenate([_answers(part) for part in parts])


def _answers(part: CalibrationSet) -> np.ndarray:
    nothing_NT = np.zeros(part.tokens_NT.shape, dtype=bool)
    return nothing_NT if part.answers_NT is None else part.answers_NT
