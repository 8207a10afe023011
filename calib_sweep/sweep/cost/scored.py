"""What an evaluation scores, counted before any text is read: tokens, places with a head, requests.

What is forwarded is what costs: packed, a question stands once with all of its answers (`packed`);
else once for each of them (`hflm`). This file alone knows which.

Where an evaluation takes the first items or windows only, their number is in its configuration. All
items of a known task, and all windows of a known corpus, are counted by the tables below, with
tokens as LLaMA's tokenizer makes them; of a text file, by its size. What is in none is named.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from calib_sweep.cell import Config
from calib_sweep.places import expanded
from calib_sweep.settings import stems_of

BYTES_OF_A_TOKEN = 4  # of English text, about
SHOTS_TOKENS = 1.2  # an example with its answer, relative to a question


class Task(NamedTuple):
    """A task's items, and the mean tokens of each."""

    items: int
    question: float
    answers: int
    answer: float  # tokens that are scored of one answer


# Items of the split that lm-eval scores; tokens from its templates without examples, about.
TASKS = {
    "arc_challenge": Task(1172, 32, 4, 6),
    "arc_easy": Task(2376, 28, 4, 5),
    "boolq": Task(3270, 140, 2, 1),
    "hellaswag": Task(10042, 62, 4, 28),
    "lambada_openai": Task(5153, 85, 1, 1.5),
    "mmlu": Task(14042, 95, 4, 1),
    "openbookqa": Task(500, 13, 4, 4),
    "piqa": Task(1838, 20, 2, 22),
    "rte": Task(277, 75, 2, 1),
    "storycloze": Task(1871, 48, 2, 10),
    "truthfulqa_mc1": Task(817, 190, 5, 13),
    "truthfulqa_mc2": Task(817, 190, 7, 13),
    "winogrande": Task(1267, 22, 2, 6),
    "mini_boolq": Task(320, 24, 2, 1),
    "mini_coref": Task(320, 7, 2, 4.5),
    "mini_facts": Task(320, 13, 4, 1.2),
    "mini_lastword": Task(320, 22, 1, 1.5),
    "mini_story": Task(320, 7, 2, 6.8),
}
MMLU, SUBJECTS = "mmlu", 57  # a group of tasks
UNKNOWN_TASK = Task(0, 60, 3, 8)  # where only the number of its items is known


class WrittenTask(NamedTuple):
    """A task whose answers are written: a batch goes on until its longest answer ends."""

    items: int
    prompt: float  # with the examples that the task itself sets
    bound: int  # tokens of the longest answer


WRITTEN = {
    "gsm8k": WrittenTask(1319, 900, 256),
    "ifeval": WrittenTask(541, 60, 1280),
    "mini_answers": WrittenTask(320, 13, 16),
}
PADDING = 1.04  # places of rows for a token
ROW = {True: 1024, False: 256}  # places that attention looks at from each one: on a GPU, on a CPU

# Tokens of all that is scored of a corpus.
CORPORA = {"wikitext2": 341_000, "c4": 256 * 2048}


class Scored(NamedTuple):
    """All that a cell scores of one kind, windows or items."""

    tokens: float = 0.0  # that are forwarded
    length: float = 0.0  # tokens that a token may look back on, at most
    logits: float = 0.0  # places with a head
    requests: float = 0.0
    rows: float = 0.0  # windows or items
    writing: float = 0.0  # tokens held while one more is written, summed over all that are written
    unknown: tuple[str, ...] = ()  # corpora and tasks that are not counted

    def plus(self, other: "Scored") -> "Scored":
        """Return both together; the longer one tells the length."""
        return Scored(
            self.tokens + other.tokens,
            max(self.length, other.length),
            self.logits + other.logits,
            self.requests + other.requests,
            self.rows + other.rows,
            self.writing + other.writing,
            self.unknown + other.unknown,
        )


