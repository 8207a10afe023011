"""Where zero-shot tasks are defined: a quick index of names, without loading a task.

A task is a YAML file in lm-eval's format. Folders are looked through in order: the user's own, this package's,
and, only when a name is not there, the one that lm-eval brings (about 14,000 files, a third of a second
here; parsing them all, as its own index does, takes six).
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from calib_sweep.errors import ConfigError

# A line `task: name` (or group, or tag) at the left margin.
NAME_LINE = re.compile(r"""^["']?(task|group|tag)["']?:[ \t]*["']?([^\s"'#\[{]+)""", re.MULTILINE)


@dataclass(frozen=True)
class Entry:
    """What one name stands for."""

    kind: str  # task | group | tag
    path: Path


def index_folder(folder: Path) -> dict[str, Entry]:
    """Every name defined by the YAML files below `folder`; the first file in sorted order wins."""
    index: dict[str, Entry] = {}
    for path in sorted(folder.glob("**/*.yaml")):
        lines = NAME_LINE.findall(path.read_text(encoding="utf-8", errors="replace"))
        # A file that defines a group names its tasks too, but further in.
        for kind, name in lines:
            known = index.get(name)
            if known is None or (kind == "task" and known.kind == "tag"):
                index[name] = Entry(kind, path)
    return index


def default_folder() -> Path:
    """The task folder that lm-eval brings; importing lm-eval is not needed for it."""
    spec = find_spec("lm_eval")
    assert spec is not None and spec.submodule_search_locations, "lm-eval is a dependency"
    return Path(spec.submodule_search_locations[0]) / "tasks"


def find_tasks(names: Sequence[str], folders: Iterable[Path], key: str) -> dict[str, Path]:
    """The YAML file of each task of `names`; `ConfigError` lists all that are no tasks, with near matches."""
    folders = list(folders)
    index: dict[str, Entry] = {}
    for folder in folders:
        index = {**index_folder(folder), **index}
    if any(name not in index for name in names):
        folders.append(default_folder())
        index = {**index_folder(folders[-1]), **index}
    problems = [problem for name in names if (problem := _problem(name, index, folders, key))]
    if problems:
        raise ConfigError(*problems)
    return {name: index[name].path for name in names}


def _problem(name: str, index: dict[str, Entry], folders: list[Path], key: str) -> str | None:
    if name not in index:
        near = difflib.get_close_matches(name, index, n=4, cutoff=0.6)
        looked = ", ".join(str(folder) for folder in folders)
        hint = f"Near it: {', '.join(near)}." if near else "No name is near it."
        return (
            f"{key}={name!r}: expected the name of a task, looked for in {looked}. {hint} "
            "Tasks of your own: evaluation.zero_shot.include_path=FOLDER."
        )
    if index[name].kind != "task":
        return (
            f"{key}={name!r}: expected the name of one task, and this is a {index[name].kind} of several "
            f"({index[name].path}). Name its tasks one by one, so that the mean says what it is the mean of."
        )
    return None
