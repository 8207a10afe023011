"""Simulate sweeps and hold the time that is told to be left against what was left.

    python benchmarks/eta.py        the table of docs/performance.md

A grid of three models and four methods, fifteen cells each, model by model, the methods of a model
in turns or one after the other. A cell takes its kind's seconds times a log-normal factor of SD
10 %. Costs, by which untimed kinds are told, are wrong by log-normal factors of SD 30 % of each
method and 10 % of each kind.
Printed: the median over simulations of |told - left| / left, beside that of cells per second so
far, and how often the range held what was left.
"""

import math
from collections.abc import Callable
from statistics import median

import numpy as np

from calib_sweep.seeding import stream
from calib_sweep.sweep.eta import Kind, time_left

MODELS = {"small": 1.0, "middle": 2.0, "large": 4.0}
METHODS = {"magnitude": 1.0, "wanda": 1.2, "sparsegpt": 1.6, "spqr": 3.0}
NUM_SEEDS, NUM_SIMULATIONS = 15, 200
NOISE, WRONG = 0.1, {"method": 0.3, "kind": 0.1}
SHARES = (0.05, 0.2, 0.5, 0.8)

Order = Callable[[str], list[Kind]]


def main() -> None:
    print("| cells of a model | workers | " + " | ".join(f"{s:.0%} over" for s in SHARES) + " |")
    print("|---|---|" + "---|" * len(SHARES))
    orders: dict[str, Order] = {"in turns": in_turns, "one method after the other": in_blocks}
    for name, order in orders.items():
        for workers in (1, 8):
            shown = [cell_of(order, workers, share) for share in SHARES]
            print(f"| {name} | {workers} | {' | '.join(shown)} |")


def in_turns(model: str) -> list[Kind]:
    return [Kind(model, method) for method in METHODS] * NUM_SEEDS


def in_blocks(model: str) -> list[Kind]:
    return [Kind(model, method) for method in METHODS for _ in range(NUM_SEEDS)]


def cell_of(order: Order, workers: int, share: float) -> str:
    """Errors of what is told and of a plain rate, and how often the range held the truth."""
    told, plain, held = [], [], 0
    for number in range(NUM_SIMULATIONS):
        draws = stream("benchmarks/eta", number, workers)
        cells, end_s = simulate(order, workers, draws)
        now = share * end_s
        done: dict[Kind, list[float]] = {}
        for kind, start, end in cells:
            if end <= now:
                done.setdefault(kind, []).append(end - start)
        running = [(kind, now - start) for kind, start, end in cells if start <= now < end]
        waiting = [kind for kind, start, _ in cells if start > now]
        left = time_left(waiting, running, done, costs_of(draws))
        num_done = sum(map(len, done.values()))
        if left is None or not num_done:
            continue
        true = end_s - now
        told.append(abs(left.seconds / true - 1))
        plain.append(abs(now / num_done * (len(cells) - num_done) / true - 1))
        held += left.low <= true <= left.high
    return f"{median(told):.0%} (plain {median(plain):.0%}, held {held / len(told):.0%})"


def simulate(
    order: Order, workers: int, draws: np.random.Generator
) -> tuple[list[tuple[Kind, float, float]], float]:
    """When each cell began and ended, and when the last one did."""
    free, cells = [0.0] * workers, []
    for kind in [kind for model in MODELS for kind in order(model)]:
        seconds = 60 * MODELS[kind.model] * METHODS[kind.method]
        first = min(range(workers), key=free.__getitem__)
        start = free[first]
        free[first] += seconds * math.exp(NOISE * draws.standard_normal())
        cells.append((kind, start, free[first]))
    return cells, max(free)


def costs_of(draws: np.random.Generator) -> dict[Kind, float]:
    """What the cost model says of each kind."""
    told = {}
    for method, cost in METHODS.items():
        of_method = WRONG["method"] * draws.standard_normal()
        for model, size in MODELS.items():
            wrong = of_method + WRONG["kind"] * draws.standard_normal()
            told[Kind(model, method)] = size * cost * math.exp(wrong)
    return told


if __name__ == "__main__":
    main()
