"""Text datasets of the Hugging Face hub: named files of one repository at one revision.

Naming files instead of a configuration is what keeps a draw reproducible: configurations come and
go (the C4 loaders of the first papers ask for one that is gone), the files of a commit do not
change. Repositories are never executed: data files are fetched, and read like any local file.
"""

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.files import (
    EXTENSIONS,
    content_hash,
    fingerprint_files,
    read_documents,
    reader_of,
)
from calib_sweep.errors import FETCH, ConfigError, UnavailableError, require
from calib_sweep.values import is_int

log = logging.getLogger(__name__)

SHARD = re.compile(r"(.*)[-.](\d{5})-of-(\d{5})")
# Patterns that name some shards on purpose: train-0000*-of-00041, train-00000-of-05534-*.
PART_OF_SHARDS = re.compile(r"\d\*|\*\d|[?\[]|\d{5}-of-\d{5}")


@dataclass(frozen=True, kw_only=True)
class HubText(TextDataset):
    """Documents of a hub repository, or of a local copy of it with the same file layout."""

    name: str  # label in records and tables; also names the random streams of the draw
    hub_id: str  # owner/name of the dataset repository
    revision: str | None  # commit; null: whatever the hub serves today
    data_files: list[str]  # paths in the repository, patterns allowed
    num_documents: int | None  # the first so many documents; null: all
    column: str  # which column holds the text
    join: str  # what stands between documents where they are read as one evaluation text
    license: str | None
    path: str | None  # folder with a copy of the repository; null: the hub and its local cache

    def __post_init__(self) -> None:
        for field, example in (("name", "c4"), ("hub_id", "allenai/c4"), ("column", "text")):
            value = getattr(self, field)
            require(
                isinstance(value, str) and value != "",
                f"dataset.{field}",
                value,
                "a non-empty string",
                f"Example: dataset.{field}={example}.",
            )
        files = self.data_files
        require(
            not isinstance(files, str)
            and len(files) > 0
            and all(isinstance(f, str) for f in files),
            "dataset.data_files",
            files,
            "a list of file names or patterns",
            "Example: 'dataset.data_files=[en/part-0.json.gz]'.",
        )
        num = self.num_documents
        require(
            num is None or (is_int(num) and num > 0),
            "dataset.num_documents",
            num,
            "an integer > 0, or null for all",
            "Example: dataset.num_documents=1100.",
        )
        for pattern in files:
            require(
                reader_of(Path(pattern)) not in (None, "text"),
                "dataset.data_files",
                pattern,
                f"names that end in one of {EXTENSIONS.removesuffix(', .txt')}",
                "Name other files, or convert these.",
            )

    def prefetch(self) -> None:
        """Download what is not in the local cache yet, and prove that it can be read."""
        self.documents()

    def documents(self) -> Documents:
        """All documents, in the order of file names and rows."""
        root = self._root()
        cache_dir = None
        if self.path is None:  # shared with everybody who uses the hub's files on this machine
            from datasets import config

            cache_dir = str(config.HF_DATASETS_CACHE)
        every = read_documents(root, self._files(root), self.column, cache_dir=cache_dir)
        num = len(every) if self.num_documents is None else self.num_documents
        return replace(every, num_documents=min(num, len(every)))

    def provenance(self) -> dict[str, object]:
        """Return where the text is from, for the card of every set."""
        root = self._root()
        return {
            "source": self.hub_id,
            "revision": self.revision,
            "commit": root.name if self.path is None else None,
            "copy": self.path,
            "files": [file.relative_to(root).as_posix() for file in self._files(root)],
            "num_documents": self.num_documents,
            "column": self.column,
            "license": self.license,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str | None:
        """Content hash of a local copy. None for hub data: there the settings name it."""
        if self.path is None:
            return None
        root = self._root()
        return fingerprint_files(root, self._files(root))

    def sources(self) -> dict[str, str]:
        """Each file: of a local copy by its content, of the hub by its address."""
        if self.path is None:
            prefix = f"{self.hub_id}@{self.revision}"
            return {f"{prefix}/{file}": f"{prefix}/{file}" for file in self.data_files}
        return {str(file): content_hash(file) for file in self._files(self._root())}

    def _root(self) -> Path:
        """The folder that holds the repository's files; downloads them when they are missing."""
        if self.path is None:
            return self._snapshot()
        root = Path(self.path).expanduser()
        if not root.is_dir():
            raise ConfigError(
                f"dataset.path={self.path!r}: expected a folder with a copy of {self.hub_id}. "
                "Correct the path, or type dataset.path=null to use the hub."
            )
        return root

    def _snapshot(self) -> Path:
        """The hub cache's folder of this revision."""
        from huggingface_hub import HfApi, snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        # The bases of the hub's own error: OSError, and the HTTP library's, whichever it uses.
        kinds = HfHubHTTPError.__mro__
        unreachable = tuple(k for k in kinds if issubclass(k, Exception) and k is not Exception)
        try:
            return Path(self._from_cache())
        except (LocalEntryNotFoundError, ConfigError):
            log.info("fetching %s of %s", ", ".join(self.data_files), self.hub_id)
        try:
            # One question first: without a connection the download would try for half a minute.
            HfApi().repo_info(self.hub_id, repo_type="dataset", revision=self.revision, timeout=10)
            folder = snapshot_download(
                self.hub_id,
                repo_type="dataset",
                revision=self.revision,
                allow_patterns=list(self.data_files),
            )
        except unreachable as error:
            # No answer: a note in a check. An answer, such as "no such repository": an error.
            answered = getattr(error, "response", None) is not None
            raise (ConfigError if answered else UnavailableError)(
                f"dataset={self.name}: expected {self.hub_id} in the local cache, but it is not "
                f"there and the hub does not serve it ({type(error).__name__}). {FETCH} Or set "
                "dataset.path to a copy of the repository."
            ) from error
        return Path(folder)

    def _from_cache(self) -> str:
        """The cached snapshot, without a look at the hub; incomplete ones raise."""
        from huggingface_hub import snapshot_download

        folder = snapshot_download(
            self.hub_id,
            repo_type="dataset",
            revision=self.revision,
            allow_patterns=list(self.data_files),
            local_files_only=True,
        )
        self._files(Path(folder))
        return folder

    def _files(self, root: Path) -> list[Path]:
        """The files that `data_files` names, sorted, all of them."""
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
