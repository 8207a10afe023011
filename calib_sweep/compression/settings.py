"""The settings of the walk, and which methods can be walked with them."""

from dataclasses import dataclass

from calib_sweep.compression.block import COMPRESSED, DENSE
from calib_sweep.compression.dense_stream import check_streams_part
from calib_sweep.errors import collected, require
from calib_sweep.method.base import Method
from calib_sweep.method.settings import check_flag, check_positive_int
from calib_sweep.method.structured import StructuredMethod
from calib_sweep.method.whole_model import WholeModelMethod

PUBLISHED = "published"


@dataclass(frozen=True, kw_only=True)
class Walk:
    """Settings of the walk."""

    propagate: str  # which outputs feed the next block: compressed, dense, or as published
    true_sequential: bool  # whether layers of a block see their compressed predecessors
    batch_tokens: int | None  # at once through a block: memory, not results; None: by device
    all_experts: bool  # whether statistics of every expert see every token, not the routed ones
    tensor_cores: bool  # whether a GPU's may sum products of half-precision inputs, in float32

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(self._check_propagate)
            problems.of(self._check_true_sequential)
            problems.of(self._check_batch_tokens)
            problems.of(self._check_all_experts)
            problems.of(self._check_tensor_cores)

    def propagated(self, method: Method) -> str | None:
        """Return whose outputs feed the next block with `method`: compressed or dense."""
        if isinstance(method, WholeModelMethod):
            return None
        if self.propagate != PUBLISHED and not isinstance(method, StructuredMethod):
            return self.propagate
        return DENSE if method.propagates_dense else COMPRESSED

    def check_method(self, method: Method) -> None:
        """Raise `ConfigError` when `method` cannot be walked with these settings."""
        require(
            not (
                self.true_sequential and (method.migrates_scale or self.propagated(method) == DENSE)
            ),
            "walk.true_sequential",
            self.true_sequential,
            f"false with {type(method).__name__}, which looks at a dense block as a whole",
            "Type walk.true_sequential=false.",
        )
        if isinstance(method, WholeModelMethod):
            given = {
                key: getattr(self, key) for key in ("propagate", "true_sequential", "all_experts")
            }
            method.require_plain_walk(given)
        check_streams_part(method, is_dense=self.propagated(method) == DENSE)

    def _check_propagate(self) -> None:
        require(
            self.propagate in (PUBLISHED, COMPRESSED, DENSE),
            "walk.propagate",
            self.propagate,
            f"{PUBLISHED}, {COMPRESSED} or {DENSE}",
            f"Example: walk.propagate={PUBLISHED}, which does as the method's authors do.",
        )

    def _check_true_sequential(self) -> None:
        require(
            isinstance(self.true_sequential, bool)
            and not (self.true_sequential and self.propagate == DENSE),
            "walk.true_sequential",
            self.true_sequential,
            "true or false; only false with walk.propagate=dense, where no layer sees compressed "
            "inputs",
            "Type walk.true_sequential=false, or walk.propagate=compressed.",
        )

    def _check_batch_tokens(self) -> None:
        if self.batch_tokens is not None:
            remedy = (
                "Example: walk.batch_tokens=16384; less needs less memory, null decides by itself."
            )
            check_positive_int("walk.batch_tokens", self.batch_tokens, remedy)

    def _check_all_experts(self) -> None:
        remedy = "Example: walk.all_experts=true, which shows every expert all calibration tokens."
        check_flag("walk.all_experts", self.all_experts, remedy)

    def _check_tensor_cores(self) -> None:
        remedy = "Example: walk.tensor_cores=false, which sums in float32 throughout and is slower."
        check_flag("walk.tensor_cores", self.tensor_cores, remedy)
