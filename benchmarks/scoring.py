"""What scoring costs: the ten tasks and WikiText-2's windows, packed beside lm-eval's HFLM.

    python benchmarks/scoring.py --out scoring.json                     # a 7B shape on a GPU
    python benchmarks/scoring.py --share 0.01 --shape cpu --device cpu --dtypes float32
    python benchmarks/scoring.py --variants agreement --share 0.004     # half precision, float32
    python benchmarks/scoring.py --ranks 2 --share 0.004 --shape cpu --device cpu --threads 1

The model is random, the requests are of the tasks' sizes (`task_requests`): the arithmetic is that
of real ones. A `share` of the items is scored, and seconds for all are those by the share. Each
variant has scored some items before, so that libraries are loaded; packed_compiled all of them, so
that programs are made (warm_s is one scoring and the making of them). The floor is what the FLOP of
the packed tokens take at the rate of large products, measured at the start.

    packed             the default engine
    packed_compiled    decoder blocks compiled (evaluation.compile=true)
    hflm_16 _64 _128   lm-eval's class HFLM, so many requests at once
    windows, windows_compiled     166 windows of the model's context, as WikiText-2's test split has
    agreement          how far half precision is from HFLM in float32: packed, compiled, HFLM

`--ranks 2`: instead, packed requests and windows on so many processes and on one, in turns.
"""

import argparse
import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu import describe, measure_rates, wait
from lm_eval.models.huggingface import HFLM
from random_llama import SHAPES, Shape, draw_weights, random_llama
from ranked import in_turns, on_ranks
from task_requests import all_requests, num_packed
from transformers import AutoTokenizer

from calib_sweep.evaluation.corpora.perplexity import token_perplexity
from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.evaluation.windows import Windows
from calib_sweep.places import WEIGHTS
from calib_sweep.ranks import Ranks

VARIANTS = (
    *("packed", "packed_compiled", "hflm_16", "hflm_64", "hflm_128"),
    *("windows", "windows_compiled", "agreement"),
)
NUM_WINDOWS = 166  # of WikiText-2's test split at 2,048 tokens
WARM_SHARE = 0.002
COMPARED = ("hflm_16", "hflm_64", "packed", "packed_compiled")
CONTEXT = 2048  # tokens; of a small shape too, so that no request is cut


def main() -> None:
    arguments = _parser().parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    shape = SHAPES[arguments.shape].with_blocks(arguments.blocks)
    report: dict[str, Any] = {"environment": describe(device, arguments.commit), "runs": []}
    if arguments.ranks:
        threads = arguments.threads or torch.get_num_threads()
        report["runs"] = on_ranks(arguments.ranks, threads, measure_ranks, arguments)
        return print(json.dumps(report, indent=1))
    requests = requests_of(arguments.share, shape.vocab)
    for dtype in arguments.dtypes:
        rates = measure_rates(device, getattr(torch, dtype))
        report["environment"].setdefault("tflop_per_s", {})[dtype] = rates["half"]
        model = model_of(shape, getattr(torch, dtype), device)
        for variant in arguments.variants:
            row = {"dtype": dtype, "shape": arguments.shape, "variant": variant}
            row |= measure(model, variant, requests, arguments, shape, rates["half"])
            report["runs"].append(row)
            print(json.dumps(row), flush=True)
            if arguments.out:
                Path(arguments.out).write_text(json.dumps(report, indent=1))
        del model
    print(json.dumps(report["environment"], indent=1))


