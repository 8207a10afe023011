"""What finished cells took, over all sweeps of a results folder, for cells like them and others.

Of records only numbers and configurations are read: anybody's are here. A method is built from one
only if all of its classes are ours, and a model never: its shape is that of an equal model of the
plan.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from calib_sweep.cell import PACKAGE, TARGET, Config, digest, without_execution
from calib_sweep.dataset.calibration.settings import longest
from calib_sweep.errors import ConfigError
from calib_sweep.parts.building import Builder
from calib_sweep.places import RECORDS
from calib_sweep.results.reading import readable_records
from calib_sweep.results.record import Record
from calib_sweep.results.store import Store
from calib_sweep.sweep.cost.amounts import Amounts, Shape
from calib_sweep.sweep.cost.parts import DESCRIBE, parts_of
from calib_sweep.sweep.cost.rates import CPU, GPU, Rates, Timed, fitted
from calib_sweep.sweep.cost.work import work_of
from calib_sweep.wording import counted

if TYPE_CHECKING:
    from calib_sweep.method.base import Work

LOAD = "load"


class Device(NamedTuple):
    """What computed a cell."""

    name: str
    num_threads: int | None  # of a CPU
    processor: str | None  # the same

    @property
    def on_gpu(self) -> bool:
        return self.name != "cpu"

    @property
    def words(self) -> str:
        """Say it to a person."""
        if self.on_gpu:
            return self.name
        return f"{counted(self.num_threads or 1, 'thread')} of {self.processor or 'a CPU'}"


class Alike(NamedTuple):
    """All that the time of a cell depends on: equal ones should take equally long."""

    method: str
    work: "Work"
    model: str  # digests of configurations
    evaluation: str
    num_samples: int
    seq_len: int


@dataclass(frozen=True)
class Known:
    """What is known of a device from the cells that finished on it."""

    device: Device
    rates: Rates
    seconds: Mapping[Alike, Mapping[str, float]] = field(default_factory=dict)  # mean of each part
    peak_bytes: Mapping[Alike, int] = field(default_factory=dict)


def model_key(config: Config) -> str:
    """Return what tells models apart."""
    return digest(without_execution(config["model"]))


def alike(config: Config, method: str, work: "Work") -> Alike:
    """Return what the time of a cell with this configuration depends on."""
    drawn, evaluation = config["calibration"], digest(without_execution(config["evaluation"]))
    sizes = (drawn["num_samples"], longest(drawn["seq_len"])) if work.passes else (0, 0)
    return Alike(method, work, model_key(config), evaluation, *sizes)


class _Cell(NamedTuple):
    record: Record
    key: Alike
    parts: Mapping[str, Amounts]  # none where the shape of its model is not known


def device_of(record: Record) -> Device:
    """Return what computed a finished cell."""
    environment: Mapping[str, Any] = record.get("environment") or {}
    name = str(environment.get("device", "cpu"))
    if name != "cpu":
        return Device(name, None, None)
    return Device(name, environment.get("num_threads"), environment.get("processor"))


def known_devices(
    builder: Builder, store: Store, shapes: Mapping[str, Shape | None]
) -> list[Known]:
    """Return what is known of each device, the one that finished a cell last first."""
    cells: dict[Device, list[_Cell]] = {}
    latest: dict[Device, str] = {}
    for cell in _finished(builder, store, shapes):
        device = device_of(cell.record)
        cells.setdefault(device, []).append(cell)
        at = str(cell.record.get("finished_at"))
        latest[device] = max(latest.get(device, ""), at)
    order = sorted(cells, key=lambda device: latest[device], reverse=True)
    return [_known(device, cells[device]) for device in order]


def _finished(
    builder: Builder, store: Store, shapes: Mapping[str, Shape | None]
) -> Iterator[_Cell]:
    for record in readable_records(sorted(store.results_dir.glob(f"*/{RECORDS}"))):
        config, seconds = record.get("config"), record.get("timings_s")
        if record["status"] != "done" or not config or not seconds or _takes_over(record):
            continue
        try:
            if not _is_ours(config["method"]):
                continue
            work = work_of(builder, config)
            key = alike(config, record["cell"]["method"], work)
            sizes = {"needs_data": work.passes > 0, "on_gpu": device_of(record).on_gpu}
            shape = shapes.get(key.model)
            parts = parts_of(config, work, shape, **sizes) if shape else {}
        except (ConfigError, KeyError, TypeError, AttributeError):
            continue  # scored elsewhere, or by a version with other keys
        yield _Cell(record, key, parts)


def _takes_over(record: Record) -> bool:
    """Tell whether a part of its scores was taken from another cell: it took no time."""
    return any("taken_from" in part for part in (record.get("parts") or {}).values())


def _is_ours(node: object) -> bool:
    """Tell whether all classes that a configuration names are of this package."""
    if isinstance(node, Mapping):
        is_other = TARGET in node and not str(node[TARGET]).startswith(f"{PACKAGE}.method.")
        return not is_other and all(map(_is_ours, node.values()))
    return all(map(_is_ours, node)) if isinstance(node, list) else True


def _known(device: Device, cells: Sequence[_Cell]) -> Known:
    timed: list[Timed] = []
    seconds: dict[Alike, dict[str, list[float]]] = {}
    peaks: dict[Alike, int] = {}
    for cell in cells:
        key, own = cell.key, cell.record.get("timings_s", {})
        timed += [Timed(part, key.method, a, own.get(part, 0.0)) for part, a in cell.parts.items()]
        for part, took in own.items():
            if part != DESCRIBE or took > 0.01:  # otherwise another cell has described the set
                seconds.setdefault(key, {}).setdefault(part, []).append(took)
        peaks[key] = max(peaks.get(key, 0), cell.record.get("peak_memory_bytes") or 0)
    rates = fitted(GPU if device.on_gpu else CPU, timed, sum(bool(cell.parts) for cell in cells))
    means = {k: {part: fmean(all_of) for part, all_of in own.items()} for k, own in seconds.items()}
    return Known(device, rates, means, {k: peak for k, peak in peaks.items() if peak})
