"""Text of your own: any file, folder or pattern of .txt, .jsonl, .json, .parquet files."""

import hashlib
from dataclasses import dataclass, replace

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.documents.documents import Documents
from calib_sweep.dataset.documents.files import (
    content_hash,
    find_files,
    fingerprint_files,
    read_documents,
    reader_of,
)
from calib_sweep.dataset.documents.rows import Where, check_where, named
from calib_sweep.errors import ConfigError, require
from calib_sweep.settings import stem_of
from calib_sweep.wording import counted


@dataclass(frozen=True, kw_only=True)
class TextFiles(TextDataset):
    """Documents in local files. Their contents and order, not their names, decide what is drawn."""

    name: str  # label in records and tables; None: the name of the file or folder
    path: str  # file, folder (all files below it) or pattern
    column: str  # which column of record files holds the text
    separator: str | None  # what stands between documents of a .txt; null: a file is a document
    join: str  # what stands between documents where they are read as one evaluation text
    license: str | None
    where: Where | None = None  # the values that columns of record files must have; None: any

    def __post_init__(self) -> None:
        if self.name is None and isinstance(self.path, str):  # everybody asks a dataset for a name
            object.__setattr__(self, "name", stem_of(self.path) or "text")
        for field, example in (("name", "mine"), ("path", "texts/"), ("column", "text")):
            value = getattr(self, field)
            require(
                isinstance(value, str) and value != "",
                f"dataset.{field}",
                value,
                "a non-empty string",
                f"Example: dataset.{field}={example}.",
            )
        require(
            self.separator is None or (isinstance(self.separator, str) and self.separator != ""),
            "dataset.separator",
            self.separator,
            "a non-empty string that stands between documents, or null",
            r"""Example: 'dataset.separator="\n\n"' for blank lines; null: a file is a document.""",
        )

        check_where(self.where)

    def documents(self) -> Documents:
        """All documents, in the order of file names and lines."""
        root, files = find_files(self.path)
        # A command line hands on backslash and n as they are typed.
        separator = self.separator and self.separator.replace("\\n", "\n").replace("\\t", "\t")
        documents = read_documents(root, files, self.column, separator=separator, where=self.where)
        if not any(documents[:100]) and not any(documents[:]):
            raise ConfigError(
                f"dataset.path={self.path!r}: expected text, but there is none in "
                f"{counted(len(files), 'file')}. Name files that hold text."
            )
        return replace(documents, key=str)  # their names hang on those of the files

    def provenance(self) -> dict[str, object]:
        """Return where the text is from, for the card of every set."""
        root, files = find_files(self.path)
        return {
            "source": self.path,
            "files": [file.relative_to(root).as_posix() for file in files],
            "column": self.column,
            "where": self.where,
            "license": self.license,
            "fingerprint": fingerprint_files(root, files),
        }

    def fingerprint(self) -> str:
        """Content hash of the files and their names."""
        return fingerprint_files(*find_files(self.path))

    def draw_name(self) -> str:
        """Hash the contents of the files in order, and what parts them into documents."""
        _, files = find_files(self.path)
        is_plain = {reader_of(file) for file in files} == {"text"}
        parts = self.separator if is_plain else [self.column, *named(self.where)]
        content = "\x1f".join([*map(content_hash, files), repr(parts)])
        return hashlib.sha256(content.encode()).hexdigest()

    def sources(self) -> dict[str, str]:
        """Each file by its content."""
        _, files = find_files(self.path)
        return {str(file): content_hash(file) for file in files}
