"""What a hook sees of a call: its arguments by place and by name."""

from collections.abc import Mapping, Sequence

from torch import Tensor


def first_tensor(args: Sequence[object], kwargs: Mapping[str, object]) -> Tensor:
    """Return the first argument of a call, a tensor, also where it was passed by its name."""
    first = args[0] if args else next(iter(kwargs.values()))
    assert isinstance(first, Tensor), first
    return first
