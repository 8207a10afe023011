"""`calib-sweep doctor [FOLDER]`: what this machine has, and whether a sweep can live on it.

Prints versions, devices, memory, caches, whether W&B and the hub answer, which launchers can start,
and what the file system of the results folder does. A bug report wants this page, so nothing secret
stands in it: of a login it says only that there is one, of a variable only that it is set.
"""

import importlib.metadata
import importlib.util
import netrc
import os
import platform
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from calib_sweep import __version__, atomic
from calib_sweep.console import write
from calib_sweep.errors import ConfigError
from calib_sweep.results.probe import PROBES, describe_mount, failures
from calib_sweep.sweep.machine import num_cores
from calib_sweep.wording import counted

PACKAGES = (
    "torch",
    "transformers",
    "tokenizers",
    "datasets",
    "accelerate",
    "lm-eval",
    "hydra-core",
    "submitit",
    "wandb",
    "numpy",
    "pandas",
    "pyarrow",
    "compressed-tensors",
    "triton",
)
# Of these only the names are printed: values may hold keys, or names of machines and people.
VARIABLES = (
    "CALIB_SWEEP_CONF",
    "CUDA_VISIBLE_DEVICES",
    "HF_DATASETS_OFFLINE",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "HF_TOKEN",
    "LOCAL_RANK",
    "OMP_NUM_THREADS",
    "SLURM_JOB_ID",
    "WANDB_API_KEY",
    "WANDB_MODE",
    "WORLD_SIZE",
)
PATIENCE_S = 4.0  # for a server that may not answer
GIB = 2**30
ELSEWHERE = "Set results_dir to a folder on another disk."

Line = tuple[str, str]


def main(arguments: Sequence[str]) -> int:
    """Print the page; return 0, or 1 where a sweep could not keep its results in the folder."""
    if len(arguments) > 1:
        raise ConfigError(
            f"doctor {' '.join(arguments)}: expected at most one folder, that of the results. "
            "Example: python -m calib_sweep doctor results."
        )
    named = arguments[0] if arguments else "results"
    trouble: list[str] = []
    parts: dict[str, Callable[[], Iterator[Line]]] = {
        "versions": _versions,
        "machine": _machine,
        "caches": _caches,
        "servers": _servers,
        "launchers": _launchers,
        f"results folder: {named}": lambda: _disk(Path(named).absolute(), trouble),
    }
    for title, lines in parts.items():
        write(f"{title}\n")
        for name, what in lines():
            write(f"    {name:<22} {what}\n")
    return 1 if trouble else 0


def _versions() -> Iterator[Line]:
    yield "calib-sweep", __version__
    yield "python", platform.python_version()
    for package in PACKAGES:
        try:
            yield package, importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield package, "not installed"


def _machine() -> Iterator[Line]:
    import torch

    memory = psutil.virtual_memory()
    yield "system", platform.platform()
    yield "cores", f"{os.cpu_count()}, of which this process may use {_cores()}"
    yield "memory", f"{memory.total / GIB:.1f} GiB, {memory.available / GIB:.1f} GiB free"
    if not torch.cuda.is_available():
        yield "GPU", f"none that torch {torch.__version__} can use"
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        sizes = f"{total / GIB:.1f} GiB, {free / GIB:.1f} GiB free"
        yield f"GPU {index}", f"{facts.name}, compute {facts.major}.{facts.minor}, {sizes}"
    yield "variables that are set", ", ".join(v for v in VARIABLES if v in os.environ) or "none"


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _caches() -> Iterator[Line]:
    from huggingface_hub.constants import HF_HUB_CACHE, HF_HUB_OFFLINE

    folder = Path(HF_HUB_CACHE)
    models = len(list(folder.glob("models--*")))
    datasets = len(list(folder.glob("datasets--*")))
    held = f"{counted(models, 'model')}, {counted(datasets, 'dataset')}"
    yield "hub cache", f"{held}, {_room(folder)}"
    yield "hub offline", "yes: nothing is downloaded" if HF_HUB_OFFLINE else "no"


def _room(folder: Path) -> str:
    """Free space where `folder` is, or will be."""
    while not folder.exists():
        folder = folder.parent
    return f"{shutil.disk_usage(folder).free / GIB:.0f} GiB free there"


def _servers() -> Iterator[Line]:
    from huggingface_hub import get_token
    from huggingface_hub.constants import ENDPOINT, HF_HUB_OFFLINE

    not_asked = "not asked: offline"
    login = "logged in" if get_token() else "no login"
    yield "hub", f"{not_asked if HF_HUB_OFFLINE else _answer(ENDPOINT)}; {login}"
    is_offline = os.environ.get("WANDB_MODE") in ("offline", "disabled")
    login = "logged in" if _has_wandb_login() else "no login: runs are offline"
    yield "W&B", f"{not_asked if is_offline else _answer(_wandb_url())}; {login}"


def _wandb_url() -> str:
    return os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")


def _has_wandb_login() -> bool:
    """Tell whether there is a key for W&B, as `wandb login` leaves one; it is not looked at."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    try:
        known = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return urlsplit(_wandb_url()).hostname in known


def _answer(url: str) -> str:
    """Tell whether a server answers at all within `PATIENCE_S`; any answer is one."""
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE_S):
            return "answers"
    except urllib.error.HTTPError:
        return "answers"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        return f"does not answer ({reason})"


def _launchers() -> Iterator[Line]:
    yield (
        "basic",
        f"yes: this process; on a CPU others beside it, for {counted(num_cores(), 'core')}",
    )
    has_it = importlib.util.find_spec("accelerate") is not None
    yield "accelerate", "yes" if has_it else "no: pip install accelerate"
    yield "slurm", _slurm()


def _slurm() -> str:
    lacking = [name for name in ("sbatch", "squeue", "scontrol") if shutil.which(name) is None]
    if lacking:
        return f"no: {', '.join(lacking)} not in PATH"
    try:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%P %D %t"],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"installed, but sinfo fails: {error}"
    if asked.returncode:
        lines = asked.stderr.strip().splitlines() or ["it says nothing"]
        return f"installed, but sinfo fails: {lines[-1]}"
    return "yes: partitions " + "; ".join(asked.stdout.split("\n")[:8]).strip("; ")


def _disk(folder: Path, trouble: list[str]) -> Iterator[Line]:
    """Try in the folder what a sweep does there, by the same functions; the probe goes again."""
    parent = folder
    while not parent.exists():
        parent = parent.parent
    yield "space", _room(parent)
    try:
        probe = Path(tempfile.mkdtemp(prefix=".doctor-", dir=parent))
    except OSError as error:
        trouble.append("write")
        yield "write", f"NO: {error.strerror}. Set results_dir to a folder of yours."
        return
    try:
        lacking = failures(probe)
        for name in PROBES:
            what = lacking.get(name)
            yield name, "works" if what is None else f"NO: {what}. {ELSEWHERE}"
        trouble += lacking
        yield "file system", describe_mount(parent)
        before = time.time()
        yield (
            "clock of the disk",
            f"{atomic.server_time(probe) - before:+.1f} s from this machine's",
        )
    finally:
        shutil.rmtree(probe, ignore_errors=True)
