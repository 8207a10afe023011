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


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass by waiting alone."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "in_vain", [])
    passed = [0.0]
    monkeypatch.setattr("time.monotonic", lambda: passed[0])
    monkeypatch.setattr("time.sleep", lambda s: passed.__setitem__(0, passed[0] + s))
    return passed


def tries(status: int) -> int:
    """Ask a hub that answers so; return how often it was asked."""
    asked = []

    def fetch():
        asked.append(status)
        raise refused(status)

    with pytest.raises(HfHubHTTPError):
        hub.patiently(fetch)
    return len(asked)


def test_a_question_is_asked_again_for_half_a_minute(clock):
    assert tries(403) == 1 and clock == [0]
    assert tries(503) == 6 and clock == [31]


def test_after_a_wait_in_vain_nobody_waits_again_for_a_while(clock):
    assert [tries(503) for _ in range(3)] == [6, 1, 1] and clock == [31]
    clock[0] += hub.QUIET_S + 1
    assert tries(503) == 6
