"""Names of cells in tables: a name carries the settings that tell cells apart.

    model     with settings of model and evaluation    opt_125m dtype=float16
    method    with settings of method and walk         wanda sparsity=0.6
    dataset   with settings of dataset                 text path=a.txt
    draw      settings of calibration, the selector    num_samples=64; part of the method's name

Only cells of one model (in this wide sense) are ever compared. Two methods meet on the same
calibration sets, hence with the same dataset, draw and seed. What selectors choose from one dataset
are no further datasets, and say nothing of a new one. A setting that is the same wherever it
applies is left out of names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from calib_sweep.analysis.scores.groups import Group
from calib_sweep.settings import PATHS, SELECTOR, settings_text, stems_of, telling, text_of

PART_OF = {
    "model": "model",
    "evaluation": "model",
    "dataset": "dataset",
    "calibration": "draw",
}  # first word of a setting -> the name it belongs to; any other one belongs to the method


def part_of(setting: str) -> str:
    """Return which name a setting belongs to: model, dataset, draw or method."""
    if setting == SELECTOR or setting.startswith(f"{SELECTOR}."):
        return "draw"
    return PART_OF.get(setting.partition(".")[0], "method")


@dataclass(frozen=True)
class Names:
    """The names of one cell or group. `dataset` None: reads no data, stands for every draw."""

    model: str
    method: str  # with `draw`
    dataset: str | None
    draw: str
    bare_method: str  # without `draw`
    settings: str = ""  # those of `bare_method`


@dataclass(frozen=True)
class Naming:
    """Names of settings: `short` of those worth naming, by their whole name."""

    short: Mapping[str, str]
    stems: Mapping[str, str] = field(default_factory=dict)  # path -> what is shown of it

    @classmethod
    def of_groups(cls, groups: Sequence[Group]) -> "Naming":
        """Return the naming of `groups` that are shown together."""
        names = shown_settings(groups)
        return cls(dict(zip(names, short_names(names), strict=True)), path_stems(groups))

    def name(
        self, model: str, method: str, dataset: str | None, settings: Mapping[str, object]
    ) -> Names:
        """Return the names of a cell with these axes and settings."""
        parts: dict[str, dict[str, object]] = {}
        for key, short in self.short.items():
            shown = self.value(settings.get(key))
            if key in settings and (key not in PATHS or shown not in (model, dataset)):
                parts.setdefault(part_of(key), {})[short] = shown
        texts = {part: settings_text(own) for part, own in parts.items()}
        bare, draw = _join(method, texts.get("method")), texts.get("draw", "")
        return Names(
            model=_join(model, texts.get("model")),
            method=_join(bare, draw),
            dataset=None if dataset is None else _join(dataset, texts.get("dataset")),
            draw=draw,
            bare_method=bare,
            settings=texts.get("method", ""),
        )

    def of(self, group: Group) -> Names:
        """Return the names of a group."""
        return self.name(group.model, group.method, group.dataset, group.settings)

    def value(self, value: object) -> object:
        """Return what is shown of the value of a setting: of a path its stem, where it is known."""
        return self.stems.get(value, value) if isinstance(value, str) else value

    def setting(self, group: Group, name: str) -> str:
        """Return the value of a setting as text; '-' where the group does not have it."""
        return text_of(self.value(group.settings[name])) if name in group.settings else "-"


def _join(name: str, settings: str | None) -> str:
    return f"{name} {settings}" if settings else name


def shown_settings(groups: Sequence[Group]) -> list[str]:
    """Return the names of the settings that tell groups apart."""
    return telling((group.label[:3], group.settings) for group in groups)


def short_names(names: Sequence[str]) -> list[str]:
    """Return the last word of each setting's name, the whole name where that is not enough."""
    leaves = [name.rpartition(".")[2] for name in names]
    pairs = zip(names, leaves, strict=True)
    return [leaf if leaves.count(leaf) == 1 else name for name, leaf in pairs]


def path_stems(groups: Sequence[Group]) -> dict[str, str]:
    """Return what is shown of each path among the settings: its stem, more where stems clash.

    A setting is of paths if it ends in "path" and has no value but text.
    """
    values: dict[str, set[object]] = {}
    for group in groups:
        for name, value in group.settings.items():
            values.setdefault(name, set()).add(value)
    stems: dict[str, str] = {}
    for name, own in values.items():
        texts = sorted(value for value in own if isinstance(value, str))
        if name.endswith("path") and len(texts) == len(own):
            stems |= stems_of(texts)
    return stems
