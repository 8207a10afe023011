"""Which tasks are run: names of tasks, groups and tags, expanded as lm-eval expands them.

A tag stands for its tasks. A group stands for its tasks too, and has scores of its own: lm-eval's
aggregate of theirs. What a group says otherwise of a task than the task's YAML is kept.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.tasks.definitions import Code, leaves, read_definition
from calib_sweep.evaluation.tasks.names import KEY, Names, names_of, with_defaults

Settings = Mapping[str, object]
# Keys of a group that are its own; whatever else it says, it says of its tasks.
OF_GROUP = ("group", "group_alias", "task", "aggregate_metric_list", "metadata", "tag", "include")


@dataclass(frozen=True)
class Member:
    """One task that is run."""

    path: Path
    changes: Settings  # what a group says otherwise than its YAML
    listed: str  # the name in `tasks` that stands for it: its own, a group's or a tag's

    def spec(self, name: str) -> str | dict[str, object]:
        """Return what the task is loaded from: its file, or that with changes."""
        path = str(self.path)
        return {"include": path, "task": name, **self.changes} if self.changes else path


@dataclass(frozen=True)
class Group:
    """Tasks with an aggregate."""

    settings: Settings  # of its YAML
    members: tuple[str, ...]  # tasks and groups

    @property
    def metrics(self) -> list[str]:
        """The metrics that it aggregates; none: it only lists its tasks."""
        listed = self.settings.get("aggregate_metric_list") or []
        several = listed if isinstance(listed, list) else [listed]
        return [str(one["metric"]) for one in several if isinstance(one, Mapping)]

    @property
    def version(self) -> object:
        """The version that it states."""
        metadata = self.settings.get("metadata")
        return metadata.get("version") if isinstance(metadata, Mapping) else None


@dataclass(frozen=True)
class Selection:
    """All that is run."""

    tasks: dict[str, Member] = field(default_factory=dict)
    groups: dict[str, Group] = field(default_factory=dict)  # a group comes after those inside it
    counted: list[str] = field(default_factory=list)  # tasks and groups that the mean is over

    def tasks_of(self, name: str) -> list[str]:
        """Return the tasks of a group, also those of groups inside it; of a task itself."""
        if name not in self.groups:
            return [name]
        return [task for one in self.groups[name].members for task in self.tasks_of(one)]


def select(names: Sequence[str], folders: Sequence[Path]) -> Selection:
    """Expand `names`; `ConfigError` lists all that cannot be."""
    selecting = _Selecting(names_of(folders, names))
    for name in names:
        selecting.add(name)
    if selecting.problems:
        raise ConfigError(*dict.fromkeys(selecting.problems))
    return selecting.found


class _Selecting:
    """Expands names one after the other."""

    def __init__(self, names: Names) -> None:
        self.names, self.found = names, Selection()
        self.problems: list[str] = []
        self._read: dict[Path, Settings] = {}

    def add(self, name: str) -> None:
        """Add what a name of the user's stands for."""
        for one in self._add(name, {}, name, ()):
            self.found.counted.extend(self._counted(one))

    def _counted(self, name: str) -> Iterator[str]:
        group = self.found.groups.get(name)
        if group is None or group.metrics:
            yield name
        else:  # without a score of its own its members count
            for one in group.members:
                yield from self._counted(one)

    def _add(self, name: str, changes: Settings, listed: str, above: tuple[str, ...]) -> list[str]:
        """Add a name; return the tasks and groups that it stands for, one unless it is a tag."""
        if above and name not in self.names.entries:
            self.names = with_defaults(self.names)
        entry = self.names.entries.get(name)
        if entry is None:
            inside = f" (named by {above[-1]})" if above else ""
            self.problems.append(self.names.unknown(name, f"{KEY}.tasks={name!r}{inside}"))
            return []
        if entry.kind == "task":
            return self._add_task(name, Member(entry.path, changes, listed))
        if name in above:
            ring = " > ".join((*above[above.index(name) :], name))
            self.problems.append(
                f"{KEY}.tasks={listed!r}: expected tasks, but a group holds itself: {ring} "
                f"({entry.path}). Correct that file."
            )
            return []
        if entry.kind == "tag":
            tagged = self._tagged(name, (entry.path, *entry.others))
            added = [self._add(one, changes, listed, (*above, name)) for one in tagged]
            return [one for own in added for one in own]
        return self._add_group(name, self._settings(entry.path), changes, listed, above)

    def _add_task(self, name: str, member: Member) -> list[str]:
        known = self.found.tasks.setdefault(name, member)
        if known != member:
            where = " and ".join(dict.fromkeys((known.listed, member.listed)))
            self.problems.append(
                f"{KEY}.tasks={member.listed!r}: expected different tasks, but {name} is in "
                f"{where}{' in two ways' if known.listed == member.listed else ''}. Name one of "
                "them."
            )
        code = [value for _, value in leaves(member.changes) if isinstance(value, Code)]
        if code:
            self.problems.append(
                f"{KEY}.tasks={member.listed!r}: expected a group that changes values of its "
                f"tasks, but it gives {name} other code: {', '.join(code)}. Name its tasks one by "
                "one."
            )
        return [name]

    def _add_group(
        self, name: str, settings: Settings, changes: Settings, listed: str, above: tuple[str, ...]
    ) -> list[str]:
        own = {key: value for key, value in settings.items() if key not in OF_GROUP}
        passed, inside = {**own, **changes}, (*above, name)
        items = settings.get("task") or []
        members: list[str] = []
        for item in items if isinstance(items, list) else [items]:
            told = dict(item) if isinstance(item, Mapping) else {"task": item}
            group, task = told.pop("group", None), told.pop("task", None)
            if group is not None and str(group) not in self.names.entries:  # defined in place
                own_settings = {**told, "task": task}
                label = f"{name}::{group}"
                members += self._add_group(label, own_settings, passed, listed, inside)
            else:
                members += self._add(str(group or task), {**passed, **told}, listed, inside)
        self.found.groups[name] = Group(settings, tuple(members))
        return [name]

    def _tagged(self, tag: str, paths: Sequence[Path]) -> list[str]:
        """Return the tasks that have a tag, also from what they include, as lm-eval sorts them."""
        near = {path for one in paths for path in one.parent.rglob("*.yaml")}
        found = set()
        for path in near:
            settings = self._settings(path)
            own = settings.get("tag") or []
            tags = own if isinstance(own, list) else [own]
            if tag in tags and isinstance(name := settings.get("task"), str):
                found.add(name)
        return sorted(found)

    def _settings(self, path: Path) -> Settings:
        if path not in self._read:
            try:
                self._read[path] = read_definition(path).settings
            except ConfigError as error:
                self.problems += error.problems
                self._read[path] = {}
        return self._read[path]
