"""What a walk costs here and in llm-compressor: GPTQ, SparseGPT and Wanda of both, in one run.

    python benchmarks/peers.py --out peers.json            # four blocks of a 7B model's shape
    python benchmarks/peers.py --shape tiny --device cpu --dtype float32 --blocks 2    # dry run

Both get the same random weights, on the device, and the same tokens; both are warmed up on a small
model first. Settings are equal where both have them. llm-compressor runs in three ways:

    default     as its documentation has it: one sample at a time, hidden states kept on the host
    tuned       16 samples at a time, hidden states kept on the device, the next batch prefetched
    method      the default way, as a cell with method=llm_compressor runs it: on a copy

`error` is the relative squared change of the last hidden states of two samples: what both made is
then seen to be alike. llm-compressor wants packages of its own: docs/methods/tools.md.
"""

import argparse
import contextlib
import gc
import importlib.metadata
import io
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from gpu import default_walk, describe, load_method, wait
from random_llama import SHAPES, Shape, draw_weights, random_llama, random_tokens
from torch import Tensor

from calib_sweep.compression.walk import walk
from calib_sweep.compression.whole_model import Beside
from calib_sweep.method.llm_compressor import LLMCompressor
from calib_sweep.model.blocks import decoder_blocks

OURS, AS_METHOD = "ours", "method"
WAYS = ("default", "tuned", AS_METHOD)
PRUNED = {"sparsity": 0.5, "targets": ["Linear"], "ignore": ["re:.*lm_head"]}
# Name: the YAML of ours and what it is changed to; modifier of theirs and its settings.
METHODS: dict[str, tuple[tuple[str, dict[str, Any]], tuple[str, dict[str, Any]]]] = {
    "gptq": (
        (
            "gptq",
            {"group_size": 128, "symmetric": True, "act_order": True, "static_groups": True},
        ),
        ("gptq.GPTQModifier", {"scheme": "W4A16", "targets": ["Linear"], "ignore": ["lm_head"]}),
    ),
    "sparsegpt": (("sparsegpt", {}), ("pruning.SparseGPTModifier", PRUNED)),
    "wanda": (("wanda", {}), ("pruning.WandaPruningModifier", PRUNED)),
}
NUM_SCORED = 2  # samples of which `error` is
TUNED_BATCH = 16
SMALL = Shape(256, 512, 1, 4, 256, 4, 64)  # to warm up on
VERSIONS = ("llmcompressor", "compressed-tensors", "accelerate", "datasets")


def main() -> None:
    arguments = _parser().parse_args()
    logging.basicConfig(level=logging.ERROR)
    device, dtype = torch.device(arguments.device), getattr(torch, arguments.dtype)
    shape = SHAPES[arguments.shape].with_blocks(arguments.blocks)
    report: dict[str, Any] = {"environment": environment(device, arguments.commit), "runs": []}
    for name in arguments.methods:
        for who in (OURS, *arguments.ways):
            measure(SMALL, name, who, device, dtype)
    for _ in range(arguments.times):
        for name in arguments.methods:
            for who in (OURS, *arguments.ways):
                row = measure(shape, name, who, device, dtype)
                report["runs"].append({"blocks": shape.num_blocks, "dtype": arguments.dtype, **row})
                show(row)
                if arguments.out:
                    Path(arguments.out).write_text(json.dumps(report, indent=1))
    summarise(report["runs"])
    print(json.dumps(report["environment"], indent=1))


def measure(
    shape: Shape, name: str, who: str, device: torch.device, dtype: torch.dtype
) -> dict[str, Any]:
    """One model compressed by one of them, from weights on the device to weights on the device."""
    model: Any = random_llama(shape, dtype, device, offload=False)
    draw_weights(model, device)
    tokens_NT = random_tokens(shape)
    scored_NT = tokens_NT[:NUM_SCORED].to(device)
    dense_NTD = hidden_states(model, scored_NT)
    ours, theirs = METHODS[name]
    compress = compress_here if who == OURS else compress_there
    settings: Any = ours if who == OURS else (*theirs, who)
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    wait(device)
    start_s = time.perf_counter()
    compress(model, tokens_NT, *settings)
    wait(device)
    seconds = time.perf_counter() - start_s
    on_gpu = device.type == "cuda"
    change_NTD = hidden_states(model, scored_NT) - dense_NTD
    return {
        "method": name,
        "who": who,
        "wall_s": seconds,
        "peak_device_gib": torch.cuda.max_memory_allocated(device) / 2**30 if on_gpu else None,
        "error": float(change_NTD.square().sum() / dense_NTD.square().sum()),
        "sparsity": sparsity(model),
    }


