"""Which zero-shot tasks are run, and where they are defined: settings and names, without lm-eval.

A task is a YAML file in lm-eval's format.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calib_sweep.errors import collected, require
from calib_sweep.evaluation.tasks.definitions import (
    MAX_GEN_TOKS,
    STORYCLOZE,
    Definition,
    read_definition,
)
from calib_sweep.evaluation.tasks.item_groups import Groups, check_groups
from calib_sweep.evaluation.tasks.names import find_tasks, is_shipped, miniature_folder
from calib_sweep.wording import typed

KEY = "evaluation.zero_shot"
OUR_METRICS = ("ppl", "kl", "flips")  # of scores that no task makes: metric/name


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
    num_fewshot: int | None = None  # solved items in front of each; None: as the task says, or none
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
        self._check_counts()

    def _check_counts(self) -> None:
        at_least = {"batch_size": 1, "repeats": 1, "num_items": 1, "max_gen_toks": 1}
        may_be_null = {"num_items": "all", "num_fewshot": "as the task says", "max_gen_toks": "too"}
        for name, least in {**at_least, "num_fewshot": 0}.items():
            value, null = getattr(self, name), may_be_null.get(name)
            whole = isinstance(value, int) and not isinstance(value, bool) and value >= least
            require(
                whole or (null is not None and value is None),
                f"{KEY}.{name}",
                value,
                f"an integer >= {least}" + (f", or null for {null}" if null else ""),
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

    def check_definitions(self, context_length: int | None = None) -> None:
        """Raise `ConfigError` for every task that cannot be scored here, or would run code."""
        definitions: dict[str, Definition] = {}
        with collected() as problems:
            for name, path in self.files().items():
                definition = problems.of(read_definition, path)
                if definition is not None:
                    definitions[name] = definition
                    problems.of(self._check_definition, name, definition)
                    problems.of(self._check_kind, name, definition, context_length)
        found = list(definitions.values())
        for key, has_effect, which in (
            ("repeats", any(one.is_drawn for one in found), "draws its answers"),
            ("max_gen_toks", any(one.may_generate for one in found), "has its answers written"),
        ):
            value, default = getattr(self, key), 1 if key == "repeats" else None
            require(
                value == default or has_effect,
                f"{KEY}.{key}",
                value,
                f"{'null' if default is None else default}, for no task that is run {which}",
                f"Leave it out, or add such a task to {KEY}.tasks.",
            )

    def _check_kind(self, name: str, definition: Definition, context_length: int | None) -> None:
        """Refuse what a model of text in memory cannot be asked, or should not."""
        require(
            definition.is_text,
            f"{KEY}.tasks",
            name,
            "a task of text, but this one has pictures or sound",
            f"Take it out of {KEY}.tasks.",
        )
        require(
            self.trust_task_code or not definition.is_dangerous,
            f"{KEY}.tasks",
            name,
            "a task that runs no program, but this one runs what the model writes",
            f"On a machine that may be harmed type {KEY}.trust_task_code=true.",
        )
        if definition.is_generated and context_length is not None:
            bound = definition.max_gen_toks(MAX_GEN_TOKS)
            room(name, min(bound, self.max_gen_toks or bound), context_length)

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


def room(task: str, max_gen_toks: int, context_length: int) -> int:
    """Return how many tokens of a prompt a model can see; `ConfigError` where there are none."""
    require(
        max_gen_toks < context_length,
        f"{KEY}.tasks",
        task,
        f"answers shorter than what the model reads at once, {context_length} tokens, but they may "
        f"have {max_gen_toks}",
        f"Type {KEY}.max_gen_toks={max(1, context_length // 2)}, or take the task out.",
    )
    return context_length - max_gen_toks


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


def _is_by_product(path: Path) -> bool:
    """Hidden files, and what Python leaves beside a definition's code."""
    return any(part.startswith((".", "__pycache__")) for part in path.parts)
