"""A checkpoint folder on this machine: is it complete, is it safe to read, what is in it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from calib_sweep.errors import require

HASHED_BYTES = 2**20  # of each end of a weight file; the rest is taken on trust for speed
HASHED_SUFFIXES = (".json", ".model", ".txt", ".py", ".jinja")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
TOKENIZER_PREFIXES = ("tokenizer", "vocab", "spiece")

CONVERT = (
    "Pickles can run code of their author and are not read. If you trust the file, convert it "
    "once, AutoModelForCausalLM.from_pretrained(old, use_safetensors=False).save_pretrained(new), "
    "save the tokenizer beside it, and set model.path to the new folder."
)


def check_folder(path: str, folder: Path) -> None:
    """Raise `ConfigError` unless `folder`, typed as `path`, holds a model in safetensors."""
    require(folder.is_dir(), "model.path", path, "a folder with a model", _what_is_there(folder))
    names = sorted(file.name for file in folder.iterdir())
    require(
        "config.json" in names,
        "model.path",
        path,
        "a model in the Hugging Face layout, with a config.json",
        f"{folder} holds {some(names)}.",
    )
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    found = str(folder / pickles[0]) if pickles else f"no weights in {folder}"
    require(
        any(name.endswith(".safetensors") for name in names),
        "model.path",
        path,
        f"weights in *.safetensors, but found {found}",
        CONVERT if pickles else "Save or download the weights into this folder.",
    )


def check_tokenizer(path: str, folder: Path) -> None:
    names = sorted(file.name for file in folder.iterdir())
    require(
        any(name.startswith(TOKENIZER_PREFIXES) for name in names),
        "model.path",
        path,
        "a tokenizer beside the model, such as tokenizer.json",
        f"{folder} holds {some(names)}. Save the model's tokenizer into it.",
    )


def missing_weights(folder: Path) -> list[str]:
    """Files of weights that a checkpoint names and lacks: one file, or those of its index."""
    whole, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if whole.is_file() or not index.is_file():
        return [] if whole.is_file() else [whole.name]
    shards = json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()
    return sorted({name for name in shards if not (folder / name).is_file()})


def fingerprint(folder: Path) -> str:
    """Short hash of a checkpoint: settings and tokenizer whole, of weight files size and ends."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.suffix in HASHED_SUFFIXES:
            digest.update(f"{path.name}\x1f{path.stat().st_size}\x1f".encode())
            for chunk in _ends(path) if path.suffix == ".safetensors" else [path.read_bytes()]:
                digest.update(chunk)
    return digest.hexdigest()[:16]


def some(names: Sequence[str], most: int = 8) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) or "nothing") + more


def _ends(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield file.read(HASHED_BYTES)
        file.seek(max(path.stat().st_size - HASHED_BYTES, 0))
        yield file.read(HASHED_BYTES)


def _what_is_there(folder: Path) -> str:
    if folder.exists():
        return f"{folder} is a file; set model.path to the folder it lies in."
    parent = next(parent for parent in folder.absolute().parents if parent.is_dir())
    return f"It does not exist; {parent} holds {some(sorted(p.name for p in parent.iterdir()))}."
