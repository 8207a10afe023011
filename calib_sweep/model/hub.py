"""The hub of models: whether it answers, and all that is fetched from it of one."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

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


def note_commit(model: "PreTrainedModel", path: str, revision: str | None) -> None:
    """Keep the commit of the files that `model` was read from: transformers does no longer."""
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(path, CONFIG, revision=revision)
    setattr(model.config, COMMIT, Path(found).parent.name if isinstance(found, str) else None)


def commit_of(model: "PreTrainedModel") -> str | None:
    """Return the commit on the hub that `model` was read at; None for a local one."""
    return getattr(model.config, COMMIT, None)
