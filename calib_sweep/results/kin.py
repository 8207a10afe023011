"""Kin of a cell: finished cells of its sweep whose model was compressed in the same way.

They differ in what is scored, at most: model, method, calibration set, walk and replicate are the
same. So their weights have to be the same to the last bit, which fingerprints tell; then what one
of them scored need not be scored again, and the model that one of them kept need not be made again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from calib_sweep.cell import Cell, Config
from calib_sweep.errors import StoreError
from calib_sweep.places import CELLS, LAYERS, RECORD
from calib_sweep.results.environment import describe_environment
from calib_sweep.results.files import damage
from calib_sweep.results.reading import UnreadableRecordError, read_record
from calib_sweep.results.record import CompressionNote, Record
from calib_sweep.results.store import MODEL_FORMS, Store, model_name
from calib_sweep.settings import flatten, is_execution

# What the weights are made from, of what a record says that its cell read.
OF_WEIGHTS = (
    *("model", "dataset", "method"),
    *("model.code", "dataset.code", "method.code", "activations.code"),
)


@dataclass(frozen=True)
class Kin:
    """A finished cell of the same weights."""

    folder: Path
    record: Record

    @property
    def id(self) -> str:
        return str(self.record.get("cell_id"))

    @property
    def compression(self) -> CompressionNote:
        note = self.record.get("compression")
        assert note is not None
        return note

    @property
    def fingerprint(self) -> str:
        return self.compression.get("fingerprint", "")

    def has_layers(self) -> bool:
        """Tell whether the table of its layers is there and whole."""
        files = self.record.get("files", {})
        return LAYERS in files and damage(self.folder, files, LAYERS) is None

    def model(self, form: str) -> Path | None:
        """Return the folder of the model that it kept in this form."""
        path = self.folder / model_name(form)
        return path if path.is_dir() else None

    def models(self) -> list[Path]:
        """Return the folders of all models that it kept."""
        return [path for form in MODEL_FORMS if (path := self.model(form)) is not None]


def kin_of(store: Store, cells: Iterable[Cell]) -> Iterator[tuple[Cell, list[Kin]]]:
    """Yield each of `cells` that has kin on disk, with them: the oldest first."""
    by_stem: dict[str, list[Path]] = {}
    for folder in sorted(store.folder.glob(CELLS)):
        by_stem.setdefault(folder.name.rpartition("-")[0], []).append(folder)
    for cell in cells:
        others = [
            path for path in by_stem.get(cell.folder_stem, []) if path.name != cell.folder_name
        ]
        found = [kin for folder in others if (kin := _kin(cell, folder))]
        if found:
            yield cell, sorted(found, key=lambda kin: (kin.record.get("finished_at") or "", kin.id))


def _kin(cell: Cell, folder: Path) -> Kin | None:
    try:
        record = read_record(folder / RECORD)
    except (UnreadableRecordError, OSError):
        return None
    note = None if record is None else record.get("compression")
    if record is None or note is None or record["status"] != "done":
        return None
    is_kin = note.get("id") == cell.compression_id and bool(note.get("fingerprint"))
    return Kin(folder, record) if is_kin else None


def kin_of_cell(
    store: Store, cell: Cell, inputs: Mapping[str, str | None], set_hash: str | None
) -> list[Kin]:
    """Return the kin of one cell; `StoreError` where one made its weights from something else.

    `inputs`: hashes of the files and code that the cell reads; `set_hash`: of its calibration set.
    """
    found = dict((cell.id, kin) for _, kin in kin_of(store, [cell])).get(cell.id, [])
    for one in found:
        then, drawn = one.record.get("inputs", {}), one.record.get("calibration")
        changed = [key for key in OF_WEIGHTS if then.get(key) != inputs.get(key)]
        if (None if drawn is None else drawn["hash"]) != set_hash:
            changed.append("calibration set")
        if changed:
            raise StoreError(
                f"{' and '.join(changed)}: changed since cell {one.id} ran, which is {cell.title} "
                "with another evaluation. Scores of two models would stand side by side as of "
                "one. Restore what it read, or type sweep_name=NEW_NAME to run everything as it "
                "is now."
            )
    return found


def require_one_model(cell: Cell, kin: Sequence[Kin], fingerprint: str, how: str) -> None:
    """Raise `StoreError` unless the weights of `cell`, made as `how` says, are those of its kin."""
    for one in kin:
        if one.fingerprint != fingerprint:
            raise StoreError(
                f"{cell.title}: its weights, {how}, are {fingerprint}, but those that cell "
                f"{one.id} scored are {one.fingerprint}{_suspects(cell, one.record)}. Scores of "
                "two models are not mixed. Run on the machine, with the versions and settings that "
                f"its record names ({one.folder / RECORD}); or type sweep_name=NEW_NAME to have "
                f"everything compressed and scored anew; or delete {one.folder.name} if its scores "
                "are not wanted."
            )


def _suspects(cell: Cell, record: Record) -> str:
    """Say what can move the last digits of weights and is not now as it was then."""
    then, now = _last_digits(record.get("config", {})), _last_digits(cell.config)
    libraries = record.get("environment", {}).get("versions") or {}
    then["torch"] = libraries.get("torch")
    now["torch"] = describe_environment()["versions"]["torch"]
    told = [
        f"{key} {then.get(key)} then, {now[key]} now" for key in now if then.get(key) != now[key]
    ]
    return f" ({'; '.join(told)})" if told else ""


def _last_digits(config: Config) -> dict[str, object]:
    """Return the settings of a cell that say how it is compressed, not what is computed."""
    settings = flatten({key: config.get(key) for key in ("model", "walk")})
    found = {key: value for key, value in settings.items() if is_execution(key)}
    own = {
        "num_threads": config.get("num_threads"),
        "ranks_per_cell": config.get("ranks_per_cell", 1),
    }
    return found | own
