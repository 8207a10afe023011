"""The gates: what the miniature's numbers must show to pass for a small real model's.

Each gate is a pure function of what was measured. One that fails is kept with its number.

`Scores` maps (method, dataset, metric) to the values over calibration seeds [S]; the dataset is
None for a method that reads no data, which has one value. `wanda` prunes half of the weights,
`wanda_24` two of four, `rtn 3 bit` rounds; see conf/experiment/miniature*.yaml.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from calib_sweep.analysis.scores.means import ACC_MEAN, PPL_MEAN
from calib_sweep.analysis.scores.table import DENSE
from calib_sweep.miniature.acceptance.guessing import standard_error
from calib_sweep.places import DOMAINS

Scores = Mapping[tuple[str, str | None, str], np.ndarray]

TRIGRAM_RATIO = 1.5  # trigram perplexity over dense perplexity, at least
POINTS, NUM_TASKS = 0.15, 4  # above guessing, on so many tasks
STANDARD_ERRORS = 3.0  # above guessing, on every task
COPY_GAIN = 1.0  # nats per token by which a list is better foreseen the second time
VISIBLE, VISIBLE_SDS = 0.01, 3.0  # rise of log perplexity; in SDs of GPTQ's calibration draw
ALPHA = 0.01  # of the F tests, shared among the methods that are tested
LEAST_PARAMETERS, MOST_PARAMETERS, MOST_BYTES = 1_000_000, 4_000_000, 8_000_000

SEQ_LEN = 256
PRUNED_HALF = ("sparsegpt", "wanda", "magnitude")
PRUNED_24 = ("sparsegpt_24", "wanda_24", "magnitude_24")
JOINT = "sparsegpt_quantized"  # half zeros, the others in 4 bits: 3 bits per weight with its mask
TESTED = ("wanda", "sparsegpt")


@dataclass(frozen=True)
class Gate:
    """One gate: what it is about, the number, the mark it is held against, whether it holds."""

    name: str
    number: str
    mark: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Dense:
    """Measures of the model outside the grid."""

    perplexity: Mapping[str, float]  # by domain
    trigram: Mapping[str, float]  # of the trigram model that counted the same domain
    accuracy: Mapping[str, float]  # by task
    guessing: Mapping[str, float]
    num_items: int  # of each task
    copying: tuple[float, float]  # nats per token of random lists: first time, second time
    moved: Mapping[str, int]  # data-free method -> weights that two calibration sets tell apart
    num_parameters: int
    num_bytes: int


def all_gates(dense: Dense, scores: Scores) -> list[Gate]:
    """Every gate, in the order of the card."""
    return [
        *perplexity_gates(dense.perplexity, dense.trigram),
        *accuracy_gates(dense),
        copy_gate(*dense.copying),
        order_gate("50 %", PRUNED_HALF, scores),
        order_gate("2:4", PRUNED_24, scores),
        *rounding_gates(scores),
        joint_gate(scores),
        *spread_gates(scores, dense.moved),
        *source_gates(scores),
        *size_gates(dense.num_parameters, dense.num_bytes),
    ]


def perplexity_gates(dense: Mapping[str, float], trigram: Mapping[str, float]) -> Iterator[Gate]:
    for domain, perplexity in dense.items():
        ratio = trigram[domain] / perplexity
        yield Gate(
            f"{domain}: dense perplexity below a trigram model's",
            f"{perplexity:.2f} against {trigram[domain]:.2f}, {ratio:.2f} times",
            f"{TRIGRAM_RATIO} times",
            ratio >= TRIGRAM_RATIO,
        )


def accuracy_gates(dense: Dense) -> Iterator[Gate]:
    """Points above guessing on four tasks; standard errors above guessing on all."""
    above = {task: dense.accuracy[task] - dense.guessing[task] for task in dense.accuracy}
    errors = {
        task: above[task]
        / standard_error(dense.accuracy[task], dense.guessing[task], dense.num_items)
        for task in above
    }
    num_clear = sum(points >= POINTS for points in above.values())
    yield Gate(
        "accuracy above guessing",
        f"{num_clear} of {len(above)} tasks; "
        + ", ".join(f"{task} {100 * points:+.0f}" for task, points in above.items()),
        f"{100 * POINTS:.0f} points on {NUM_TASKS} tasks",
        num_clear >= NUM_TASKS,
    )
    worst = min(errors, key=lambda task: errors[task])
    yield Gate(
        "accuracy above guessing, every task",
        f"{errors[worst]:.1f} standard errors, the least, on {worst}",
        f"{STANDARD_ERRORS:.0f} standard errors",
        errors[worst] >= STANDARD_ERRORS,
    )


def copy_gate(first: float, second: float) -> Gate:
    return Gate(
        "a random word list is better foreseen the second time",
        f"{first:.2f} nats per token, then {second:.2f}",
        f"{COPY_GAIN:.0f} nat less",
        first - second >= COPY_GAIN,
    )


def own_perplexity(scores: Scores, method: str, domain: str) -> float:
    """Perplexity of `domain` after calibration on it, the mean over seeds."""
    dataset = domain if (method, domain, PPL_MEAN) in scores else None
    return float(scores[method, dataset, f"ppl/{domain}@{SEQ_LEN}"].mean())


def order_gate(pattern: str, methods: tuple[str, str, str], scores: Scores) -> Gate:
    """sparsegpt <= wanda < magnitude on each domain, calibrated on that domain."""
    of_domain = [[own_perplexity(scores, m, domain) for m in methods] for domain in DOMAINS]
    num_ordered = sum(best <= middle < worst for best, middle, worst in of_domain)
    means = np.exp(np.log(of_domain).mean(axis=0))
    names = [name.removesuffix("_24") for name in methods]
    described = (f"{name} {mean:.2f}" for name, mean in zip(names, means, strict=True))
    return Gate(
        f"{pattern}: perplexity of the calibrated domain in order",
        f"{num_ordered} of {len(DOMAINS)} domains; geometric means {', '.join(described)}",
        "sparsegpt <= wanda < magnitude on every domain",
        num_ordered == len(DOMAINS),
    )


def log_ppl(scores: Scores, method: str, dataset: str | None) -> np.ndarray:
    """Log perplexity, the mean over the five domains: [S]."""
    return np.log(scores[method, dataset, PPL_MEAN])


def rounding_gates(scores: Scores) -> Iterator[Gate]:
    """Damage of RTN over bits, its size at 3 bits, and what GPTQ saves of it there."""
    dense, web = log_ppl(scores, DENSE, None)[0], DOMAINS[0]
    rise = {bits: log_ppl(scores, f"rtn {bits} bit", None)[0] - dense for bits in (4, 3, 2)}
    yield Gate(
        "RTN: rise of log perplexity grows from 4 over 3 to 2 bits",
        ", ".join(f"{value:.3f}" for value in rise.values()),
        "in this order",
        rise[4] < rise[3] < rise[2],
    )
    gptq_S = log_ppl(scores, "gptq 3 bit", web)
    sd = float(gptq_S.std(ddof=1))
    yield Gate(
        "RTN: the rise at 3 bits is visible",
        f"{rise[3]:.3f}, {rise[3] / sd:.0f} SDs of GPTQ's over seeds",
        f"{VISIBLE} and {VISIBLE_SDS:.0f} SDs",
        rise[3] >= max(VISIBLE, VISIBLE_SDS * sd),
    )
    saved = float(gptq_S.mean()) - dense
    yield Gate(
        "GPTQ below RTN at 3 bits",
        f"rise of log perplexity {saved:.3f} against {rise[3]:.3f}",
        "less",
        saved < rise[3],
    )


def joint_gate(scores: Scores) -> Gate:
    """Half zeros and 4 bits by SparseGPT against 3 bits by RTN: about as many bits per weight."""
    pairs = [
        (own_perplexity(scores, JOINT, domain), own_perplexity(scores, "rtn 3 bit", domain))
        for domain in DOMAINS
    ]
    num_below = sum(joint < rounded for joint, rounded in pairs)
    joint, rounded = np.exp(np.log(pairs).mean(axis=0))
    return Gate(
        "SparseGPT with 50 % zeros and 4 bits below RTN at 3 bits, calibrated domain",
        f"{num_below} of {len(DOMAINS)} domains; geometric means {joint:.2f} against {rounded:.2f}",
        "every domain",
        num_below == len(DOMAINS),
    )


def spread_gates(scores: Scores, moved: Mapping[str, int]) -> Iterator[Gate]:
    """Calibrated methods vary with the seed; others have one cell and never move a weight."""
    for metric, word in ((PPL_MEAN, "perplexity"), (ACC_MEAN, "accuracy")):
        sds = seed_sds(scores, metric)
        least = min(sds, key=lambda method: sds[method])
        yield Gate(
            f"calibrated methods: SD of {word} over seeds",
            f"{sds[least]:.2g}, the least of {len(sds)} methods, of {least}",
            "above 0",
            sds[least] > 0,
        )
    sizes = {key[0]: value_S.size for key, value_S in scores.items() if key[1] is None}
    yield Gate(
        "magnitude and RTN: SD over seeds",
        f"{max(sizes.values())} cell each; {sum(moved.values())} weights differ between two "
        f"calibration sets ({', '.join(moved)})",
        "0",
        max(sizes.values()) == 1 and sum(moved.values()) == 0,
    )


def seed_sds(scores: Scores, metric: str) -> dict[str, float]:
    """SD over calibration seeds of each calibrated method, pooled over its datasets.

    Pooled, as two draws can have the same accuracy on a few hundred items by chance.
    """
    variances: dict[str, list[float]] = {}
    for (method, dataset, name), value_S in scores.items():
        if name == metric and dataset is not None:
            variances.setdefault(method, []).append(float(value_S.var(ddof=1)))
    return {method: float(np.sqrt(np.mean(found))) for method, found in variances.items()}


def source_p(scores: Scores, method: str, metric: str) -> float:
    """p of the one-way F test between the datasets, over seeds."""
    values = [scores[method, domain, metric] for domain in DOMAINS]
    values_DS = np.log(values) if metric == PPL_MEAN else np.array(values)
    return float(stats.f_oneway(*values_DS).pvalue)


def source_gates(scores: Scores) -> Iterator[Gate]:
    """Datasets differ by more than seeds, for one method at least."""
    for metric, word in ((PPL_MEAN, "log perplexity"), (ACC_MEAN, "accuracy")):
        p = {method: source_p(scores, method, metric) for method in TESTED}
        yield Gate(
            f"50 %: datasets differ in {word} by more than seeds",
            "F test: " + ", ".join(f"{method} p = {value:.2g}" for method, value in p.items()),
            f"p < {ALPHA / len(TESTED):g} for one method ({ALPHA} shared by {len(TESTED)})",
            min(p.values()) < ALPHA / len(TESTED),
        )


def size_gates(num_parameters: int, num_bytes: int) -> Iterator[Gate]:
    yield Gate(
        "parameters",
        f"{num_parameters:,}",
        f"{LEAST_PARAMETERS:,} to {MOST_PARAMETERS:,}",
        LEAST_PARAMETERS <= num_parameters <= MOST_PARAMETERS,
    )
    yield Gate(
        "bytes of weights", f"{num_bytes:,}", f"below {MOST_BYTES:,}", num_bytes < MOST_BYTES
    )
