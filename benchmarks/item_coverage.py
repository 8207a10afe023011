"""Count how often what is said of test items is true: losses against dense, groups, the gate.

    python benchmarks/item_coverage.py                 the tables of docs/analysis.md
    python benchmarks/item_coverage.py --sweeps 10000  smaller error: 0.2 %; 0.5 % at 2,000

Each simulated study has new items and new draws. The numbers come from the functions that write
losses.csv and flips.csv, and from those that the verb gate asks.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from scipy import stats

from calib_sweep.analysis.inference.flips import cochran_p, split, systematic_sd
from calib_sweep.analysis.inference.loss_limits import at_limit, draws_bound, mean_bound
from calib_sweep.analysis.inference.paired_items import (
    Part,
    item_parts,
    mcnemar_p,
    t_test,
    together,
)
from calib_sweep.seeding import stream

SEEDS = (3, 5, 10, 20)
NUM_ITEMS, GROUP = 300, 10
LIMIT, SHARE, CONFIDENCE = 0.01, 0.95, 0.95
# Of the items that a model may answer otherwise than dense: their share, and of these the shares
# lost and gained on a draw. The loss is the limit in all of them.
LOSSES = {
    "one item in ten is open, 50 % lost, 40 % gained": (0.1, 0.5, 0.4),
    "one in fifty is open, half of them lost": (0.02, 0.5, 0.0),
    "one in a hundred is lost on every draw": (0.01, 1.0, 0.0),
}
DRAW_SD = 0.002  # of the loss; none where every draw loses the same items


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=2000, help="simulated studies per number")
    num = parser.parse_args().sweeps
    show("95 % intervals that hold the difference to dense", of_losses(num))
    show("Flips of items in groups of ten, without a shift", of_flips(num))
    show(f"Gates that let a loss of {LIMIT:.0%} through at --loss {LIMIT}", of_gates(num))


def show(title: str, lines: Iterator[tuple[str, Sequence[float]]]) -> None:
    """A Markdown table, percent."""
    print(f"\n{title}\n\n| % | {' | '.join(f'{n} seeds' for n in SEEDS)} |")
    print(f"|---|{'---:|' * len(SEEDS)}")
    for name, shares in lines:
        print(f"| {name} | {' | '.join(f'{100 * share:.1f}' for share in shares)} |", flush=True)


def of_losses(num: int) -> Iterator[tuple[str, list[float]]]:
    """Draws and items together, items alone or in groups; McNemar's test of one draw."""
    for group in (1, GROUP):
        for sd in (0.0, 0.02, 0.05):
            name = f"draws of SD {sd}, items of SD 0.3, {'alone' if group == 1 else 'in tens'}"
            yield name, [_held(n, sd, group, num) for n in SEEDS]
    draw = stream("benchmarks/items/mcnemar")
    changes = draw.choice([-1, 0, 1], p=[0.05, 0.9, 0.05], size=(len(SEEDS), num, NUM_ITEMS))
    wrong = [float(np.mean([mcnemar_p(x_I) < 0.05 for x_I in own])) for own in changes]
    yield "McNemar's p of one draw below 0.05, no loss (four times)", wrong


