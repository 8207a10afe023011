"""Train the miniature model from nothing: `python -m calib_sweep.miniature.training.train --out F`.

Tokenizer and token array (if F has none), then the steps of `recipe.py`, then the gates of
`card.py`. The defaults, with `--seed 1`, are the shipped recipe: minutes on a GPU, about ten hours
on two CPU cores. Killed at any moment, the same command goes on from its last checkpoint, with the
same batches.
"""

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from transformers import LlamaForCausalLM

from calib_sweep import atomic, valid_json
from calib_sweep.cell import digest
from calib_sweep.errors import ConfigError, collected, require
from calib_sweep.miniature import corpus
from calib_sweep.miniature.features import SPREAD, spread_features
from calib_sweep.miniature.training.batches import NUM_PAGES, REPEAT_SHARE, Batches, token_array
from calib_sweep.miniature.training.recipe import (
    BATCH_TOKENS,
    CLIP,
    Recipe,
    new_model,
    next_token_loss,
    optimizers,
)
from calib_sweep.miniature.training.tokenizer import load_or_train

log = logging.getLogger(__name__)

CHECKPOINT, FIGURES = "resume.pt", "training.json"
_LOG_EVERY_STEPS, _SAVE_EVERY_S = 100, 120


class Training:
    """A model under training and what it takes to go on with it."""

    def __init__(self, recipe: Recipe, folder: Path, device: str) -> None:
        self.recipe, self.folder = recipe, folder
        self.model = new_model(recipe, load_or_train(folder))
        self.model.to(torch.device(device))  # type: ignore[arg-type]  # wrapped by transformers
        self.optimizers = optimizers(self.model, recipe)
        self.step, self.seconds = 0, 0.0
        self.log: list[dict[str, float]] = []
        self._recent: list[Tensor] = []  # mean losses of the steps since the last row of the log
        if (folder / CHECKPOINT).exists():
            self._resume()

    def run(self, batches: Batches) -> None:
        """Train to the last step; a checkpoint every `_SAVE_EVERY_S` seconds and at the end."""
        compiled = torch.compile(next_token_loss)
        resumed_at, saved_at = time.monotonic() - self.seconds, time.monotonic()
        with _display(self.recipe.steps, self.step) as show:
            while self.step < self.recipe.steps:
                self._update(compiled, batches)
                self.seconds = time.monotonic() - resumed_at
                if self.step % _LOG_EVERY_STEPS == 0 or self.step == self.recipe.steps:
                    self._note()
                show(self.step, self.log[-1] if self.log else {})
                if time.monotonic() - saved_at > _SAVE_EVERY_S:
                    self._save()
                    saved_at = time.monotonic()
        self._save()

    def _update(
        self, compiled: Callable[[LlamaForCausalLM, Tensor], Tensor], batches: Batches
    ) -> None:
        window = self.recipe.window(self.step)
        num_windows = self.recipe.batch_tokens // window
        num_text = batches.num_text(num_windows)
        tokens_BT = torch.from_numpy(batches.draw(self.step, num_windows, window))
        loss_BT = compiled(self.model, tokens_BT.to(self.model.device))
        loss_BT.mean().backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["peak_rate"] * self.recipe.share_of_peak(self.step)
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        self.step += 1
        self._recent.append(_mean_losses(loss_BT.detach(), num_text))

    def _note(self) -> None:
        text, repeats = (round(value, 4) for value in torch.stack(self._recent).mean(0).tolist())
        self._recent.clear()
        tokens, seconds = self.step * self.recipe.batch_tokens, round(self.seconds, 1)
        row = {"step": self.step, "tokens": tokens, "seconds": seconds}
        self.log.append(row | {"loss_text": text, "loss_repeats": repeats})

    def _save(self) -> None:
        state = {
            "recipe": asdict(self.recipe),
            "text_version": corpus.VERSION,
            "model": self.model.state_dict(),
            "optimizers": [one.state_dict() for one in self.optimizers],
            "step": self.step,
            "seconds": self.seconds,
            "log": self.log,
            "recent": [losses.tolist() for losses in self._recent],
        }
        with atomic.replacing(self.folder / CHECKPOINT) as partial:
            torch.save(state, partial)

    def _resume(self) -> None:
        state = torch.load(self.folder / CHECKPOINT, map_location="cpu", weights_only=True)
        wanted = (asdict(self.recipe), corpus.VERSION)
        if (state["recipe"], state["text_version"]) != wanted or "optimizers" not in state:
            raise ConfigError(
                f"--out={self.folder}: holds a checkpoint of another recipe, {state['recipe']} on "
                f"text version {state['text_version']}. Name another folder, or delete "
                f"{CHECKPOINT} and tokenizer.json there to start anew."
            )
        self.model.load_state_dict(state["model"])
        for optimizer, own in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(own)
        self.step, self.seconds = state["step"], state["seconds"]
        self.log = state["log"]
        self._recent = [torch.tensor(row, device=self.model.device) for row in state["recent"]]

    def export(self) -> None:
        """Half-precision weights in the Hugging Face layout, and the figures of the training.

        The weights are given features of unlike size first (`features.py`).
        """
        half = LlamaForCausalLM(self.model.config)
        half.load_state_dict(self.model.state_dict())
        spread_features(half, self.recipe.seed)
        half.half().save_pretrained(self.folder)
        figures = asdict(self.recipe) | {
            "text_version": corpus.VERSION,
            "pages_per_document": NUM_PAGES,
            "repeat_share": REPEAT_SHARE,
            "feature_spread": SPREAD,
            "tokens": self.step * self.recipe.batch_tokens,
            "minutes": round(self.seconds / 60, 1),
            "device": self.model.device.type,
            "threads": torch.get_num_threads(),
            "num_parameters": sum(parameter.numel() for parameter in half.parameters()),
            "log": self.log,
        }
        (self.folder / FIGURES).write_text(valid_json.dumps(figures, indent=1) + "\n")


