"""What the evaluation is tried on: texts, a tokenizer, random models, local tasks. All offline."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
import yaml
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.documents.documents import Documents, in_memory
from calib_sweep.evaluation.corpora.perplexity import Perplexity
from calib_sweep.evaluation.scorers import engines
from calib_sweep.evaluation.scorers.scorer import Scorer
from calib_sweep.evaluation.scoring import Scoring
from calib_sweep.evaluation.tasks.settings import ZeroShot
from calib_sweep.seeding import stream

VOCAB_SIZE = 300
WORDS = (
    *("the", "a", "red", "blue", "old", "small", "cat", "dog", "bird", "fox", "river", "hill"),
    *("town", "boat", "sees", "finds", "likes", "follows", "under", "over", "near", "with"),
    *("and", "then", "says", "that", "Anna", "Ben", "Carl", "Dora"),
)


def sentence(*parts: str | int) -> str:
    draw = stream("tests/sentence", *parts)
    return " ".join(draw.choice(WORDS, size=int(draw.integers(6, 18)))) + "."


def text(*parts: str | int, num_sentences: int = 40) -> str:
    return " ".join(sentence(*parts, i) for i in range(num_sentences))


@dataclass(frozen=True)
class Corpus(TextDataset):
    """A dataset of texts in memory."""

    name: str
    texts: Sequence[str]
    join: str = "\n\n"

    def documents(self) -> Documents:
        return in_memory(self.texts)

    def provenance(self) -> dict[str, Any]:
        return {"source": "tests"}

    def fingerprint(self) -> None:
        return None


def corpus(name: str = "stories", num_documents: int = 12) -> Corpus:
    return Corpus(name, [text(name, i, num_sentences=8) for i in range(num_documents)])


def train_tokenizer(bos: bool = True) -> PreTrainedTokenizerFast:
    """A byte-level BPE; with `bos` it begins every text with <s>, as LLaMA's does."""
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB_SIZE,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([text("tokenizer", i) for i in range(20)], trainer)
    if not bos:
        return PreTrainedTokenizerFast(tokenizer_object=raw, eos_token="</s>")
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def random_llama(seed: int = 0) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        initializer_range=0.3,  # large, so that answers differ clearly
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval().requires_grad_(False)


class Known:
    """A model whose logits are a table: row t is what follows token t."""

    device = torch.device("cpu")

    def __init__(self, logits_VV: Sequence[Sequence[float]], dtype: torch.dtype = torch.float32):
        self.logits_VV = torch.tensor(logits_VV, dtype=dtype)
        self.shapes: list[tuple[int, ...]] = []  # of every forward pass

    def __call__(self, input_ids: torch.Tensor, use_cache: bool) -> SimpleNamespace:
        self.shapes.append(tuple(input_ids.shape))
        return SimpleNamespace(logits=self.logits_VV[input_ids])


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer()


def scorer_of(
    model: Any,
    tokenizer: Any = None,
    engine: str = "packed",
    batch_tokens: int = 512,
    **settings: Any,
) -> Scorer:
    """A scorer of a model in memory; its tokenizer is looked at for padding alone."""
    tokenizer, at_once = tokenizer or _tokenizer(), batch_tokens
    settings |= {"batch_tokens": at_once, "window_tokens": at_once}
    return engines.scorer_of(engine, model, tokenizer, **settings)


def perplexity_of(*corpora: object, **changes: object) -> Perplexity:
    settings = {"seq_len": 32, "stride": None, "bos": "stream"}
    settings |= {"max_windows": None, "batch_tokens": 256}
    return Perplexity(corpora=list(corpora), **(settings | changes))  # type: ignore[arg-type]


def zero_shot_of(folder: Path, *tasks: str, **changes: object) -> ZeroShot:
    settings = {
        "headline": {},
        "include_path": str(folder),
        "storycloze_path": None,
        "num_items": None,
    }
    return ZeroShot(tasks=list(tasks), **(settings | changes))  # type: ignore[arg-type]


def slow_nll(model: LlamaForCausalLM, window: np.ndarray) -> float:
    """Mean NLL of one window, one token after the other, summed in float64."""
    total = 0.0
    for end in range(1, len(window)):
        logits_V = model(input_ids=torch.from_numpy(window[None, :end])).logits[0, -1].double()
        total -= float(logits_V[window[end]] - logits_V.exp().sum().log())
    return total / (len(window) - 1)


def write_task(folder: Path, name: str, items: list[dict], **definition: object) -> None:
    """A task in lm-eval's format, with its items beside it."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "metadata": {"version": 3.0},
        **definition,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task))


def metric(name: str, aggregation: str = "mean", higher_is_better: bool = True) -> dict:
    return {"metric": name, "aggregation": aggregation, "higher_is_better": higher_is_better}


def write_tasks(folder: Path) -> None:
    """t_choice (multiple choice), t_word (last word), t_page (likelihood of a whole text)."""
    choice = [
        {
            "question": sentence("question", i),
            "choices": [sentence("choice", i, j) for j in range(2 + i % 3)],
            "label": i % 2,
        }
        for i in range(30)
    ]
    # Answers of one token to one question: lm-eval reads such requests off one row.
    choice += [
        {"question": sentence("question", i), "choices": ["Q", "Z"], "label": i % 2}
        for i in range(30, 40)
    ]
    write_task(
        folder,
        "t_choice",
        choice,
        output_type="multiple_choice",
        doc_to_text="Q: {{question}}\nA:",
        doc_to_target="label",
        doc_to_choice="choices",
        metric_list=[metric("acc"), metric("acc_norm")],
    )
    write_task(
        folder,
        "t_word",
        [{"text": sentence("word", i)} for i in range(25)],
        output_type="loglikelihood",
        doc_to_text="{{text.split(' ')[:-1]|join(' ')}}",
        doc_to_target="{{' '+text.split(' ')[-1]}}",
        metric_list=[metric("perplexity", "perplexity", False), metric("acc")],
    )
    write_task(
        folder,
        "t_page",
        [{"page": text("page", i)} for i in range(4)],
        output_type="loglikelihood_rolling",
        doc_to_text="",
        doc_to_target="{{page}}",
        metric_list=[
            metric("word_perplexity", "weighted_perplexity", False),
            metric("bits_per_byte", "bits_per_byte", False),
        ],
    )


def names_of_scored(monkeypatch: Any) -> list[str]:
    """The names of the parts that are scored from now on."""
    names: list[str] = []

    def watched(own: Any) -> Any:
        def score(*arguments: Any) -> Any:
            part = own(*arguments)
            names.append(part.name)
            return part

        return score

    for name in ("corpus", "task"):
        monkeypatch.setattr(Scoring, name, watched(getattr(Scoring, name)))
    return names
