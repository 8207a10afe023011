"""What a walk tells and asks whoever keeps its state. Here nobody does."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from calib_sweep.compression.layer import LayerReport
from calib_sweep.compression.replay import BlockInputs
from calib_sweep.model.blocks import DecoderBlock

T = TypeVar("T")


class NothingKept:
    """Keeps nothing of a walk."""

    num_done = 0  # blocks, kept before or in this walk
    seconds_before = 0.0  # that the walk took up to the state that it went on from

    def planned(self, make: Callable[[], T]) -> T:
        """Return what `make` gives, or gave before."""
        return make()

    def noted(self, inputs: BlockInputs) -> list[Any]:
        """Return what was noted of the first blocks in the pass that plans; `inputs` follow."""
        return []

    def after_noted(self, note: object, inputs: BlockInputs | None) -> None:
        """Keep the pass that plans up to now, if it is time. `note`: of the block just seen."""

    def resume(
        self, pairs: Sequence[tuple[DecoderBlock, object]], inputs: BlockInputs | None
    ) -> list[LayerReport]:
        """Put in place what was kept; return the reports of the blocks that are done.

        `pairs`: all dense blocks, each with its method.
        """
        return []

    def after_block(
        self, block: DecoderBlock, reports: Sequence[LayerReport], inputs: BlockInputs | None
    ) -> None:
        """Keep what has come up to now, if it is time. `inputs`: of the next block, if any."""


NOTHING_KEPT = NothingKept()