def measure(
    model: Any,
    variant: str,
    requests: Requests,
    arguments: argparse.Namespace,
    shape: Shape,
    rate: float,
) -> dict[str, Any]:
    """One variant, measured."""
    if variant == "agreement":
        ways = [one for one in COMPARED if not (arguments.eager and one.endswith("compiled"))]
        return agreement(model, requests, ways, arguments.batch_tokens)
    if variant.startswith("windows"):
        return measure_windows(model, variant, arguments, shape, rate)
    # Programs are made for the shapes that come: all of them have to have come before.
    few = requests_of(min(WARM_SHARE, arguments.share), shape.vocab)
    warm = requests if variant.endswith("compiled") else few
    action = scoring(model, variant, arguments.batch_tokens)
    warm_s = clocked(lambda: action(warm), model.device)
    seconds = clocked(lambda: action(requests), model.device)
    num_tokens = num_packed(requests)
    flop = 2 * num_tokens * num_weights(shape)
    return {
        "requests": len(requests),
        "single_tokens": sum(len(r.context) + len(r.continuation) - 1 for r in requests),
        "packed_tokens": num_tokens,
        "warm_s": warm_s,
        "wall_s": seconds,
        "all_tasks_s": seconds / arguments.share,
        "floor_s": flop / rate / 1e12 / arguments.share,
        "tflop_per_s": flop / seconds / 1e12,
        "peak_device_gib": peak_gib(model.device),
    }


def measure_windows(
    model: Any, variant: str, arguments: argparse.Namespace, shape: Shape, rate: float
) -> dict[str, Any]:
    """Perplexity's part: log-probabilities of every token of all windows."""
    windows = random_windows(shape, arguments.share_of_windows)
    num = len(windows.tokens_NT)
    scorer = scorer_of(model, variant, arguments.batch_tokens)

    def score() -> None:
        targets_P1 = torch.from_numpy(windows.targets()).to(model.device)[:, None]
        for part, log_probs_PV in scorer.log_probs(windows):
            log_probs_PV.gather(1, targets_P1[part])

    warm_s = clocked(score, model.device)
    seconds = clocked(score, model.device)
    attention = shape.hidden * shape.seq_len * shape.num_blocks
    flop = 2 * windows.tokens_NT.size * (num_weights(shape) + attention)
    return {
        "windows": num,
        "warm_s": warm_s,
        "wall_s": seconds,
        "all_windows_s": seconds * NUM_WINDOWS / num,
        "floor_s": flop / rate / 1e12 * NUM_WINDOWS / num,
        "tflop_per_s": flop / seconds / 1e12,
        "peak_device_gib": peak_gib(model.device),
    }


