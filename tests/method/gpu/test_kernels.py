"""The Triton kernels in Triton's interpreter, where triton is installed, GPU or not."""

import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

FIRST_VERSION = (3, 8)  # earlier interpreters do not know numpy 2.4


def triton_version():
    try:
        return tuple(map(int, version("triton").split(".")[:2]))
    except PackageNotFoundError:
        return (0, 0)


@pytest.mark.skipif(triton_version() < FIRST_VERSION, reason="needs triton 3.8 or later")
def test_kernels_do_what_the_plain_code_does():
    file = Path(__file__).with_name("interpreted_kernels.py")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n", "0", str(file)],
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]
