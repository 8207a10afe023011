"""Count how often a report claims what is not so, and how often it finds what is.

    python benchmarks/claims.py                   the tables of docs/analysis.md
    python benchmarks/claims.py --sweeps 200      quicker; the standard error of 5 % is 1.5 %

Whole sweeps of two headline scores are simulated, with a dense model beside them. The functions
that write the report make claims.csv of each. Only the exact tests, which decide nothing, are left
out for speed, and losses are tested for all sweeps at once. Draws are half shared by the methods;
the two scores are correlated by 0.5; the SD of a draw is 1, and so is that of the difference of two
methods.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from unittest.mock import patch

import numpy as np
import pandas as pd

from calib_sweep.analysis.inference import two_sample
from calib_sweep.analysis.metrics import OURS
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.names import Names
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.claims import corrected, families, hypotheses, winners
from calib_sweep.analysis.tables.comparisons import comparison_table, dataset_table
from calib_sweep.analysis.tables.equivalence import equivalence_table
from calib_sweep.analysis.tables.spreads import spread_tables
from calib_sweep.seeding import stream

FIRST = "method0"
KINDS = ("methods", "methods_on", "datasets", "spread", "loss", "new_dataset")
NULLS = ((2, 1, 5), (4, 5, 5), (4, 5, 10), (10, 1, 5), (40, 2, 5))  # methods, datasets, seeds
SHAPES = ("normal", "exponential", "t3", "unequal")
SIZE = 0.01  # the SD of a draw, as a share or of log perplexity
ROWS_AT_ONCE = 100_000
MANY = 20  # methods
KNOWN = OURS.extended({kind: {"headline": True} for kind in ("acc", "ppl")})
SETTINGS = AnalysisSettings(
    seed=0,
    num_resamples=1000,
    better_from=0.75,
    power=0.8,
    targets=[0.01],
    equivalence={"acc": SIZE / 2, "ppl": SIZE / 2},
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=1000, help="simulated sweeps of each design")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--small", action="store_true", help="only designs of few cells")
    asked = parser.parse_args()
    nulls, finds = NULLS[:1] if asked.small else NULLS, FINDS[-1:] if asked.small else FINDS
    rows = {size: [null(size, shape) for shape in SHAPES] for size in nulls}
    others = {} if asked.small else OTHER_NULLS
    designs = [*(of for own in rows.values() for of in own), *others.values()]
    designs += [of for size in finds for of, _ in found_in(size)]
    found = simulated(designs, asked.sweeps, asked.processes)
    print("\nNothing differs: sweeps with a claim, %\n")
    show("methods x datasets x seeds", [*SHAPES[:-1], "unequal SDs"])
    for size, own in rows.items():
        show(named(size), [percent(found[of].share()) for of in own])
    print("\nThe same by kind, the worst of all the above, %\n")
    show("kind", ["sweeps"])
    for kind in KINDS:
        own = [of for of in designs if kind in of.false and of.false_of_others == ()]
        show(kind, [percent(max(found[of].share(kind) for of in own))])
    print("\nOther sweeps with a false claim, %\n")
    show("sweeps", ["%"])
    for name, of in others.items():
        show(name, [percent(found[of].share())])
    print("\nDifferences found, of all there are, %\n")
    show("methods x datasets x seeds", [name for name, _, _ in TO_FIND])
    for size in finds:
        told = [found[of].power(kind) for of, kind in found_in(size)]
        show(named(size), [percent(share) for share in told])


def show(name: str, cells: Sequence[str]) -> None:
    """Print a line of a Markdown table; below the head its rule."""
    print(f"| {name} | {' | '.join(cells)} |", flush=True)
    if name in HEADS:
        print(f"|---|{'---:|' * len(cells)}")


def percent(share: float) -> str:
    return "-" if np.isnan(share) else f"{100 * share:.1f}"


def named(size: tuple[int, int, int]) -> str:
    return " x ".join(map(str, size))


@dataclass(frozen=True, kw_only=True)
class Design:
    """A sweep to simulate; what is 0 does not differ. Sizes are in SDs of a draw."""

    size: tuple[int, int, int]  # methods, datasets, seeds
    shape: str = "normal"  # of draws; unequal: normal, SDs of methods from 1 to 4
    better: float = 0.0  # by how much the first method is better than the others
    ratio: float = 1.0  # of the SD of the first method's draws to that of the others
    dataset: float = 0.0  # SD between datasets, alike for all methods
    method_dataset: float = 0.0  # SD of what a dataset adds to a method
    false: tuple[str, ...] = KINDS  # kinds of claims of which none can be right
    false_of_first: tuple[str, ...] = ()  # of the first method
    false_of_others: tuple[str, ...] = ()  # in which the first method has no part

    def scores(self, name: str, num: int) -> np.ndarray:
        """Return scores [M, D, S, 2, num]."""
        num_M, num_D, num_S = self.size
        draw = partial(_draws, self.shape, f"{self}/{name}")
        own = draw("own", num_M, num_D, num_S, num) + draw("shared", 1, num_D, num_S, num)
        own *= np.sqrt(0.5) * self._spreads().reshape(-1, 1, 1, 1, 1)
        own += self.dataset * _draws("normal", f"{self}/{name}", "dataset", 1, num_D, 1, num)
        own += self.method_dataset * _draws(
            "normal", f"{self}/{name}", "method:dataset", num_M, num_D, 1, num
        )
        own[0] += self.better * np.array([-1.0, 1.0])[:, None]  # of perplexity less is better
        return SIZE * own

    def _spreads(self) -> np.ndarray:
        num_M = self.size[0]
        if self.shape == "unequal":
            return np.geomspace(1, 4, num_M)
        return np.where(np.arange(num_M) == 0, self.ratio, 1.0)


def _draws(shape: str, name: str, part: str, *size: int) -> np.ndarray:
    """Return draws of mean 0 and variance 1 [..., 2, num], the two scores correlated by 0.5."""
    rng = stream(f"benchmarks/claims/{shape}/{name}/{part}", *size)
    full = (*size[:-1], 2, size[-1])
    if shape == "exponential":
        drawn = rng.exponential(size=full) - 1
    elif shape == "t3":
        drawn = rng.standard_t(3, size=full) / np.sqrt(3)
    else:
        drawn = rng.standard_normal(full)
    drawn[..., 1, :] = 0.5 * drawn[..., 0, :] + np.sqrt(0.75) * drawn[..., 1, :]
    return drawn


@dataclass
class Found:
    """Counts over sweeps."""

    num: int = 0
    told: Counter = field(
        default_factory=Counter
    )  # sweeps with a claim, by kind; wrong: a false one
    right: Counter = field(default_factory=Counter)  # hypotheses of the first method claimed
    asked: Counter = field(default_factory=Counter)  # all of them

    def __add__(self, other: "Found") -> "Found":
        return Found(
            self.num + other.num,
            self.told + other.told,
            self.right + other.right,
            self.asked + other.asked,
        )

    def share(self, kind: str = "wrong") -> float:
        return self.told[kind] / self.num

    def power(self, kind: str) -> float:
        return self.right[kind] / self.asked[kind] if self.asked[kind] else np.nan


def array_of(score_MDS2K: np.ndarray) -> ScoreArray:
    """Return the sweeps as metrics of one array: ppl/k and acc/k are those of sweep k."""
    num_M, num_D, num_S, _, num = score_MDS2K.shape
    names = [f"method{m}" for m in range(num_M)]
    return ScoreArray(
        model="simulated",
        methods=tuple(Names("simulated", name, "any", "", name) for name in names),
        datasets=tuple(f"text{d}" for d in range(num_D)),
        seeds=tuple(range(num_S)),
        metrics=tuple(f"{kind}/{k}" for kind in ("ppl", "acc") for k in range(num)),
        value_MDSRE=0.5 + score_MDS2K.reshape(num_M, num_D, num_S, 1, 2 * num),
        cell_ids_MDSR=np.full((num_M, num_D, num_S, 1), "cell", dtype=object),
        dense_E=np.full(2 * num, 0.5),
        num_samples_M=np.full(num_M, np.nan),
    )


def _not_tested(a_NK: np.ndarray, *_: object) -> np.ndarray:
    return np.full(a_NK.shape[1], np.nan)


def losses(array: ScoreArray) -> pd.DataFrame:
    """Return losses.csv of scores without items: as `loss_table` makes it, all metrics at once."""
    tables = []
    for names, value_DSE in zip(array.methods, array.value_MDSE, strict=True):
        dense_DSE = np.broadcast_to(array.dense_E, value_DSE.shape)
        found = two_sample.compare_paired(value_DSE, dense_DSE, array.directions_E, power=0.8)
        numbers = found.line(-1).columns()
        # One draw on each of several datasets is tested over datasets.
        p = np.where(np.isnan(numbers["p"]), found.new_p[-1], numbers["p"])
        known = {"model": array.model, "method": names.method, "metric": list(array.metrics)}
        known |= {"dataset": "", "n": numbers["n_pairs"], "estimate": numbers["mean_diff"]}
        tables.append(pd.DataFrame({**known, "p": p}))
    return pd.concat(tables).assign(lo=np.nan, hi=np.nan, reason="")


def claims_of(array: ScoreArray) -> pd.DataFrame:
    """Return the claims of all sweeps in an array, each corrected on its own, with its `sweep`."""
    with patch.multiple(two_sample, sign_flip_p=_not_tested, two_sample_p=_not_tested):
        comparisons = comparison_table([array], SETTINGS)
        tables = {
            "comparisons": comparisons,
            "dataset_comparisons": dataset_table([array], SETTINGS),
            "spreads": spread_tables([array])["spreads"],
            "losses": losses(array),
            "equivalence": equivalence_table([array], comparisons, SETTINGS),
        }
    rows = hypotheses(tables, KNOWN)
    kind, p = families(rows), rows["p"].to_numpy(float)
    sweep = rows["metric"].str.split("/").str[1].to_numpy(int)
    p_sweep = np.full(len(rows), np.nan)
    for own in np.split(np.argsort(sweep, kind="stable"), np.cumsum(np.bincount(sweep))[:-1]):
        p_sweep[own] = corrected(kind[own], p[own])[1]
    rows = rows.assign(sweep=sweep, p_sweep=p_sweep)
    return rows.assign(winner=winners(rows, KNOWN))


def count(design: Design, name: str, num: int) -> Found:
    """Simulate `num` sweeps and count what is claimed of them."""
    claims = claims_of(array_of(design.scores(name, num)))
    is_first = (claims["a"] == FIRST) | (claims["method"] == FIRST)
    is_told = claims["winner"] != ""
    is_false = claims["kind"].isin(design.false)
    is_false |= is_first & claims["kind"].isin(design.false_of_first)
    is_false |= ~is_first & claims["kind"].isin(design.false_of_others)
    found = Found(num)
    found.asked.update(claims["kind"][is_first])
    found.right.update(claims["kind"][is_first & is_told & ~is_false])
    for kind, own in claims[is_told].groupby("kind"):
        found.told[str(kind)] = own["sweep"].nunique()
    found.told["wrong"] = claims["sweep"][is_told & is_false].nunique()
    return found


def simulated(designs: Sequence[Design], num: int, processes: int) -> dict[Design, Found]:
    """Count over `num` sweeps of each design, in small parts on several processes.

    A quarter as many of designs with many methods, which take as long.
    """
    parts: list[tuple[Design, str, int]] = []
    for design in designs:
        num_M, num_D, _ = design.size
        at_once = max(1, ROWS_AT_ONCE // (num_M * (num_M - 1) * (num_D + 1)))
        own = num if num_M < MANY else max(1, num // 4)
        starts = range(0, own, at_once)
        parts += [(design, str(start), min(at_once, own - start)) for start in starts]
    total = {design: Found() for design in designs}
    if processes > 1:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            counted = list(pool.map(count, *zip(*parts, strict=True)))
    else:
        counted = list(map(count, *zip(*parts, strict=True)))
    for (design, _, _), found in zip(parts, counted, strict=True):
        total[design] += found
    return total


def null(size: tuple[int, int, int], shape: str) -> Design:
    """Return a sweep in which nothing differs but, of unequal methods, how far they move."""
    of_spread = ("spread",) if shape == "unequal" else ()
    return Design(size=size, shape=shape, false=tuple(k for k in KINDS if k not in of_spread))


FINDS = ((4, 5, 5), (4, 5, 10), (4, 1, 10), (4, 5, 1), (2, 1, 5))
BETTER = {
    "false": ("datasets", "spread"),
    "false_of_first": ("equivalence",),
    "false_of_others": KINDS,
}
MOVING = {
    "false": ("methods", "methods_on", "datasets", "loss", "new_dataset"),
    "false_of_others": KINDS,
}
TO_FIND = (
    ("better by 0.5 SD", "methods", {"better": 0.5, **BETTER}),
    ("by 1 SD", "methods", {"better": 1.0, **BETTER}),
    ("by 2 SD", "methods", {"better": 2.0, **BETTER}),
    ("on one dataset by 2 SD", "methods_on", {"better": 2.0, **BETTER}),
    ("for a new dataset by 2 SD", "new_dataset", {"better": 2.0, **BETTER}),
    ("SD twice as large", "spread", {"ratio": 2.0, **MOVING}),
    ("3 times", "spread", {"ratio": 3.0, **MOVING}),
    ("5 times", "spread", {"ratio": 5.0, **MOVING}),
)
OTHER_NULLS = {
    "methods equal on average over datasets, SD of method:dataset half that of a draw, claimed for "
    "a new dataset: 4 x 5 x 5": Design(size=(4, 5, 5), method_dataset=0.5, false=("new_dataset",)),
    "4 x 5 x 10": Design(size=(4, 5, 10), method_dataset=0.5, false=("new_dataset",)),
    "one draw on each dataset, the same: 4 x 5 x 1": Design(
        size=(4, 5, 1), method_dataset=0.5, false=KINDS
    ),
    "datasets differ by 1 SD, methods do not: 4 x 5 x 5": Design(
        size=(4, 5, 5), dataset=1.0, false=tuple(k for k in KINDS if k not in ("datasets", "loss"))
    ),
    "one of four methods better by 0.5 SD, which is the margin of equality: a false claim of "
    "any kind: 4 x 5 x 10": Design(size=(4, 5, 10), better=0.5, **BETTER),
    "SD of one of four 3 times as large: a false claim of any kind: 4 x 5 x 5": Design(
        size=(4, 5, 5), ratio=3.0, **MOVING
    ),
}
HEADS = ("methods x datasets x seeds", "kind", "sweeps")


def found_in(size: tuple[int, int, int]) -> list[tuple[Design, str]]:
    """Return sweeps with something to find, and the kind of claim that would find it."""
    return [(Design(size=size, **truth), kind) for _, kind, truth in TO_FIND]


if __name__ == "__main__":
    main()
