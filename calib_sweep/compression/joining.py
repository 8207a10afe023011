"""Putting together what ranks have observed, each on its own samples.

Every rank ends with the same statistics, to the last bit: sums are added in order of ranks, and all
else is merged in that order, as if the samples of one rank came after those of the rank before. An
expert that no token of a rank was sent to has no statistic there, or an empty one.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from calib_sweep.method.statistics.statistic import Statistic
from calib_sweep.model.blocks import Layer
from calib_sweep.ranks import Ranks

PACKED = 2**20  # numbers: tensors that are smaller together travel as one


class Count(Statistic):
    """Nothing but how many tokens there were."""

    def _takes_as_it_is(self, inputs_TI: Tensor) -> bool:
        return True

    def _accumulate(self, inputs_TI: Tensor) -> None: ...

    def _accumulate_weighted(self, inputs_TI: Tensor, weights_T: Tensor) -> None: ...

    def _merge(self, other: Statistic) -> None: ...

    def square_sum_I(self) -> Tensor:
        return torch.zeros(self.num_in, device=self.device)


class _Told(NamedTuple):
    """What the other ranks have to know of a statistic before it is sent."""

    num_tokens: int
    sums: Mapping[str, tuple[torch.Size, torch.dtype]]  # those that have been added to


def joined(
    own: Mapping[str, Statistic],
    kind: type[Statistic],
    layers: Mapping[str, Layer],
    ranks: Ranks,
) -> dict[str, Statistic]:
    """Return statistics, by layer, of what all ranks have seen; `own` are used up."""
    groups = _groups(ranks.gathered([_shared(own)]))
    parts = [_of_group(own, names, kind, layers[names[0]]) for names in groups]
    told = ranks.gathered([[_told(part) for part in parts]])
    for place, part in enumerate(parts):
        part.num_before = sum(of_rank[place].num_tokens for of_rank in told[: ranks.index])
    sent = ranks.gathered([[part.without_sums() for part in parts]])
    whole: list[Statistic] = []
    for place, part in enumerate(parts):
        merged = kind(part.num_in, part.device).without_sums()
        for of_rank in sent:
            merged.merge(of_rank[place])
        whole.append(merged)
    _add_sums(whole, parts, told, ranks)
    return {name: merged for names, merged in zip(groups, whole, strict=True) for name in names}


def joined_counts(own: Mapping[str, int | None], ranks: Ranks) -> dict[str, int | None]:
    """Return sums of numbers by name; None where one is not known."""
    counts: dict[str, int | None] = {}
    for of_rank in ranks.gathered([own]):
        for name, number in of_rank.items():
            before = counts.get(name, 0)
            counts[name] = None if before is None or number is None else before + number
    return counts


def tokens_before(own: Mapping[str, Statistic], ranks: Ranks) -> dict[str, int]:
    """Return by layer how many tokens ranks before this one have seen."""
    counts = {name: statistic.num_tokens for name, statistic in own.items()}
    before: dict[str, int] = {}
    for of_rank in ranks.gathered([counts])[: ranks.index]:
        for name, number in of_rank.items():
            before[name] = before.get(name, 0) + number
    return before


def _shared(own: Mapping[str, Statistic]) -> list[list[str]]:
    """Names of layers, those together that hold the same statistic."""
    groups: dict[int, list[str]] = {}
    for name, statistic in own.items():
        groups.setdefault(id(statistic), []).append(name)
    return list(groups.values())


def _groups(of_ranks: Sequence[list[list[str]]]) -> list[list[str]]:
    """Join the groups of all ranks: where one has seen no token of a layer, the others tell."""
    group_of: dict[str, list[str]] = {}
    for names in (names for groups in of_ranks for names in groups):
        known = {id(group_of[name]): group_of[name] for name in names if name in group_of}
        assert len(known) <= 1, f"{names} share their inputs on one rank and not on another"
        group = next(iter(known.values()), [])
        for name in names:
            if name not in group_of:
                group.append(name)
                group_of[name] = group
    return list({id(group): group for group in group_of.values()}.values())


def _of_group(
    own: Mapping[str, Statistic], names: Sequence[str], kind: type[Statistic], layer: Layer
) -> Statistic:
    found = next((own[name] for name in names if name in own), None)
    if found is not None:
        return found
    weight_OI = layer.weight_OI()
    return kind(weight_OI.shape[1], weight_OI.device)


def _told(part: Statistic) -> _Told:
    tensors: dict[str, Tensor | None] = {name: getattr(part, name) for name in part.sums}
    known = {name: (t.shape, t.dtype) for name, t in tensors.items() if t is not None}
    return _Told(part.num_tokens, known)


def _add_sums(
    whole: Sequence[Statistic],
    parts: Sequence[Statistic],
    told: Sequence[Sequence[_Told]],
    ranks: Ranks,
) -> None:
    """Give each of `whole` its sums over ranks; `parts` lose theirs."""
    places: list[tuple[Statistic, str]] = []
    tensors: list[Tensor] = []
    for place, (merged, part) in enumerate(zip(whole, parts, strict=True)):
        known = {name: form for of_rank in told for name, form in of_rank[place].sums.items()}
        for name, (shape, dtype) in known.items():
            own: Tensor | None = getattr(part, name)
            own = torch.zeros(shape, dtype=dtype, device=part.device) if own is None else own
            setattr(part, name, None)
            places.append((merged, name))
            tensors.append(own)
    order = sorted(range(len(tensors)), key=lambda at: str(tensors[at].dtype))  # packs are of one
    in_order = [tensors[at] for at in order]
    tensors.clear()
    for at, total in zip(order, _summed(in_order, ranks), strict=True):
        merged, name = places[at]
        setattr(merged, name, total)


def _summed(tensors: list[Tensor], ranks: Ranks) -> Iterator[Tensor]:
    """Sum each tensor over ranks; a few at a time, so that they use up no memory twice."""
    tensors.reverse()
    while tensors:
        pack = [tensors.pop()]
        while tensors and tensors[-1].dtype == pack[0].dtype and _fits(pack, tensors[-1]):
            pack.append(tensors.pop())
        if len(pack) == 1:
            yield ranks.summed(pack.pop())
            continue
        total = ranks.summed(torch.cat([tensor.flatten() for tensor in pack]))
        sizes = [tensor.numel() for tensor in pack]
        for tensor, part in zip(pack, total.split(sizes), strict=True):
            yield part.view(tensor.shape)


def _fits(pack: Sequence[Tensor], other: Tensor) -> bool:
    return sum(tensor.numel() for tensor in (*pack, other)) <= PACKED
