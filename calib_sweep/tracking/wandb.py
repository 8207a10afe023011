"""Weights & Biases: a mirror of the records, one run per cell. The store is the truth.

A run has the cell's id and the sweep's in its own, and the sweep as group; what it logs is in
`wandb_client`. One more run per sweep, of job type `analysis`, has the report. A sweep of which W&B
did not take a run waits, until `sync` makes it good.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calib_sweep.errors import collected, require
from calib_sweep.tracking.marks import Mark, Marks
from calib_sweep.tracking.mirror import Mirror
from calib_sweep.tracking.mirrored import ITEM_SCORES, SET, Pushed, Settings, group_of
from calib_sweep.wording import meant


@dataclass(frozen=True, kw_only=True)
class WandbTracking(Mirror):
    """Mirror each cell as a W&B run: online when the user is logged in, offline otherwise."""

    marks = Marks(tracker="wandb", pattern="*.wandb", required=("id", "run", "shows", "project"))
    title = "W&B"
    waits_for_sync = True

    project: str
    entity: str | None  # null: the user's default
    mode: str  # auto, online or offline
    tags: list[str]
    artifacts: list[str]  # types: calibration-set, items

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(
                require,
                _is_text(self.project) and not set(self.project) & set("/\\#?%:"),
                "tracking.wandb.project",
                self.project,
                "a name of a W&B project without any of / \\ # ? % :",
                "Example: tracking.wandb.project=calib_sweep.",
            )
            problems.of(
                require,
                self.mode in ("auto", "online", "offline"),
                "tracking.wandb.mode",
                self.mode,
                "auto, online or offline",
                "Example: tracking.wandb.mode=offline; tracking=none keeps W&B out of it.",
            )
            problems.of(
                require,
                isinstance(self.tags, list) and all(_is_text(tag, 64) for tag in self.tags),
                "tracking.wandb.tags",
                self.tags,
                "a list of words of at most 64 characters each",
                "Example: 'tracking.wandb.tags=[first,second]'.",
            )
            problems.of(
                require,
                isinstance(self.artifacts, list)
                and all(kind in (SET, ITEM_SCORES) for kind in self.artifacts),
                "tracking.wandb.artifacts",
                self.artifacts,
                f"a list of {SET} and {ITEM_SCORES}, or of one of them, or []",
                f"Example: 'tracking.wandb.artifacts=[{ITEM_SCORES}]' keeps texts here.",
            )
            self._check_timeout(problems)

    def named_in_marks(self) -> Mapping[str, Any]:
        """Return the project, and whose it is."""
        return {"project": self.project, "entity": self.entity}

    def where(self, mark: Mark, sweep: Path) -> str:
        """Say where the runs of the sweep are: at an address, or offline on this disk."""
        if mark["is_online"]:
            project = mark["run"].partition("/runs/")[0]
            return f"W&B: {project}, group {group_of(sweep.name)}"
        sync = f"python -m calib_sweep sync {shlex.quote(str(sweep))}"
        return f"W&B: offline runs in {sweep}. To upload them: wandb login, then {sync}"

    def current_mode(self) -> str:
        """Online, offline or disabled: never a prompt, so whoever is not logged in is offline."""
        return self.ask("find_mode")

    def push(self, sweep: Path) -> Pushed:
        """Push the dashboard of the sweep in the folder `sweep`; say where it is."""
        return self.ask("push", folder=str(sweep.absolute()))


def with_overrides(verb: str, values: Settings, overrides: Sequence[str]) -> WandbTracking:
    """Return what `values` and `overrides` (tracking.wandb.KEY=VALUE) of a verb say together."""
    import yaml

    start = "tracking.wandb."
    known = ", ".join(f"{start}{key}" for key in values)
    changed: dict[str, Any] = dict(values)
    with collected() as problems:
        for text in overrides:
            name, _, value = text.removeprefix(start).partition("=")
            is_known = text.startswith(start) and name in values
            if is_known:
                changed[name] = yaml.safe_load(value)
            else:
                leaf = name.rpartition(".")[2]
                near = meant(leaf, values).replace("mean ", f"mean {start}")
                problems.add(f"{verb} {text}: expected one of {known}.{near} See {verb} --help.")
    return WandbTracking(**changed)


def _is_text(value: object, max_length: int = 128) -> bool:
    return isinstance(value, str) and 1 <= len(value) <= max_length
