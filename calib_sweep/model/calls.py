"""What a hook sees of a call: its arguments by place and by name."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor


def first_tensor(args: Sequence[object], kwargs: Mapping[str, object]) -> Tensor:
    """Return the first argument of a call, a tensor, also where it was passed by its name."""
    first = args[0] if args else next(iter(kwargs.values()))
    assert isinstance(first, Tensor), first
    return first


def with_first_tensor(
    function: Callable[[Tensor], Tensor], args: tuple[object, ...], kwargs: dict[str, object]
) -> tuple[tuple[object, ...], dict[str, object]]:
    """Return the arguments of a call with `function` of the first one in its place."""
    new = function(first_tensor(args, kwargs))
    if args:
        return (new, *args[1:]), kwargs
    return args, kwargs | {next(iter(kwargs)): new}
