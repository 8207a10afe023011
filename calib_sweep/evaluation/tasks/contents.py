"""What the scores of a task depend on, but the model and who asks it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from calib_sweep.evaluation.parts import identity, settings_of
from calib_sweep.evaluation.tasks.definitions import GENERATED, read_definition
from calib_sweep.evaluation.tasks.zero_shot import PreparedTasks
from calib_sweep.hashing import file_sha256

if TYPE_CHECKING:
    from calib_sweep.evaluation.harness import Instance, Spec

# Settings that are said of each task, or say where tasks are found, or who is to ask.
OF_SEVERAL = ("tasks", "headline", "include_path", "storycloze_path", "num_fewshot", "scorer")
OF_WRITTEN = ("max_gen_toks", "repeats")  # of tasks whose answers are written


def contents(prepared: PreparedTasks) -> dict[str, object]:
    """Return by name the content of each task: how it is defined, what it asks, what counts."""
    from calib_sweep.evaluation.harness import VERSION

    settings = prepared.settings
    of_written = settings_of(settings, without=OF_SEVERAL)
    of_all = {key: value for key, value in of_written.items() if key not in OF_WRITTEN}
    return {
        name: {
            "lm_eval": VERSION,
            "version": task.VERSION,
            "definition": definition_of(prepared.specs[name]),
            "headline": settings.headline_of(name),
            "settings": of_written if is_written(task.instances) else of_all,
            "items": prepared.item_hashes[name],
            "groups": prepared.item_groups.get(name),
            "asked": asked_of(task.instances),
        }
        for name, task in prepared.tasks.items()
    }


def definition_of(spec: "Spec") -> str:
    """Hash the definition of a task: its settings with those it includes, and code beside it."""
    changes = {} if isinstance(spec, str) else dict(spec)
    path = spec if isinstance(spec, str) else changes.pop("include", None)
    if path is None:
        return identity(settings=spec)
    definition = read_definition(Path(str(path)))
    code = [file_sha256(file) for file in definition.files() if file.suffix == ".py"]
    return identity(settings={**definition.settings, **changes}, code=code)


def is_written(instances: "Sequence[Instance]") -> bool:
    """Tell whether a task has answers written."""
    return any(one.request_type == GENERATED for one in instances)


def asked_of(instances: "Sequence[Instance]") -> str:
    """Hash what a task asks, in words."""
    return identity(asked=[[one.request_type, one.repeats, one.args] for one in instances])
