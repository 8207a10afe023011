"""Provenance: the calibration sets behind the cells, and the software used.

Comparisons between methods are paired because a (dataset, seed) draws one set for all of them.
The hash of its tokens, which is in every record, proves or disproves that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.table import cell_settings
from calib_sweep.dataset.calibration.overlap import in_words, is_seen
from calib_sweep.settings import OF_DATA, settings_text

CARD_KEYS = ("design", "window", "num_samples", "seq_len", "lengths", "pool", "source", "revision")


@dataclass
class DrawnSet:
    """The sets that one (tokenizer, dataset, seed, settings of the draw) gave its cells."""

    model: str
    dataset: str
    seed: int | None
    settings: str
    hashes: set[str] = field(default_factory=set)
    methods: set[str] = field(default_factory=set)
    card: dict[str, str] = field(default_factory=dict)
    overlap: dict[str, Mapping[str, float]] = field(
        default_factory=dict
    )  # corpus or task -> share, samples, items


def described(record: ReadCell) -> Mapping[str, float | None]:
    """Return the descriptors of its calibration set that a record keeps."""
    return (record.get("calibration") or {}).get("descriptors") or {}


def drawn_sets(cells: Sequence[ReadCell]) -> list[DrawnSet]:
    """Return the calibration sets of the done cells that recorded one, in order."""
    found: dict[tuple[str, str, int, str], DrawnSet] = {}
    for record, settings in zip(cells, cell_settings(cells), strict=True):
        cell, card = record["cell"], record.get("calibration")
        if record["status"] != "done" or not card or not cell["dataset"]:
            continue
        of_draw = {k: v for k, v in settings.items() if k.split(".")[0] in OF_DATA | {"model"}}
        text, seed = settings_text(of_draw), cell.get("seed")
        key = (cell["model"], cell["dataset"], -1 if seed is None else seed, text)
        own = found.setdefault(key, DrawnSet(cell["model"], cell["dataset"], seed, text))
        own.hashes.add(str(card.get("hash")))
        own.methods.add(cell["method"])
        own.overlap = dict(card.get("overlap") or {})
        own.card = {k: _words(v) for k in CARD_KEYS if (v := card.get(k)) is not None}
    return [found[key] for key in sorted(found)]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value)


def check_pairing(sets: Iterable[DrawnSet]) -> list[str]:
    """Say a sentence for each set that is not what a paired comparison over seeds needs."""
    problems: list[str] = []
    seeds_by_hash: dict[tuple[str, str, str], set[int | None]] = {}
    for drawn in sets:
        name = " ".join(
            p for p in (drawn.model, drawn.dataset, f"seed {drawn.seed}", drawn.settings) if p
        )
        if len(drawn.hashes) > 1:
            problems.append(
                f"not paired: {name} gave different calibration sets to different cells "
                f"({', '.join(sorted(h[:12] for h in drawn.hashes))})."
            )
        for one in drawn.hashes:
            seeds_by_hash.setdefault((drawn.model, drawn.dataset, one), set()).add(drawn.seed)
    for (model, dataset, one), seeds in seeds_by_hash.items():
        if len(seeds) > 1:
            problems.append(
                f"seeds {', '.join(sorted(map(str, seeds)))} of {dataset} drew the same "
                f"calibration set for {model} ({one[:12]}): their spread says nothing of it."
            )
    return problems


def seen_text(sets: Iterable[DrawnSet]) -> list[str]:
    """Say a sentence where calibration sets hold text that is scored: such scores are too good."""
    found = [
        (one, drawn, name) for drawn in sets for name, one in drawn.overlap.items() if is_seen(one)
    ]
    if not found:
        return []
    one, drawn, name = max(found, key=lambda f: (f[0]["share"], f[0]["samples"]))
    num_sets = len({id(drawn) for _, drawn, _ in found})
    return [
        f"Calibration text is scored (sets: {num_sets}; most of all {drawn.dataset} seed "
        f"{drawn.seed}): {in_words(name, one)}. Scores on text that was seen are too good."
    ]


def environments(cells: Iterable[ReadCell]) -> dict[str, list[str]]:
    """Return every distinct value of each part of the recorded environments and task versions."""
    found: dict[str, set[str]] = {}
    for record in cells:
        environment: dict[str, object] = {**(record.get("environment") or {})}
        versions = environment.pop("versions", None)
        versions = versions if isinstance(versions, Mapping) else {}
        tasks = {f"version of {k}": v for k, v in (record.get("versions") or {}).items()}
        for key, value in {**environment, **versions, **tasks}.items():
            if value is not None:
                found.setdefault(key, set()).add(str(value))
    return {key: sorted(values) for key, values in sorted(found.items())}