def _held(n: int, sd: float, group: int, num: int) -> float:
    draw = stream(f"benchmarks/items/losses/{sd}/{group}", n)
    group_I = np.repeat(np.arange(NUM_ITEMS // group), group)
    held = 0
    for _ in range(num):
        item_G = 0.3 * draw.standard_normal(NUM_ITEMS // group)
        both_CG = 0.2 * draw.standard_normal((n, NUM_ITEMS // group))
        x_CI = (item_G + both_CG)[:, group_I] + sd * draw.standard_normal((n, 1))
        x_CI = x_CI + 0.1 * draw.standard_normal((n, NUM_ITEMS))
        low, high, _ = t_test(float(x_CI.mean()), _parts(x_CI, group_I)[0], n)
        held += low <= 0 <= high
    return held / num


def _parts(x_CI: np.ndarray, group_I: np.ndarray | None) -> tuple[Part, Part]:
    """Return the variance of draws and items together, and that of the items."""
    items, both = item_parts(x_CI, ["any"] * len(x_CI), group_I)
    draws = Part(float(x_CI.mean(1).var(ddof=1)) / len(x_CI), len(x_CI) - 1.0)
    return together(draws, items, both), items


def of_flips(num: int) -> Iterator[tuple[str, list[float]]]:
    """Passages that are answered right or wrong as a whole, each on its own."""
    right_G = stats.norm.cdf(2.5 * stream("benchmarks/items/passages").standard_normal(100) + 0.7)
    group_I = np.repeat(np.arange(100), GROUP)
    held, alone, cried = [], [], []
    for n in SEEDS:
        draw = stream("benchmarks/items/flips", n)
        values = [(draw.random((n, 100)) < right_G)[:, group_I] * 1.0 for _ in range(num)]
        splits = [split(value_SI, group_I) for value_SI in values]
        held.append(float(np.mean([systematic_sd(own)[1] == 0 for own in splits])))
        cried.append(float(np.mean([cochran_p(own) < 0.05 for own in splits])))
        plain = (split(value_SI) for value_SI in values)
        alone.append(float(np.mean([systematic_sd(own)[1] == 0 for own in plain])))
    yield "systematic SD, true 0: its interval holds 0", held
    yield "the same without the groups", alone
    yield "Cochran's Q of groups below 0.05", cried


def of_gates(num: int) -> Iterator[tuple[str, list[float]]]:
    """Models whose loss is the limit: of the mean draw, and of 95 % of draws."""
    for name, shares in LOSSES.items():
        for sd in (0.0, DRAW_SD) if shares[1] < 1 else (0.0,):
            found = [_passed(n, shares, sd, num) for n in SEEDS]
            yield f"mean draw, draws of SD {sd}: {name}", [mean for mean, _ in found]
            yield f"95 % of draws, draws of SD {sd}: {name}", [worst for _, worst in found]
    name, shares = next(iter(LOSSES.items()))
    grouped = [_passed(n, shares, 0.0, num, GROUP)[0] for n in SEEDS]
    yield f"mean draw, items in groups of ten: {name}", grouped
    alone = [_passed(1, shares, 0.0, num, group)[0] for group in (1, GROUP)]
    yield f"one cell, items alone / in groups of ten: {name}", alone


def _passed(
    n: int, shares: tuple[float, float, float], sd: float, num: int, group: int = 1
) -> tuple[float, float]:
    """Return how often a gate lets through, of the mean draw and of the worst; one cell: items."""
    is_open, lost, gained = shares
    draw = stream(f"benchmarks/items/gate/{is_open}/{sd}/{group}", n)
    num_alone, worst_limit = 5 * NUM_ITEMS // group, LIMIT + stats.norm.ppf(SHARE) * sd
    group_I = np.repeat(np.arange(num_alone), group)
    mean = worst = 0
    for _ in range(num):
        toss_CG = draw.random((n, num_alone))
        shift_C1 = sd / is_open * draw.standard_normal((n, 1))
        loss_CG = (toss_CG < lost + shift_C1) * 1.0 - (toss_CG > 1 - gained)
        loss_CI = (loss_CG * (draw.random(num_alone) < is_open))[:, group_I]
        items, _ = item_parts(loss_CI, ["any"] * n, group_I)
        part = _parts(loss_CI, group_I)[0] if n > 1 else items
        bound = mean_bound(float(loss_CI.mean()), at_limit(part, LIMIT, num_alone), CONFIDENCE)
        mean += bound <= LIMIT
        least = at_limit(items, worst_limit, num_alone)
        worst += draws_bound(loss_CI.mean(1), least, SHARE, CONFIDENCE) <= worst_limit
    return mean / num, worst / num


if __name__ == "__main__":
    main()