def _mean_losses(loss_BT: Tensor, num_text: int) -> Tensor:
    """Mean nats per token of text, and of the second halves of the repeats: [2]."""
    text, repeats = loss_BT[:num_text], loss_BT[num_text:, loss_BT.shape[1] // 2 :]
    return torch.stack([text.mean(), repeats.mean()])  # not read here: a GPU need not be waited for


@contextmanager
def _display(steps: int, done: int) -> Iterator[Callable[[int, dict[str, float]], None]]:
    """Show a progress bar on a terminal, a line every hundred steps elsewhere."""
    columns = (
        TextColumn("step {task.completed:.0f} of {task.total:.0f}"),
        BarColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[losses]}"),
    )
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task("", total=steps, completed=done, losses="")

        def show(step: int, row: dict[str, float]) -> None:
            losses = ""
            if row:
                losses = f"loss: text {row['loss_text']:.3f}, repeats {row['loss_repeats']:.3f}"
            progress.update(task, completed=step, losses=losses)
            if progress.disable and row.get("step") == step:
                log.info("step %d of %d, %.0f s, %s", step, steps, row["seconds"], losses)

        yield show


def load_or_write_tokens(folder: Path, documents: int, num_workers: int) -> np.ndarray:
    """uint16 tokens of the training text, kept in `folder` under a name that says which."""
    vocabulary = load_or_train(folder).get_vocab()
    cached = folder / f"tokens-{digest([corpus.VERSION, documents, NUM_PAGES, vocabulary])}.npy"
    if not cached.exists():
        log.info("writing the text of %d documents in each domain", documents)
        with atomic.replacing(cached) as partial, partial.open("wb") as file:
            np.save(file, token_array(folder, documents, num_workers))
    return np.load(cached)


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m calib_sweep.miniature.training.train",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder for tokenizer, tokens and weights")
    add("--seed", type=int, default=0, help="of the first weights and the batches")
    add("--steps", type=int, default=11_000, help=f"updates of {BATCH_TOKENS} tokens")
    add("--documents", type=int, default=8_000, help="training documents of each domain")
    add("--hidden", type=int, default=128, help="width of the model")
    add("--layers", type=int, default=6, help="decoder blocks")
    add("--rate", type=float, default=0.02, help="peak learning rate of Muon")
    add("--device", default="cpu", help="cpu or cuda")
    add("--threads", type=int, default=2, help="CPU threads, and writers of text")
    add("--skip-gates", action="store_true", help="do not measure the weights at the end")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args = _arguments(argv)
    try:
        run(args)
    except ConfigError as error:
        from calib_sweep.sweep.explain import explain

        sys.exit(explain(error))


def _recipe(args: argparse.Namespace) -> Recipe:
    return Recipe(
        seed=args.seed,
        steps=args.steps,
        batch_tokens=BATCH_TOKENS,
        documents=args.documents,
        hidden_size=args.hidden,
        num_layers=args.layers,
        peak_rate=args.rate,
    )


def run(args: argparse.Namespace) -> None:
    """Check what was typed, write the text, train, export, measure."""
    devices = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with collected() as problems:
        recipe: Recipe = problems.of(_recipe, args)
        problems.of(
            require,
            args.threads > 0,
            "--threads",
            args.threads,
            "a number > 0",
            "Example: --threads=2.",
        )
        known = args.device in devices
        problems.of(
            require, known, "--device", args.device, " or ".join(devices), "Example: --device=cpu."
        )
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    tokens = load_or_write_tokens(args.out, args.documents, args.threads)
    training = Training(recipe, args.out, args.device)
    num_parameters = sum(parameter.numel() for parameter in training.model.parameters())
    log.info("%.1f M tokens of text, %d parameters", len(tokens) / 1e6, num_parameters)
    training.run(Batches(tokens, recipe.seed))
    training.export()
    log.info("weights in %s", args.out)
    if not args.skip_gates:
        from calib_sweep.miniature.acceptance import card

        card.main(["--weights", str(args.out)])


if __name__ == "__main__":
    main()
