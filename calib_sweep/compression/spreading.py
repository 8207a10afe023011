"""Compressing the layers of a block, each on one rank, which sends the result to the others.

Layers are handed out by what their method says of its work, the largest first, each to the rank
that is done with it earliest. Layers with one statistic share its factorisation, but on one rank
only. So the others end with the very same weights, and no rank has to compute what another has.

Shapes: O, I = out_features, in_features.
"""

from collections.abc import Mapping

from calib_sweep.compression.layer import (
    LayerReport,
    Replacement,
    compress_layer,
    put,
    replacement_of,
)
from calib_sweep.compression.observation import Observation
from calib_sweep.method.base import LayerMethod
from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.model.blocks import Layer
from calib_sweep.ranks import Ranks

# About how long work takes, only to share it out: a weight that is read or written, an operation
# of a product, one of the column steps that wait for each other, all in one unit.
SWEEP, PRODUCT, STEP = 8.0, 0.2, 1e4


def compress_layers(
    index: int,
    layers: Mapping[str, Layer],
    methods: Mapping[str, LayerMethod],
    seen: Observation | None,
    ranks: Ranks,
) -> dict[str, LayerReport]:
    """Compress `layers` of block `index` and report on each. `seen` None: without data."""
    if ranks.count == 1:
        return {  # a statistic is gone with its last layer
            name: compress_layer(index, name, layer, methods[name], *_taken(seen, name))
            for name, layer in layers.items()
        }
    owners = owners_of(layers, methods, {} if seen is None else seen.statistics, ranks.count)
    taken = {name: _taken(seen, name) for name in layers}
    taken = {name: of for name, of in taken.items() if owners[name] == ranks.index}

    def make() -> dict[str, Replacement]:
        return {
            name: replacement_of(index, name, layers[name], methods[name], *taken.pop(name))
            for name in list(taken)
        }

    made = ranks.together(make)
    reports: dict[str, LayerReport] = {}
    for owner in range(ranks.count):
        for name, replacement in ranks.from_rank(owner, lambda: made).items():
            put(layers[name], replacement)
            reports[name] = replacement.report
    return {name: reports[name] for name in layers}


def _taken(
    seen: Observation | None, name: str
) -> tuple[Statistic | None, Mapping[str, int | None]]:
    return (None, {}) if seen is None else seen.take(name)


def owners_of(
    layers: Mapping[str, Layer],
    methods: Mapping[str, LayerMethod],
    statistics: Mapping[str, Statistic],
    num_ranks: int,
) -> dict[str, int]:
    """Return which rank compresses each layer."""
    keys = {name: id(statistics.get(name, layers[name])) for name in layers}
    costs = {name: _costs(layers[name], methods[name].for_layer(name)) for name in layers}
    busy, shared = [0.0] * num_ranks, [set[int]() for _ in range(num_ranks)]
    owners: dict[str, int] = {}
    for name in sorted(layers, key=lambda name: -sum(costs[name])):
        own, common = costs[name]
        ends = [
            busy[rank] + own + (0.0 if keys[name] in shared[rank] else common)
            for rank in range(num_ranks)
        ]
        owner = owners[name] = ends.index(min(ends))
        busy[owner] = ends[owner]
        shared[owner].add(keys[name])
    return owners


def _costs(layer: Layer, method: LayerMethod) -> tuple[float, float]:
    """What a layer costs, and what it costs once for all layers that share its statistic."""
    work, (num_out, num_in) = method.work(), layer.weight_OI().shape
    own = SWEEP * work.sweeps * num_out * num_in + STEP * work.column_steps * num_in
    if not work.solves:
        return own, 0.0
    updates = 2 * (1 + work.products) * num_out * float(num_in) ** 2
    return own + PRODUCT * updates, PRODUCT * float(num_in) ** 3
