"""Count how often plans keep what they promise, and how far rankings repeat, against simulations.

    python benchmarks/planning.py                   the tables of docs/analysis.md
    python benchmarks/planning.py --studies 1000    a larger error: 1.3 % of a share near 0.8

Pilots are drawn from a known truth, the plan is made from each of them by the functions that write
the report, and the studies that follow are drawn anew. Studies that agree by truth are two
independent ones.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy import stats

from calib_sweep.analysis.inference.design import Design, Planner, pilot_of
from calib_sweep.analysis.inference.equivalence import (
    spread_below,
    spread_of_draws,
    tail_inflation,
)
from calib_sweep.analysis.inference.power import KNOWN, seeds_for_difference, smallest_detectable
from calib_sweep.analysis.inference.ranks import studies
from calib_sweep.seeding import stream

SEEDS = (3, 5, 10, 20)
POWER = 0.8
Draws = Callable[..., np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=4000, help="simulated for each number")
    num = parser.parse_args().studies
    show("Differences found of those planned for (asked for: 80 %)", of_seeds(num))
    show("Studies whose interval is no wider than planned (asked for: 80 %)", of_widths(num // 10))
    show("Two studies agree on the first of four methods: told / true", of_rankings(num // 40))
    show("Called insensitive where the SD is the margin (at most 5 %)", of_equality(num))


def show(title: str, lines: Iterator[tuple[str, Sequence[str]]]) -> None:
    """A Markdown table."""
    print(f"\n| {title} | {' | '.join(f'{n} seeds' for n in SEEDS)} |")
    print(f"|---|{'---:|' * len(SEEDS)}")
    for name, cells in lines:
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def normal(name: str, *shape: int) -> np.ndarray:
    return stream(f"benchmarks/planning/{name}", *shape).standard_normal(shape)


def exponential(name: str, *shape: int) -> np.ndarray:
    """Mean 0, variance 1, skewed to the right."""
    return stream(f"benchmarks/planning/{name}", *shape).exponential(size=shape) - 1


SHAPES: dict[str, Draws] = {"normal": normal, "exponential": exponential}


def percent(share: float) -> str:
    return f"{100 * share:.0f}"


def spread(value_BDS: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean, the SD of a draw and its df after Satterthwaite, of each study [B]."""
    num_n = value_BDS.shape[2]
    own_BD = value_BDS.var(axis=2, ddof=1)
    df_B = (num_n - 1) * own_BD.sum(1) ** 2 / (own_BD**2).sum(1)
    return value_BDS.mean((1, 2)), np.sqrt(own_BD.mean(1)), np.maximum(df_B, 2)


def found(draws: Draws, num_D: int, seeds_B: np.ndarray, target_B: np.ndarray) -> float:
    """How many of the studies with these seeds find the difference at 5 %."""
    wins, total = 0, 0
    for num_n in np.unique(seeds_B[np.isfinite(seeds_B)]).astype(int):
        own = seeds_B == num_n
        value_BDS = draws("study", int(own.sum()), num_D, num_n) + target_B[own, None, None]
        mean_B, sd_B, df_B = spread(value_BDS)
        t_B = mean_B / sd_B * np.sqrt(num_D * num_n)
        wins += int((np.abs(t_B) > stats.t.isf(0.025, df_B)).sum())
        total += int(own.sum())
    return wins / total


def of_seeds(num: int) -> Iterator[tuple[str, list[str]]]:
    """Plans for half an SD, and what a study says would probably have shown."""
    for shape, draws in SHAPES.items():
        for num_D, target in ((1, 0.5), (5, 0.3)):
            cells, alike = [], []
            for n in SEEDS:
                _, sd_B, df_B = spread(draws("pilot", num, num_D, n))
                goal_B = np.full(num, target)
                shares = [
                    found(draws, num_D, seeds_for_difference(sd_B, target, POWER, **plan), goal_B)
                    for plan in (
                        {"is_paired": True, "num_datasets": num_D, "known_df": KNOWN},
                        {"is_paired": True, "num_datasets": num_D, "known_df": df_B},
                    )
                ]
                cells.append(" -> ".join(map(percent, shares)))
                mde_B = smallest_detectable(sd_B / np.sqrt(num_D * n), df_B, POWER)
                alike.append(percent(found(draws, num_D, np.full(num, float(n)), mde_B)))
            head = f"{shape} draws, {num_D} dataset{'s' if num_D > 1 else ''}"
            yield f"{head}: the SD taken as known -> with assurance", cells
            yield f"{head}: 'would have shown'", alike


def of_widths(num: int) -> Iterator[tuple[str, list[str]]]:
    """Plans of 8 datasets x 4 seeds from pilots of five datasets."""
    design = Design(8, 4)
    for dataset_sd in (0.0, 0.5, 2.0):
        these, new = [], []
        later_BDS = dataset_sd * normal("d", num, 8, 1) + normal("s", num, 8, 4)
        _, sd_B, df_B = spread(later_BDS)
        these_B = stats.t.isf(0.025, df_B) * sd_B / np.sqrt(32)
        new_B = stats.t.isf(0.025, 7) * later_BDS.mean(2).std(1, ddof=1) / np.sqrt(8)
        for n in SEEDS:
            pilot_BDS = dataset_sd * normal("pd", num, 5, 1) + normal("ps", num, 5, n)
            told = []
            for value_DS in pilot_BDS:
                planner = Planner(pilot_of(value_DS), power=POWER, seed=0, num_resamples=1000)
                told.append([planner.on_these(design), planner.for_new(design)])
            told_B2 = np.array(told)
            these.append(percent(np.mean(these_B <= told_B2[:, :1])))
            new.append(percent(np.mean(new_B <= told_B2[:, 1:])))
        yield f"on its datasets, method:dataset SD {dataset_sd:g} of a draw's", these
        yield f"for a new dataset, method:dataset SD {dataset_sd:g}", new


def of_rankings(num: int) -> Iterator[tuple[str, list[str]]]:
    """Four methods, so many draw SDs apart."""
    for apart in (0.0, 0.2, 0.5):
        shift_K = apart * np.arange(4)
        cells = []
        for n in SEEDS:
            value_SKE = normal("ranks", n, 4, num) + shift_K[:, None]
            true_KE, noise_BKE = studies([(np.arange(4), value_SKE)], 4, seed=0, num_resamples=1000)
            first_BE = (true_KE + noise_BKE / np.sqrt(n)).argmax(1)
            told = np.mean(first_BE == np.roll(first_BE, 1, axis=0))
            pair = normal("true", 2, 20_000, 4) / np.sqrt(n) + shift_K
            truth = np.mean(pair[0].argmax(1) == pair[1].argmax(1))
            cells.append(f"{percent(told)} / {percent(truth)}")
        yield f"{apart:g} SD apart" if apart else "equal", cells


def of_equality(num: int) -> Iterator[tuple[str, list[str]]]:
    """The SD of a method's draws is the margin."""
    for shape, draws in SHAPES.items():
        for num_D in (1, 5):
            cells = []
            for n in SEEDS:
                value_DSE = draws("equal", num_D, n, num)
                sd_E, df_E = spread_of_draws(value_DSE)
                p_E = spread_below(sd_E, df_E / tail_inflation(value_DSE), 1.0).p
                cells.append(percent(np.mean(p_E < 0.05)))
            yield f"{shape} draws, {num_D} dataset{'s' if num_D > 1 else ''}", cells


if __name__ == "__main__":
    main()
