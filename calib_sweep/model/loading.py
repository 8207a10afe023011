"""Models and tokenizers in the Hugging Face layout, from a folder or from the hub.

Building a `HubModel` touches neither disk nor network; its methods do. Weights are read from
safetensors only: a pickle can run code of its author. Nothing heavy is imported at the top, so that
composing and checking settings stays fast.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from safetensors import SafetensorError

from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.hub import patiently
from calib_sweep.model.checkpoint import (
    check_folder,
    check_tokenizer,
    check_weights,
    damaged_settings,
    fingerprint,
)
from calib_sweep.model.hub import complete_snapshot, hub_answers, note_commit, refusal
from calib_sweep.model.reading import first_words, unreadable
from calib_sweep.model.weight_files import hollow, read_headers, some
from calib_sweep.places import WEIGHTS, expanded
from calib_sweep.quiet import quiet_transformers

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from calib_sweep.method.grids.weight_format import WeightFormat

DTYPES = ("float32", "float16", "bfloat16")
MINIATURE = "miniature"  # the word that stands for the model shipped with the package

T = TypeVar("T")
LoadingInfo = Mapping[str, Iterable[Any]]  # transformers': missing_keys, mismatched_keys, ...


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
        from calib_sweep.model.placement import named_device, offload
        from calib_sweep.model.vocabulary import guard

        self._require_weights()
        settings = reading_settings(self.path, self.load_config())
        device = named_device(self.device)
        offloads = self.offload is not None and device.type != "cpu"
        read: Callable[..., Any] = AutoModelForCausalLM.from_pretrained
        model, info = self._read(
            read,
            dtype=getattr(torch, self.dtype),
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # they are reported, and refused below
            device_map=None if device.type == "cpu" or offloads else device,
            **settings,
        )
        self._check_complete(info)
        if self.folder() is None:
            note_commit(model, self.path, self.revision)
        guard(model)
        if offloads:
            offload(model, device)
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

    def num_embeddings(self) -> int | None:
        """Token ids that the model has embeddings for; None when its configuration tells none."""
        return getattr(self.load_config().get_text_config(decoder=True), "vocab_size", None)

    def linear_shapes(self) -> list[tuple[str, int, int]]:
        """(name, out_features, in_features) of all that is compressed; reads no weights."""
        from calib_sweep.model.blocks import check_owners, enumerate_blocks

        model = self.skeleton()
        blocks = enumerate_blocks(model)
        check_owners(model, blocks)
        return [
            (f"block {block.index} {name}", layer.weight_OI().shape[0], layer.weight_OI().shape[1])
            for block in blocks
            for name, layer in block.layers.items()
        ]

    def skeleton(self) -> "PreTrainedModel":
        """The model without its weights, all on the device meta."""
        import torch
        from transformers import AutoModelForCausalLM

        config = self.load_config()
        try:
            with torch.device("meta"):
                return AutoModelForCausalLM.from_config(
                    config, trust_remote_code=self.trust_remote_code
                )
        except unreadable() as error:
            raise self._explained(error) from error

    def check_packable(self, form: "WeightFormat") -> None:
        """Raise `ConfigError` unless weights on grids of this form can be saved packed."""
        from calib_sweep.model.packing import check_packable

        check_packable(self.path, self.skeleton(), form, self.dtype)

    def check_checkpoint(self) -> None:
        """Raise `ConfigError` for what small files tell: no weight is read, or need be here."""
        from calib_sweep.model.packing import reading_settings

        is_packed = bool(reading_settings(self.path, self.load_config()))
        folder = self.folder()
        if folder is None:
            return
        check_weights(self.path, folder)
        state = hollow(read_headers(self.path, folder))
        if not is_packed:  # then in other tensors than those that the model has
            self._check_complete(self._reading_of(state))

    def _reading_of(self, state: "Mapping[str, Tensor]") -> LoadingInfo:
        """Return what transformers says of loading `state`, tensors without content."""
        config, kind = self.load_config(), type(self.skeleton())

        def read(_path: str, **settings: Any) -> Any:
            return kind.from_pretrained(None, config=config, state_dict=state, **settings)

        told = {"output_loading_info": True, "ignore_mismatched_sizes": True}
        return self._read(read, device_map="meta", **told)[1]

    def prefetch(self) -> None:
        """Download configuration, tokenizer and safetensors weights, if they are on the hub."""
        if self.folder() is None:
            self._read(complete_snapshot)

    def fingerprint(self) -> str | None:
        """Hash of a local checkpoint's content; None for the hub, where path and revision tell."""
        self._require_weights()
        folder = self.folder()
        return None if folder is None else fingerprint(folder)

    def folder(self) -> Path | None:
        """Return the folder of a checkpoint on this machine; None for one on the hub."""
        if self.path == MINIATURE:
            return WEIGHTS
        path = expanded(self.path)
        return path if self.path.startswith((".", "/", "~")) or path.exists() else None

    def check_files(self) -> None:
        """Raise `ConfigError` unless a local checkpoint is there and readable without pickles."""
        if (folder := self.folder()) is not None:
            check_folder(self.path, folder)

    def _require_weights(self) -> None:
        """Raise `ConfigError` unless a local checkpoint is there with its weights."""
        self.check_files()
        if (folder := self.folder()) is not None:
            check_weights(self.path, folder)

    def _read(self, read: Callable[..., T], **settings: object) -> T:
        """Call a `from_pretrained`; what the user can mend is raised as `ConfigError`.

        Of the hub, what is on this machine is read first: no network is needed after a download.
        """
        settings = {"trust_remote_code": self.trust_remote_code, **settings}
        folder = self.folder()
        try:
            with quiet_transformers():
                if folder is not None:
                    return read(str(folder), **settings)
                settings["revision"] = self.revision or "main"
                try:
                    return read(self.path, local_files_only=True, **settings)
                except (OSError, ValueError):
                    if not hub_answers():
                        raise
                return patiently(partial(read, self.path, **settings))
        except unreadable() as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> ConfigError:
        folder = self.folder()
        damage = None if folder is None else damaged_settings(folder)
        reason = first_words(error) + (f" ({damage})" if damage else "")
        message = f"model.path={self.path!r}: expected a readable model, but: {reason}."
        if isinstance(error, SafetensorError):
            return ConfigError(f"{message} The file is damaged or cut short: copy it again.")
        if folder is not None:
            return ConfigError(message)
        return refusal(self.path, self.revision, reason, error, is_there=hub_answers())

    def _check_complete(self, info: LoadingInfo) -> None:
        """Weights that the checkpoint lacks would be random numbers."""
        lacking = sorted(info.get("missing_keys", ()))
        lacking += sorted(str(key) for key in info.get("mismatched_keys", ()))
        require(
            not lacking,
            "model.path",
            self.path,
            f"a complete checkpoint, but these weights are missing or misshapen: {some(lacking)}",
            "Download or save it again.",
        )

    def _check_path(self) -> None:
        require(
            isinstance(self.path, str) and bool(self.path.strip()),
            "model.path",
            self.path,
            "a folder or a hub id",
            "Example: model.path=./my-model, or model.path=facebook/opt-125m.",
        )

    def _check_dtype(self) -> None:
        require(
            self.dtype in DTYPES,
            "model.dtype",
            self.dtype,
            f"one of {', '.join(DTYPES)}",
            "Example: model.dtype=float16, as in published results; on a CPU float32 is faster.",
        )

    def _check_device(self) -> None:
        require(
            isinstance(self.device, str)
            and re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device) is not None,
            "model.device",
            self.device,
            "auto, cpu, cuda or cuda:NUMBER",
            "Example: model.device=auto, which uses a GPU if there is one.",
        )

    def _check_offload(self) -> None:
        require(
            self.offload in (None, "blocks") and not (self.offload and self.device == "cpu"),
            "model.offload",
            self.offload,
            "null or blocks; only null with model.device=cpu",
            "Example: model.offload=blocks, for a model that is larger than the GPU.",
        )

    def _check_trust(self) -> None:
        require(
            isinstance(self.trust_remote_code, bool),
            "model.trust_remote_code",
            self.trust_remote_code,
            "true or false",
            "Example: model.trust_remote_code=false; true once you have read the model's code.",
        )
