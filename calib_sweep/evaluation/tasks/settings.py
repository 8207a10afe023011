"""Which zero-shot tasks are run, and where they are defined: settings and names, without lm-eval.

A task is a YAML file in lm-eval's format.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.evaluation.scorers.engines import ENGINES
from calib_sweep.evaluation.tasks.checks import (
    check_effects,
    check_kind,
    check_metric_names,
    check_shots,
    require_headline,
    room,
)
from calib_sweep.evaluation.tasks.definitions import (
    MAX_GEN_TOKS,
    STORYCLOZE,
    Definition,
    read_definition,
)
from calib_sweep.evaluation.tasks.item_groups import Groups, check_groups
from calib_sweep.evaluation.tasks.names import KEY, is_shipped, miniature_folder
from calib_sweep.evaluation.tasks.selection import Selection, select

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class ZeroShot:
    """Settings: the tasks to run, and the metric of each that counts."""

    tasks: list[str]
    headline: dict[str, str | None]  # metric that goes into acc/mean; acc where a task is not named
    include_path: str | None  # folder with task definitions of the user's own
    storycloze_path: str | None  # the file of StoryCloze, which cannot be downloaded
    num_items: int | None  # the first so many items of each task; None: all
    scorer: str = "packed"  # packed | hflm
    batch_tokens: int | None = None  # forwarded at once: memory, not results; None: by device
    trust_task_code: bool = False  # whether code that tasks of the user's own name may run
    groups: Groups = field(default_factory=dict)  # what items that belong together share, by task
    # Solved items in front of each: of all tasks, or by task; None: as the task says, or none.
    num_fewshot: int | dict[str, int] | None = None
    repeats: int = 1  # answers to each item of tasks that draw them: their mean counts
    max_gen_toks: int | None = None  # a written answer has at most so many tokens; None: the task's

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
        shots = self.num_fewshot if isinstance(self.num_fewshot, Mapping) else {}
        for key, named in (("headline", self.headline), ("num_fewshot", shots)):
            strangers = sorted(set(named) - set(self._known(named)))
            require(
                not strangers,
                f"{KEY}.{key}",
                strangers,
                "tasks that are run: " + ", ".join(self.names()),
                f"Take the others out of {KEY}.{key}, or add them to {KEY}.tasks.",
            )
        named = self.groups if isinstance(self.groups, Mapping) else {}
        check_groups(self.groups, self._known(named))
        require(
            isinstance(self.trust_task_code, bool),
            f"{KEY}.trust_task_code",
            self.trust_task_code,
            "true or false",
            f"Example: {KEY}.trust_task_code=false.",
        )
        require(
            self.scorer in ENGINES,
            f"{KEY}.scorer",
            self.scorer,
            "one of " + ", ".join(ENGINES),
            f"Example: {KEY}.scorer=packed; hflm scores as lm-eval does, a row for each request.",
        )
        self._check_counts()

    def _check_counts(self) -> None:
        null = {"num_items": "all", "num_fewshot": "as tasks say", "max_gen_toks": "as tasks say"}
        null["batch_tokens"] = "by device"
        shots = self.num_fewshot if isinstance(self.num_fewshot, Mapping) else {"": 0}
        values = {
            **{f"num_fewshot.{task}".rstrip("."): value for task, value in shots.items()},
            **{key: getattr(self, key) for key in ("repeats", *null)},
        }
        for key, value in values.items():
            least = 0 if key.startswith("num_fewshot") else 1
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            told = (value is None and key in null) or (value is shots and key == "num_fewshot")
            require(
                whole or told,
                f"{KEY}.{key}",
                value,
                f"an integer >= {least}" + (f", or null for {null[key]}" if key in null else ""),
                f"Example: {KEY}.{key}=16.",
            )

    def names(self) -> list[str]:
        """The tasks, groups and tags that are run, as they are listed."""
        return [*self.tasks, *([STORYCLOZE] if self.storycloze_path is not None else [])]

    def _known(self, named: Iterable[str]) -> list[str]:
        """Names that settings may give: listed ones and, looked up if need be, those inside."""
        known = self.names()
        if not set(named) <= set(known):
            with contextlib.suppress(ConfigError):  # `check` tells of names that are not found
                known += [*self.selection.groups, *self.selection.tasks]
        return known

    def headline_of(self, name: str) -> str | None:
        """The metric of a task or group that counts; None: it is reported, and not in the mean."""
        return self._told(self.headline, name, "acc")

    def shots_of(self, name: str) -> int | None:
        """The number of solved items in front of each of a task; None: as the task says."""
        if isinstance(self.num_fewshot, Mapping):
            return self._told(self.num_fewshot, name, None)
        return self.num_fewshot

    def _told(self, said: Mapping[str, T], name: str, otherwise: T) -> T:
        """What is said of a task, or else of the group that is listed for it."""
        if not said or name in said:
            return said.get(name, otherwise)
        member = self.selection.tasks.get(name)
        return said.get(member.listed, otherwise) if member else otherwise

    @cached_property
    def selection(self) -> Selection:
        """The tasks that are run; `ConfigError` lists every name that is not found."""
        own = [Path(self.include_path)] if self.include_path is not None else []
        return select(self.tasks, [*own, miniature_folder()])

    def specs(self) -> dict[str, str | dict[str, object]]:
        """What each task is loaded from: its file, or that with changes."""
        return {name: member.spec(name) for name, member in self.selection.tasks.items()}

    def files(self) -> dict[str, Path]:
        """The YAML of each task; `ConfigError` lists every name that is not found."""
        return {name: member.path for name, member in self.selection.tasks.items()}

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """What the YAML of each task says, and the group that names it."""
        with collected() as problems:
            read = {name: problems.of(read_definition, path) for name, path in self.files().items()}
        changes = {name: member.changes for name, member in self.selection.tasks.items()}
        return {
            name: replace(one, settings={**one.settings, **changes[name]})
            for name, one in read.items()
        }

    def own_tasks(self) -> dict[str, Path]:
        """Those of `files` that are the user's own, and not of this package or of lm-eval."""
        if self.include_path is None:
            return {}
        return {name: path for name, path in self.files().items() if not is_shipped(path)}

    def own_alone(self) -> "ZeroShot | None":
        """Return the settings with no tasks but the user's own; None where there are none."""
        own = self.own_tasks()
        if not own:
            return None
        kept = {
            "headline": {name: self.headline_of(name) for name in own},
            "groups": {name: field for name, field in self.groups.items() if name in own},
            "num_fewshot": {name: n for name in own if (n := self.shots_of(name)) is not None},
        }
        return replace(self, tasks=list(own), storycloze_path=None, **kept)

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

    def check(self, context_length: int | None = None) -> None:
        """Raise `ConfigError` with every problem that can be seen without loading a task.

        `context_length`: tokens that the model reads at once, where known.
        """
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
            problems.of(self.check_definitions, context_length)
            if not problems.errors:
                problems.of(check_effects, self.definitions, self.repeats, self.max_gen_toks)
                problems.of(check_shots, self.num_fewshot, self.definitions, self.shots_of)

    def check_definitions(self, context_length: int | None = None) -> None:
        """Raise `ConfigError` for every task that cannot be scored here, or would run code."""
        with collected() as problems:
            for name, definition in self.definitions.items():
                problems.of(self._check_definition, name, definition)
                problems.of(check_kind, name, definition, self.trust_task_code)
                if context_length is not None and definition.is_generated:
                    bound = definition.max_gen_toks(MAX_GEN_TOKS)
                    bound = min(bound, self.max_gen_toks or bound)
                    problems.of(room, name, bound, context_length)
            for name, group in self.selection.groups.items():
                if name in self.selection.counted and (metric := self.headline_of(name)):
                    metrics = [metric if metric.split(",")[0] == m else m for m in group.metrics]
                    problems.of(require_headline, name, metric, metrics)

    def _check_definition(self, name: str, definition: Definition) -> None:
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


def _is_by_product(path: Path) -> bool:
    """Hidden files, and what Python leaves beside a definition's code."""
    return any(part.startswith((".", "__pycache__")) for part in path.parts)
