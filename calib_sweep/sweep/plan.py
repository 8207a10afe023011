"""The plan of a sweep: points -> cells, each once, each with the dense cell it is compared to."""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_automatic_config_search_path
from hydra.types import RunMode

from calib_sweep.cell import DENSE, Cell, label
from calib_sweep.errors import CONTROLS, ConfigError, collected, require
from calib_sweep.results.probe import REMEDY
from calib_sweep.results.store import Store
from calib_sweep.settings import PREPARATIONS, applying, axes_of, telling
from calib_sweep.sweep.compose import Composed, GridError, compose_grid
from calib_sweep.sweep.launching import launcher_problems
from calib_sweep.sweep.points import parse_words, read_options, split_points
from calib_sweep.targets import target_class

# What file systems hold, less what is longest below: the name of a cell, and of its files.
MAX_SWEEP_NAME, MAX_PATH = 200, 3000  # bytes
ONE_FOR_ALL = ("results_dir", "sweep_name", "analysis", "tracking", "workers", "ranks_per_cell")
ONE_FOR_ALL += ("rank_timeout_s", "checkpoint", "checkpoint_seconds")


def require_one_value(composed: Sequence[Composed]) -> None:
    """Raise `ConfigError` where the cells of a sweep differ in what has one value for all."""
    with collected() as problems:
        for key in ONE_FOR_ALL:
            values = sorted({str(point.config[key]) for point in composed})
            if len(values) > 1 and key == "tracking":
                problems.add(
                    "tracking: expected the same trackers for all cells of a sweep, with the same "
                    "settings. Several at once: 'tracking=[wandb,tensorboard]'."
                )
            elif len(values) > 1:
                problems.add(
                    f"{key}={','.join(values)}: expected one value for all cells of a sweep. Start "
                    "one command for each value."
                )


def store_of(config: Mapping[str, object]) -> Store:
    """Return where the records are; `ConfigError` for a name that no file system holds."""
    # Names that are no text are refused later, with all that is wrong besides.
    typed, name = str(config["results_dir"]), str(config["sweep_name"])
    folder = Path(typed).absolute()
    with collected() as problems:
        problems.of(require, "://" not in typed, "results_dir", typed, "a folder", REMEDY)
        for key, path, limit in (
            ("results_dir", str(folder), MAX_PATH),
            ("sweep_name", name, MAX_SWEEP_NAME),
        ):
            expected = f"at most {limit:,} bytes, 255 in each name, and no control characters"
            remedy = f"Type a shorter one. Example: {key}=results."
            problems.of(require, _fits(path, limit), key, path[:80], expected, remedy)
    return Store(folder, name)


def _fits(path: str, limit: int) -> bool:
    """Tell whether a file system holds `path`, with `limit` bytes in all."""
    sizes = [len(part.encode(errors="replace")) for part in (path, *path.split("/"))]
    return sizes[0] <= limit and max(sizes[1:]) <= 255 and CONTROLS.search(path) is None


def plan_cells(store: Store, composed: Iterable[Composed]) -> list[Cell]:
    """Turn points into cells: duplicates dropped, each with the dense cell it is compared to.

    Whether a method needs data is known by its class, and importing that costs seconds. So it is
    taken from a record, where one exists under either of the two possible ids of a point.
    """
    cells: dict[str, Cell] = {}
    composed = list(composed)
    shown = tuple(telling((_axes(point), point.settings) for point in composed))
    to_cell, known = partial(_to_cell, store, shown), dict[str, bool]()
    with collected() as problems:
        named = [problems.of(to_cell, point, known) for point in composed]
    for cell in named:
        dense = cell.dense()
        cells.setdefault(dense.id, dense)
        if not cell.is_dense or cell.id != dense.id:
            cells.setdefault(cell.id, cell)
    return sorted(cells.values(), key=_running_order)


def _axes(point: Composed) -> Hashable:
    """Return model, method and dataset of a point, as its cell will be called."""
    of = {key: label(point.config[key], point.choices[key]) for key in ("model", "dataset")}
    return axes_of(of | {"method": point.choices["method"]})


def _to_cell(store: Store, shown: tuple[str, ...], point: Composed, known: dict[str, bool]) -> Cell:
    """The cell of a point. `known`: which methods need data, with what is prepared before them."""

    def cell(*, needs_data: bool) -> Cell:
        of_kind = applying(point.settings, is_dense=is_dense, reads_data=needs_data)
        return Cell(
            config=point.config,
            choices=point.choices,
            settings=of_kind,
            needs_data=needs_data,
            shown=shown,
        )

    is_dense = point.config["method"] == DENSE
    if is_dense:
        return cell(needs_data=False)
    parts = {key: point.config.get(key) for key in ("method", *PREPARATIONS)}
    kind = repr(parts)
    if kind not in known:
        for needs_data in (False, True):
            if _has_record(store, cell(needs_data=needs_data)):
                known[kind] = needs_data
                break
        else:
            nodes = {key: node for key, node in parts.items() if node is not None}
            known[kind] = any(_reads_data(key, node) for key, node in nodes.items())
    return cell(needs_data=known[kind])


def _has_record(store: Store, cell: Cell) -> bool:
    """Tell whether `cell` is done, or there is something of it that this user may not touch."""
    if not store.cell_folder(cell).is_dir():
        return False
    record, hindrance = store.look(cell)
    return hindrance is not None or (record is not None and store.completes(cell, record))


def _reads_data(key: str, node: Mapping[str, object]) -> bool:
    return target_class(key, node.get("_target_")).reads_data(node)


def _running_order(cell: Cell) -> tuple[object, ...]:
    """Models together, dense first, then by calibration set: what is loaded serves on."""
    # A seed that is no number is refused later, with all that is wrong besides.
    data = (str(cell.dataset), cell.seed if isinstance(cell.seed, int) else -1)
    return (cell.model, cell.dense().id, not cell.is_dense, *data, cell.method, cell.folder_name)


def compose_command_line(conf: Path, arguments: Sequence[str]) -> list[Composed]:
    """Compose all points of a command line outside of a run; `ConfigError` names every mistake."""
    options = read_options(arguments)
    search_path = create_automatic_config_search_path(None, None, str(conf))
    if options.config_dir:
        search_path.prepend("command-line", f"file://{Path(options.config_dir).resolve()}")
    loader = ConfigLoaderImpl(config_search_path=search_path)
    words = parse_words(options.overrides, loader)
    task = [word for word in words if not word.is_hydra_override()]
    master = loader.load_configuration("config", overrides=[], run_mode=RunMode.MULTIRUN)
    of_launcher = launcher_problems(loader, words)
    try:
        composed = compose_grid(loader, master, split_points(task))
    except GridError as error:
        raise GridError(*error.problems, *of_launcher, composed=error.composed) from None
    if of_launcher:
        raise ConfigError(*of_launcher)
    return composed
