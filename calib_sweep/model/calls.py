"""What a hook sees of a call, its arguments by place and by name; and our hooks before a module.

A hook of ours is told from those of others by its class.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar, cast

from torch import Tensor, nn

Hook = TypeVar("Hook")


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


def pre_hooks_of(module: nn.Module, kind: type[Hook]) -> list[Hook]:
    """Return the hooks of a class that run before `module`."""
    hooks = cast(Iterable[object], module._forward_pre_hooks.values())
    return [hook for hook in hooks if isinstance(hook, kind)]


def remove_pre_hooks(module: nn.Module, kind: type[object]) -> None:
    """Take away the hooks of a class that run before `module`."""
    hooks = module._forward_pre_hooks
    for key in [key for key, hook in hooks.items() if isinstance(hook, kind)]:
        del hooks[key]
        module._forward_pre_hooks_with_kwargs.pop(key, None)
