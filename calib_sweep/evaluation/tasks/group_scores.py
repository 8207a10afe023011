"""Scores of groups of tasks: lm-eval's aggregates of what their tasks scored."""

from collections.abc import Iterator, Mapping, Sequence

from calib_sweep.evaluation.parts import TASK, Part
from calib_sweep.evaluation.tasks.zero_shot import PreparedTasks


def with_groups(tasks: PreparedTasks, parts: Sequence[Part]) -> list[Part]:
    """Return `parts`, and behind them one for each group that has scores."""
    selection = tasks.settings.selection
    by_name = {part.name: part for part in parts if part.kind == TASK}
    found = [*parts]
    for name, group in selection.groups.items():
        if group.metrics:
            own = [by_name[task] for task in selection.tasks_of(name)]
            found.append(_group_part(tasks, name, group.settings, own))
    return found


def counted(tasks: PreparedTasks, parts: Sequence[Part]) -> Iterator[Part]:
    """Yield the parts of tasks and groups that the mean is over."""
    inside = {*tasks.settings.selection.groups, *tasks.settings.selection.tasks}
    names = inside - set(tasks.settings.selection.counted)
    yield from (part for part in parts if part.name not in names)


def _group_part(
    tasks: PreparedTasks, name: str, settings: Mapping[str, object], own: Sequence[Part]
) -> Part:
    from calib_sweep.evaluation.harness import aggregate_group

    found = {part.name: _told(part) for part in own}
    members = [tasks.tasks[part.name] for part in own]
    results = aggregate_group(name, settings, members, found)
    by_chance = {part.name: _told(part) | _chances(part) for part in own}
    guessed = aggregate_group(name, settings, members, by_chance)
    headline = tasks.settings.headline_of(name)
    group = Part(kind=TASK, name=name, headline=headline and f"{headline}/{name}")
    for key in results.get("sample_count", {}):
        error = results[_named(key, "_stderr")]
        metric = key.removesuffix(",none")
        group.add(metric, float(results[key]), None if error == "N/A" else float(error))
        signs = {part.metrics.get(f"{metric}/{part.name}", {}).get("direction") for part in own}
        if len(signs) == 1 and None not in signs:
            group.metrics[f"{metric}/{name}"] = {"direction": signs.pop()}
            if all(_named(metric) in _chances(part) for part in own):
                group.metrics[f"{metric}/{name}"]["chance"] = float(guessed[key])
    return group


def _told(part: Part) -> dict[str, float]:
    """What a task scored, under lm-eval's names."""
    scores = {key.rpartition("/")[0]: value for key, value in part.scores.items()}
    stderr = {key.rpartition("/")[0]: value for key, value in part.stderr.items()}
    return {
        **{_named(key): value for key, value in scores.items()},
        **{_named(key, "_stderr"): value for key, value in stderr.items()},
        "sample_len": len(part.rows["name"]),
    }


def _chances(part: Part) -> dict[str, float]:
    """Say what guessing scores in a task, in lm-eval's names."""
    told = {key.rpartition("/")[0]: said.get("chance") for key, said in part.metrics.items()}
    return {_named(key): float(str(one)) for key, one in told.items() if one is not None}


def _named(key: str, suffix: str = "") -> str:
    metric, _, filter_name = key.partition(",")
    return f"{metric}{suffix},{filter_name or 'none'}"
