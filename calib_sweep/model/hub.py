"""The hub of models: whether it answers, and all that is fetched from it of one."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from calib_sweep.errors import FETCH, ConfigError, UnavailableError
from calib_sweep.hub import is_for_now, is_full, no_room, remedy
from calib_sweep.model.checkpoint import CONVERT
from calib_sweep.model.weight_files import missing_weights, some

if TYPE_CHECKING:
    from transformers import PreTrainedModel

HUB_TIMEOUT_S = 10
CONFIG = "config.json"
COMMIT = "_commit_hash"  # of a configuration; transformers does not save it


def complete_snapshot(
    path: str,
    *,
    trust_remote_code: bool,
    revision: str | None = None,
    local_files_only: bool = False,
) -> Path:
    """The hub's files of a model; `OSError` where weights are missing.

    The hub's client calls a snapshot complete in which only the configuration was ever fetched.
    """
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    wanted += ["*.py"] if trust_remote_code else []
    folder = Path(
        snapshot_download(
            path,
            allow_patterns=wanted,
            revision=revision,
            local_files_only=local_files_only,
        )
    )
    if missing := missing_weights(folder):
        raise OSError(f"weights in safetensors are missing: {some(missing)}")
    return folder


@cache
def hub_answers() -> bool:
    """Tell whether the hub can be reached, asked once per process: its client retries for long."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        urlopen(Request(constants.ENDPOINT, method="HEAD"), timeout=HUB_TIMEOUT_S).close()
    except HTTPError:
        return True  # refused, but there
    except OSError:
        return False
    return True


def refusal(
    path: str, revision: str | None, reason: str, error: Exception, *, is_there: bool
) -> ConfigError:
    """Say why a model is not to be had from the hub, and what to do; `is_there`: it answers."""
    where = f"model.path={path!r}"
    if is_full(error):
        return ConfigError(no_room(where, path))
    if not is_there or is_for_now(error):
        return UnavailableError(
            f"{where}: expected a folder, or a hub model that is on this machine or can be "
            f"downloaded, but the hub does not answer ({reason}). {FETCH}"
        )
    told = remedy(error, "model", path, revision)
    if told is None:
        told = CONVERT if "safetensors" in reason else "See its page on the hub."
    return ConfigError(f"{where}: expected a readable model, but: {reason}. {told}")


def note_commit(model: "PreTrainedModel", path: str, revision: str | None) -> None:
    """Keep the commit of the files that `model` was read from: transformers does no longer."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(path, CONFIG, revision=revision)
    setattr(model.config, COMMIT, Path(found).parent.name if isinstance(found, str) else None)


def commit_of(model: "PreTrainedModel") -> str | None:
    """Return the commit on the hub that `model` was read at; None for a local one."""
    return getattr(model.config, COMMIT, None)
