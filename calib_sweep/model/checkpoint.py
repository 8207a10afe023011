"""A checkpoint folder on this machine: is it complete, is it safe to read, what is in it."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from calib_sweep.errors import ConfigError, UnavailableError, require
from calib_sweep.model.weight_files import INDEX, WHOLE, some

HASHED_BYTES = 2**20  # of each end of a weight file; the rest is taken on trust for speed
HASHED_SUFFIXES = (".json", ".model", ".txt", ".py", ".jinja")
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
TOKENIZER_PREFIXES = ("tokenizer", "vocab", "spiece")
SENTENCEPIECE_FILES = ("tokenizer.model", "spiece.model", "sentencepiece.bpe.model")
TOKENIZER_SETTINGS = ("tokenizer_config.json", "tokenizer.json")
SETTINGS = ("config.json", "generation_config.json", *TOKENIZER_SETTINGS)
ADAPTERS = ("adapter_config.json", "adapter_model.safetensors")

CONVERT = (
    "Pickles can run code of their author and are not read. If you trust the file, convert it "
    "once: AutoModelForCausalLM.from_pretrained(OLD, use_safetensors=False).save_pretrained(NEW). "
    "Save the tokenizer there too, then type model.path=NEW."
)


def check_folder(path: str, folder: Path) -> None:
    """Raise `ConfigError` unless `folder`, typed as `path`, holds a model's configuration.

    Weights may be missing, as in a plan for another machine; pickles in their place may not.
    """
    require(folder.is_dir(), "model.path", path, "a folder with a model", _what_is_there(folder))
    names = sorted(file.name for file in folder.iterdir())
    adapters = [name for name in ADAPTERS if name in names]
    require(
        not adapters or WHOLE in names or INDEX in names,
        "model.path",
        path,
        f"a whole model, but {folder} holds adapters without one ({some(adapters)})",
        "Merge them once: PeftModel.from_pretrained(BASE, ADAPTERS).merge_and_unload()"
        ".save_pretrained(NEW). Save the tokenizer there too, then type model.path=NEW.",
    )
    require(
        "config.json" in names,
        "model.path",
        path,
        "a model in the Hugging Face layout, with a config.json",
        f"{folder} holds {some(names)}.",
    )
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    require(
        _has_weights(folder) or not pickles,
        "model.path",
        path,
        f"weights in *.safetensors, but found {folder / pickles[0] if pickles else ''}",
        CONVERT,
    )


def _has_weights(folder: Path) -> bool:
    return any(file.name.endswith(".safetensors") for file in folder.iterdir())


def check_weights(path: str, folder: Path) -> None:
    """Raise `UnavailableError` where there are no weights: a run needs them, a check does not."""
    if not _has_weights(folder):
        raise UnavailableError(
            f"model.path={path!r}: expected weights in *.safetensors, but there are no weights in "
            f"{folder}. Save or download them into this folder."
        )


def check_tokenizer(path: str, folder: Path) -> None:
    """Raise `ConfigError` unless `folder` holds a tokenizer that can be read here.

    Where there are no weights either, it is merely not here: an `UnavailableError`.
    """
    names = sorted(file.name for file in folder.iterdir())
    if not any(name.startswith(TOKENIZER_PREFIXES) for name in names):
        raise (ConfigError if _has_weights(folder) else UnavailableError)(
            f"model.path={path!r}: expected a tokenizer beside the model, such as tokenizer.json, "
            f"but {folder} holds {some(names)}. Save the model's tokenizer into it."
        )
    damage = damaged_settings(folder, TOKENIZER_SETTINGS)
    require(damage is None, "model.path", path, f"a tokenizer, but {damage}", "Copy it again.")
    pieces = [name for name in SENTENCEPIECE_FILES if name in names]
    require(
        not pieces or "tokenizer.json" in names or find_spec("sentencepiece") is not None,
        "model.path",
        path,
        f"a tokenizer that this environment can read, but {some(pieces)} needs sentencepiece",
        "Run pip install sentencepiece.",
    )


def damaged_settings(folder: Path, names: Sequence[str] = SETTINGS) -> str | None:
    """Name the small files that a reader needs and that are no JSON objects, and say why."""
    for name in names:
        if (folder / name).is_file():
            try:
                found = json.loads((folder / name).read_bytes())
            except ValueError as error:
                return f"{name} is not JSON ({error})"
            if not isinstance(found, dict):
                return f"{name} holds a {type(found).__name__}, not an object"
    return None


def fingerprint(folder: Path) -> str:
    """Short hash of a checkpoint: settings and tokenizer whole, of weight files size and ends."""
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix == ".safetensors" or path.suffix in HASHED_SUFFIXES:
            digest.update(f"{path.name}\x1f{path.stat().st_size}\x1f".encode())
            for chunk in _ends(path) if path.suffix == ".safetensors" else [path.read_bytes()]:
                digest.update(chunk)
    return digest.hexdigest()[:16]


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
