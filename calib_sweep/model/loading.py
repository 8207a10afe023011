"""Models and tokenizers in the Hugging Face layout, from a folder or from the hub.

Building a `HubModel` touches neither disk nor network; its methods do. Weights are read from
safetensors only: a pickle can run code of its author. Nothing heavy is imported at the top, so that
composing and checking settings stays fast.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from safetensors import SafetensorError

from calib_sweep.errors import ConfigError, UnavailableError, collected, require
from calib_sweep.miniature import WEIGHTS
from calib_sweep.model.checkpoint import (
    CONVERT,
    check_folder,
    check_tokenizer,
    fingerprint,
    missing_weights,
    some,
)

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.method.grid import GridFormat

DTYPES = ("float32", "float16", "bfloat16")
MINIATURE = "miniature"  # the word that stands for the model shipped with the package
HUB_TIMEOUT_S = 10


@dataclass(frozen=True, kw_only=True)
class HubModel:
    """A causal language model and its tokenizer."""

    name: str | None  # label in records and tables; null: the last part of path
    path: str  # folder, hub id such as facebook/opt-125m, or the word miniature
    revision: str | None  # branch, tag or commit on the hub; null: the default branch
    dtype: str  # float32, float16 or bfloat16
    device: str  # auto (a GPU if there is one), cpu, cuda or cuda:1
    offload: str | None  # blocks: decoder blocks wait in host memory; null: all on the device
    trust_remote_code: bool  # whether code that comes with the model may run

    def __post_init__(self) -> None:
        checks = (self._check_path, self._check_dtype, self._check_device, self._check_offload)
        with collected() as problems:
            for check in (*checks, self._check_trust):
                problems.of(check)

    def load(self) -> "PreTrainedModel":
        """The model with its weights: in eval mode, without gradients, on its device."""
        import torch
        from transformers import AutoModelForCausalLM

        from calib_sweep.model.packing import reading_settings
        from calib_sweep.model.placement import named_device, place

        self.check_files()
        settings = reading_settings(self.path, self.load_config())
        device = named_device(self.device)
        offloads = self.offload is not None and device.type != "cpu"
        with quiet():
            model, info = self._read(
                AutoModelForCausalLM.from_pretrained,
                dtype=getattr(torch, self.dtype),
                use_safetensors=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # they are reported, and refused below
                device_map=None if device.type == "cpu" or offloads else device,
                **settings,
            )
        self._check_complete(info)
        if offloads:
            place(model, device)
        return model.eval().requires_grad_(False)

    def load_tokenizer(self) -> "PreTrainedTokenizerBase":
        from transformers import AutoTokenizer

        self.check_files()
        folder = self.folder()
        if folder is not None:
            check_tokenizer(self.path, folder)
        return self._read(AutoTokenizer.from_pretrained)

    def load_config(self) -> "PretrainedConfig":
        from transformers import AutoConfig

        self.check_files()
        return self._read(AutoConfig.from_pretrained)

    def context_length(self) -> int | None:
        """Tokens that the model can attend to; None when its configuration sets no limit."""
        text_config = self.load_config().get_text_config(decoder=True)
        return getattr(text_config, "max_position_embeddings", None)

    def linear_shapes(self) -> list[tuple[str, int, int]]:
        """(name, out_features, in_features) of all that is compressed; reads no weights."""
        from calib_sweep.model.blocks import decoder_blocks, linear_layers

        return [
            (f"block {index} {name}", layer.weight_OI().shape[0], layer.weight_OI().shape[1])
            for index, block in enumerate(decoder_blocks(self.skeleton()))
            for name, layer in linear_layers(block).items()
        ]

    def skeleton(self) -> "PreTrainedModel":
        """The model without its weights, all on the device meta."""
        import torch
        from transformers import AutoModelForCausalLM

        config = self.load_config()
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(
                config, trust_remote_code=self.trust_remote_code
            )

    def check_packable(self, form: "GridFormat") -> None:
        """Raise `ConfigError` unless weights on grids of this form can be saved as integers."""
        from calib_sweep.model.packing import check_packable

        check_packable(self.path, self.skeleton(), form)

    def prefetch(self) -> None:
        """Download configuration, tokenizer and safetensors weights, if they are on the hub."""
        if self.folder() is None:
            self._read(_complete_snapshot)

    def fingerprint(self) -> str | None:
        """Hash of a local checkpoint's content; None for the hub, where path and revision tell."""
        self.check_files()
        folder = self.folder()
        return None if folder is None else fingerprint(folder)

    def folder(self) -> Path | None:
        """Where the checkpoint lies on this machine; None when `path` names one on the hub."""
        if self.path == MINIATURE:
            return WEIGHTS
        path = Path(self.path).expanduser()
        return path if self.path.startswith((".", "/", "~")) or path.exists() else None

    def check_files(self) -> None:
        """Raise `ConfigError` unless a local checkpoint is there and readable without pickles."""
        folder = self.folder()
        if folder is not None:
            check_folder(self.path, folder)

    def _read(self, read: Callable[..., Any], **settings: Any) -> Any:
        """Call a `from_pretrained`; what the user can mend is raised as `ConfigError`.

        Of the hub, what is on this machine is read first: no network is needed after a download.
        """
        settings = {"trust_remote_code": self.trust_remote_code, **settings}
        folder = self.folder()
        try:
            if folder is not None:
                return read(str(folder), **settings)
            settings["revision"] = self.revision or "main"
            try:
                return read(self.path, local_files_only=True, **settings)
            except (OSError, ValueError):
                if not hub_answers():
                    raise
            return read(self.path, **settings)
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> ConfigError:
        reason = str(error).strip().split("\n")[0].rstrip(".: ")
        message = f"model.path={self.path!r}: expected a readable model, but: {reason}."
        if isinstance(error, SafetensorError):
            return ConfigError(f"{message} The file is damaged or cut short: copy it again.")
        if self.folder() is not None:
            return ConfigError(message)
        if not hub_answers():
            return UnavailableError(
                f"model.path={self.path!r}: expected a folder, or a hub model that is on this "
                f"machine or can be downloaded; the hub does not answer ({reason}). "
                "Run `python -m calib_sweep prefetch` with the same settings where it does."
            )
        if "safetensors" in reason:
            message = f"{message} {CONVERT}"
        return ConfigError(f"{message} If it is private or gated, log in with `hf auth login`.")

    def _check_complete(self, info: dict[str, Any]) -> None:
        """Weights that the checkpoint lacks would be random numbers."""
        lacking = sorted(info.get("missing_keys", ()))
        lacking += sorted(str(key) for key in info.get("mismatched_keys", ()))
        require(
            not lacking,
            "model.path",
            self.path,
            f"a complete checkpoint, but these weights are missing or misshapen: {some(lacking)}",
            "Download or save the model again.",
        )

    def _check_path(self) -> None:
        require(
            isinstance(self.path, str) and bool(self.path.strip()),
            "model.path",
            self.path,
            "a folder or a hub id",
            "For example model.path=./my-model or model.path=facebook/opt-125m.",
        )

    def _check_dtype(self) -> None:
        require(
            self.dtype in DTYPES,
            "model.dtype",
            self.dtype,
            f"one of {', '.join(DTYPES)}",
            "Published results use model.dtype=float16; on a CPU float32 is faster.",
        )

    def _check_device(self) -> None:
        require(
            isinstance(self.device, str)
            and re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None,
            "model.device",
            self.device,
            "auto, cpu, cuda or cuda:1",
            "Set model.device=auto to use a GPU if there is one.",
        )

    def _check_offload(self) -> None:
        require(
            self.offload in (None, "blocks") and not (self.offload and self.device == "cpu"),
            "model.offload",
            self.offload,
            "null or blocks, and null with model.device=cpu",
            "Set model.offload=blocks for a model larger than the GPU, and null otherwise.",
        )

    def _check_trust(self) -> None:
        require(
            isinstance(self.trust_remote_code, bool),
            "model.trust_remote_code",
            self.trust_remote_code,
            "true or false",
            "Leave it false unless you have read the code that comes with the model.",
        )


def _complete_snapshot(path: str, *, trust_remote_code: bool, **settings: Any) -> Path:
    """The hub's files of a model; `OSError` where weights are missing.

    The hub's client calls a snapshot complete in which only the configuration was ever fetched.
    """
    from huggingface_hub import snapshot_download

    wanted = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    wanted += ["*.py"] if trust_remote_code else []
    folder = Path(snapshot_download(path, allow_patterns=wanted, **settings))
    if missing := missing_weights(folder):
        raise OSError(f"weights in safetensors are missing: {some(missing)}")
    return folder


@cache
def hub_answers() -> bool:
    """Whether the hub can be reached, asked once per process: its client retries for long."""
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


@contextmanager
def quiet() -> Iterator[None]:
    """Without loading bars, which would tear our progress display, and reports that we check."""
    from transformers.utils import logging as transformers_logging

    was_shown = transformers_logging.is_progress_bar_enabled()
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if was_shown:
            transformers_logging.enable_progress_bar()