def measure_ranks(ranks: Ranks, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """What ranks score together, and the first one alone, in turns; whether both say the same."""
    shape = SHAPES[arguments.shape].with_blocks(arguments.blocks)
    model = model_of(shape, torch.float32, torch.device("cpu"))
    requests = requests_of(arguments.share, shape.vocab)
    windows = random_windows(shape, arguments.share_of_windows)
    ways: dict[str, Callable[[PackedScorer], object]] = {
        "packed": lambda scorer: scorer.loglikelihoods(requests),
        "windows": lambda scorer: token_perplexity(scorer, windows),
    }
    rows = []
    for variant, ask in ways.items():
        scorer, alone = (scorer_of(model, variant, arguments.batch_tokens) for _ in range(2))
        scorer.ranks = ranks
        actions = partial(ask, alone), partial(ask, scorer)
        rows += [{"variant": variant} | row for row in in_turns(ranks, *actions, arguments.repeats)]
    return rows


def agreement(
    model: Any, requests: Requests, ways: Sequence[str], batch_tokens: int | None
) -> dict[str, Any]:
    """Return how far scores are from HFLM's in float32: root mean square, largest, argmax kept."""
    found = {way: scoring(model, way, batch_tokens)(requests) for way in ways}
    dtype = model.dtype
    exact = scoring(model.float(), "hflm_16", None)(requests)
    model.to(dtype)  # back to the same numbers: float32 holds them all
    best = _best(exact, requests)
    return {
        "requests": len(requests),
        "rms_log_likelihood": float(np.sqrt(np.mean(np.square(exact)))),
        "from_float32": {
            name: {
                "rms": float(np.sqrt(np.mean((values - exact) ** 2))),
                "largest": float(np.abs(values - exact).max()),
                "same_choice": float(np.mean(_best(values, requests) == best)),
            }
            for name, values in found.items()
        },
        "hflm_16_from_hflm_64_rms": float(
            np.sqrt(np.mean((found["hflm_16"] - found["hflm_64"]) ** 2))
        ),
    }


def model_of(shape: Shape, dtype: torch.dtype, device: torch.device) -> Any:
    """Return a random model whose context is `CONTEXT`: rotary embeddings have no end."""
    model = random_llama(shape, dtype, device, offload=False)
    draw_weights(model, device)
    model.config.max_position_embeddings = CONTEXT
    return model


def random_windows(shape: Shape, share: float) -> Windows:
    num = max(1, round(NUM_WINDOWS * min(1.0, share)))
    draw = np.random.default_rng(0)
    return Windows.whole("random", draw.integers(3, shape.vocab, (num, shape.seq_len)))


def scoring(model: Any, variant: str, batch_tokens: int | None) -> Callable[[Requests], np.ndarray]:
    """Return what gives the log-likelihood of each request."""
    if variant.startswith("packed"):
        scorer = scorer_of(model, variant, batch_tokens)
        return lambda requests: np.array(
            [a.log_likelihood for a in scorer.loglikelihoods(requests)]
        )
    size = int(variant.removeprefix("hflm_"))
    logging.getLogger("lm_eval.models.huggingface").setLevel(logging.ERROR)
    lm: Any = HFLM(pretrained=model, tokenizer=tokenizer(), batch_size=size)

    def ask(requests: Requests) -> np.ndarray:
        labelled = [(None, *request) for request in requests]
        answers = lm._loglikelihood_tokens(labelled, disable_tqdm=True)
        return np.array([value for value, _ in answers])

    return ask


def scorer_of(model: Any, variant: str, batch_tokens: int | None) -> PackedScorer:
    at_once, is_compiled = batch_tokens, variant.endswith("compiled")
    return PackedScorer(
        *(model, tokenizer()),
        batch_tokens=at_once,
        window_tokens=at_once,
        is_compiled=is_compiled,
    )


def requests_of(share: float, vocab: int) -> Requests:
    """Return the requests of a share of all tasks' items."""
    rows: list[Request] = []
    items: dict[str, list[list[int]]] = {}
    for name, documents in all_requests(share, vocab):
        for pairs in documents:
            items.setdefault(name, []).append(list(range(len(rows), len(rows) + len(pairs))))
            rows += [Request(*pair) for pair in pairs]
    return Requests(rows, items)


def num_weights(shape: Shape) -> int:
    """Count the weights of all blocks' linear layers."""
    return shape.num_blocks * sum(out * num_in for out, num_in in shape.layer_shapes())


def tokenizer() -> Any:
    """Return any tokenizer: it is looked at for padding alone."""
    return AutoTokenizer.from_pretrained(WEIGHTS)


def clocked(action: Callable[[], object], device: torch.device) -> float:
    """Return the seconds that `action` takes."""
    wait(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    start_s = time.perf_counter()
    action()
    wait(device)
    return time.perf_counter() - start_s


def peak_gib(device: torch.device) -> float | None:
    return torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else None


def _best(values: np.ndarray, requests: Requests) -> np.ndarray:
    """Return the choice of each item that has several."""
    items: Iterable[Sequence[int]] = (own for task in requests.items.values() for own in task)
    return np.array([int(np.argmax(values[list(own)])) for own in items if len(own) > 1])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", choices=SHAPES, default="llama-7b")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtypes", nargs="+", default=["float16"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS[:-1]))
    parser.add_argument("--share", type=float, default=0.125, help="of the items of each task")
    parser.add_argument("--share-of-windows", type=float, default=1.0)
    parser.add_argument("--blocks", type=int, help="so many blocks instead of all")
    parser.add_argument("--batch-tokens", type=int, help="at once; none: by device")
    parser.add_argument("--eager", action="store_true", help="agreement without packed_compiled")
    parser.add_argument("--ranks", type=int, help="processes on a CPU, beside one")
    parser.add_argument("--repeats", type=int, default=3, help="of what --ranks measures")
    parser.add_argument("--threads", type=int, help="of a CPU")
    parser.add_argument("--commit", help="where the code comes from; found out in a git checkout")
    parser.add_argument("--out", help="a JSON file, written after every variant")
    return parser


if __name__ == "__main__":
    main()
