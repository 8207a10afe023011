"""The border to task definitions: what surrounds the code of other people, what it raises."""

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from calib_sweep import hub
from calib_sweep.errors import FETCH, ConfigError, UnavailableError
from calib_sweep.evaluation.tasks.settings import KEY, ZeroShot
from calib_sweep.model.hub import hub_answers
from calib_sweep.quiet import no_progress_bars, offline_hub, quiet_logger
from calib_sweep.seeding import constant_global_seeds

if TYPE_CHECKING:
    from calib_sweep.evaluation.harness import Spec


@contextlib.contextmanager
def loading(settings: ZeroShot) -> Iterator[None]:
    """Load tasks within: quietly, by one global seed, from the cache if the hub does not answer."""
    with (
        constant_global_seeds(),
        templates_of_tasks(settings),
        quiet_logger("lm_eval.api.task"),
        quiet_logger("datasets"),
        _hub(settings),
        no_progress_bars(),
    ):
        yield


def templates_of_tasks(settings: ZeroShot) -> contextlib.AbstractContextManager[None]:
    """Have templates of the user's own tasks rendered where they cannot reach into Python."""
    from calib_sweep.evaluation.harness import templates

    return templates(are_trusted=settings.trust_task_code or not settings.own_tasks())


@contextlib.contextmanager
def explained(name: str, spec: "Spec") -> Iterator[None]:
    """Raise `ConfigError` for whatever the definition of a task raises."""
    where = f"{KEY}.tasks={name!r}: expected a task that lm-eval can build"
    try:
        yield
    except ConfigError:
        raise
    except OSError as error:
        is_refused = hub.is_refused(error)
        remedy = "If it is private or gated, log in with hf auth login." if is_refused else FETCH
        raise (ConfigError if is_refused else UnavailableError)(
            f"{where}, but its items are not on this machine and cannot be fetched "
            f"({_first_line(error)}). {remedy}"
        ) from error
    except Exception as error:
        missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
        remedy = f"Type pip install {missing}." if missing else f"See {spec}."
        raise ConfigError(f"{where}, but it fails: {_first_line(error)}. {remedy}") from error


def _hub(settings: ZeroShot) -> contextlib.AbstractContextManager[None]:
    """If the hub does not answer, have items read from the cache at once, or not at all."""
    fetched = (definition.is_fetched for definition in settings.definitions.values())
    return offline_hub() if any(fetched) and not hub_answers() else contextlib.nullcontext()


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
