"""llm-compressor: a recipe of that library, run by its own `oneshot` on the calibration set.

    twin = a copy of the model;   oneshot(twin, recipe, samples)
    W'   = the library's own rounding of the twin's weight, where the recipe rounds it
         = the twin's weight, everywhere else
    q(x) = the library's own rounding of a layer's input, where the recipe rounds it

The library keeps weights unrounded and rounds them at every call. Here they are rounded once, by
the same function and to the same dtype, so that the model computes what the twin computes.

Recipes are theirs (https://github.com/vllm-project/llm-compressor): a YAML file, or a mapping of
modifiers to settings. What a recipe draws, rotations say, it draws by global generators: they have
one constant seed.

Shapes: O = out_features, I = in_features.
"""

import contextlib
import hashlib
import importlib.metadata
import importlib.util
import io
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast, final

import torch
import yaml
from torch import Tensor

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.method.quantized_twin import library, taken_from
from calib_sweep.method.settings import check_flag
from calib_sweep.method.whole_model import CompressedModel, Handed, ToolError, WholeModelMethod
from calib_sweep.places import expanded
from calib_sweep.seeding import global_seeds_of, stream

logger = logging.getLogger(__name__)

PACKAGE = "llmcompressor"
PIPELINES = ("independent", "sequential", "basic", "datafree")
KNOWN = ("get_main_device",)  # says in every cell that a CPU is no GPU
EXAMPLE = "'method.recipe={GPTQModifier: {scheme: W4A16, targets: [Linear], ignore: [lm_head]}}'"


@final
@dataclass(frozen=True, kw_only=True)
class LLMCompressor(WholeModelMethod):
    recipe: str | Mapping[str, Any]  # a file, or modifiers by name with their settings
    pipeline: str  # how its calibration walks: independent, sequential, basic, datafree
    data: bool  # whether the recipe gets the calibration set; false: one cell for all seeds

    must_change: ClassVar[bool] = True  # targets that match no layer are passed over in silence

    def __post_init__(self) -> None:
        with collected() as problems:
            problems.of(self.stages)
            problems.of(
                require,
                self.pipeline in PIPELINES,
                "method.pipeline",
                self.pipeline,
                f"one of {', '.join(PIPELINES)}",
                "Example: method.pipeline=independent, the library's own choice.",
            )
            remedy = "Example: method.data=false, for a recipe that rounds to nearest."
            problems.of(check_flag, "method.data", self.data, remedy)

    @classmethod
    def reads_data(cls, settings: Mapping[str, object]) -> bool:
        return settings.get("data") is not False

    @property
    def needs_data(self) -> bool:
        return self.data

    def fingerprint(self) -> str | None:
        """Hash the recipe's content and the version that reads it."""
        text = f"{_version()}\n{yaml.safe_dump(self.stages())}"
        return hashlib.sha256(text.encode()).hexdigest()

    def stages(self) -> Mapping[str, Any]:
        """Return the recipe as the library writes it: stage, group, modifier, settings."""
        found: object = self.recipe
        if isinstance(found, str):
            found = _read(expanded(found))
        is_recipe = isinstance(found, Mapping) and bool(cast(Mapping[str, Any], found))
        expected = "a recipe of llm-compressor: a YAML file, or modifiers with their settings"
        require(is_recipe, "method.recipe", self.recipe, expected, f"Example: {EXAMPLE}.")
        recipe = cast(Mapping[str, Any], found)
        if all(key.endswith("_stage") or key == "args" for key in recipe):
            return recipe
        return {"default_stage": {"default_modifiers": dict(recipe)}}

    def check_machine(self) -> None:
        require(
            importlib.util.find_spec(PACKAGE) is not None,
            "method",
            "llm_compressor",
            f"the library {PACKAGE}, which is not installed",
            "It needs an environment of its own, as its versions exclude others: "
            "docs/methods/tools.md says which. Or leave the method out.",
        )
        with _quiet():
            try:
                self._parsed()
            except Exception as error:  # the library's, of many kinds
                reason = " ".join(str(error).split())[:400]
                raise ConfigError(
                    f"method.recipe={self.recipe!r}: expected a recipe that {PACKAGE} "
                    f"{_version()} reads, but: {reason}. Example: {EXAMPLE}."
                ) from error

    def check_shape(self, name: str, num_out: int, num_in: int) -> None:
        require(
            "experts" not in name.split("."),
            "method",
            "llm_compressor",
            f"a model without experts, but {name} belongs to one: {PACKAGE} takes experts apart",
            "Choose another model. A command of yours can do it: method=external.",
        )

    def compress_model(self, handed: Handed) -> CompressedModel:
        twin = handed.private_copy()
        logger.info("llm-compressor %s, recipe %s", _version(), dict(self.stages()))
        draws = stream("method/llm_compressor")
        with _quiet(), global_seeds_of(draws, _device()), torch.enable_grad():
            try:
                self._oneshot(twin, handed)
            except Exception as error:  # the library's, of many kinds
                raise ToolError(f"llm-compressor: {type(error).__name__}: {error}") from error
        return taken_from(twin)

    def _oneshot(self, twin: Any, handed: Handed) -> None:
        samples = [{"input_ids": row_T.unsqueeze(0)} for row_T in handed.samples]
        for sample in samples:
            sample["attention_mask"] = torch.ones_like(sample["input_ids"])
        with _named_by_a_folder(twin) as model:
            library("llmcompressor.entrypoints.oneshot").oneshot(
                model=model,
                tokenizer=handed.tokenizer,
                recipe=self._parsed(),
                dataset=_loader(samples) if self.data else None,
                pipeline=self.pipeline,
            )

    def _parsed(self) -> Any:
        recipe = library("llmcompressor.recipe").Recipe
        return recipe.create_instance(yaml.safe_dump(self.stages()))


def _loader(samples: Sequence[Mapping[str, Tensor]]) -> Any:
    """Hand out one sample at a time, in order: of any length, and none padded."""
    rows: Any = list(samples)
    loader = library("torch.utils.data").DataLoader
    return loader(rows, batch_size=1, shuffle=False, collate_fn=_only)


def _only(batch: Sequence[Mapping[str, Tensor]]) -> Mapping[str, Tensor]:
    (sample,) = batch
    return sample


@contextmanager
def _named_by_a_folder(twin: Any) -> Generator[Any]:
    """Let the model's name be a folder with its settings: the library looks there, not on a hub."""
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="calib_sweep-llm_compressor-") as folder:
        twin.config.save_pretrained(folder)
        twin.config._name_or_path = twin.name_or_path = folder
        yield twin


@contextmanager
def _quiet() -> Generator[None]:
    """Send what the library says into our log: warnings, and no bars."""
    with contextlib.redirect_stdout(io.StringIO()):  # it talks while it is imported, too
        theirs = library("llmcompressor.logger").logger

    def pass_on(line: str) -> None:
        logger.warning("llm-compressor: %s", line.strip())

    def is_told(record: Mapping[str, Any]) -> bool:
        return record["level"].name != "METRIC" and record["function"] not in KNOWN

    theirs.remove()
    handler = theirs.add(pass_on, level="WARNING", format="{message}", filter=is_told)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # bars
            yield
    finally:
        theirs.remove(handler)


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _version() -> str | None:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return None


def _read(file: Path) -> object:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"method.recipe={str(file)!r}: expected a YAML file that can be read, but: {reason}. "
            f"Correct its path, or give a mapping. Example: {EXAMPLE}."
        ) from None
