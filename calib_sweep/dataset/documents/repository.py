"""A dataset repository of the hub: some of its files at one revision, from the local cache or the
hub, and why they are not to be had.

Repositories are never executed: files are fetched, and read like any local file.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from calib_sweep.errors import FETCH, ConfigError, UnavailableError
from calib_sweep.hub import hub_errors, is_for_now, is_full, no_room, patiently, remedy, status_of
from calib_sweep.places import expanded

log = logging.getLogger(__name__)

SHARD = re.compile(r"(.*)[-.](\d{5})-of-(\d{5})")
# Patterns that name some shards on purpose: train-0000*-of-00041, train-00000-of-05534-*.
PART_OF_SHARDS = re.compile(r"\d\*|\*\d|[?\[]|\d{5}-of-\d{5}")
TIMEOUT_S = 10


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Named files of a repository on the hub, or of a local copy with the same file layout."""

    label: str  # of the dataset, for errors
    hub_id: str  # owner/name
    revision: str | None  # commit, branch or tag; None: whatever the hub serves today
    data_files: Sequence[str]  # paths in the repository, patterns allowed
    path: str | None = None  # folder with a copy; None: the hub and its local cache

    def root(self) -> Path:
        """Return the folder that holds the files; download them when they are missing."""
        if self.path is None:
            return self._snapshot()
        root = expanded(self.path)
        if not root.is_dir():
            raise ConfigError(
                f"dataset.path={self.path!r}: expected a folder with a copy of {self.hub_id}. "
                "Correct the path, or type dataset.path=null to use the hub."
            )
        return root

    def files(self, root: Path) -> list[Path]:
        """Return the files that `data_files` names, sorted, all of them."""
        files: set[Path] = set()
        for pattern in self.data_files:
            found = {file for file in root.glob(pattern) if file.is_file()}
            if not found:
                raise ConfigError(
                    f"dataset.data_files={pattern!r}: expected a file of that name in {root}, but "
                    f"there is none. Compare with the file list of {self.hub_id}."
                )
            if "*" in pattern and not PART_OF_SHARDS.search(pattern):
                _refuse_missing_shards(found, pattern, root)
            files |= found
        return sorted(files)

    def _snapshot(self) -> Path:
        """Return the hub cache's folder of this revision."""
        from huggingface_hub import HfApi
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            folder = self._fetch(local_files_only=True)
            self.files(folder)  # incomplete ones raise
            return folder
        except (LocalEntryNotFoundError, ConfigError):
            pass  # the hub may have them
        try:
            # One question first: without a connection the download would try for half a minute.
            ask = HfApi().repo_info
            ask(self.hub_id, repo_type="dataset", revision=self.revision, timeout=TIMEOUT_S)
            log.info("fetching %s of %s", ", ".join(self.data_files), self.hub_id)
            return patiently(partial(self._fetch, local_files_only=False))
        except hub_errors() as error:
            raise self._explained(error) from error

    def _fetch(self, *, local_files_only: bool) -> Path:
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            self.hub_id,
            repo_type="dataset",
            revision=self.revision,
            allow_patterns=list(self.data_files),
            local_files_only=local_files_only,
        )
        return Path(folder)

    def _explained(self, error: Exception) -> ConfigError:
        """Say what stands between this machine and the files, and what to do about it."""
        if is_full(error):
            return ConfigError(no_room(f"dataset={self.label}", self.hub_id))
        status = status_of(error)
        # No answer, or none now: a note in a check. Such as "no such repository": an error.
        is_note = status is None or is_for_now(error)
        known = remedy(error, "dataset", self.hub_id, self.revision)
        told = FETCH if is_note else known or "See its page on the hub."
        return (UnavailableError if is_note else ConfigError)(
            f"dataset={self.label}: expected {self.hub_id} in the local cache, but it is not "
            f"there and the hub does not serve it ({type(error).__name__}"
            f"{'' if status is None else f', {status}'}). {told} Or set dataset.path to a copy "
            "of the repository."
        )


def _refuse_missing_shards(files: set[Path], pattern: str, root: Path) -> None:
    """A pattern that found 3 of 41 shards would silently be another, smaller pool."""
    shards = [match for file in files if (match := SHARD.match(file.name))]
    groups = {(match[1], int(match[3])) for match in shards}
    for stem, wanted in groups:
        found = {int(match[2]) for match in shards if match[1] == stem}
        if len(found) < wanted:
            raise ConfigError(
                f"dataset.data_files={pattern!r}: expected {wanted} files {stem}-*-of-{wanted:05d} "
                f"in {root}, but {len(found)} are there. Copy the others, or name the files that "
                "you want, as in 'dataset.data_files=[FILE,FILE]'."
            )
