"""Text datasets of the Hugging Face hub: named files of one repository at one revision.

Naming files instead of a configuration is what keeps a draw reproducible: configurations come and
go (the C4 loaders of the first papers ask for one that is gone), the files of a commit do not
change. Repositories are never executed: data files are fetched, and read like any local file.
"""

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
from calib_sweep.dataset.documents.repository import Repository
from calib_sweep.dataset.documents.rows import Where, check_where, named
from calib_sweep.errors import require
from calib_sweep.values import is_int


@dataclass(frozen=True, kw_only=True)
class HubText(TextDataset):
    """Documents of a hub repository, or of a local copy of it with the same file layout."""

    name: str  # label in records and tables
    hub_id: str  # owner/name of the dataset repository
    revision: str | None  # commit; null: whatever the hub serves today
    data_files: list[str]  # paths in the repository, patterns allowed
    num_documents: int | None  # the first so many documents; null: all
    column: str  # which column holds the text
    join: str  # what stands between documents where they are read as one evaluation text
    license: str | None
    path: str | None  # folder with a copy of the repository; null: the hub and its local cache
    where: Where | None = None  # the values that columns must have; None: any

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

        check_where(self.where)

    def prefetch(self) -> None:
        """Download what is not in the local cache yet, and prove that it can be read."""
        self.documents()

    def documents(self) -> Documents:
        """All documents, in the order of file names and rows."""
        root = self._root()
        cache_dir = content = None
        if self.path is None:  # shared with everybody who uses the hub's files on this machine
            from datasets import config

            cache_dir, content = str(config.HF_DATASETS_CACHE), f"{self.hub_id}@{root.name}"
        files = self._files(root)
        every = read_documents(
            root, files, self.column, where=self.where, cache_dir=cache_dir, content=content
        )
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
            "where": self.where,
            "license": self.license,
            "fingerprint": self.fingerprint(),
        }

    def fingerprint(self) -> str | None:
        """Content hash of a local copy. None for hub data: there the settings name it."""
        if self.path is None:
            return None
        root = self._root()
        return fingerprint_files(root, self._files(root))

    def draw_name(self) -> str:
        """Return the repository and the files in it: a local copy is drawn from as the hub is."""
        root = self._root()
        files = [file.relative_to(root).as_posix() for file in self._files(root)]
        return "\x1f".join([self.hub_id, *files, self.column, *named(self.where)])

    def sources(self) -> dict[str, str]:
        """Each file: of a local copy by its content, of the hub by its address."""
        if self.path is None:
            prefix = f"{self.hub_id}@{self.revision}"
            return {f"{prefix}/{file}": f"{prefix}/{file}" for file in self.data_files}
        return {str(file): content_hash(file) for file in self._files(self._root())}

    def _root(self) -> Path:
        """The folder that holds the repository's files; downloads them when they are missing."""
        return self._repository().root()

    def _files(self, root: Path) -> list[Path]:
        """The files that `data_files` names, sorted, all of them."""
        return self._repository().files(root)

    def _repository(self) -> Repository:
        return Repository(
            label=self.name,
            hub_id=self.hub_id,
            revision=self.revision,
            data_files=self.data_files,
            path=self.path,
        )