def windows_of(settings: Config | None) -> Scored:
    """Count the windows of all corpora of `evaluation.perplexity`."""
    total = Scored()
    corpora = settings["corpora"] if settings else []
    stems = stems_of([corpus for corpus in corpora if isinstance(corpus, str)])
    for corpus in corpora:
        assert settings is not None
        name = stems[corpus] if isinstance(corpus, str) else str(corpus.get("name"))
        seq_len, most = settings["seq_len"], settings["max_windows"]
        most = most.get(name) if isinstance(most, Mapping) else most
        fresh = settings.get("stride") or seq_len  # tokens that a window scores
        tokens = _tokens_of(corpus) if most is None else float(most * fresh)
        if tokens is None:
            total = total.plus(Scored(unknown=(name,)))
            continue
        rows = tokens / fresh
        total = total.plus(Scored(rows * seq_len, seq_len, rows * fresh, rows, rows))
    return total


def items_of(settings: Config | None, *, on_gpu: bool = False) -> Scored:
    """Count the items of all tasks of `evaluation.zero_shot`."""
    total = Scored()
    for name in _task_names(settings) if settings else ():
        assert settings is not None
        task, most = _known(name), settings["num_items"]
        if name in WRITTEN:
            total = total.plus(_written(WRITTEN[name], settings))
            continue
        if task is None and most is None:
            total = total.plus(Scored(unknown=(name,)))
            continue
        task = task or UNKNOWN_TASK
        each = SUBJECTS if name == MMLU else 1  # the first so many items of each subject
        num = min(task.items or most, most * each) if most is not None else task.items
        shots = settings.get("num_fewshot") or 0
        if isinstance(shots, Mapping):
            shots = shots.get(name) or 0
        total = total.plus(_scored(task, num, shots, settings.get("scorer", "packed"), on_gpu))
    return total


def _written(task: WrittenTask, settings: Config) -> Scored:
    """Count a task whose answers are written, each as long as the longest of its batch may be."""
    most, bound = settings["num_items"] or task.items, settings.get("max_gen_toks") or task.bound
    num, bound = min(most, task.items), min(bound, task.bound)
    held = task.prompt + bound
    return Scored(
        tokens=num * held,
        length=held,
        logits=num * bound,
        requests=num,
        rows=num,
        writing=num * held * bound,
    )


def _scored(task: Task, num: int, shots: int, scorer: str, on_gpu: bool) -> Scored:
    """Count the tokens of requests: the one place that knows how an engine lays them out.

    A row with a mask costs attention over all of its places, twice what a causal one does.
    """
    question = task.question * (1 + SHOTS_TOKENS * shots)
    answers = task.answers * (task.answer - 1)  # the last token of an answer is no input
    is_shared = scorer == "packed" or task.answer == 1  # both let one-token answers share a row
    tokens = question + answers if is_shared else task.answers * question + answers
    row = 2 * ROW[on_gpu] if scorer == "packed" else question + task.answer
    return Scored(
        tokens=num * tokens * PADDING,
        length=row,
        logits=num * task.answers * task.answer,
        requests=num * task.answers,
        rows=num,
    )


def _task_names(settings: Config) -> list[str]:
    own = ["storycloze"] if settings.get("storycloze_path") is not None else []
    return [*(name for name in settings["tasks"] if isinstance(name, str)), *own]


def _known(name: str) -> Task | None:
    """Return a task's sizes; a subject of MMLU has a share of its items."""
    if name.startswith(f"{MMLU}_"):
        return TASKS[MMLU]._replace(items=TASKS[MMLU].items // SUBJECTS)
    return TASKS.get(name)


def _tokens_of(corpus: object) -> float | None:
    if isinstance(corpus, str):
        path = expanded(corpus)
        return path.stat().st_size / BYTES_OF_A_TOKEN if path.is_file() else None
    return CORPORA.get(str(corpus.get("name"))) if isinstance(corpus, Mapping) else None


def names(unknown: Iterator[str] | tuple[str, ...]) -> str:
    """List what is not counted, each once."""
    return ", ".join(dict.fromkeys(unknown))
