"""Trains the miniature model from nothing: `python -m calib_sweep.miniature.train --out FOLDER`.

Tokenizer (if FOLDER has none), token array, then AdamW with a cosine schedule that ends when the
budget of steps or minutes does. The defaults are the shipped recipe, minutes on a GPU (`--device
cuda`) and many hours on a CPU, where `--minutes 45 --batch-size 16` gives a lesser model.

Shapes: B windows, T tokens, V vocabulary.
"""

import argparse
import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from calib_sweep.miniature.batches import Batches, token_array
from calib_sweep.miniature.tokenizer import BOS, CONTEXT_LENGTH, EOS, PAD, load_or_train

log = logging.getLogger(__name__)

_FINAL_SHARE, _WARMUP_STEPS = 0.03, 200
_SAY_EVERY_S, _SAVE_EVERY_S = 10, 120
_BETAS, _WEIGHT_DECAY, _CLIP = (0.9, 0.95), 0.1, 1.0


@dataclass(frozen=True)
class Budget:
    """Training ends at `steps` or after `minutes`, whichever comes first."""

    steps: int
    minutes: float
    peak_rate: float  # learning rate after warm-up

    def progress(self, step: int, seconds: float) -> float:
        return max(step / self.steps, seconds / (60 * self.minutes))


def new_model(
    hidden_size: int, num_layers: int, tokenizer: PreTrainedTokenizerFast
) -> LlamaForCausalLM:
    """An untrained model; heads of 32, an MLP three times as wide as the model."""
    ids = tokenizer.get_vocab()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=3 * hidden_size,
        num_hidden_layers=num_layers,
        num_attention_heads=hidden_size // 32,
        max_position_embeddings=CONTEXT_LENGTH,
        tie_word_embeddings=True,
        bos_token_id=ids[BOS],
        eos_token_id=ids[EOS],
        pad_token_id=ids[PAD],
    )
    return LlamaForCausalLM(config)


def draw_weights(model: LlamaForCausalLM, seed: int) -> None:
    """Normal matrices with SD 0.02 from the seed's own generator; norms stay at one."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0.0, 0.02, generator=generator)


def learning_rate(peak: float, step: int, progress: float) -> float:
    """Linear warm-up, then a cosine from the peak to `_FINAL_SHARE` of it at the budget's end."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return (
        peak * min(1.0, (step + 1) / _WARMUP_STEPS) * (_FINAL_SHARE + (1 - _FINAL_SHARE) * cosine)
    )


def optimizer(model: LlamaForCausalLM) -> torch.optim.AdamW:
    """AdamW; matrices decay, norms do not."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim > 1]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim <= 1]
    groups = [
        {"params": matrices, "weight_decay": _WEIGHT_DECAY},
        {"params": vectors, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=0.0, betas=_BETAS)


def next_token_loss(model: Callable, tokens_BT: Tensor) -> Tensor:
    """Mean nats per token, one value per window: [B]."""
    with torch.autocast(tokens_BT.device.type, dtype=torch.bfloat16):
        logits_BTV = model(input_ids=tokens_BT, use_cache=False).logits
    targets = tokens_BT[:, 1:]
    losses = torch.nn.functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1).float(), targets.flatten(), reduction="none"
    )
    return losses.view(targets.shape).mean(dim=1)


def train(
    model: LlamaForCausalLM, batches: Batches, budget: Budget, folder: Path, resume: bool
) -> None:
    """Train `model` in place; the checkpoint of every `_SAVE_EVERY_S` seconds is a whole model."""
    device = next(model.parameters()).device
    updates = optimizer(model)
    step, spent_s = _resume(folder, model, updates) if resume else (0, 0.0)
    compiled = torch.compile(next_token_loss)
    start, saved, said = time.monotonic() - spent_s, time.monotonic(), 0.0
    while (progress := budget.progress(step, time.monotonic() - start)) < 1:
        for group in updates.param_groups:
            group["lr"] = learning_rate(budget.peak_rate, step, progress)
        tokens_BT = torch.from_numpy(batches[step]).to(device, non_blocking=True)
        loss_B = compiled(model, tokens_BT)
        loss_B.mean().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), _CLIP)
        updates.step()
        updates.zero_grad(set_to_none=True)
        step += 1
        if time.monotonic() - said > _SAY_EVERY_S:
            said = time.monotonic()
            _say(step, step * tokens_BT.numel(), said - start, progress, loss_B, batches.num_text)
        if time.monotonic() - saved > _SAVE_EVERY_S:
            saved = time.monotonic()
            _save(folder, model, updates, step, saved - start)
    _save(folder, model, updates, step, time.monotonic() - start)
    log.info("%d steps in %.0f s, weights in %s", step, time.monotonic() - start, folder)


def _say(
    step: int, tokens: int, seconds: float, progress: float, loss_B: Tensor, num_text: int
) -> None:
    text, repeats = (float(part.detach().mean()) for part in loss_B.tensor_split([num_text]))
    done = f"step {step}, {tokens / 1e6:.1f} M tokens, {seconds:.0f} s, {progress:.0%}"
    log.info("%s, loss: text %.3f, repeats %.3f", done, text, repeats)


def _save(
    folder: Path, model: LlamaForCausalLM, updates: torch.optim.Optimizer, step: int, seconds: float
) -> None:
    """Export half-precision weights and keep what `--resume` needs beside them."""
    state = {
        "model": model.state_dict(),
        "updates": updates.state_dict(),
        "step": step,
        "seconds": seconds,
    }
    torch.save(state, folder / "resume.pt")
    half = LlamaForCausalLM(model.config)
    half.load_state_dict(model.state_dict())
    half.half().save_pretrained(folder)


def _resume(
    folder: Path, model: LlamaForCausalLM, updates: torch.optim.Optimizer
) -> tuple[int, float]:
    state = torch.load(folder / "resume.pt", weights_only=True)
    model.load_state_dict(state["model"])
    updates.load_state_dict(state["updates"])
    return state["step"], state["seconds"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m calib_sweep.miniature.train", description=__doc__
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for tokenizer, tokens, weights"
    )
    parser.add_argument("--steps", type=int, default=25_280, help="at most so many updates")
    parser.add_argument("--minutes", type=float, default=math.inf, help="at most so long")
    parser.add_argument("--seed", type=int, default=0, help="of the first weights and the batches")
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --out")
    parser.add_argument(
        "--documents", type=int, default=6_000, help="training documents of each domain"
    )
    parser.add_argument(
        "--batch-size", type=int, default=64, help="windows of 512 tokens per update"
    )
    parser.add_argument("--rate", type=float, default=3e-3, help="peak learning rate")
    parser.add_argument("--hidden", type=int, default=128, help="width of the model")
    parser.add_argument("--layers", type=int, default=6, help="decoder blocks")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads, and writers of text")
    return parser.parse_args()


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args = _arguments()
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    cached = args.out / "tokens.npy"
    if not cached.exists():
        np.save(cached, token_array(args.out, args.documents, args.threads))
    tokens = np.load(cached)
    log.info("%.1f M tokens of text", len(tokens) / 1e6)
    tokenizer = load_or_train(args.out)
    model = new_model(args.hidden, args.layers, tokenizer)
    draw_weights(model, args.seed)
    model.to(args.device)
    log.info("%d parameters", sum(parameter.numel() for parameter in model.parameters()))
    batches = Batches(tokens, args.batch_size, CONTEXT_LENGTH, args.seed)
    train(model, batches, Budget(args.steps, args.minutes, args.rate), args.out, args.resume)


if __name__ == "__main__":
    main()
