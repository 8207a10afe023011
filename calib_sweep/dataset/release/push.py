"""Bring a released folder to the hub, as a dataset repository."""

import re
from pathlib import Path

from calib_sweep.errors import ConfigError
from calib_sweep.hub import hub_errors, status_of

NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
UNAUTHORISED, FORBIDDEN = 401, 403


def check_name(verb: str, option: str, repository: str) -> None:
    """Raise unless `repository` can name one on the hub."""
    if not NAME.fullmatch(repository):
        raise ConfigError(
            f"{verb} {option} {repository}: expected the owner and the name of a dataset on the "
            f"hub. Example: {option} me/c4-calibration-sets."
        )


def push(folder: Path, repository: str, *, is_public: bool) -> str:
    """Upload `folder`; return the commit. A repository that is not there yet is made.

    A new one is private unless `is_public`; one that is there stays as it is.
    """
    from huggingface_hub import HfApi

    api = HfApi()
    try:
        api.create_repo(repository, repo_type="dataset", private=not is_public, exist_ok=True)
        done = api.upload_folder(
            repo_id=repository,
            repo_type="dataset",
            folder_path=folder,
            commit_message="Add calibration sets",
        )
    except (*hub_errors(), ValueError, RuntimeError) as error:  # the last: of an upload
        raise ConfigError(
            f"export --push {repository}: expected a hub that takes it ({_reason(error)}). "
            f"{_remedy(error)} {folder} is written; the same command pushes it."
        ) from error
    return str(done.oid)


def _reason(error: Exception) -> str:
    told = next(iter(str(error).strip().splitlines()), "")
    return f"{type(error).__name__}: {told[:200]}"


def _remedy(error: Exception) -> str:
    status = status_of(error)
    if status == UNAUTHORISED:
        return "Type hf auth login."
    if status == FORBIDDEN:
        return "Log in with a token that may write there: hf auth login."
    return "Try again later, or where there is a connection."
