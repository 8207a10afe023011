"""The recipe of the miniature model: its shape, optimiser, schedule and loss.

Shapes: B windows, T tokens of a window, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from calib_sweep.errors import collected, require
from calib_sweep.miniature.training.tokenizer import BOS, CONTEXT_LENGTH, EOS, PAD

BATCH_TOKENS = 32_768
# (share of the steps, tokens of a window): attention to long windows is what costs most.
WINDOWS = ((0.9, 256), (0.1, CONTEXT_LENGTH))
_FALLING_SHARE, _WARMUP_STEPS = 0.8, 100
_MOMENTUM, _BETAS, _WEIGHT_DECAY, CLIP = 0.95, (0.9, 0.95), 0.1, 1.0
_OTHER_RATE = 3e-3  # of the embedding and the norms


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that decides the weights but the text; a checkpoint goes on under its own only."""

    seed: int  # of the first weights and of the batches
    steps: int  # updates
    batch_tokens: int  # of an update
    documents: int  # training documents of each domain
    hidden_size: int
    num_layers: int
    peak_rate: float  # learning rate of the matrices of the blocks after warm-up

    def __post_init__(self) -> None:
        with collected() as problems:
            for key, value, example in (
                ("--steps", self.steps, 11_000),
                ("--documents", self.documents, 8_000),
                ("--layers", self.num_layers, 6),
                ("--rate", self.peak_rate, 0.02),
            ):
                problems.of(
                    require, value > 0, key, value, "a number > 0", f"Example: {key}={example}."
                )
            problems.of(
                require,
                self.hidden_size > 0 and self.hidden_size % 32 == 0,
                "--hidden",
                self.hidden_size,
                "a multiple of 32, the width of a head",
                "Example: --hidden=128.",
            )

    def window(self, step: int) -> int:
        """Tokens of a window at `step`."""
        done = step / self.steps
        for share, window in WINDOWS[:-1]:
            if done < share:
                return window
            done -= share
        return WINDOWS[-1][1]

    def share_of_peak(self, step: int) -> float:
        """Of every learning rate: linear warm-up, one, linear fall to zero (`_FALLING_SHARE`)."""
        warmup = (step + 1) / _WARMUP_STEPS
        fall = (self.steps - step) / (_FALLING_SHARE * self.steps)
        return min(1.0, warmup, fall)


def new_model(recipe: Recipe, tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A model with its first weights; heads of 32, an MLP three times as wide as the model."""
    ids = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=3 * recipe.hidden_size,
        num_hidden_layers=recipe.num_layers,
        num_attention_heads=recipe.hidden_size // 32,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
    )
    model = LlamaForCausalLM(config)
    # Compiled for a CPU it takes a quarter less time than PyTorch's fused attention.
    model.set_attn_implementation("eager")
    generator = torch.Generator().manual_seed(recipe.seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:  # norms stay at one
                sd = _first_sd(name, parameter.shape[1], recipe.num_layers)
                parameter.normal_(0.0, sd, generator=generator)
    return model


def _first_sd(name: str, num_inputs: int, num_layers: int) -> float:
    """Outputs as large as inputs, but for those that 2 x `num_layers` sublayers add to one sum.

    At the usual 0.02, made for wide models, attention of this width is flat and learns late.
    """
    if "embed_tokens" in name:
        return 0.02
    sd = num_inputs**-0.5
    return sd / (2 * num_layers) ** 0.5 if "o_proj" in name or "down_proj" in name else sd


def optimizers(model: LlamaForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, AdamW for the embedding and the norms.

    With Muon (Jordan et al. 2024) copying set in after 23 to 62 M tokens; with AdamW alone, first
    weights of 0.02 throughout and fewer repeats beside the text, it took 65 to 125 M tokens in
    updates a quarter as large.
    """
    matrices = [p for name, p in model.named_parameters() if p.ndim > 1 and "layers." in name]
    known = set(map(id, matrices))
    others = [p for p in model.parameters() if id(p) not in known]
    return [
        torch.optim.Muon(
            [{"params": matrices, "peak_rate": recipe.peak_rate}],
            momentum=_MOMENTUM,
            weight_decay=_WEIGHT_DECAY,
        ),
        torch.optim.AdamW(
            [{"params": others, "peak_rate": _OTHER_RATE}],
            betas=_BETAS,
            weight_decay=0.0,
            fused=True,
        ),
    ]


def next_token_loss(model: Callable, tokens_BT: Tensor) -> Tensor:
    """Nats of every token but the first of each window: [B, T - 1]."""
    with torch.autocast(tokens_BT.device.type, dtype=torch.bfloat16):
        logits_BTV = model(input_ids=tokens_BT, use_cache=False).logits
    targets = tokens_BT[:, 1:]
    losses = torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="none"
    )
    return losses.view(targets.shape)
