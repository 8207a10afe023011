"""What can be wrong with a task, seen before it is loaded."""

from collections.abc import Callable, Mapping, Sequence

from calib_sweep.errors import collected, require
from calib_sweep.evaluation.tasks.definitions import Definition
from calib_sweep.evaluation.tasks.names import KEY
from calib_sweep.wording import typed

OUR_METRICS = ("ppl", "kl", "flips", "cut")  # of scores that no task makes: metric/name


def check_kind(name: str, definition: Definition, is_trusted: bool) -> None:
    """Refuse what a model of text in memory cannot be asked, or should not."""
    require(
        definition.is_text,
        f"{KEY}.tasks",
        name,
        "a task of text, but this one has pictures or sound",
        f"Take it out of {KEY}.tasks.",
    )
    refuse_programs(name, definition.is_dangerous, is_trusted)


def refuse_programs(name: str, is_dangerous: bool, is_trusted: bool) -> None:
    """Refuse to run what a model writes, unless the user allows it."""
    require(
        is_trusted or not is_dangerous,
        f"{KEY}.tasks",
        name,
        "a task that runs no program, but this one runs what the model writes",
        f"On a machine that may be harmed type {KEY}.trust_task_code=true.",
    )


def check_effects(
    definitions: Mapping[str, Definition], repeats: int, max_gen_toks: int | None
) -> None:
    """Refuse settings of written answers where no task has any."""
    found = definitions.values()
    with collected() as problems:
        for key, value, default, has_effect, which in (
            ("repeats", repeats, 1, any(one.is_drawn for one in found), "draws its answers"),
            ("max_gen_toks", max_gen_toks, None, any(one.may_generate for one in found), WRITTEN),
        ):
            problems.of(
                require,
                value == default or has_effect,
                f"{KEY}.{key}",
                value,
                f"{'null' if default is None else default}, for no task that is run {which}",
                f"Leave it out, or add such a task to {KEY}.tasks.",
            )


WRITTEN = "has its answers written"


def check_shots(
    num_fewshot: int | Mapping[str, int] | None,
    definitions: Mapping[str, Definition],
    shots_of: Callable[[str], int | None],
) -> None:
    """Refuse a number of solved items that moves nothing: a task that says 0 keeps to it."""
    fixed = {name for name, one in definitions.items() if one.settings.get("num_fewshot") == 0}
    idle = [name for name in definitions if shots_of(name) and name in fixed]
    if isinstance(num_fewshot, Mapping):  # a group may have some of either kind
        told = {name for name in idle if name in num_fewshot}
        require(
            not told,
            f"{KEY}.num_fewshot",
            dict(num_fewshot),
            f"tasks that can have solved items in front, but {', '.join(sorted(told))} says that "
            "it has none, and lm-eval keeps to that",
            f"Take it out of {KEY}.num_fewshot.",
        )
        return
    require(
        not num_fewshot or len(idle) < len(definitions),
        f"{KEY}.num_fewshot",
        num_fewshot,
        "null, for all tasks that are run say that they have no solved items in front, and lm-eval "
        "keeps to that",
        "Leave it out.",
    )


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
        f"a task without a metric called {', '.join(taken)}, as the scores of corpora, of the "
        "comparison with the dense model and of answers cut off are called",
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
