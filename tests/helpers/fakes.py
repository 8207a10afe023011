"""Tiny random models of every supported architecture, and a byte tokenizer; nothing is downloaded.

model = tiny_model("llama")
folder = save_tiny("llama", tmp_path / "tiny")     a checkpoint with its tokenizer
"""

from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerFast
from transformers.models.auto import CONFIG_MAPPING

VOCAB_SIZE = 259  # 256 bytes and three special tokens
BOS, EOS, PAD = "<s>", "</s>", "<pad>"

_ROTARY = {
    "vocab_size": VOCAB_SIZE,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
_GROUPED = {**_ROTARY, "num_key_value_heads": 2}
_SPECIAL = {"bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}

# Architecture, as transformers calls it: the settings that make it tiny.
TINY = {
    "llama": _GROUPED,
    "mistral": {**_GROUPED, "sliding_window": 16},
    "qwen2": {  # the second block attends through another mask than the first
        **_GROUPED,
        "use_sliding_window": True,
        "sliding_window": 16,
        "max_window_layers": 1,
    },
    "qwen3": {**_GROUPED, "head_dim": 8},
    "opt": {
        "vocab_size": VOCAB_SIZE,
        "hidden_size": 32,
        "word_embed_proj_dim": 16,
        "ffn_dim": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 128,
    },
    "gpt2": {"vocab_size": VOCAB_SIZE, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128},
    "gpt_neox": {**_ROTARY, "rotary_pct": 0.5},
    "gemma2": {**_GROUPED, "head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8},
    "gemma3_text": {  # the first block attends in a window, the second to everything
        **_GROUPED,
        "head_dim": 8,
        "sliding_window": 16,
        "query_pre_attn_scalar": 8,
        "layer_types": ["sliding_attention", "full_attention"],
    },
    "phi": _GROUPED,
    "phi3": {**_GROUPED, "original_max_position_embeddings": 128},
    "falcon": {**_ROTARY, "ffn_hidden_size": 48},
    "bloom": {"vocab_size": VOCAB_SIZE, "hidden_size": 32, "n_layer": 2, "n_head": 4},
    "stablelm": _GROUPED,
    "olmo2": _GROUPED,
    "mixtral": {**_GROUPED, "num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {
        **_GROUPED,
        "head_dim": 8,
        "moe_intermediate_size": 16,
        "num_experts": 4,
        "num_experts_per_tok": 2,
    },
}
TINY["qwen2_moe"] = {**TINY["qwen3_moe"], "shared_expert_intermediate_size": 48}
FUSES_EXPERTS = int(transformers.__version__.split(".")[0]) >= 5  # older releases: modules
if FUSES_EXPERTS:  # transposed, gate and up row by row in turn, with biases; older: in its own form
    TINY["gpt_oss"] = {**TINY["mixtral"], "head_dim": 8}
# Enough for most tests: grouped heads, windows, blocks that differ, learned positions, transposed
# matrices, parallel attention. `model/test_architectures.py` goes through all of TINY.
ARCHITECTURES = ("llama", "mistral", "qwen2", "qwen3", "opt", "gpt2", "gpt_neox")


def tiny_model(architecture: str = "llama", seed: int = 0, **settings: object) -> PreTrainedModel:
    """A random two-block model in eval mode, float32; equal arguments, equal weights."""
    return random_model(architecture, {**TINY[architecture], **settings}, seed)


def random_model(architecture: str, settings: dict, seed: int = 0) -> PreTrainedModel:
    """The same of any architecture that transformers has, of this size."""
    config = CONFIG_MAPPING[architecture](**{**_SPECIAL, **settings})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config)
        # The usual small initialisation gives nearly equal features; real ones are not.
        for parameter in model.parameters():
            if parameter.ndim >= 2:
                torch.nn.init.normal_(parameter, std=0.2)
    return model.eval().requires_grad_(False)


def byte_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte of UTF-8; adds BOS when special tokens are asked for."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {symbol: index for index, symbol in enumerate([*alphabet, BOS, EOS, PAD])}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([BOS, EOS, PAD])
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, vocab[BOS])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=BOS, eos_token=EOS, pad_token=PAD
    )


def random_tokens(num_samples: int, seq_len: int, seed: int = 0) -> torch.Tensor:
    """Uniform byte tokens [num_samples, seq_len]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (num_samples, seq_len), generator=generator)


def save_tiny(architecture: str, folder: Path, seed: int = 0, **settings: object) -> Path:
    """Write a tiny model and the byte tokenizer as a checkpoint; returns the folder."""
    tiny_model(architecture, seed, **settings).save_pretrained(folder)
    byte_tokenizer().save_pretrained(folder)
    return folder
