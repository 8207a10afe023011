"""The YAML of a task, with what it includes: read without lm-eval, and no code is run."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from calib_sweep.dataset.documents.files import is_hidden
from calib_sweep.errors import ConfigError, require
from calib_sweep.places import expanded

STORYCLOZE = "storycloze"
GENERATED = "generate_until"  # also what lm-eval takes a task for that does not say what it is
# Keys whose values name data: files, folders, patterns, or names of the hub.
DATA_KEYS = ("dataset_path", "data_files", "data_dir")
BUILDERS = ("json", "csv", "parquet", "text")  # of the `datasets` library, before any folder
UNNAMED_FILTER = "none"
# lm-eval's own. Any other name it takes for a program, in a folder of that name or on the hub.
METRICS = frozenset(
    (
        *("acc", "acc_all", "acc_bytes", "acc_mutual_info", "acc_norm", "bits_per_byte", "bleu"),
        *("brier_score", "bypass", "byte_perplexity", "chrf", "chrf++", "exact_match", "f1"),
        *("likelihood", "mcc", "perplexity", "ter", "word_perplexity"),
    )
)
MAX_GEN_TOKS = 256  # lm-eval's bound of a written answer where a task has none
# Of a written answer, in tokens; the first of them counts.
BOUNDS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
DEFAULT_METRICS = {
    "multiple_choice": ["acc", "acc_norm"],
    "loglikelihood": ["perplexity", "acc"],
    GENERATED: ["exact_match"],
    "loglikelihood_rolling": ["word_perplexity", "byte_perplexity", "bits_per_byte"],
}


# Values of `dataset_path` that read files of the user's.
LOCAL_FORMATS = ("json", "csv", "parquet", "text", "arrow", "pandas")


class Code(str):
    """The name behind `!function`: MODULE.NAME, from a file beside the YAML or installed."""


@dataclass(frozen=True)
class Definition:
    """One task."""

    settings: Mapping[str, object]  # with those that are included
    sources: tuple[Path, ...]  # the YAML and all that it includes
    code: tuple[tuple[Path, str], ...]  # YAML and name of everything that lm-eval would run

    @property
    def is_generated(self) -> bool:
        """Tell whether answers are written; not known here of a task that is a class."""
        is_class = "class" in self.settings
        return not is_class and self.settings.get("output_type", GENERATED) == GENERATED

    @property
    def may_generate(self) -> bool:
        """Tell whether answers are written, or may be."""
        return self.is_generated or "class" in self.settings

    @property
    def is_drawn(self) -> bool:
        """Tell whether answers are drawn, so that replicates differ; of a class they may be."""
        settings = _mapping(self.settings.get("generation_kwargs"))
        drawn = settings.get("do_sample", bool(settings.get("temperature")))
        return "class" in self.settings or (self.is_generated and bool(drawn))

    @property
    def is_dangerous(self) -> bool:
        """Tell whether what a model writes is run as a program."""
        return bool(self.settings.get("unsafe_code", False))

    @property
    def is_text(self) -> bool:
        """Tell whether there is nothing to see or to hear."""
        return not (self.settings.get("doc_to_image") or self.settings.get("doc_to_audio"))

    def max_gen_toks(self, otherwise: int) -> int:
        """Return the bound of a written answer in tokens; `otherwise` if it has none."""
        settings = _mapping(self.settings.get("generation_kwargs"))
        found = (settings.get(name) for name in BOUNDS)
        return next((int(value) for value in found if isinstance(value, int | float)), otherwise)

    @property
    def is_fetched(self) -> bool:
        """Tell whether its items come from the hub; of a task that is a class they may."""
        source = self.settings.get("dataset_path")
        is_local = source in LOCAL_FORMATS or Path(str(source)).exists()
        return "class" in self.settings if source is None else not is_local

    def metrics(self) -> list[str] | None:
        """The metrics of an item as lm-eval names them; None where its code decides."""
        if "class" in self.settings:
            return None
        listed = self.settings.get("metric_list")
        names = DEFAULT_METRICS.get(str(self.settings.get("output_type", GENERATED)), [])
        if listed is not None:
            names = [str(one.get("metric")) for one in _mappings(listed)]
        filters = _mappings(self.settings.get("filter_list")) or [{"name": UNNAMED_FILTER}]
        return [metric_key(name, str(one.get("name"))) for one in filters for name in names]

    def files(self) -> list[Path]:
        """Every local file that it names: YAML, code beside it, and data."""
        modules = [(path.parent, name.rpartition(".")[0]) for path, name in self.code]
        code = [folder / f"{module.replace('.', '/')}.py" for folder, module in modules]
        files = [*self.sources, *(path for path in code if path.is_file())]
        for name in _data_names(self.settings):
            files += _local_files(name)
        return list(dict.fromkeys(path.resolve() for path in files))


def metric_key(metric: str, filter_name: str) -> str:
    """The name of a metric of what a filter leaves of the responses."""
    return metric if filter_name == UNNAMED_FILTER else f"{metric},{filter_name}"


def read_definition(path: Path) -> Definition:
    """Read a task's YAML and what it includes; `ConfigError` names a file that cannot be read."""
    sources: dict[Path, Mapping[str, object]] = {}
    settings = _merged(expanded(path).resolve(), sources)
    code = [(source, name) for source, own in sources.items() for name in _code(own)]
    return Definition(settings, tuple(sources), tuple(code))


