"""What tells a process from others."""

import os
from pathlib import Path

import pytest

from calib_sweep.processes import process_mark

NAME = Path("/proc/self/comm")


@pytest.mark.skipif(not NAME.exists(), reason="Linux alone has it")
@pytest.mark.parametrize("name", [b"\xd1\x81\xd0", b"a) Z (b"])
def test_any_name_of_a_process_can_be_read(name):
    """Linux cuts a name at 15 bytes: a script that is named in Cyrillic, say."""
    mark, before = process_mark(os.getpid()), NAME.read_bytes()
    NAME.write_bytes(name)
    try:
        assert process_mark(os.getpid()) == mark is not None
    finally:
        NAME.write_bytes(before.rstrip(b"\n"))
