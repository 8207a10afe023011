"""Which zero-shot tasks are run, and where they are defined: settings and names, without lm-eval.

A task is a YAML file in lm-eval's format. Folders are looked through in order: the user's own, then
the miniature world's, and, only when a name is in neither, the one that lm-eval brings. That has
14,000 files: to look for their names takes 0.3 s, to parse them, as lm-eval's own index does, 6 s.
"""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.evaluation.tasks.definitions import STORYCLOZE, Definition, read_definition
from calib_sweep.evaluation.tasks.item_groups import Groups, check_groups
from calib_sweep.wording import typed

KEY = "evaluation.zero_shot"
OUR_METRICS = ("ppl", "kl", "flips")  # of scores that no task makes: metric/name

# A line `task: name` (or group, or tag) at the left margin.
NAME_LINE = re.compile(r"""^["']?(task|group|tag)["']?:[ \t]*["']?([^\s"'#\[{]+)""", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """Settings: the tasks to run, and the metric of each that counts."""

    tasks: list[str]
    headline: dict[str, str | None]  # metric that goes into acc/mean; acc where a task is not named
    include_path: str | None  # folder with task definitions of the user's own
    storycloze_path: str | None  # the file of StoryCloze, which cannot be downloaded
    num_items: int | None  # the first so many items of each task; None: all
    batch_size: int  # sequences forwarded at once
    trust_task_code: bool = False  # whether code that tasks of the user's own name may run
    groups: Groups = field(default_factory=dict)  # what items that belong together share, by task

    def __post_init__(self) -> None:
        tasks = self.tasks
        names = isinstance(tasks, list | tuple) and all(isinstance(name, str) for name in tasks)
        require(
            names and len(tasks) > 0 and len(set(tasks)) == len(tasks),
            f"{KEY}.tasks",
            tasks,
            "a list of different task names",
            f"Example: '{KEY}.tasks=[arc_easy,boolq]'; {KEY}=null is none.",
        )
        strangers = sorted(set(self.headline) - set(self.names()))
        require(
            not strangers,
            f"{KEY}.headline",
            strangers,
            "tasks that are run: " + ", ".join(self.names()),
            f"Take the others out of {KEY}.headline, or add them to {KEY}.tasks.",
        )
        check_groups(self.groups, self.names())
        require(
            isinstance(self.trust_task_code, bool),
            f"{KEY}.trust_task_code",
            self.trust_task_code,
            "true or false",
            f"Example: {KEY}.trust_task_code=false.",
        )
        for name, value in (("batch_size", self.batch_size), ("num_items", self.num_items)):
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= 1
            require(
                whole or (name == "num_items" and value is None),
                f"{KEY}.{name}",
                value,
                "an integer >= 1" + (", or null for all" if name == "num_items" else ""),
                f"Example: {KEY}.{name}=16.",
            )

    def names(self) -> list[str]:
        """Every task that is run."""
        return [*self.tasks, *([STORYCLOZE] if self.storycloze_path is not None else [])]

    def headline_of(self, task: str) -> str | None:
        """The metric of `task` that counts; None: it is reported, and left out of the mean."""
        return self.headline.get(task, "acc")

    def files(self) -> dict[str, Path]:
        """The YAML of each task; `ConfigError` lists every name that is not found."""
        own = [Path(self.include_path)] if self.include_path is not None else []
        return find_tasks(self.tasks, [*own, miniature_folder()])

    def own_tasks(self) -> dict[str, Path]:
        """Those of `files` that are the user's own, and not of this package or of lm-eval."""
        if self.include_path is None:
            return {}
        return {name: path for name, path in self.files().items() if not is_shipped(path)}

    def own_files(self) -> list[Path]:
        """The user's own files that may define what is asked.

        All of `include_path`, because definitions name others, and what tasks name elsewhere.
        """
        files = [Path(self.storycloze_path)] if self.storycloze_path is not None else []
        if self.include_path is None:
            return files
        folder = Path(self.include_path)
        inside = [path for path in folder.rglob("*") if path.is_file()]
        files += sorted(path for path in inside if not _is_by_product(path.relative_to(folder)))
        known = {path.resolve() for path in files}
        named = {f for path in self.own_tasks().values() for f in read_definition(path).files()}
        return files + sorted(path for path in named - known if not is_shipped(path))

    def check(self) -> None:
        """Raise `ConfigError` with every problem that can be seen without loading a task."""
        with collected() as problems:
            for key, kind, path, exists in (
                ("include_path", "folder", self.include_path, Path.is_dir),
                ("storycloze_path", "file", self.storycloze_path, Path.is_file),
            ):
                if path is not None and not exists(Path(path)):
                    problems.add(
                        f"{KEY}.{key}={path!r}: expected a {kind} that exists (seen from "
                        f"{Path.cwd()}). Correct the path, or give it in full."
                    )
            problems.of(self.check_definitions)

    def check_definitions(self) -> None:
        """Raise `ConfigError` for every task that cannot be scored here, or would run code."""
        with collected() as problems:
            for name, path in self.files().items():
                definition = problems.of(read_definition, path)
                if definition is not None:
                    problems.of(self._check_definition, name, definition)

    def _check_definition(self, name: str, definition: Definition) -> None:
        if definition.is_generated:
            raise generated_error(name)
        code = [f"{code} (in {path})" for path, code in definition.code if not is_shipped(path)]
        require(
            self.trust_task_code or not code,
            f"{KEY}.tasks",
            name,
            f"a task without code of its own, but this one would run {', '.join(code)}",
            f"Read that code; if you trust it, type {KEY}.trust_task_code=true.",
        )
        headline, metrics = self.headline_of(name), definition.metrics()
        if metrics is not None:
            check_metric_names(name, metrics)
        if headline is not None and metrics is not None:
            require_headline(name, headline, metrics)


def generated_error(task: str) -> ConfigError:
    """The error for a task whose answers are written, not chosen."""
    return ConfigError(
        f"{KEY}.tasks={task!r}: expected a task that compares likelihoods (multiple_choice, "
        "loglikelihood, loglikelihood_rolling), but this one generates text (generate_until), "
        f"which is not scored here. Take it out of {KEY}.tasks."
    )


def check_metric_names(task: str, metrics: Sequence[str]) -> None:
    """Refuse a metric whose name is that of a score of corpora, or of the dense comparison."""
    taken = [metric for metric in metrics if metric.partition(",")[0] in OUR_METRICS]
    require(
        not taken,
        f"{KEY}.tasks",
        task,
        f"a task without a metric called {', '.join(taken)}, as the scores of corpora and of the "
        "comparison with the dense model are called",
        "Give the metric another name in the task's YAML, for example task_ppl.",
    )


def require_headline(task: str, headline: str, metrics: Sequence[str]) -> None:
    """Refuse a headline that the task does not have."""
    require(
        headline in metrics,
        f"{KEY}.headline.{task}",
        headline,
        "a metric that is right or wrong for each item: " + (", ".join(metrics) or "it has none"),
        f"Example: {typed(f'{KEY}.headline', {task: next(iter(metrics), None)})}.",
    )


def miniature_folder() -> Path:
    """The task folder of the miniature world."""
    from calib_sweep.places import task_folder

    return Path(task_folder())


def is_shipped(path: Path) -> bool:
    """Tell whether a file came with this package or with lm-eval."""
    shipped = (miniature_folder().resolve(), _default_folder().resolve())
    return any(path.resolve().is_relative_to(folder) for folder in shipped)


def _is_by_product(path: Path) -> bool:
    """Hidden files, and what Python leaves beside a definition's code."""
    return any(part.startswith((".", "__pycache__")) for part in path.parts)


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
