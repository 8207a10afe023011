"""Many small GPU kernels as one launch.

A column loop runs about a thousand kernels of two microseconds for every 128 columns. Launched one
by one from Python they take several times as long as they run. So on a GPU the kernels of a block
are recorded once, as a CUDA graph, and replayed for every later block of the same shape. The maths
stays where it was, in one function, which a CPU calls as it is.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

MAX_RECORDINGS = 32  # each holds the memory of its function's tensors; the oldest goes first

# What was called, with which settings and shapes -> its recording; None after the first use.
_recordings: "OrderedDict[Hashable, Recording | None]" = OrderedDict()


def as_one_launch(
    function: Callable[..., tuple[Tensor, ...]], *arguments: Hashable
) -> tuple[Tensor, ...]:
    """`function(*arguments)`; on a GPU replayed from the second call of its kind on.

    `function` leaves its arguments alone, returns new tensors, and for tensors of equal shapes and
    equal other arguments (which are hashable) runs the same kernels: it never looks at a value.
    The tensors returned are overwritten by the next call of the same kind.
    """
    arguments = tuple(a.contiguous() if isinstance(a, Tensor) else a for a in arguments)
    devices = {a.device for a in arguments if isinstance(a, Tensor)}
    if {device.type for device in devices} != {"cuda"}:
        return function(*arguments)
    key = (function, tuple(_kind(argument) for argument in arguments))
    with torch.cuda.device(devices.pop()):
        if key not in _recordings:
            # Libraries set themselves up during a first run, which must not be recorded.
            _recordings[key] = None
            return function(*arguments)
        recording = _recordings[key] or Recording(function, arguments)
        _recordings[key] = recording
        _recordings.move_to_end(key)
        while len(_recordings) > MAX_RECORDINGS:
            _recordings.popitem(last=False)
        return recording.replay(arguments)


class Recording:
    """The kernels of one call, reading from and writing to tensors of its own.

    The function has run before with such arguments, and the current device is theirs. What else it
    reads and writes stays where it is: the recording does not keep it alive.
    """

    def __init__(
        self, function: Callable[..., tuple[Tensor, ...]], arguments: tuple[Hashable, ...]
    ) -> None:
        self._arguments = tuple(a.clone() if isinstance(a, Tensor) else a for a in arguments)
        self._graph = torch.cuda.CUDAGraph()
        # Other threads of the process may use the GPU meanwhile; they are no part of this.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._results = function(*self._arguments)

    def replay(self, arguments: tuple[Hashable, ...]) -> tuple[Tensor, ...]:
        """Return what the function makes of these; the next replay overwrites it."""
        for own, given in zip(self._arguments, arguments, strict=True):
            if isinstance(own, Tensor) and isinstance(given, Tensor):
                own.copy_(given)
        self._graph.replay()
        return self._results


def _kind(argument: Hashable) -> Hashable:
    if isinstance(argument, Tensor):
        return argument.shape, argument.dtype, argument.device
    return argument
