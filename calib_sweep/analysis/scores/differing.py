"""What differs between two sweeps, in the cells that both have: facts, by what they are about.

Each fact of a record has a subject and a name; `Difference` says in how many of the shared cells
the two sweeps have it otherwise, and one example of how. Subjects are in the order in which one
looks for a cause:

    settings      what was configured, as far as it can move a score
    set           the calibration set: the hash of its tokens, and what its card says
    inputs        hashes of model, data, evaluation and code that the cell read
    evaluation    versions of the evaluation harness and of its tasks
    code          this program: version, commit, and how its numbers are made
    software      libraries
    machine       processor, device, threads
    how it ran    settings that move no score
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.shared_cells import Shared
from calib_sweep.analysis.scores.table import DENSE
from calib_sweep.cell import TARGET, kind_of
from calib_sweep.settings import MOVING, applies, flatten, is_execution, text_of

Pair = tuple[ReadCell, ReadCell]
Facts = dict[tuple[str, str], str]  # subject, name -> value as text

SUBJECTS = ("settings", "set", "inputs", "evaluation", "code", "software", "machine", "how it ran")
CAUSES = SUBJECTS[:-1]  # what can move a score
NOTHING = "-"
HASH = "hash"
SHORT = 12  # characters of a hash
OF_MACHINE = ("platform", "processor", "device", "num_threads")
PLACES = ("sweep_name", "results_dir")  # differ in all sweeps
OF_CARD = {
    "hash",
    "folder",
    "descriptors",
    "overlap",
    "seed",
    "cost",
    "selection",
}  # not told field by field


@dataclass(frozen=True)
class Difference:
    """A fact that the sweeps have otherwise in `num` of their shared cells; values of one cell."""

    subject: str
    name: str
    first: str
    second: str
    num: int


def differences(shared: Shared) -> list[Difference]:
    """Return what differs in the cells that both sweeps have, in order of `SUBJECTS`."""
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for first, second in shared.pairs:
        for subject, name, a, b in _differing(facts(first), facts(second)):
            found.setdefault((subject, name), []).append((a, b))
    told = [
        Difference(subject, name, *values[0], len(values))
        for (subject, name), values in found.items()
    ]
    return sorted(told, key=lambda one: (SUBJECTS.index(one.subject), one.name))


def _differing(first: Facts, second: Facts) -> Iterator[tuple[str, str, str, str]]:
    """Yield what two cells have otherwise; a part that one of them lacks as a whole, once."""
    told = [
        (subject, name, *(facts.get((subject, name), NOTHING) for facts in (first, second)))
        for subject, name in {**first, **second}
    ]
    ends = f".{TARGET}"
    lacking = [
        n.removesuffix(ends) for _, n, a, b in told if n.endswith(ends) and NOTHING in (a, b)
    ]
    for subject, name, a, b in told:
        part = name.removesuffix(ends)
        is_inside = any(name.startswith(f"{parent}.") for parent in lacking)
        if a != b and (not is_inside or part in lacking):
            yield subject, part if part in lacking else name, a, b


def causes(first: ReadCell, second: ReadCell) -> set[tuple[str, str]]:
    """Return subject and name of all that differs between two cells and can move a score."""
    found = {(subject, name) for subject, name, _, _ in _differing(facts(first), facts(second))}
    return {(subject, name) for subject, name in found if subject in CAUSES}


def facts(record: ReadCell) -> Facts:
    """Return all that a record says of how its scores came about."""
    told = [
        *_settings(record),
        *_of_set(record.get("calibration") or {}),
        *(("inputs", name, value) for name, value in (record.get("inputs") or {}).items()),
        *(("evaluation", name, value) for name, value in (record.get("versions") or {}).items()),
        *_of_environment(record.get("environment") or {}),
        *_of_compression(record.get("compression") or {}),
    ]
    return {(subject, name): _text(value) for subject, name, value in told}


Told = Iterator[tuple[str, str, object]]


def _settings(record: ReadCell) -> Told:
    """Yield what was configured: what can move a score of such a cell, then the rest."""
    cell = record["cell"]
    kind = {"is_dense": cell["method"] == DENSE, "reads_data": cell["dataset"] is not None}
    config = record.get("config") or {}
    run = flatten(_numbered(config)) or flatten(cell.get("settings") or {})
    for name, value in run.items():
        part = name.partition(".")[0]
        if part in PLACES or part in ("seed", "replicate"):
            continue
        moves = part in MOVING and applies(name, **kind)
        if moves or is_execution(name) or part not in MOVING:
            is_class = name.rpartition(".")[2] == TARGET
            yield "settings" if moves else "how it ran", name, kind_of(value) if is_class else value


def _numbered(value: Mapping[str, object]) -> dict[str, object]:
    """Return a configuration whose lists of parts are parts by number."""
    numbered: dict[str, object] = {}
    for name, item in value.items():
        if isinstance(item, list) and any(isinstance(one, Mapping) for one in item):
            item = {str(number): one for number, one in enumerate(item)}
        numbered[name] = _numbered(item) if isinstance(item, Mapping) else item
    return numbered


def _of_set(card: Mapping[str, object]) -> Told:
    if HASH in card:
        yield "set", HASH, card[HASH]
    own = {name: value for name, value in card.items() if name not in OF_CARD}
    for name, value in flatten(own).items():
        if name != "tokenizer.name":  # a path; its hash says which one it is
            yield "set", name, value


def _of_environment(environment: Mapping[str, object]) -> Told:
    for name in OF_MACHINE:
        if name in environment:
            yield "machine", name, environment[name]
    versions = environment.get("versions")
    for name, value in (versions if isinstance(versions, Mapping) else {}).items():
        yield "code" if name == "calib-sweep" else "software", name, value
    yield "code", "git", environment.get("git")
    yield "software", "python", environment.get("python")
    yield "inputs", "model commit", environment.get("model_commit")


def _of_compression(note: Mapping[str, object]) -> Told:
    """Yield how weights were made, as far as that is a choice of the machine's or the method's."""
    for name in ("products", "input_quantizer", "propagated"):
        if name in note:
            yield "machine" if name == "products" else "settings", f"compression {name}", note[name]


def _text(value: object) -> str:
    if value is None:
        return NOTHING
    text = text_of(value)
    is_hash = len(text) >= 32 and all(c in "0123456789abcdef" for c in text)
    return text[:SHORT] if is_hash else text


def equal_sets(shared: Shared) -> tuple[int, int]:
    """Count the shared cells that both read a set, and those that read the same one."""
    hashes = [
        [(record.get("calibration") or {}).get(HASH) for record in pair] for pair in shared.pairs
    ]
    read = [pair for pair in hashes if all(pair)]
    return len(read), sum(a == b for a, b in read)


def suspects(
    unlike: Sequence[Pair], alike: Sequence[Pair]
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """Return what differs in each pair of `unlike` scores, and of that what differs in none alike.

    Both as subject and name, and only what can move a score.
    """
    found = [causes(*pair) for pair in unlike]
    common = set.intersection(*found) if found else set()
    harmless = {cause for pair in alike for cause in causes(*pair)} if alike else common
    ordered = sorted(common, key=lambda one: (SUBJECTS.index(one[0]), one[1]))
    return ordered, [one for one in ordered if one not in harmless]