def compress_here(model: Any, tokens_NT: Tensor, name: str, changes: dict[str, Any]) -> None:
    walked(model, tokens_NT, load_method(name, **changes))


def walked(model: Any, tokens_NT: Tensor, method: Any, **beside: Any) -> None:
    settings = default_walk()
    walk(model, method, tokens_NT, settings=settings, **beside)


def compress_there(
    model: Any, tokens_NT: Tensor, modifier: str, settings: dict[str, Any], way: str
) -> None:
    """Run their `oneshot` on the model; hide what it says."""
    module, _, cls = modifier.rpartition(".")
    if way == AS_METHOD:
        method = LLMCompressor(recipe={cls: settings}, pipeline="independent", data=True)
        beside = Beside(tokenizer=_any_tokenizer, write_set=_unasked, read_model=_unasked)
        walked(model, tokens_NT, method, beside=beside)
        return
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        from llmcompressor import oneshot

        package = __import__(f"llmcompressor.modifiers.{module}", fromlist=[cls])
        is_tuned, device = way == "tuned", next(model.parameters()).device
        with TemporaryDirectory() as folder:
            model.config.save_pretrained(folder)  # it looks the model's settings up by its name
            model.config._name_or_path = folder
            oneshot(
                model=model,
                tokenizer=_any_tokenizer(),
                recipe=[getattr(package, cls)(**settings)],
                dataset=_loader(tokens_NT, TUNED_BATCH if is_tuned else 1),
                sequential_offload_device=str(device) if is_tuned else "cpu",
                sequential_prefetch=is_tuned,
            )


@torch.no_grad()
def hidden_states(model: Any, tokens_NT: Tensor) -> Tensor:
    """What the last block gives, float32."""
    return model.model(tokens_NT).last_hidden_state.float()


def sparsity(model: Any) -> float:
    """Zeros among the weights of linear layers in blocks."""
    matrices = [
        p for p in decoder_blocks(model).parameters() if p.ndim == 2 and p.is_floating_point()
    ]
    largest = [p for p in matrices if min(p.shape) >= SMALL.hidden // 4]  # no scales
    return sum(int((p == 0).sum()) for p in largest) / sum(p.numel() for p in largest)


def _loader(tokens_NT: Tensor, batch_size: int) -> Any:
    rows: Any = [
        {"input_ids": part, "attention_mask": torch.ones_like(part)}
        for part in tokens_NT.split(batch_size)
    ]
    first: Callable[[list[Any]], Any] = lambda batch: batch[0]  # noqa: E731
    return torch.utils.data.DataLoader(rows, batch_size=1, shuffle=False, collate_fn=first)


def _unasked(*_: Any) -> Any:
    raise AssertionError("a recipe that runs in memory reads and writes no folder")


def _any_tokenizer() -> Any:
    """One is asked for, and not used: the samples are token ids already."""
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.WordLevel({"a": 0}, "a")))


def environment(device: torch.device, commit: str | None) -> dict[str, Any]:
    found = {name: _version(name) for name in VERSIONS}
    return describe(device, commit) | found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def show(row: dict[str, Any]) -> None:
    gib = row["peak_device_gib"]
    print(
        f"{row['method']:10} {row['who']:8} {row['wall_s']:7.2f} s  device "
        f"{'-' if gib is None else f'{gib:.1f}'} GiB  error {row['error']:.4f}  zeros "
        f"{row['sparsity']:.3f}",
        flush=True,
    )


def summarise(rows: list[dict[str, Any]]) -> None:
    """Print a table: medians of seconds, and theirs over ours."""
    print("\n| method | who | seconds | over ours | error |\n|---|---|---|---|---|")
    for name, who in dict.fromkeys((row["method"], row["who"]) for row in rows):
        own = [row for row in rows if (row["method"], row["who"]) == (name, who)]
        base = [row for row in rows if (row["method"], row["who"]) == (name, OURS)]
        seconds, ours = (median(row["wall_s"] for row in some) for some in (own, base))
        error = median(row["error"] for row in own)
        print(f"| {name} | {who} | {seconds:.2f} | {seconds / ours:.1f} | {error:.4f} |")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--blocks", type=int, default=4)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    parser.add_argument("--times", type=int, default=1, help="of each, in turn")
    parser.add_argument("--commit", help="where the code comes from; found out in a git checkout")
    parser.add_argument("--out", help="a JSON file, written after every run")
    return parser


if __name__ == "__main__":
    main()
