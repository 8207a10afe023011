"""The settings of cells: which can move a number, which tell cells apart, how they are written.

A setting is a key of the configuration beyond the axes, joined by dots: `method.sparsity`. Every
title, label, column and table names cells by what `telling` answers.
"""

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
        "ranks_per_cell",
        "num_threads",
        "workers",
        "dense_perplexity",
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

# Parts of the configuration that can move a number of any cell; those that only say how calibration
# data is drawn and used; those that count for the dense model.
MOVING = ("model", "method", "dataset", "evaluation", "calibration", "walk")
OF_DATA = frozenset({"dataset", "calibration", "walk"})
OF_DENSE = frozenset({"model", "evaluation"})


def is_setting(key: str) -> bool:
    """Tell `method.sparsity` from `method`, `tracking.mode` and the label `dataset.name`."""
    first, _, rest = key.partition(".")
    return first not in BOOKKEEPING and (first not in AXES or rest not in ("", "name"))


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


def axes_of(cell: Mapping[str, object]) -> tuple[object, ...]:
    """Return model, method and dataset of a record's cell or a table's row."""
    return tuple(cell.get(key) for key in ("model", "method", "dataset"))


def telling(cells: Iterable[tuple[Hashable, Mapping[str, object]]]) -> list[str]:
    """Return the names of the settings that tell `cells` apart, sorted.

    A cell is a pair: its axes without seed and replicate (model, method, dataset), and its
    settings. A setting tells cells apart when it has two values among the cells that have it, or
    when of cells with the same axes some have it and others do not.
    """
    distinct = {(axes, repr(settings)): (axes, settings) for axes, settings in cells}
    values: dict[str, set[str]] = {}
    names_of: dict[Hashable, set[frozenset[str]]] = {}  # by axes
    for axes, settings in distinct.values():
        names_of.setdefault(axes, set()).add(frozenset(settings))
        for name, value in settings.items():
            values.setdefault(name, set()).add(text_of(value))
    told = {name for name, found in values.items() if len(found) > 1}
    for having in names_of.values():
        told |= frozenset.union(*having) - frozenset.intersection(*having)
    return sorted(told)


def flatten(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested mappings as one, keys joined by dots."""
    flat: dict[str, object] = {}
    for key, item in value.items():
        name = f"{prefix}{key}"
        flat |= flatten(item, f"{name}.") if isinstance(item, Mapping) else {name: item}
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
