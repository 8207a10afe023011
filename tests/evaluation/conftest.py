"""A small tokenizer, random models, a corpus in memory, local tasks of all three kinds. Offline."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from calib_sweep.seeding import stream

WORDS = (
    *("the", "a", "red", "blue", "old", "small", "cat", "dog", "bird", "fox", "river", "hill"),
    *("town", "boat", "sees", "finds", "likes", "follows", "under", "over", "near", "with"),
    *("and", "then", "says", "that", "Anna", "Ben", "Carl", "Dora"),
)


def sentence(*parts) -> str:
    draw = stream("tests/sentence", *parts)
    return " ".join(draw.choice(WORDS, size=int(draw.integers(6, 18)))) + "."


def text(*parts, num_sentences: int = 40) -> str:
    return " ".join(sentence(*parts, i) for i in range(num_sentences))


@pytest.fixture(scope="session")
def tokenizer():
    """A BPE of 300 entries that begins every text with <s>, as LLaMA's does."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<s>", "</s>", "<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator([text("tokenizer", i) for i in range(20)], trainer)
    raw.post_processor = processors.TemplateProcessing(
        single="<s> $A", special_tokens=[("<s>", raw.token_to_id("<s>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def random_llama(seed: int = 0, **changes):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {
        "vocab_size": 300,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "initializer_range": 0.3,  # large, so that answers differ clearly
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(LlamaConfig(**(sizes | changes))).eval().requires_grad_(False)


@pytest.fixture(scope="session")
def model():
    return random_llama(0)


@pytest.fixture(scope="session")
def other_model():
    """The same model with a little noise on every weight: a stand-in for a compressed one."""
    import torch

    other = random_llama(0)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.03 * torch.randn(parameter.shape, generator=generator))
    return other


@dataclass
class Corpus:
    """A dataset of texts in memory."""

    name: str
    texts: list[str]

    def documents(self) -> list[str]:
        return self.texts


def corpus(name: str = "stories", num_documents: int = 12) -> Corpus:
    return Corpus(name, [text(name, i, num_sentences=8) for i in range(num_documents)])


@pytest.fixture(scope="session")
def task_folder(tmp_path_factory) -> Path:
    """t_choice (multiple choice), t_word (last word), t_rolling (likelihood of a whole text)."""
    folder = tmp_path_factory.mktemp("tasks")
    choice = [
        {
            "question": sentence("question", i),
            "choices": [sentence("choice", i, j) for j in range(2 + i % 3)],
            "label": i % 2,
        }
        for i in range(30)
    ]
    # One-token answers to one question: lm-eval computes such requests together.
    choice += [
        {"question": sentence("question", i), "choices": [" cat", " dog"], "label": i % 2}
        for i in range(30, 40)
    ]
    word = [{"text": sentence("word", i)} for i in range(25)]
    page = [{"page": text("page", i)} for i in range(4)]
    define = {
        "t_choice": (
            choice,
            {
                "output_type": "multiple_choice",
                "doc_to_text": "Q: {{question}}\nA:",
                "doc_to_target": "label",
                "doc_to_choice": "choices",
                "metric_list": [_metric("acc"), _metric("acc_norm")],
            },
        ),
        "t_word": (
            word,
            {
                "output_type": "loglikelihood",
                "doc_to_text": "{{text.split(' ')[:-1]|join(' ')}}",
                "doc_to_target": "{{' '+text.split(' ')[-1]}}",
                "metric_list": [_metric("perplexity", "perplexity", False), _metric("acc")],
            },
        ),
        "t_rolling": (
            page,
            {
                "output_type": "loglikelihood_rolling",
                "doc_to_text": "",
                "doc_to_target": "{{page}}",
                "metric_list": [_metric("word_perplexity", "weighted_perplexity", False)],
            },
        ),
    }
    for name, (items, definition) in define.items():
        data = folder / f"{name}.jsonl"
        data.write_text("".join(json.dumps(item) + "\n" for item in items))
        definition |= {
            "task": name,
            "dataset_path": "json",
            "dataset_kwargs": {"data_files": {"test": str(data)}},
            "test_split": "test",
            "metadata": {"version": 3.0},
        }
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(definition))
    return folder


def _metric(name: str, aggregation: str = "mean", higher_is_better: bool = True) -> dict:
    return {"metric": name, "aggregation": aggregation, "higher_is_better": higher_is_better}
