"""Measure the error that each method leaves on random layers: ||XW^T - XW'^T||^2 / ||XW^T||^2.

    python benchmarks/layer_errors.py                        # all shipped methods, a Markdown table
    python benchmarks/layer_errors.py --set gptq:bits=3 gptq:bits=3,group_size=8,group_fit=updated
    python benchmarks/layer_errors.py --tokens 256 --set gptq gptq:off_diagonal=0.5

Layers are random but have what real ones have: features of very different size (log-normal, with a
few a hundred times as large), correlated features, heavy-tailed weights. The error is measured on
the calibration inputs and on 4,096 others from the same source. Means over seeds; seconds on any
machine. Methods that look at a block or a model as a whole have no place here.

Shapes: O = out_features, I = in_features, T = tokens.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from statistics import mean

import torch
import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor

from calib_sweep.method.base import LayerMethod

FOLDER = Path(__file__).parents[1] / "conf" / "method"
NUM_OUT, NUM_IN, NUM_TOKENS = 256, 512, 4096


def random_layer(seed: int, num_tokens: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weight [O, I], `num_tokens` calibration inputs and 4,096 other inputs [T, I]."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weight_OI = normal(NUM_OUT, NUM_IN) / (normal(NUM_OUT, NUM_IN).square().add(0.5).sqrt())
    size_I = normal(NUM_IN).exp()
    size_I[torch.randperm(NUM_IN, generator=generator)[:3]] *= 100
    mixing_II = torch.eye(NUM_IN) + normal(NUM_IN, NUM_IN) / NUM_IN**0.5
    first_TI, second_TI = (
        normal(num, NUM_IN) @ mixing_II * size_I for num in (num_tokens, NUM_TOKENS)
    )
    return weight_OI, first_TI, second_TI


def output_error(weight_OI: Tensor, new_OI: Tensor, inputs_TI: Tensor) -> float:
    change_TO = inputs_TI @ (weight_OI - new_OI).T
    return float(change_TO.square().sum() / (inputs_TI @ weight_OI.T).square().sum())


def measure(method: LayerMethod, num_seeds: int, num_tokens: int) -> dict[str, float]:
    """Mean sparsity, bits (16 where nothing is rounded) and both errors over random layers."""
    rows = []
    for seed in range(num_seeds):
        weight_OI, first_TI, second_TI = random_layer(seed, num_tokens)
        statistic = None
        if method.statistic is not None:
            statistic = method.statistic(NUM_IN)
            statistic.add(first_TI, num_samples=8)
        new = method.compress_weight(weight_OI, statistic)
        rows.append(
            {
                "zeros": float((new.weight_OI == 0).double().mean()),
                "bits": new.bits or 16.0,
                "error": output_error(weight_OI, new.weight_OI, first_TI),
                "error on other inputs": output_error(weight_OI, new.weight_OI, second_TI),
            }
        )
    return {key: mean(row[key] for row in rows) for key in rows[0]}


def shipped() -> dict[str, LayerMethod]:
    """All methods of conf/method/ that see one layer at a time, by name."""
    nodes = {path.stem: OmegaConf.load(path) for path in sorted(FOLDER.glob("*.yaml"))}
    built = {
        name: instantiate(node)
        for name, node in nodes.items()
        if not OmegaConf.missing_keys(node)  # what is missing there, only a user can know
    }
    return {name: method for name, method in built.items() if isinstance(method, LayerMethod)}


def with_settings(text: str) -> LayerMethod:
    """`gptq:bits=3,group_size=8` as a method."""
    name, _, settings = text.partition(":")
    pairs = dict(pair.split("=") for pair in settings.split(",") if pair)
    return replace(
        shipped()[name],  # pyright: ignore[reportArgumentType]
        **{key: yaml.safe_load(value) for key, value in pairs.items()},
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--set", nargs="*", default=[], help="NAME:KEY=VALUE,... instead of all")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=NUM_TOKENS, help="of calibration")
    arguments = parser.parse_args()
    methods = {text: with_settings(text) for text in arguments.set} or shipped()
    columns = ["zeros", "bits", "error", "error on other inputs"]
    print(f"| method | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, method in methods.items():
        row = measure(method, arguments.seeds, arguments.tokens)
        cells = [f"{row['zeros']:.3f}", f"{row['bits']:.2f}"]
        cells += [f"{row[key]:.4f}" for key in columns[2:]]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
