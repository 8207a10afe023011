"""How much of a compressed language model's score is the method, and how much the data it saw?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calib_sweep.compression.walk import compress as compress

__version__ = "0.1.0"
__all__ = ["__version__", "compress"]


def __getattr__(name: str) -> Any:
    """Import `compress`, and torch with it, when it is first asked for."""
    if name == "compress":
        from calib_sweep.compression.walk import compress

        return compress
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
