"""Count what hydra/sweeper=adaptive says wrongly, and the seeds that it saves.

    python benchmarks/stopping.py                  the tables of docs/analysis.md
    python benchmarks/stopping.py --sweeps 20000   smaller error: 0.15 %; 0.35 % at 4,000

Simulated sweeps of methods that share their calibration sets, looked at after every seed from the
fifth on. Each number comes from the functions that the sweeper decides with.
"""

import argparse
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from scipy import stats

from calib_sweep.analysis.inference import sequential
from calib_sweep.seeding import stream

FIRST, MOST = 5, 50
METHODS, DATASETS = (2, 4, 10), (1, 5)
UNEQUAL, LONELY = ", SDs 1 to 4", ", every other method without draws"
SHAPES = ("normal", "t(3)", "exponential", f"normal{UNEQUAL}", f"exponential{UNEQUAL}")
SHAPES += (f"exponential{LONELY}",)
GAPS = (0.0, 0.5, 1.0, 2.0, 4.0)
CHUNK = 500  # sweeps at once


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=4000, help="simulated sweeps for each number")
    num = parser.parse_args().sweeps
    show("At least one difference is shown where there is none", (20, 50), of_nothing(num))
    show("The width asked for holds the difference", (6, 16, 30), of_widths(num))
    show("Two methods so many SDs apart, 5 to 20 seeds, a width that 20 give", GAPS, saved(num))
    heads = ("20, width of 10", "20, of 20", "50, of 20", "50, of 50")
    show("The report's t tests claim a difference where there is none", heads, by_fixed_tests(num))


def show(title: str, heads: Sequence[object], lines: Iterator[tuple[str, list[float]]]) -> None:
    """A Markdown table."""
    print(f"\n{title}\n\n| | {' | '.join(f'{head}' for head in heads)} |")
    print(f"|---|{'---:|' * len(heads)}")
    for name, values in lines:
        print(f"| {name} | {' | '.join(f'{value:.1f}' for value in values)} |", flush=True)


def draws(shape: str, name: str, num: int, num_M: int, num_D: int, num_N: int) -> np.ndarray:
    """Scores without a difference [sweeps, M, N]: means over datasets, SD 1 on each."""
    draw = stream(f"benchmarks/stopping/{shape}/{name}", num_M, num_D)
    size = (num, num_M, num_D, num_N)
    if shape == "t(3)":
        value = draw.standard_t(3, size=size) / np.sqrt(3)
    elif shape.startswith("exponential"):
        value = draw.exponential(size=size) - 1
    else:
        value = draw.standard_normal(size)
    if UNEQUAL in shape:
        value *= np.geomspace(1, 4, num_M).reshape(-1, 1, 1)
    if LONELY in shape:
        value[:, ::2] = 0.0
    return value.mean(axis=2)


def differences(value_BMN: np.ndarray) -> np.ndarray:
    """All pairs [sweeps, contrasts, N]; none where nothing is drawn."""
    pairs = [
        value_BMN[:, a] - value_BMN[:, b] for a, b in combinations(range(len(value_BMN[0])), 2)
    ]
    return np.stack([pair for pair in pairs if pair.any()], axis=1)


