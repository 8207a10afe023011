"""Patience with the hub: what is asked again, what is not, and for how long."""

import errno

import pytest
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

from calib_sweep import hub


class Answer:
    """As much of a response as an error keeps."""

    def __init__(self, status_code: int) -> None:
        self.status_code, self.headers, self.request = status_code, {}, None


def refused(status: int) -> HfHubHTTPError:
    error = HfHubHTTPError.__new__(HfHubHTTPError)
    error.response = Answer(status)
    return error


def behind(cause: Exception) -> Exception:
    error = LocalEntryNotFoundError("not in the cache")
    error.__cause__ = cause
    return error


def broken_off() -> Exception:
    """What the client's HTTP library raises without an answer."""
    return next(k for k in hub.hub_errors() if not issubclass(k, OSError))("reset by peer")


@pytest.mark.parametrize(
    ("error", "is_for_now"),
    [
        (refused(503), True),
        (refused(429), True),
        (refused(408), True),
        (behind(refused(500)), True),
        (broken_off(), True),
        (behind(broken_off()), True),
        (refused(401), False),
        (behind(refused(404)), False),
        (LocalEntryNotFoundError("offline"), False),
        (OSError(errno.ENOSPC, "No space left on device"), False),
    ],
)
def test_a_moments_trouble_is_told_from_an_answer(error, is_for_now, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert hub.is_for_now(error) == is_for_now
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert not hub.is_for_now(error)


def test_a_full_disk_is_known_behind_other_errors():
    assert hub.is_full(behind(OSError(errno.ENOSPC, "No space left on device")))
    assert not hub.is_full(behind(OSError(errno.EACCES, "Permission denied")))


@pytest.mark.parametrize(("status", "tries"), [(503, 6), (403, 1)])
def test_a_question_is_asked_again_half_a_minute_at_most(status, tries, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    waited, asked = [], []
    monkeypatch.setattr("time.sleep", waited.append)

    def fetch():
        asked.append(status)
        raise refused(status)

    with pytest.raises(HfHubHTTPError):
        hub.patiently(fetch)
    assert len(asked) == tries and sum(waited) == (31 if tries > 1 else 0)
