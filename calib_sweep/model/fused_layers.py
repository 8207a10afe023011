"""Which layers of a block runtimes fuse into one matrix, by their names.

Runtimes such as vLLM multiply by queries, keys and values at once, and by gate and up at once. What
a format keeps once per tensor is then one number for all of them.
"""

from collections.abc import Sequence

# Last parts of names of layers that are fused where they stand in one module.
FUSED = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"), ("w1", "w3"))


def fused_layers(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Return all layers, those that are fused together, in order of the first of each."""
    groups: dict[tuple[str, object], list[str]] = {}
    for name in names:
        module, _, own = name.rpartition(".")
        kind = next((parts for parts in FUSED if own in parts), own)
        groups.setdefault((module, kind), []).append(name)
    return [tuple(group) for group in groups.values()]
