"""The settings of cells: which can move a number, which tell cells apart, how they are written.

A setting is a key of the configuration beyond the axes, joined by dots: `method.sparsity`. Every
title, label, column and table names cells by what `telling` answers.
"""

import re
from collections.abc import Collection, Hashable, Iterable, Mapping

from calib_sweep import valid_json

# The axes have columns of their own in the record; bookkeeping moves no number.
AXES = frozenset({"model", "method", "dataset", "seed", "replicate"})
BOOKKEEPING = frozenset(
    {
        "analysis",
        "tracking",
        "sweep_name",
        "results_dir",
        "save_model",
        "checkpoint",
        "checkpoint_seconds",
        "ranks_per_cell",
        "rank_timeout_s",
        "num_threads",
        "workers",
        "dense_perplexity",
        "allow_overlap",
        "experiment",
    }
)

# How a cell is run, not what it computes: the result is the same up to float32 summation order.
# Only in these parts: a method's own `batch_size` can mean anything. What code of a task may run is
# asked before anything does, and which items belong together after: they move no number either.
EXECUTION_KEYS = frozenset(
    {"device", "batch_size", "batch_tokens", "tensor_cores", "offload", "trust_task_code", "groups"}
)
EXECUTION_PARTS = frozenset({"model", "evaluation", "walk"})

# Groups of the top level that nothing may be chosen from, which moves no number; also by name.
PREPARATIONS = ("rotation", "activations")

# Parts of the configuration that can move a number of any cell; those that only say how calibration
# data is drawn and used; those that count for the dense model.
MOVING = ("model", "method", *PREPARATIONS, "dataset", "evaluation", "calibration", "walk")
OF_DATA = frozenset({"dataset", "calibration", "walk"})
SELECTOR = "dataset.selector"  # the setting that names it; its own settings stand below
PREFIX = "dataset.prefix"  # so does what generated text goes on from, if anything
OF_DENSE = frozenset({"model", "evaluation"})

# Of text files, longest first, and of what else is named by its path.
FILE_ENDINGS = (".jsonl.zst", ".json.zst", ".jsonl.gz", ".json.gz", ".jsonl", ".json", ".parquet")
FILE_ENDINGS += (".txt", ".safetensors", ".npy", ".csv", ".yaml")
WILD = re.compile(r"\[[^\]]*\]|[*?]")

# What these hold is named by its place, and so is its axis: they tell apart what is called alike.
PATHS = {"model.path": 0, "dataset.path": 2}  # setting -> place of its axis in `axes_of`


def is_setting(key: str) -> bool:
    """Tell `method.sparsity` from `method`, `tracking.mode` and labels such as `dataset.name`."""
    first, _, rest = key.partition(".")
    if first in PREPARATIONS and rest == "name":
        return False
    labels = ("", "name", "selector.name", "prefix.name")
    return first not in BOOKKEEPING and (first not in AXES or rest not in labels)


def applies(name: str, *, is_dense: bool, reads_data: bool) -> bool:
    """Tell whether the setting `name` can move a number of a cell of this kind."""
    part = name.split(".")[0]
    if is_execution(name):
        return False
    if is_dense:
        return part in OF_DENSE
    return reads_data or part not in OF_DATA


def is_execution(name: str) -> bool:
    """Tell whether the setting `name` says how a cell is run, not what it computes."""
    part, *keys = name.split(".")
    return part in EXECUTION_PARTS and not EXECUTION_KEYS.isdisjoint(keys)


def applying(
    settings: Mapping[str, object], *, is_dense: bool, reads_data: bool
) -> dict[str, object]:
    """Return those of `settings` that can move a number of a cell of this kind."""
    return {
        name: value
        for name, value in settings.items()
        if applies(name, is_dense=is_dense, reads_data=reads_data)
    }


def stem_of(path: str) -> str:
    """Return the name of the file or folder at `path` without what says a file's format.

    Of a pattern it is what all its files have in common, or the folder that holds them.
    """
    for part in reversed(_parts_of(path)):
        ending = next((end for end in FILE_ENDINGS if part.lower().endswith(end)), "")
        whole = part.removesuffix(part[len(part) - len(ending) :]) if ending else part
        if stem := (WILD.sub("", whole).strip("-_.") if WILD.search(whole) else whole):
            return stem
    return ""


