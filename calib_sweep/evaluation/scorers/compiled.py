"""Decoder blocks that torch.compile has made one program of: fewer passes over memory.

Between its products a block normalises, rotates, multiplies and adds, each in a kernel that reads
and writes all hidden states. Compiled, these are fused. All blocks of a model share one program for
each shape, which takes seconds to make and lasts as long as the process: weights are its inputs, so
it stays when they change.

Sums are rounded at other places. Half-precision scores move by 1.7 times what rows of another
length move them (docs/performance.md), so `evaluation.compile` is part of a cell's id, and off
unless it is asked for.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from calib_sweep.errors import ConfigError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MAX_SHAPES = 64  # of one process: row lengths, windows of several lengths, kinds of hooks


@contextmanager
def compiled_blocks(model: "PreTrainedModel") -> Iterator[None]:
    """Have the decoder blocks of `model` run compiled, and as they are afterwards.

    Inputs should come in few shapes: for each one a program is made. `ConfigError` where none can
    be made on this machine.
    """
    import torch._dynamo.exc
    import torch._inductor.exc

    from calib_sweep.model.blocks import decoder_blocks

    blocks = decoder_blocks(model)
    settings = {
        "recompile_limit": MAX_SHAPES,
        "fail_on_recompile_limit_hit": True,
        # Inputs of layers are quantised by hooks. A program made without them is not for these.
        "skip_nnmodule_hook_guards": False,
    }
    failures = (torch._dynamo.exc.TorchDynamoException, torch._inductor.exc.InductorError)
    for block in blocks:
        block.compile(dynamic=False)
    try:
        with torch._dynamo.config.patch(settings):  # pyright: ignore[reportCallIssue]
            yield
    except failures as error:
        raise ConfigError(
            "evaluation.compile=true: expected a model and a machine that torch.compile can make "
            f"programs for, but it says: {(str(error).splitlines() or [''])[0]}. Type "
            "evaluation.compile=false."
        ) from error
    finally:
        for block in blocks:
            block._compiled_call_impl = None
