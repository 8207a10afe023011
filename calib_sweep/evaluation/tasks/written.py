"""Answers that are written: prompts of tasks that generate text, and what counts of it.

Stop strings, bounds and what is kept of a text are lm-eval's. A prompt that is too long for the
model loses its beginning, so that the bound fits behind it. Answers that are drawn come from the
stream `generation`, by task, item, request, repetition and replicate.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.tasks.checks import room
from calib_sweep.evaluation.tasks.names import KEY
from calib_sweep.model.generation import Prompt
from calib_sweep.seeding import stream

if TYPE_CHECKING:
    from calib_sweep.evaluation.harness import Encoder, Instance
    from calib_sweep.evaluation.scorers.scorer import Scorer

STREAM = "generation"
OTHER_WAYS = ("num_beams", "num_return_sequences", "max_length", "penalty_alpha", "prompt_lookup")
OTHER_DRAWS = ("epsilon_cutoff", "eta_cutoff", "top_h")  # where tokens are drawn


@dataclass(frozen=True)
class Written:
    """What there is to say of the answers of a task, beside their scores."""

    max_gen_toks: int  # tokens that an answer may have
    share_cut: float  # of the answers, that reached this


@dataclass(frozen=True, eq=False)
class Writing:
    """One request of a task, ready for any number of models."""

    instance: "Instance"
    tokens: list[int]
    max_gen_toks: int
    stop: tuple[str, ...]
    options: Mapping[str, Any]  # further settings of the generation
    is_drawn: bool  # else each token is the likeliest

    @property
    def task(self) -> str:
        """The name of its task."""
        return str(self.instance.task_name)

    def prompts(self, context_length: int, replicate: int) -> list[Prompt]:
        """Return one prompt for each answer that is to be drawn; one for all that are not."""
        num_kept = room(self.task, self.max_gen_toks, context_length)
        tokens, settings = self.tokens[-num_kept:], (self.max_gen_toks, self.stop)
        if not self.is_drawn:
            return [Prompt(tokens, *settings, options=self.options)]
        item, request = int(self.instance.doc_id or 0), int(self.instance.idx)
        draws = [
            stream(STREAM, self.task, item, request, repetition, replicate)
            for repetition in range(self.num_answers)
        ]
        return [
            Prompt(
                tokens, *settings, uniform_L=draw.random(self.max_gen_toks), options=self.options
            )
            for draw in draws
        ]

    @property
    def num_answers(self) -> int:
        """How many answers the task counts of one item: its own setting `repeats`."""
        return self.instance.repeats or 1


def writings(
    instances: Iterable["Instance"], encoder: "Encoder", max_gen_toks: int | None
) -> list[Writing]:
    """Tokenise requests; `max_gen_toks`: at most so many tokens to write, None: as the task says.

    `ConfigError` names, of each task once, what is not done here.
    """
    from calib_sweep.evaluation.harness import generation_settings

    made: list[Writing] = []
    problems: dict[str, str] = {}
    for instance in instances:
        text, arguments = instance.args[0], instance.args[1]  # pyright: ignore
        stop, bound, is_drawn, options = generation_settings(arguments, encoder)
        if max_gen_toks is not None:
            bound = min(bound, max_gen_toks)
        if problem := _problem(str(instance.task_name), bound, is_drawn, options):
            problems.setdefault(str(instance.task_name), problem)
        tokens = encoder.tok_encode(text)
        made.append(Writing(instance, tokens, bound, tuple(stop), options, is_drawn))
    if problems:
        raise ConfigError(*problems.values())
    return made


def _problem(task: str, bound: int, is_drawn: bool, options: Mapping[str, Any]) -> str | None:
    others = [f"{name}={options[name]}" for name in OTHER_WAYS if options.get(name, 1) != 1]
    others += [f"{name}={options[name]}" for name in OTHER_DRAWS if is_drawn and options.get(name)]
    if bound < 1:
        others.append(f"max_gen_toks={bound}")
    if is_drawn and not options.get("temperature"):
        others.append("do_sample=true without a temperature above 0")
    if not others:
        return None
    return (
        f"{KEY}.tasks={task!r}: expected a task whose answers are the likeliest tokens, or drawn, "
        f"one after the other, but it says {', '.join(others)}. Correct generation_kwargs in its "
        "YAML, or take it out."
    )


def answer(
    scorer: "Scorer", asked: Sequence[Writing], encoder: "Encoder", replicate: int
) -> dict[str, list[bool]]:
    """Put the model's text into every request; return, by task, which reached their bound."""
    context_length = scorer.context_length
    prompts = [one.prompts(context_length, replicate) for one in asked]
    written = iter(scorer.generate([prompt for own in prompts for prompt in own]))
    cut: dict[str, list[bool]] = {}
    for one, own in zip(asked, prompts, strict=True):
        for _ in own:
            text, is_whole = encoder.written(next(written), one.stop, one.max_gen_toks)
            cut.setdefault(one.task, []).append(not is_whole)
            one.instance.resps += [text] * (one.num_answers // len(own))
    return cut


def summary(asked: Iterable[Writing], cut: Mapping[str, list[bool]]) -> dict[str, Written]:
    """Return by task how long its answers may be, and how many reached that; `cut`: of each."""
    bounds: dict[str, int] = {}
    for one in asked:
        bounds[one.task] = max(one.max_gen_toks, bounds.get(one.task, 0))
    return {task: Written(n, sum(cut[task]) / len(cut[task])) for task, n in bounds.items()}