def _merged(path: Path, sources: dict[Path, Mapping[str, object]]) -> dict[str, object]:
    """The settings of `path` over those that it includes; every file read is kept in `sources`."""
    try:
        own = yaml.load(path.read_bytes(), Loader=_loader())
    except (OSError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{path}: expected the YAML of a task. {reason}. Correct it.") from error
    if not isinstance(own, dict) or path in sources:
        what = "it includes itself" if path in sources else f"it holds {type(own).__name__}"
        raise ConfigError(f"{path}: expected the YAML of a task with keys, but {what}. Correct it.")
    sources[path] = own
    includes = own.get("include") or []
    settings: dict[str, object] = {}
    for name in includes if isinstance(includes, list) else [includes]:
        settings |= _merged((path.parent / name).resolve(), sources)
    return settings | own


@cache
def _loader() -> type:
    """A safe loader that takes `!function` as a name."""

    loader: Any = type("Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
    loader.add_constructor("!function", lambda reader, node: Code(reader.construct_scalar(node)))
    return loader


def _code(settings: Mapping[str, object]) -> Iterator[str]:
    """Names of code: functions, and metrics that are a program, here or on the hub.

    Where a function makes the results, the names of metrics are its own.
    """
    for _, value in leaves(settings):
        if isinstance(value, Code):
            yield value
    for one in _mappings(settings.get("metric_list")):
        name = one.get("metric")
        is_named = any(isinstance(x, Code) for x in (name, settings.get("process_results")))
        if one.get("hf_evaluate") or not (is_named or str(name) in METRICS):
            yield f"metric {name}"


def _mappings(value: object) -> list[Mapping[str, object]]:
    """Those of a list that are mappings: what else is there, lm-eval refuses."""
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}


def _data_names(settings: Mapping[str, object]) -> Iterator[str]:
    for keys, value in leaves(settings):
        is_data = bool(set(DATA_KEYS) & set(keys))
        if is_data and isinstance(value, str) and value not in ("", *BUILDERS):
            yield value


def leaves(value: object, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object]]:
    """Every value that is no container, with the keys that lead to it."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, (*keys, str(key)))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, keys)
    else:
        yield keys, value


def _local_files(name: str) -> list[Path]:
    """The files behind a path, a folder or a pattern; none for what is not on this machine."""
    path = Path(name)
    is_pattern = not path.exists() and any(sign in name for sign in "*?[")
    found = Path(path.anchor).glob(name.removeprefix(path.anchor)) if is_pattern else [path]
    found = list(found)
    inside = [f for p in found if p.is_dir() for f in p.rglob("*") if not is_hidden(f, p)]
    return sorted(f for f in [*found, *inside] if f.is_file())


def storycloze_definition(path: Path) -> dict:
    """StoryCloze from the user's file: its publisher gives it out by form, nothing can download it.

    Prompt, choices and metric are those of lm-eval's storycloze_2016. Columns may be named as in
    the published CSV (InputSentence1, RandomFifthSentenceQuiz1, AnswerRightEnding) or as there.
    """
    loaders = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet"}
    require(
        path.suffix in loaders,
        "evaluation.zero_shot.storycloze_path",
        str(path),
        "a file whose name ends in " + " or ".join(loaders),
        "Convert it, or rename it.",
    )
    context = " ~ ' ' ~ ".join(f"(InputSentence{i} or input_sentence_{i})" for i in range(1, 5))
    endings = ", ".join(f"(RandomFifthSentenceQuiz{i} or sentence_quiz{i})" for i in (1, 2))
    return {
        "task": STORYCLOZE,
        "dataset_path": loaders[path.suffix],
        "dataset_kwargs": {"data_files": {"test": str(path.resolve())}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "doc_to_text": "{{" + context + "}}",
        "doc_to_target": "{{(AnswerRightEnding or answer_right_ending) | int - 1}}",
        "doc_to_choice": "{{[" + endings + "]}}",
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
