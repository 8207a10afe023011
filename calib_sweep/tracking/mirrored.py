"""The mirror of a sweep: names of runs, and of what they log; what W&B tells of a dashboard."""

import hashlib
import re
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from calib_sweep.places import FIGURES, INDEX, TABLES

# What a dashboard asks for by name: kinds of runs, and keys of what they log.
CELL_JOB, ANALYSIS_JOB = "cell", "analysis"
SET, ITEM_SCORES = "calibration-set", "items"  # types of artifacts, as settings name them
CELL = "cell"  # of the configuration: the axes and settings of the record
REPORT_LINK, CELLS_LINK = "links/report", "links/cells"  # of the summary
MEAN_ERROR = "compression/output_error"  # of the summary, over all layers
PAGE = "report"
MAX_TAG, MAX_NAME = 64, 128  # W&B takes no more


class Settings(TypedDict):
    """The settings of W&B's mirror, as `WandbTracking` checks them."""

    project: str
    entity: str | None  # None: the user's default
    mode: str
    tags: list[str]
    artifacts: list[str]  # types of those that are sent
    timeout_s: float


class PushedWorkspace(TypedDict):
    """A workspace that is in W&B."""

    name: str
    id: str
    url: str


class PushedReport(TypedDict):
    """A report that is in W&B."""

    id: str
    url: str


class Pushed(TypedDict):
    """The places of a dashboard in W&B."""

    project: str
    entity: str
    workspace: PushedWorkspace
    report: PushedReport


def run_id(sweep_name: str, what: str) -> str:
    """Return the id of a run: the cell's id, or `analysis`, and a hash of the sweep's name.

    A cell in two sweeps is two runs. To W&B a sweep is its name within a project: two folders of
    one name are parts of one sweep.
    """
    return what + end_of_ids(sweep_name)


def end_of_ids(sweep_name: str) -> str:
    """Return what the ids of all runs of a sweep end in."""
    return f"-{hashlib.sha256(sweep_name.encode()).hexdigest()[:8]}"


def group_of(sweep_name: str) -> str:
    """Return the group of the runs of a sweep."""
    return shortened(sweep_name, MAX_NAME)


def shortened(text: str, num_bytes: int) -> str:
    """Return the beginning of `text` that fits into so many bytes, as W&B counts at strictest."""
    return text.encode(errors="replace")[:num_bytes].decode(errors="ignore")


def without_password(address: str) -> str:
    """Return `address` with *** where it has a password, as what is kept or shown is for others."""
    return re.sub(r"(?<=://)([^/?#@:]*):[^/?#]*@", r"\1:***@", address)


def report_files(folder: Path) -> dict[str, Path]:
    """List what the run of a report logs, by key: tables/NAME, figures/NAME, the page."""
    files = [*sorted((folder / TABLES).glob("*.csv")), *sorted((folder / FIGURES).glob("*.png"))]
    return {f"{path.parent.name}/{path.stem}": path for path in files} | {PAGE: folder / INDEX}


def links_of(run: str, sweep_name: str) -> dict[str, str]:
    """Return, from the address of any run of a sweep, those of its report and of all its cells."""
    project, _, _ = run.rpartition("/runs/")
    return {
        REPORT_LINK: f"{project}/runs/{run_id(sweep_name, ANALYSIS_JOB)}",
        CELLS_LINK: f"{project}/groups/{quote(group_of(sweep_name), safe='')}",
    }
