"""What the hub's clients raise, what to do about it, and patience where it is for a moment.

The clients wait and ask again in some places, not in all: a file whose server answers 503, or
breaks the connection off, is given up at once.
"""

import errno
import logging
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

log = logging.getLogger(__name__)

T = TypeVar("T")

WAITS_S = (1, 2, 4, 8, 16)  # before each further try
QUIET_S = 300
in_vain: list[float] = []  # when this process last waited, and got no answer
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
TIMED_OUT, TOO_MANY_REQUESTS, SERVER_ERRORS = 408, 429, 500


def hub_errors() -> tuple[type[Exception], ...]:
    """Return what the hub's client raises: its own errors, OSError, those of its HTTP library."""
    from huggingface_hub.errors import HfHubHTTPError

    kinds = HfHubHTTPError.__mro__
    return tuple(k for k in kinds if issubclass(k, Exception) and k is not Exception)


def status_of(error: BaseException) -> int | None:
    """Return the code of the answer behind `error`; None where there was no answer."""
    responses = (getattr(one, "response", None) for one in _behind(error))
    return next((response.status_code for response in responses if response is not None), None)


def is_for_now(error: BaseException) -> bool:
    """Tell whether the same question may be answered a little later."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    status = status_of(error)
    if status is not None:
        return status in (TIMED_OUT, TOO_MANY_REQUESTS) or status >= SERVER_ERRORS
    of_http = tuple(kind for kind in hub_errors() if not issubclass(kind, OSError))
    return any(isinstance(one, of_http) for one in _behind(error))


def is_refused(error: BaseException) -> bool:
    """Tell whether the hub has answered, and will not answer otherwise a little later."""
    from datasets.exceptions import DatasetNotFoundError

    # The last hides the answer that it was raised from.
    is_answered = status_of(error) is not None or isinstance(error, DatasetNotFoundError)
    return is_answered and not is_for_now(error)


def is_full(error: BaseException) -> bool:
    """Tell whether a disk that takes no more is behind `error`."""
    return any(getattr(one, "errno", None) in NO_ROOM for one in _behind(error))


def remedy(error: BaseException, group: str, hub_id: str, revision: str | None) -> str | None:
    """Say what to do about what the hub answers; None where it is no answer that has a remedy.

    `group`: of the settings that name the repository: dataset or model.
    """
    from huggingface_hub import constants, errors

    rooms, key = {"dataset": "datasets/", "model": ""}, {"dataset": "hub_id", "model": "path"}
    page = f"{constants.ENDPOINT}/{rooms[group]}{hub_id}"
    remedies = {
        errors.GatedRepoError: f"It asks who reads it: accept its terms at {page}, then type "
        "hf auth login.",
        errors.RepositoryNotFoundError: f"Correct {group}.{key[group]}={hub_id}; where it is "
        "right, the repository is private: type hf auth login.",
        errors.RevisionNotFoundError: f"It has no revision {revision}: see {page}/commits. Set "
        f"{group}.revision to one that it has; null is the latest.",
    }
    behind = list(_behind(error))
    found = (told for kind, told in remedies.items() if any(isinstance(e, kind) for e in behind))
    return next(found, None)


def no_room(where: str, hub_id: str) -> str:
    """Say that the disk of the hub's cache is full; `where`: the setting, with its value."""
    from huggingface_hub import constants

    return (
        f"{where}: expected room for {hub_id} in the hub's cache, but the disk of "
        f"{constants.HF_HUB_CACHE} is full. Make room there, or set HF_HOME to a folder on another "
        "disk. Files that have arrived whole are kept; the same command fetches the others."
    )


def patiently(fetch: Callable[[], T]) -> T:
    """Call `fetch`, which keeps what has arrived; try again where the hub fails for a moment.

    After a wait in vain this process does not wait again for a while: a check asks for many files.
    """
    for wait_s in () if _has_waited_in_vain() else WAITS_S:
        try:
            return fetch()
        except hub_errors() as error:
            if not is_for_now(error):
                raise
            told = str(error).strip().partition("\n")[0]
            log.warning("the hub does not answer (%s); again in %d s", told, wait_s)
            time.sleep(wait_s)
    try:
        return fetch()
    except hub_errors() as error:
        if is_for_now(error):
            in_vain[:] = [time.monotonic()]
        raise


def _has_waited_in_vain() -> bool:
    return bool(in_vain) and time.monotonic() - in_vain[0] < QUIET_S


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
