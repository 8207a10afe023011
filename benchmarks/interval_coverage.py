"""Count how often the intervals of the analysis hold the truth, and how often its tests cry wolf.

    python benchmarks/interval_coverage.py                  the tables of docs/analysis.md
    python benchmarks/interval_coverage.py --sweeps 10000   smaller error: 0.2 %; 0.7 % at 1,000

Every number comes from the functions that write the report, on simulated sweeps whose truth is
known: normal draws unless it says otherwise, methods that share their calibration sets. Each metric
of a simulated sweep is a sweep of its own.
"""

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from scipy import stats

from calib_sweep.analysis.inference import intervals
from calib_sweep.analysis.inference.anova import crossed_anova, nested_anova
from calib_sweep.analysis.inference.correlation import correlate
from calib_sweep.analysis.inference.flips import Split, split, systematic_sd
from calib_sweep.analysis.inference.heavy_tails import sample_inflation
from calib_sweep.analysis.inference.interquartile import resampled_iqm
from calib_sweep.analysis.inference.permutation import two_sample_p
from calib_sweep.analysis.inference.set_sizes import floor_interval
from calib_sweep.analysis.inference.two_sample import Compared, compare_paired, compare_unpaired
from calib_sweep.analysis.scores.arrays import ScoreArray
from calib_sweep.analysis.scores.names import Names
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.comparisons import comparison_table
from calib_sweep.analysis.tables.profiles import profile_tables
from calib_sweep.analysis.tables.ranking import ranking_tables
from calib_sweep.analysis.tables.spreads import spread_tables
from calib_sweep.seeding import stream

