"""Names of tasks, groups and tags: in which file each is defined, found without lm-eval.

Folders are looked through in order: the user's own, then the miniature world's, and, only when a
name is in neither, the one that lm-eval brings. That has 14,000 files: to look for their names
takes 0.3 s, to parse them, as lm-eval's own index does, 6 s.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

KEY = "evaluation.zero_shot"

# A line `task: name` (or group) at the left margin; `tag:` with one name or several.
NAME_LINE = re.compile(r"""^["']?(task|group)["']?:[ \t]*["']?([^\s"'#\[{]+)""", re.MULTILINE)
TAG_LINES = re.compile(r"""^["']?tag["']?:(.*(?:\n[ \t]*-.*)*)""", re.MULTILINE)
TAG = re.compile(r"""[^\s"'\[\],#-][^\s"'\[\],#]*""")


@dataclass(frozen=True)
class Entry:
    """The meaning of one name."""

    kind: str  # task | group | tag
    path: Path  # where it is defined; of a tag the first file that has it
    others: tuple[Path, ...] = ()  # of a tag: further files


@dataclass(frozen=True)
class Names:
    """All names of some folders."""

    entries: Mapping[str, Entry]
    folders: tuple[Path, ...]

    def unknown(self, name: str, key: str) -> str:
        """Say that `name` is not known, and what is near it; `key`: where it stands."""
        near = difflib.get_close_matches(name, self.entries, n=4, cutoff=0.6)
        hint = f"Near it: {', '.join(near)}." if near else "No name is near it."
        return (
            f"{key}: expected the name of a task, looked for in "
            f"{', '.join(str(folder) for folder in self.folders)}. {hint} "
            f"For tasks of your own type {KEY}.include_path=FOLDER."
        )


def names_of(folders: Sequence[Path], needed: Iterable[str]) -> Names:
    """Return the names of `folders`, and lm-eval's where not all that is `needed` is among them."""
    entries: dict[str, Entry] = {}
    for folder in folders:
        entries = {**_index(folder), **entries}
    if all(name in entries for name in needed):
        return Names(entries, tuple(folders))
    return with_defaults(Names(entries, tuple(folders)))


def with_defaults(names: Names) -> Names:
    """Return the names with lm-eval's own behind them."""
    folder = _default_folder()
    if folder in names.folders:
        return names
    return Names({**_default_index(), **names.entries}, (*names.folders, folder))


def _index(folder: Path) -> dict[str, Entry]:
    """Every name defined below `folder`; the first file in sorted order wins, a task over a tag."""
    index: dict[str, Entry] = {}
    tags: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("**/*yaml")):  # also what is only included: _template_yaml
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        for kind, name in NAME_LINE.findall(text) if path.suffix == ".yaml" else ():
            index.setdefault(name, Entry(kind, path))
        for lines in TAG_LINES.findall(text):
            for tag in TAG.findall(re.sub("#.*", "", lines)):
                tags.setdefault(tag, []).append(path)
    for tag, (first, *others) in tags.items():
        index.setdefault(tag, Entry("tag", first, tuple(others)))
    return index


def _default_folder() -> Path:
    """The task folder that lm-eval brings; lm-eval need not be imported for it."""
    spec = find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations, "lm-eval is a dependency"
    return Path(spec.submodule_search_locations[0]) / "tasks"


@cache
def _default_index() -> dict[str, Entry]:
    return _index(_default_folder())


def miniature_folder() -> Path:
    """The task folder of the miniature world."""
    from calib_sweep.places import task_folder

    return Path(task_folder())


def is_shipped(path: Path) -> bool:
    """Tell whether a file came with this package or with lm-eval."""
    shipped = (miniature_folder().resolve(), _default_folder().resolve())
    return any(path.resolve().is_relative_to(folder) for folder in shipped)
