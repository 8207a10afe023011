"""A tiny LLaMA on disk, and a copy of it to damage."""

import shutil
from pathlib import Path

import pytest
from helpers.fakes import save_tiny


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a tiny LLaMA with its tokenizer; return the folder, which stays as it is."""
    return save_tiny("llama", tmp_path_factory.mktemp("models") / "llama")


@pytest.fixture
def damaged(llama: Path, tmp_path: Path) -> Path:
    """Copy it to be damaged."""
    return Path(shutil.copytree(llama, tmp_path / "damaged"))