SEEDS, DATASETS = (3, 5, 10, 20), (3, 5, 10)
SETTINGS = AnalysisSettings(
    seed=0, num_resamples=2000, better_from=0.75, power=0.8, targets=[0.01], equivalence={}
)
ACROSS = {"method": 1.0, "dataset": 0.5, "method:dataset": 0.2, "draw": 0.3, "method:draw": 0.1}
SKEWED = "exponential"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sweeps", type=int, default=4000, help="simulated sweeps for each number")
    num = parser.parse_args().sweeps
    show("One sample of n seeds", SEEDS, of_samples(num))
    for num_D in DATASETS:
        show(f"Components of one method, {num_D} datasets", SEEDS, of_one_method(num_D, num))
    for num_D in DATASETS:
        show(f"Components across 4 methods, {num_D} datasets", SEEDS, across_methods(num_D, num))
    show("Two methods, or two datasets, that do not differ", SEEDS, of_comparisons(num))
    show("Ranks of 4 methods, IQM of 8 tasks", SEEDS, of_rankings(num // 4))
    show("Tests where there is nothing to find", SEEDS, of_tests(num))
    show("Other intervals", SEEDS, of_the_rest(num))


def show(title: str, seeds: Sequence[int], lines: Iterator[tuple[str, Sequence[float]]]) -> None:
    """A Markdown table, percent."""
    print(f"\n{title}\n\n| % | {' | '.join(f'{n} seeds' for n in seeds)} |")
    print(f"|---|{'---:|' * len(seeds)}")
    for name, shares in lines:
        cells = ["-" if np.isnan(share) else f"{100 * share:.1f}" for share in shares]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def normal(name: str, *shape: int) -> np.ndarray:
    return stream(f"benchmarks/coverage/{name}", *shape).standard_normal(shape)


DIFFICULTY = 2.5 * normal("difficulty", 300) + 0.7  # of items, in probits: most are nearly sure


def exponential(name: str, *shape: int) -> np.ndarray:
    """Mean 0, variance 1, skewed to the right: as perplexities that sometimes blow up."""
    return stream(f"benchmarks/coverage/{name}", *shape).exponential(size=shape) - 1


def lognormal(name: str, *shape: int) -> np.ndarray:
    value = np.exp(0.75 * normal(name, *shape))
    square = np.exp(0.75**2)
    return (value - np.sqrt(square)) / np.sqrt((square - 1) * square)


def t3(name: str, *shape: int) -> np.ndarray:
    return stream(f"benchmarks/coverage/{name}", *shape).standard_t(3, size=shape) / np.sqrt(3)


def spike(name: str, *shape: int) -> np.ndarray:
    """One draw in ten lies 5 SDs of the others off."""
    draw = stream(f"benchmarks/coverage/{name}", *shape)
    value = draw.standard_normal(shape) + 5 * (draw.random(shape) < 0.1) - 0.5
    return value / np.sqrt(1 + 25 * 0.09)


Draws = Callable[..., np.ndarray]
HEAVY: Mapping[str, Draws] = {
    SKEWED: exponential,
    "lognormal": lognormal,
    "t3": t3,
    "spike": spike,
}


def held(interval: tuple[np.ndarray, np.ndarray], truth: np.ndarray | float) -> float:
    low, high = interval
    return float(np.mean((low <= truth) & (truth <= high)))


def of_samples(num: int) -> Iterator[tuple[str, list[float]]]:
    """Mean, SD, one draw more, a share."""
    for shape, draws in {"normal": normal, **HEAVY}.items():
        found: dict[str, list[float]] = {}
        for n in SEEDS:
            draw_BS = draws("sample", num, n)
            mean, sd = draw_BS.mean(1), draw_BS.std(1, ddof=1)
            inflation = np.array([sample_inflation(own) for own in draw_BS])
            of = {
                "mean": (intervals.mean_interval(mean, sd, np.array(n)), 0.0),
                "SD": (intervals.sd_interval(sd, np.array(n), inflation), 1.0),
                "next draw": (
                    intervals.next_draw_interval(mean, sd, np.array(n)),
                    draws("next", num, n)[:, 0],
                ),
            }
            for name, (interval, truth) in of.items():
                found.setdefault(f"{name}, {shape} draws", []).append(held(interval, truth))
        yield from found.items()
    for item_se in (0.3, 1.0, 3.0):
        shares = []
        for n in SEEDS:
            draw_BS = normal("new", num, n)
            same = intervals.mean_interval(draw_BS.mean(1), draw_BS.std(1, ddof=1), np.array(n))
            half = np.hypot((same[1] - same[0]) / 2, 1.96 * item_se / np.sqrt(n))
            centre = draw_BS.mean(1) + item_se / np.sqrt(n) * normal("items", num, n)[:, 0]
            shares.append(held((centre - half, centre + half), 0.0))
        yield f"mean on new items, item SE {item_se:g} times the draw SE", shares


def of_one_method(num_D: int, num: int) -> Iterator[tuple[str, list[float]]]:
    for dataset in (0.0, 0.1, 1.0, 10.0):
        draws = {n: between(num_D, num, dataset) + normal("one/s", num_D, n, 1, num) for n in SEEDS}
        name = f"true variances {dataset:g} and 1"
        yield from of_components(draws.values(), dataset, name)
    draws = {n: between(num_D, num, 1.0) + normal("one/s", num_D, n, 1, num) for n in SEEDS}
    for n, value in draws.items():
        for d in range(1, num_D):  # the first dataset has all seeds, the next ones fewer
            value[d, max(2, n - d * n // num_D) :] = np.nan
    yield from of_components(draws.values(), 1.0, "1 and 1, a third of the seeds missing")
    size = np.geomspace(1, 3, num_D) / np.sqrt(np.mean(np.geomspace(1, 3, num_D) ** 2))
    draws = {
        n: between(num_D, num, 1.0) + size.reshape(-1, 1, 1, 1) * normal("one/s", num_D, n, 1, num)
        for n in SEEDS
    }
    yield from of_components(draws.values(), 1.0, "1 and 1, SDs of draws from 1 to 3")
    for name, heavy in HEAVY.items():
        draws = {n: between(num_D, num, 1.0) + heavy("one/s", num_D, n, 1, num) for n in SEEDS}
        yield from of_components(draws.values(), 1.0, f"1 and 1, {name} draws")


def between(num_D: int, num: int, variance: float) -> np.ndarray:
    return np.sqrt(variance) * normal("one/d", num_D, 1, 1, num)


def of_components(
    draws: Iterable[np.ndarray], dataset: float, name: str
) -> Iterator[tuple[str, list[float]]]:
    """Coverage of the variance between datasets and of that of draws, which is 1."""
    found: dict[str, list[float]] = {"dataset": [], "draw": []}
    for value in draws:
        anova = nested_anova(value)
        low, high = anova.interval(0, SETTINGS.num_resamples)
        for component, truth in (("dataset", dataset), ("draw", 1.0)):
            line = anova.names.index(component)
            found[component].append(held((low[line], high[line]), truth))
    for component, shares in found.items():
        yield f"{component}, {name}", shares


def crossed(
    num_M: int, num_D: int, num_S: int, num: int, variances: Mapping[str, float]
) -> np.ndarray:
    sd = {name: np.sqrt(variance) for name, variance in variances.items()}
    return (
        sd["method"] * normal("m", num_M, 1, 1, num)
        + sd["dataset"] * normal("d", 1, num_D, 1, num)
        + sd["method:dataset"] * normal("md", num_M, num_D, 1, num)
        + sd["draw"] * normal("s", 1, num_D, num_S, num)
        + sd["method:draw"] * normal("ms", num_M, num_D, num_S, num)
    )


def across_methods(num_D: int, num: int) -> Iterator[tuple[str, list[float]]]:
    for unlike, told in ((1.0, ""), (4.0, ", one of four methods moves 4 times as far")):
        own = np.array([1.0, 1.0, 1.0, unlike]).reshape(4, 1, 1, 1)
        own *= np.sqrt(ACROSS["method:draw"] / np.mean(own**2))
        found: dict[str, list[float]] = {name: [] for name in ACROSS}
        for n in SEEDS:
            value = crossed(4, num_D, n, num, ACROSS | {"method:draw": 0.0})
            anova = crossed_anova(value + own * normal("ms", 4, num_D, n, num))
            low, high = anova.interval(0, SETTINGS.num_resamples)
            for line, name in enumerate(anova.names):
                found[name].append(held((low[line], high[line]), ACROSS[name]))
        yield from (
            (f"{name}, true variance {ACROSS[name]:g}{told}", found[name])
            for name in (ACROSS if unlike == 1 else ("draw", "method:draw"))
        )


def of_comparisons(num: int) -> Iterator[tuple[str, list[float]]]:
    """Coverage of differences and of P(A > B) = 1/2; how often a difference is called shown."""
    found: dict[str, list[float]] = {}
    directions = np.ones(num)
    for n in SEEDS:
        a, b = normal("pair", 2, 5, n, num) + normal("shared", 1, 5, n, num)
        paired = compare_paired(a, b, directions, power=SETTINGS.power)
        unpaired = compare_unpaired(
            a[:1], a[1:2], directions, power=SETTINGS.power, **SETTINGS.resampling
        )
        for name, compared, line in (
            ("two methods on one dataset", paired, 0),
            ("two methods on five datasets", paired, -1),
            ("two datasets", unpaired, 0),
        ):
            for what, share in _of_one_comparison(compared, line).items():
                found.setdefault(f"{what}, {name}", []).append(share)
        for name, times_D, most_of_fourth in (
            ("one of two pairs", (1, 1, 1, 1, 1), n),
            ("one of two pairs with 3 times the SD", (1, 1, 1, 1, 3), n),
            ("one of two pairs, one of three with 3 times the SD", (1, 1, 1, 3, 1), 3),
        ):
            few = np.stack([a, a - (a - b) * np.array(times_D).reshape(-1, 1, 1)])
            few[:, 3, most_of_fourth:], few[:, 4, 2:] = np.nan, np.nan
            told = compare_paired(*few, directions, power=SETTINGS.power)
            share = held((told.lo[-1], told.hi[-1]), 0.0)
            found.setdefault(f"interval, five datasets, {name}", []).append(share)
    yield from found.items()


def _of_one_comparison(compared: Compared, line: int) -> dict[str, float]:
    p = compared.p_flip[line]
    return {
        "interval of the difference": held((compared.lo[line], compared.hi[line]), 0.0),
        "interval of P(A > B)": held((compared.prob_lo[line], compared.prob_hi[line]), 0.5),
        "exact p below 5 %": float(np.mean(p <= 0.05)),
    }


def array_of(value_MDSE: np.ndarray, *, dense: float = np.nan) -> ScoreArray:
    num_M, num_D, num_S, num_E = value_MDSE.shape
    names = [f"method{m}" for m in range(num_M)]
    return ScoreArray(
        model="simulated",
        methods=tuple(Names("simulated", name, "any", "", name) for name in names),
        datasets=tuple(f"text{d}" for d in range(num_D)),
        seeds=tuple(range(num_S)),
        metrics=tuple(f"acc/task{e}" for e in range(num_E)),
        value_MDSRE=value_MDSE[:, :, :, None],
        cell_ids_MDSR=np.full((num_M, num_D, num_S, 1), "cell", dtype=object),
        dense_E=np.full(num_E, dense),
        num_samples_M=np.full(num_M, np.nan),
    )


def of_rankings(num: int) -> Iterator[tuple[str, list[float]]]:
    for gap in (0.0, 0.5, 1.0):
        shares = []
        for n in SEEDS:
            value = normal("rank", 4, 1, n, num) + normal("rank/shared", 1, 1, n, num)
            array = array_of(value + gap * np.arange(4).reshape(-1, 1, 1, 1))
            ranking = ranking_tables([array], comparison_table([array], SETTINGS), SETTINGS)[
                "ranking"
            ]
            own = ranking[ranking["dataset"] == "text0"]
            low, high = (own[f"rank_{end}"].to_numpy().reshape(num, 4) for end in ("lo", "hi"))
            # Methods that do not differ share all their ranks: none may be left out.
            true_low, true_high = (
                (np.ones(4), np.full(4, 4)) if gap == 0 else [4 - np.arange(4)] * 2
            )
            shares.append(float(np.mean(((low <= true_low) & (true_high <= high)).all(axis=1))))
        yield f"all ranks at once, methods {gap:g} SD apart", shares
    shares = []
    for n in SEEDS:
        value = 0.02 * normal("iqm", num, 1, n, 1) + 0.01 * normal("iqm/own", num, 1, n, 8)
        arrays = [array_of(0.8 + own[None], dense=1.0) for own in value]
        found = profile_tables(arrays, SETTINGS)["iqm"]
        shares.append(held((found["iqm_lo"].to_numpy(), found["iqm_hi"].to_numpy()), 0.8))
    yield "IQM of tasks that move together", shares
    value = 0.02 * normal("iqm", num, 5, 1) + 0.01 * normal("iqm/own", num, 5, 8)
    tails = [
        np.quantile(resampled_iqm([own], **SETTINGS.resampling), [0.025, 0.975]) for own in value
    ]
    low, high = np.array(tails).T
    yield "the same by percentiles", [np.nan, held((low, high), 0.0), np.nan, np.nan]


def of_tests(num: int) -> Iterator[tuple[str, list[float]]]:
    """Shares below 5 %."""
    for name, draws in {"normal": normal, **HEAVY}.items():
        for datasets in (1, 5):
            told = f"equal SDs of two methods on {datasets} datasets, {name} draws, p"
            yield from of_spreads(told, draws, datasets, num)
    for num_a, num_b in ((1.0, 1.0), (0.5, 1.0)):
        shares = []
        for n in SEEDS:
            a = 3 * normal("unlike/a", max(3, int(num_a * n)), num)
            b = normal("unlike/b", int(num_b * n), num)
            p = two_sample_p(a, b, **SETTINGS.resampling)
            shares.append(float(np.mean(p <= 0.05)))
        few = "half as many draws and " if num_a < 1 else ""
        yield f"exact p of two datasets, one with {few}3 times the SD", shares
    found = [[p_value(own) <= 0.05 for own in answered(n, num // 4, 0.0)] for n in SEEDS]
    yield "more than flips of 300 items (Cochran's Q)", [float(np.mean(own)) for own in found]


def of_spreads(name: str, draws: Draws, num_D: int, num: int) -> Iterator[tuple[str, list[float]]]:
    """Compare SDs that are equal; methods share half of their variance."""
    found: dict[float, list[float]] = {0.05: [], 0.005: []}
    for n in SEEDS:
        value = draws("own", 2, num_D, n, num) + draws("all", 1, num_D, n, num)
        p = spread_tables([array_of(value)])["spreads"]["p"].to_numpy(float)
        for level, shares in found.items():
            shares.append(float(np.mean(p < level)))
    for level, shares in found.items():
        yield f"{name} below {level:g}", shares


def of_the_rest(num: int) -> Iterator[tuple[str, list[float]]]:
    """Intervals of systematic SDs, of floors of SDs against sizes of sets, of rank correlations."""
    for shift in (0.0, 0.1, 0.3):
        node, weight = np.polynomial.hermite_e.hermegauss(80)
        share = stats.norm.cdf(DIFFICULTY + shift * node[:, None]).mean(1)
        truth = np.sqrt(
            np.average((share - np.average(share, weights=weight)) ** 2, weights=weight)
        )
        shares = []
        for n in SEEDS:
            ends = [systematic_sd(own)[1:] for own in answered(n, num // 4, shift)]
            shares.append(float(np.mean([low <= truth <= high for low, high in ends])))
        yield f"systematic SD, true {100 * truth:.2g} points, 300 items", shares
    for design in ("separate", "disjoint", "independent"):
        for floor in (0.0, 0.01, 0.1):
            shares = [_floor_held(design, floor, n, num // 10) for n in SEEDS]
            yield f"floor^2 {floor:g} of floor^2 + 1/N, N = 16, 64, 256, sets {design}", shares
    for r in (0.0, 0.5, 0.9):
        truth, shares = 6 / np.pi * np.arcsin(r / 2), [np.nan]  # three draws have no interval
        for n in SEEDS[1:]:
            x, y = normal("rho/x", num // 4, n), normal("rho/y", num // 4, n)
            pairs = zip(x, r * x + np.sqrt(1 - r**2) * y, strict=True)
            ends = [correlate([pair], **SETTINGS.resampling)[2:4] for pair in pairs]
            shares.append(float(np.mean([low <= truth <= high for low, high in ends])))
        yield f"rank correlation, true {truth:.2g}", shares


def answered(n: int, num: int, shift: float) -> Iterator[Split]:
    """Right and wrong answers to the items on n draws, which share a shift of this SD."""
    draw = stream("benchmarks/coverage/flips", n)
    for _ in range(num):
        right_SI = stats.norm.cdf(DIFFICULTY + shift * draw.standard_normal((n, 1)))
        yield split((draw.random(right_SI.shape) < right_SI).astype(float))


def p_value(own: Split) -> float:
    return float(stats.chi2.sf((own.n - 1) * own.variance / own.floor_variance, own.n - 1))


def _floor_held(design: str, floor: float, n: int, num: int) -> float:
    """Sets whose scores are means over their samples, and something of their own."""
    sizes, draw = np.array([16, 64, 256]), stream(f"benchmarks/coverage/{design}", n)
    held = []
    for _ in range(num):
        per_size = []
        sample = draw.standard_normal(n * sizes.max())
        for size in sizes:
            if design == "separate":
                sample = draw.standard_normal(n * size)
            by_seed = sample if design == "independent" else sample[: n * size]
            mean_S = by_seed.reshape(n, -1)[:, :size].mean(1)
            per_size.append((mean_S + np.sqrt(floor) * draw.standard_normal(n)).var(ddof=1))
        low, high = floor_interval(
            sizes, np.array(per_size), np.full(3, n - 1.0), **SETTINGS.resampling
        )
        held.append(low - 1e-12 <= floor <= high)
    return float(np.mean(held))


if __name__ == "__main__":
    main()
