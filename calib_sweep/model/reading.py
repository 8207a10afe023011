"""Reading a checkpoint by transformers: what it raises, in few words."""

from safetensors import SafetensorError

from calib_sweep.hub import hub_errors


def unreadable() -> tuple[type[Exception], ...]:
    """Return what transformers raises where a file of a checkpoint is not as it expects.

    What the hub's client raises, OSError too, is among it.
    """
    from huggingface_hub.errors import StrictDataclassError

    told = (*hub_errors(), ValueError, ImportError, SafetensorError, StrictDataclassError)
    return (*told, TypeError, LookupError, AttributeError)  # by code that takes it for granted


def first_words(error: Exception) -> str:
    """Return an error's first line, and its kind where that tells more."""
    lines = [line.strip() for line in str(error).strip().split("\n")]
    text = " ".join(lines[:2] if lines[0].endswith((":", "of")) else lines[:1]).rstrip(".: ")
    is_bare = isinstance(error, TypeError | LookupError | AttributeError)
    return f"{type(error).__name__}: {text}" if is_bare else text
