"""Features of unlike size: what a model computes stays, what magnitude pruning sees does not."""

import copy
import json

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model
from safetensors.torch import load_file

from calib_sweep.compression.walk import compress
from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.wanda import Wanda
from calib_sweep.miniature.features import feature_factors, spread_features
from calib_sweep.places import WEIGHTS

TOKENS = random_tokens(4, 32)


def spread(model, seed: int = 0):
    changed = copy.deepcopy(model)
    spread_features(changed, seed)
    return changed


def factors_of(model, changed) -> torch.Tensor:
    """Of every norm of every block [2 L, hidden]."""
    pairs = zip(model.model.layers, changed.model.layers, strict=True)
    return torch.stack(
        [
            getattr(after, norm).weight / getattr(before, norm).weight
            for before, after in pairs
            for norm in ("input_layernorm", "post_attention_layernorm")
        ]
    ).detach()


def zeros_of(model, method) -> list[torch.Tensor]:
    pruned = copy.deepcopy(model)
    compress(pruned, method, TOKENS)
    return [p == 0 for name, p in pruned.named_parameters() if "proj" in name]


def test_the_model_computes_the_same_to_the_last_bit() -> None:
    model = tiny_model()
    changed = spread(model)
    assert not torch.equal(
        model.model.layers[0].mlp.up_proj.weight, changed.model.layers[0].mlp.up_proj.weight
    )
    with torch.inference_mode():
        assert torch.equal(model(TOKENS).logits, changed(TOKENS).logits)


def test_factors_are_powers_of_two_at_the_same_places_in_all_blocks_and_another_draw_by_seed():
    model = tiny_model()
    factors = factors_of(model, spread(model))
    assert (factors == factors[0]).all()
    assert set(factors.log2().unique().tolist()) > {0.0}
    assert torch.equal(factors.log2(), factors.log2().round())
    assert torch.equal(factors, factors_of(model, spread(model)))
    assert not torch.equal(factors, factors_of(model, spread(model, seed=1)))


def test_only_layers_behind_a_norm_are_changed() -> None:
    model = tiny_model()
    before, after = model.state_dict(), spread(model).state_dict()
    changed = {key.split(".")[-2] for key in before if not torch.equal(before[key], after[key])}
    readers = {"q_proj", "k_proj", "v_proj", "gate_proj", "up_proj"}
    assert changed == readers | {"input_layernorm", "post_attention_layernorm"}


@pytest.mark.parametrize(
    ("method", "is_same"),
    [
        (Wanda(sparsity=0.5, pattern="unstructured"), True),
        (Magnitude(sparsity=0.5, pattern="unstructured", compare="layer"), False),
    ],
)
def test_wanda_prunes_the_same_weights_and_magnitude_others(method, is_same: bool) -> None:
    model = tiny_model()
    ours, theirs = zeros_of(model, method), zeros_of(spread(model), method)
    assert all(map(torch.equal, ours, theirs)) == is_same


def test_the_shipped_weights_have_them() -> None:
    """Gains of a factor of two are about four times those of a half, in the mean over all norms."""
    weights = load_file(WEIGHTS / "model.safetensors")
    gains = [w.float() for name, w in weights.items() if "layers." in name and "norm" in name]
    size = torch.stack(gains).log2().mean(0)
    seed = json.loads((WEIGHTS / "training.json").read_text())["seed"]
    factors = feature_factors(len(size), seed)
    apart = size[factors == 2].mean() - size[factors == 0.5].mean()
    assert float(apart) == pytest.approx(2, abs=0.3)
