"""Errors that one rank of a cell raises and another one records: type, text and place are kept.

An error is sent as it is where it would arrive as it is. Else one of another class of the same name
stands for it: classes may want other arguments than their text, or hold what cannot be sent.
"""

import pickle
import traceback
from collections.abc import Mapping

FRAMES = "_calib_sweep_frames"  # files and lines that an error came through on its own rank


def portable(error: Exception, rank: int) -> Exception:
    """Return an error that can be sent, and tells others where on `rank` it came from."""
    if rank:  # the first rank records its own
        error.add_note(f"on rank {rank}:\n{''.join(traceback.format_exception(error))}")
    vars(error)[FRAMES] = frames_of(error)
    return error if _arrives(error) else _named(type(error).__name__, str(error), vars(error))


def error_of_bytes(sent: bytes) -> Exception:
    """Return what was sent; where it cannot be read, an error that says so."""
    try:
        return pickle.loads(sent)
    except Exception as error:  # a class that is not installed here, or whatever reading it raises
        told = f"{type(error).__name__}: {error}"
        return RuntimeError(f"an error of another rank cannot be read here: {told}")


def frames_of(error: BaseException) -> list[tuple[str, int]]:
    """Return files and lines that `error` came through, here or on its own rank, innermost first.

    Those of what caused it come before.
    """
    chain: list[BaseException] = []
    while error not in chain:
        chain.append(error)
        error = error.__cause__ or error.__context__ or error
    frames: list[tuple[str, int]] = []
    for one in reversed(chain):
        frames += vars(one).get(FRAMES, [])
        own = traceback.extract_tb(one.__traceback__)
        frames += [(frame.filename, frame.lineno or 0) for frame in reversed(own)]
    return frames


def _arrives(error: Exception) -> bool:
    """Tell whether an error is the same where it has been sent."""
    try:
        copy = pickle.loads(pickle.dumps(error))
    except Exception:  # whatever its class raises
        return False
    notes = [getattr(one, "__notes__", None) for one in (copy, error)]
    return type(copy) is type(error) and str(copy) == str(error) and notes[0] == notes[1]


def _named(name: str, text: str, more: Mapping[str, object]) -> Exception:
    """Return an error with the name of a class that cannot be sent."""
    kept = {key: more[key] for key in ("__notes__", FRAMES) if key in more}
    error: Exception = type(name, (RuntimeError,), {"__reduce__": _reduced})(text)
    vars(error).update(kept)
    return error


def _reduced(error: Exception) -> tuple[object, ...]:
    return _named, (type(error).__name__, str(error), vars(error))