def stems_of(paths: Collection[str]) -> dict[str, str]:
    """Return what is shown of each path: its stem, with folders before it where stems clash."""
    return {path: _apart(path, [other for other in paths if other != path]) for path in paths}


def _apart(path: str, others: Collection[str]) -> str:
    """Return the shortest end of `path` that is the end of no other one, without an ending."""
    for depth in range(1, len(_parts_of(path)) + 1):
        end = _end_of(path, depth)
        if end and all(_end_of(other, depth) != end for other in others):
            return end
    return path


def _end_of(path: str, depth: int) -> str:
    folders = _parts_of(path)[-depth:-1]
    return "/".join([*folders, stem_of(path)])


def _parts_of(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def axes_of(cell: Mapping[str, object]) -> tuple[object, ...]:
    """Return model, method and dataset of a record's cell or a table's row."""
    return tuple(cell.get(key) for key in ("model", "method", "dataset"))


def telling(cells: Iterable[tuple[Hashable, Mapping[str, object]]]) -> list[str]:
    """Return the names of the settings that tell `cells` apart, sorted.

    A cell is a pair: its axes without seed and replicate (model, method, dataset), and its
    settings. A setting tells cells apart when it has two values among the cells that have it, or
    when of cells with the same axes some have it and others do not. A path labels its axis, so it
    is looked at only among those with one label.
    """
    distinct = {(axes, repr(settings)): (axes, settings) for axes, settings in cells}
    values: dict[tuple[str, object], set[str]] = {}
    names_of: dict[Hashable, set[frozenset[str]]] = {}  # by axes
    for axes, settings in distinct.values():
        names_of.setdefault(axes, set()).add(frozenset(settings))
        for name, value in settings.items():
            key = (name, _labelled_by(name, axes))
            values.setdefault(key, set()).add(text_of(value))
    told = {name for (name, _), found in values.items() if len(found) > 1}
    for having in names_of.values():
        told |= frozenset.union(*having) - frozenset.intersection(*having)
    return sorted(told)


def _labelled_by(name: str, axes: Hashable) -> object:
    """Return the label that the path `name` gives; None for any other setting."""
    return axes[PATHS[name]] if name in PATHS and isinstance(axes, tuple) else None


def flatten(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as one, keys joined by dots."""
    flat: dict[str, object] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= flatten(item, f"{name}.") if isinstance(item, Mapping) else {name: item}
    return flat


def flatten_config(config: Mapping[str, object]) -> dict[str, object]:
    """Return a configuration as one mapping, in which selector and prefix stand by name."""
    flat = flatten(config)
    if "dataset" in config:
        flat[SELECTOR] = flat.pop(f"{SELECTOR}.name", None)
    if "method" in config:
        flat |= {group: flat.pop(f"{group}.name", None) for group in PREPARATIONS}
    if f"{PREFIX}.name" in flat:
        flat[PREFIX] = flat.pop(f"{PREFIX}.name")
    return flat


def settings_text(settings: Mapping[str, object]) -> str:
    """Write settings on one line, as they are typed."""
    return " ".join(f"{name}={text_of(value)}" for name, value in settings.items())


def text_of(value: object) -> str:
    """Write the value of a setting as it is typed. Equal texts are equal values."""
    return value if isinstance(value, str) else valid_json.dumps(value, default=str)


def title_of(
    axes: Mapping[str, object], settings: Mapping[str, object], shown: Collection[str] | None = None
) -> str:
    """Name a cell in one line: its axes, and its settings as far as they are `shown` (None: all).

    `axes` holds model, method, dataset, seed and replicate; None or absent where there is none.
    """
    parts = [str(axes[key]) for key in ("model", "method", "dataset") if axes.get(key) is not None]
    parts += [f"seed {axes['seed']}"] if axes.get("seed") is not None else []
    parts += [f"replicate {axes['replicate']}"] if axes.get("replicate") else []
    names = sorted(name for name in settings if shown is None or name in shown)
    text = settings_text({name: settings[name] for name in names})
    return " ".join([*parts, text] if text else parts)
