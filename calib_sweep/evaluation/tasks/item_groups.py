"""Which items of a task belong together: questions about one passage, sentences with one premise.

They are right or wrong together, so they tell less than as many items on their own. The field of
an item's document that they share says so. FIELDS names it for tasks of lm-eval and for the
miniature ones; `evaluation.zero_shot.groups` for others, or null for a task to have none. No score
moves: only errors over items know of groups.
"""

from collections.abc import Callable, Mapping, Sequence

from calib_sweep.errors import ConfigError, require

KEY = "evaluation.zero_shot.groups"
Groups = Mapping[str, str | None]  # field by task; None: each item is on its own

# By task, or by what its name begins with up to a "_": boolq is also boolq_tr.
FIELDS = {
    "anli": "premise",
    "boolq": "passage",
    "cb": "premise",
    "hellaswag": "source_id",  # the video or article that a story is from
    "mc_taco": "sentence",
    "mini_boolq": "passage",
    "mini_story": "context",
    "mnli": "premise",
    "multirc": "paragraph",
    "qa4mre": "document_str",
    "race": "article",
    "record": "passage",
    "snli": "premise",
    "swag": "video-id",
    "xnli": "premise",
}


def check_groups(groups: object, tasks: Sequence[str]) -> None:
    """Raise `ConfigError` unless `groups` names a field, or null, of tasks that are run."""
    is_good = isinstance(groups, Mapping) and all(
        task in tasks and (field is None or (isinstance(field, str) and field))
        for task, field in groups.items()
    )
    require(
        is_good,
        KEY,
        groups,
        f"fields of items, or null, by task that is run ({', '.join(tasks)})",
        f"Example: '{KEY}={{{tasks[0] if tasks else 'boolq'}: passage}}'.",
    )


def field_of(task: str, groups: Groups) -> str | None:
    """Return the field that items of a group share; None: each is on its own."""
    if task in groups:
        return groups[task]
    words = task.split("_")
    starts = ("_".join(words[:num]) for num in range(len(words), 0, -1))
    return next((FIELDS[start] for start in starts if start in FIELDS), None)


def groups_of(
    task: str,
    documents: Sequence[object],
    groups: Groups,
    to_hash: Callable[[object], str],
) -> list[str] | None:
    """Return a hash of the field of each item; None where the task has no such field.

    `ConfigError` where the field was named by the user.
    """
    field = field_of(task, groups)
    if field is None:
        return None
    known = [document for document in documents if isinstance(document, Mapping)]
    if len(known) == len(documents) and all(field in document for document in known):
        return [to_hash(document[field]) for document in known]
    if task in groups:
        fields = sorted({str(name) for document in known for name in document})
        raise ConfigError(
            f"{KEY}.{task}={field!r}: expected a field of every item of the task: "
            f"{', '.join(fields) or 'they have none'}. Name one of these, or null."
        )
    return None  # another version of the task than FIELDS is of
