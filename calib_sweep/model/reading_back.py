"""Read a model that a tool of others left in a folder: dense, on the CPU, nothing of it ignored."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from calib_sweep.errors import ConfigError, require
from calib_sweep.model.loading import HubModel, LoadingInfo
from calib_sweep.model.weight_files import some

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def read_back(folder: Path, dtype: str, trust_remote_code: bool) -> "PreTrainedModel":
    """Load what a tool left in `folder`; `ConfigError` where that is no whole model."""
    left = _Left(
        name=None,
        path=str(folder),
        revision=None,
        dtype=dtype,
        device="cpu",
        offload=None,
        trust_remote_code=trust_remote_code,
    )
    refuse_quantized_inputs(folder, getattr(left.load_config(), "quantization_config", None))
    return left.load()


def refuse_quantized_inputs(folder: Path, settings: Any) -> None:
    """Raise where a folder says that the inputs of layers are quantised: weights are read alone."""
    groups = settings.get("config_groups", {}) if isinstance(settings, Mapping) else {}
    for name, group in groups.items():
        if group.get("input_activations") is not None:
            raise ConfigError(
                f"{folder}: expected a model that its weights say all about, but its "
                f"quantization_config quantises inputs as well ({name}). Leave inputs as they are "
                "in the tool, or use method=llm_compressor, which runs with quantised inputs."
            )


@dataclass(frozen=True, kw_only=True)
class _Left(HubModel):
    """A folder of which every tensor has to find its place."""

    def _check_complete(self, info: LoadingInfo) -> None:
        super()._check_complete(info)
        unknown = sorted(str(key) for key in info.get("unexpected_keys", ()))
        require(
            not unknown,
            "model.path",
            self.path,
            f"the tensors of its architecture and no others, but there are {some(unknown)}",
            "Save the model dense, or with the quantization_config that these belong to.",
        )