def followed(x_BKN: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean, corrected p and half-width after each seed [sweeps, contrasts, N]."""
    n_N = np.arange(1, x_BKN.shape[2] + 1)
    mean, square, cube = (np.cumsum(x_BKN**power, axis=2) / n_N for power in (1, 2, 3))
    with np.errstate(invalid="ignore", divide="ignore"):
        sd = np.sqrt((square - mean**2) * n_N / (n_N - 1))
        skew = (cube - 3 * mean * square + 2 * mean**3) / sd**3
        t = sequential.weakened(mean / sd * np.sqrt(n_N), skew, n_N)
    p = np.nan_to_num(sequential.p_value(t, n_N, FIRST), nan=1.0)
    order = np.argsort(p, axis=1)
    times = np.arange(p.shape[1], 0, -1).reshape(-1, 1)
    stepped = np.maximum.accumulate(np.take_along_axis(p, order, 1) * times, axis=1)
    corrected = np.empty_like(p)
    np.put_along_axis(corrected, order, np.minimum(stepped, 1.0), axis=1)
    return mean, corrected, np.where(n_N >= FIRST, sequential.half_width(sd, n_N), np.nan)


def of_nothing(num: int) -> Iterator[tuple[str, list[float]]]:
    for shape in SHAPES:
        for num_M in METHODS:
            for num_D in DATASETS:
                ever = []
                for start in range(0, num, CHUNK):
                    value = draws(shape, str(start), CHUNK, num_M, num_D, MOST)
                    _, p, _ = followed(differences(value))
                    ever.append((p < sequential.ERROR).any(axis=1))
                shown = np.concatenate(ever)
                shares = [100 * shown[:, :most].any(axis=1).mean() for most in (20, MOST)]
                yield f"{shape}: {num_M} methods on {num_D}", shares


def of_widths(num: int) -> Iterator[tuple[str, list[float]]]:
    """Of one contrast that stops by its width alone."""
    for shape in SHAPES:
        for num_D in DATASETS:
            x = differences(draws(shape, "width", num, 2, num_D, 200))
            mean, _, half = followed(x)
            sd = np.sqrt((1.0 if LONELY in shape else 17.0 if UNEQUAL in shape else 2.0) / num_D)
            held, used = [], []
            for best in (6, 16, 30):
                width = 1.96 * sd / np.sqrt(best)
                is_narrow = half[:, 0] <= width
                stop = np.where(is_narrow.any(axis=1), is_narrow.argmax(axis=1), 199)
                held.append(100 * np.mean(np.abs(mean[np.arange(num), 0, stop]) <= width))
                used.append(np.mean(stop + 1))
            yield f"{shape}, on {num_D}", held
            yield f"{shape}, on {num_D}: seeds used", used


def saved(num: int) -> Iterator[tuple[str, list[float]]]:
    """Seeds used of 20, and what is said, beside a design of 20 seeds and its t test."""
    lines: dict[str, list[float]] = {}
    x = differences(draws("normal", "saved", num, 2, 1, 20)) / np.sqrt(2)
    for gap in GAPS:
        mean, p, half = followed(x + gap)
        stop, is_shown, is_known = stopped(p, half, width_of(20))
        for name, share in {
            "seeds used": np.mean(stop + 1),
            "shown, %": 100 * np.mean(is_shown),
            "shown or narrow, %": 100 * np.mean(is_known),
            "a t test of 20 seeds rejects, %": 100
            * np.mean(rejected(mean, half, np.full(num, 19))),
        }.items():
            lines.setdefault(name, []).append(share)
    yield from lines.items()


def by_fixed_tests(num: int) -> Iterator[tuple[str, list[float]]]:
    """What Holm over t tests of the seeds used claims where nothing differs."""
    for num_M, num_D in ((2, 1), (4, 5)):
        found = []
        for most, best in ((20, 10), (20, 20), (50, 20), (50, 50)):
            x = differences(draws("normal", "fixed", num, num_M, num_D, most))
            x /= np.sqrt(2 / num_D)
            mean, p, half = followed(x)
            stop, _, _ = stopped(p, half, width_of(best))
            found.append(100 * np.mean(rejected(mean, half, stop)))
        yield f"{num_M} methods on {num_D}", found


def width_of(seeds: int) -> float:
    """Return the half-width that so many differences with SD 1 have on average."""
    return float(sequential.half_width(1.0, seeds))


def stopped(
    p: np.ndarray, half: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the place of the last look [sweeps]; there, what is shown and known [sweeps, K]."""
    is_settled = ((p < sequential.ERROR) | (half <= width)).all(axis=1)
    is_settled[:, -1] = True
    stop = is_settled.argmax(axis=1)
    p_BK, half_BK = (of[np.arange(len(stop)), :, stop] for of in (p, half))
    is_shown = p_BK < sequential.ERROR
    return stop, is_shown, is_shown | (half_BK <= width)


def rejected(mean: np.ndarray, half: np.ndarray, stop: np.ndarray) -> np.ndarray:
    """Tell whether the usual t tests, corrected after Holm, reject anything [sweeps]."""
    n = (stop + 1.0)[:, None]
    mean_BK, half_BK = (of[np.arange(len(stop)), :, stop] for of in (mean, half))
    se = half_BK / np.sqrt((n - 1) / (n - 3)) / stats.t.isf(0.025, n - 1)
    p_BK = 2 * stats.t.sf(np.abs(mean_BK) / se, n - 1)
    return p_BK.min(axis=1) * p_BK.shape[1] < sequential.ERROR


if __name__ == "__main__":
    main()
