"""Names of tasks: in which file each is defined, found without lm-eval.

Folders are looked through in order: the user's own, then
the miniature world's, and, only when a name is in neither, the one that lm-eval brings. That has
14,000 files: to look for their names takes 0.3 s, to parse them, as lm-eval's own index does, 6 s.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from calib_sweep.errors import collected

KEY = "evaluation.zero_shot"

# A line `task: name` (or group, or tag) at the left margin.
NAME_LINE = re.compile(r"""^["']?(task|group|tag)["']?:[ \t]*["']?([^\s"'#\[{]+)""", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """The meaning of one name."""

    kind: str  # task | group | tag
    path: Path


def find_tasks(names: Sequence[str], folders: Sequence[Path]) -> dict[str, Path]:
    """The YAML of each task; `ConfigError` lists all names that are no task, with near matches."""
    looked = list(folders)
    index: dict[str, Entry] = {}
    for folder in looked:
        index = {**_index(folder), **index}
    if any(name not in index for name in names):
        looked.append(_default_folder())
        index = {**_default_index(), **index}
    with collected() as problems:
        problems.add(*(text for name in names if (text := _problem(name, index, looked))))
    return {name: index[name].path for name in names}


def _index(folder: Path) -> dict[str, Entry]:
    """Every name defined below `folder`; the first file in sorted order wins, a task over a tag."""
    index: dict[str, Entry] = {}
    for path in sorted(folder.glob("**/*.yaml")):
        text = path.read_text(encoding="utf-8-sig", errors="replace")
        for kind, name in NAME_LINE.findall(text):
            known = index.get(name)
            if known is None or (kind == "task" and known.kind == "tag"):
                index[name] = Entry(kind, path)
    return index


def _default_folder() -> Path:
    """The task folder that lm-eval brings; lm-eval need not be imported for it."""
    spec = find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations, "lm-eval is a dependency"
    return Path(spec.submodule_search_locations[0]) / "tasks"


@cache
def _default_index() -> dict[str, Entry]:
    return _index(_default_folder())


def _problem(name: str, index: dict[str, Entry], folders: Sequence[Path]) -> str | None:
    if name not in index:
        near = difflib.get_close_matches(name, index, n=4, cutoff=0.6)
        hint = f"Near it: {', '.join(near)}." if near else "No name is near it."
        return (
            f"{KEY}.tasks={name!r}: expected the name of a task, looked for in "
            f"{', '.join(str(folder) for folder in folders)}. {hint} "
            f"For tasks of your own type {KEY}.include_path=FOLDER."
        )
    if index[name].kind != "task":
        return (
            f"{KEY}.tasks={name!r}: expected the name of one task, and this is a "
            f"{index[name].kind} of several ({index[name].path}). Name its tasks one by one, so "
            "that the mean says what it is the mean of."
        )
    return None


def miniature_folder() -> Path:
    """The task folder of the miniature world."""
    from calib_sweep.places import task_folder

    return Path(task_folder())


def is_shipped(path: Path) -> bool:
    """Tell whether a file came with this package or with lm-eval."""
    shipped = (miniature_folder().resolve(), _default_folder().resolve())
    return any(path.resolve().is_relative_to(folder) for folder in shipped)
