"""How much of a compressed language model's score is the method, and how much the data it saw?

The functions below are those of `calib_sweep.api.functions`. Some are called as a room of the
package is: `calib_sweep.method("gptq")` builds a method, and `calib_sweep.method.gptq` is the file
it is from. Both hold, because these rooms can be called.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from calib_sweep.api.functions import activations as activations
    from calib_sweep.api.functions import compress as compress
    from calib_sweep.api.functions import dataset as dataset
    from calib_sweep.api.functions import draw as draw
    from calib_sweep.api.functions import evaluate as evaluate
    from calib_sweep.api.functions import evaluation as evaluation
    from calib_sweep.api.functions import load_report as load_report
    from calib_sweep.api.functions import load_scores as load_scores
    from calib_sweep.api.functions import method as method
    from calib_sweep.api.functions import model as model
    from calib_sweep.api.functions import rotation as rotation
    from calib_sweep.api.functions import run as run

__version__ = "0.1.0"
__all__ = [
    "__version__",
    "activations",
    "compress",
    "dataset",
    "draw",
    "evaluate",
    "evaluation",
    "load_report",
    "load_scores",
    "method",
    "model",
    "rotation",
    "run",
]

ROOMS = ("activations", "dataset", "evaluation", "method", "model", "rotation", "run")


# A room that can be called: by the function of `calib_sweep.api.functions` that has its name.
class Room(ModuleType):
    @property
    def __doc__(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Say what the function does: help() shows it above what is in the room."""
        own = vars(self)["__doc__"]
        return "\n\n".join(filter(None, (self.__wrapped__.__doc__, own)))

    @property
    def __wrapped__(self) -> Any:
        """The function: its signature is shown as that of the room."""
        return getattr(import_module("calib_sweep.api.functions"), self.__name__.rpartition(".")[2])

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        """Call the function of `api.functions` that is called as this room."""
        return self.__wrapped__(*arguments, **settings)


class House(ModuleType):
    """The package. Python tells it of each room that is imported, whoever imports it."""

    def __setattr__(self, name: str, value: object) -> None:
        if name in ROOMS and isinstance(value, ModuleType):
            value.__class__ = Room
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = House


def __getattr__(name: str) -> Any:
    """Import what is asked for, and torch with it, when it is first asked for."""
    if name in ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in __all__:
        return getattr(import_module(f"{__name__}.api.functions"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Name what can be asked for, for who completes words."""
    ours = (name for name in globals() if f"{__name__}.{name}" in sys.modules)
    return sorted({*ours, *__all__, "__doc__", "__file__", "__name__", "__path__"})
