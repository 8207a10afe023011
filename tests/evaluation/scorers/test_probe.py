"""Which models can be packed: the probe says so exactly where packed answers are those of HFLM.

Whether they are is found out here on all requests, one row each, through lm-eval's own class.
"""

import copy
import dataclasses
import inspect
from functools import cache

import numpy as np
import pytest
import torch
from helpers.fakes import TINY, byte_tokenizer, random_model, random_tokens, tiny_model
from transformers import LlamaForCausalLM

from calib_sweep.evaluation.requests import Request, Requests
from calib_sweep.evaluation.scorers.hflm import HFLMScorer
from calib_sweep.evaluation.scorers.packed import PackedScorer
from calib_sweep.evaluation.scorers.probe import difference, few
from calib_sweep.evaluation.windows import Windows
from calib_sweep.seeding import stream

SHORT, LONG = (3, 6), (30, 110)  # tokens of a context; windows of the tiny models see 16
ROTARY = TINY["gpt_neox"]
GROUPED = TINY["llama"]
GPT = {"vocab_size": 259, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 128}
LINEAR = {
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
EXPERTS = {
    "head_dim": 8,
    "num_experts": 2,
    "num_experts_per_tok": 1,
    "moe_intermediate_size": 16,
    "shared_expert_intermediate_size": 16,
}
# What the table of architectures has not: name, kind, settings, whether short and long items pack.
OTHERS = {
    "ALiBi": ("falcon", {**TINY["falcon"], "alibi": True}, "neither"),
    "ALiBi without positions": (
        "mpt",
        {"vocab_size": 259, "d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 1024},
        "neither",
    ),
    "local and global blocks": (
        "gpt_neo",
        {
            "vocab_size": 259,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "max_position_embeddings": 1024,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 48,  # places
        },
        "short",
    ),
    "chunks": (
        "llama4_text",
        {
            **GROUPED,
            "head_dim": 8,
            "attention_chunk_size": 16,
            "intermediate_size_mlp": 48,
            "num_local_experts": 2,
            "interleave_moe_layer_step": 2,
            "no_rope_layer_interval": 2,
        },
        "short",
    ),
    "frequencies of the longest": (
        "phi3",
        {
            **GROUPED,
            "max_position_embeddings": 256,
            "original_max_position_embeddings": 48,
            "rope_scaling": {
                "rope_type": "longrope",
                "short_factor": [1.0] * 4,
                "long_factor": [4.0] * 4,
            },
        },
        "short",
    ),
    "no positions in a block": ("smollm3", {**GROUPED, "no_rope_layer_interval": 2}, "both"),
    "positions that are learned": (
        "biogpt",
        {
            "vocab_size": 259,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": 128,
        },
        "both",
    ),
    "parallel attention": ("gptj", {**GPT, "rotary_dim": 4}, "both"),
    "short convolution": (
        "lfm2",
        {**GROUPED, "layer_types": ["conv", "full_attention"], "block_multiple_of": 16},
        "neither",
    ),
    "state space": (
        "mamba2",
        {
            "vocab_size": 259,
            "hidden_size": 32,
            "state_size": 8,
            "num_hidden_layers": 2,
            "num_heads": 8,
            "head_dim": 8,
            "n_groups": 1,
        },
        "neither",
    ),
    "recurrence": (
        "recurrent_gemma",
        {
            "vocab_size": 259,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "lru_width": 32,
            "attention_window_size": 16,
        },
        "neither",
    ),
    "linear attention": (
        "qwen3_next",
        {**GROUPED, **EXPERTS, **LINEAR, "layer_types": ["linear_attention", "full_attention"]},
        "neither",
    ),
}
OF_TABLE = dict.fromkeys(TINY, "both") | {
    "bloom": "neither",
    **dict.fromkeys(("mistral", "qwen2", "gemma2", "gemma3_text"), "short"),
}


@cache
def model_named(name):
    if name in TINY:
        return tiny_model(name)
    kind, settings, _ = OTHERS[name]
    return random_model(kind, settings)


@cache
def made_up(context, num_items=12):
    """Items of all shapes: several tokens, one token, contexts that differ, a single request."""
    draw = stream("tests/probe", *context, num_items)

    def tokens(num):
        return draw.integers(0, 256, num).tolist()

    items = []
    for number in range(num_items):
        before, kind = tokens(draw.integers(*context)), number % 4
        choices = [tokens(1 if kind == 1 else draw.integers(1, 9)) for _ in range(3)]
        if kind == 2:
            items.append([Request([*before[:-1], *tokens(1)], choices[0]) for _ in range(2)])
        else:
            items.append([Request(before, choice) for choice in choices[: 1 if kind == 3 else 3]])
    return items


def requests_of(*tasks):
    """Requests of tasks, which are lists of items."""
    rows, items = [], {}
    for number, task in enumerate(tasks):
        items[f"task{number}"] = []
        for item in task:
            items[f"task{number}"].append([*range(len(rows), len(rows) + len(item))])
            rows += item
    return Requests(rows, items)


def packed(model, batch_tokens=1024):
    return PackedScorer(
        model, byte_tokenizer(), batch_tokens=batch_tokens, window_tokens=batch_tokens
    )


def probed(model, *asked, windows=None, batch_tokens=1024):
    return difference(packed(model, batch_tokens), asked, windows)


def answers(scorer, requests):
    return np.array([answer.log_likelihood for answer in scorer.loglikelihoods(requests)])


def one_row_each(model, requests):
    """What HFLM says of one request after the other."""
    return answers(HFLMScorer(model, byte_tokenizer(), batch_tokens=1, window_tokens=1), requests)


def are_equal(model, requests, tolerance=1e-4):
    try:
        found = answers(packed(model), requests)
    except (AttributeError, ValueError, RuntimeError, TypeError):
        return False
    return bool(np.allclose(found, one_row_each(model, requests), rtol=0, atol=tolerance))


@pytest.mark.parametrize("name", [*TINY, *OTHERS])
def test_models_are_packed_exactly_where_that_gives_the_answers_of_hflm(name):
    model = model_named(name)
    packs = OF_TABLE[name] if name in TINY else OTHERS[name][2]
    for context, where in ((SHORT, ("short", "both")), (LONG, ("both",))):
        requests = requests_of(made_up(context))
        told = probed(model, requests)
        assert (told is None) == (packs in where), told
        assert are_equal(model, requests) == (packs in where)


@pytest.mark.parametrize("name", ["llama", "mistral", "gpt2", "mixtral", "gemma3_text", "ALiBi"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_hides_no_wrong_mask_and_is_no_wrong_mask(name, dtype):
    model = model_named(name)
    packs = OF_TABLE[name] if name in TINY else OTHERS[name][2]
    model = copy.deepcopy(model).to(dtype)
    assert (probed(model, requests_of(made_up(SHORT))) is None) == (packs != "neither")
    assert (probed(model, requests_of(made_up(LONG))) is None) == (packs == "both")


@pytest.mark.parametrize("batch_tokens", [1, 256, 4096])
@pytest.mark.parametrize("position", [0, 29])
def test_one_item_beyond_the_window_among_many_within_is_found(batch_tokens, position):
    model, many = model_named("mistral"), made_up(SHORT, 30)
    [beyond] = made_up((90, 91), 1)
    assert probed(model, requests_of(many), batch_tokens=batch_tokens) is None
    for one in (beyond, beyond[:1]):  # of several requests; of one, which may have a row to itself
        together = requests_of([*many[:position], one, *many[position:]])
        assert probed(model, together, batch_tokens=batch_tokens) is not None
        assert probed(model, requests_of(many, [one]), batch_tokens=batch_tokens) is not None
        apart = (requests_of(many), requests_of([one]))  # such as windows of whole texts
        assert probed(model, *apart, batch_tokens=batch_tokens) is not None


def test_a_row_for_one_request_is_probed_as_if_it_had_company():
    """It has none among the few that are probed, but among all a batch where a mask is needed."""
    model = tiny_model("mistral", sliding_window=64, max_position_embeddings=1024)
    alone = [Request([k % 250 for k in range(300)], [7, 8, 9])]
    shared, longest = (
        [Request([*range(20)], [b, *range(100, 119)]) for b in range(num)] for num in (15, 30)
    )
    requests = requests_of([*made_up(SHORT), longest, shared, alone])
    assert not are_equal(model, requests)
    assert "of 303 tokens" in probed(model, requests)
    assert are_equal(model, requests_of([*made_up(SHORT), longest, shared]))


def test_places_are_counted_in_rows_as_long_as_usual():
    """What all items begin with stands once in a row, far from the last one."""
    settings = OTHERS["local and global blocks"][1]
    model = random_model("gpt_neo", {**settings, "window_size": 600})
    items = [[Request([7, 8, *r.context], r.continuation) for r in i] for i in made_up(SHORT, 90)]
    scorer, requests = packed(model, 4096), requests_of(items)
    assert difference(scorer, [requests], None) is None  # rows of a CPU are short
    scorer.row_length = 1024
    found = answers(scorer, requests)
    assert np.abs(found - one_row_each(model, requests)).max() > 1e-3
    assert difference(scorer, [requests], None) is not None


class WithoutPositions(LlamaForCausalLM):
    """Counts places itself, whatever it is told."""

    def forward(self, *args, position_ids=None, attention_mask=None, **kwargs):
        return super().forward(*args, attention_mask=attention_mask, **kwargs)


class WithoutMask(LlamaForCausalLM):
    """Sees everything before."""

    def forward(self, *args, position_ids=None, attention_mask=None, **kwargs):
        return super().forward(*args, position_ids=position_ids, **kwargs)


class Capped(LlamaForCausalLM):
    """Takes a position for the last one that it knows where it is beyond."""

    def forward(self, *args, position_ids=None, attention_mask=None, **kwargs):
        if position_ids is not None:
            position_ids = position_ids.clamp(max=100)
        return super().forward(
            *args, position_ids=position_ids, attention_mask=attention_mask, **kwargs
        )


class Raising(LlamaForCausalLM):
    """Raises where it is given a mask."""

    error = ValueError("expected a mask of two dimensions")

    def forward(self, *args, position_ids=None, attention_mask=None, **kwargs):
        if attention_mask is not None:
            raise self.error
        return super().forward(*args, **kwargs)


class OutOfMemory(Raising):
    error = torch.OutOfMemoryError("CUDA out of memory.")


def made_of(kind):
    llama = model_named("llama")
    model = kind(llama.config).eval()
    model.load_state_dict(llama.state_dict())
    return model.requires_grad_(False)


def test_forwards_that_do_not_do_as_they_are_told_are_found():
    requests = requests_of(made_up(LONG))
    assert probed(made_of(LlamaForCausalLM), requests) is None
    for kind in (WithoutPositions, WithoutMask, Capped):
        assert "in a row with others" in probed(made_of(kind), requests)
    told = probed(made_of(Raising), requests)
    assert told == "its forward raises ValueError (expected a mask of two dimensions)"


def test_positions_are_told_from_places_by_short_items_too():
    assert probed(made_of(WithoutPositions), requests_of(made_up(SHORT))) is not None
    assert probed(made_of(WithoutMask), requests_of(made_up(SHORT))) is not None
    assert probed(made_of(Capped), requests_of(made_up(SHORT))) is None


def test_a_device_without_memory_says_nothing_of_the_model():
    with pytest.raises(torch.OutOfMemoryError):
        probed(made_of(OutOfMemory), requests_of(made_up(SHORT)))


def test_a_model_that_says_nan_is_not_packed():
    model = made_of(LlamaForCausalLM)
    model.lm_head.weight[0, 0] = float("nan")
    assert "nan" in probed(model, requests_of(made_up(SHORT)))


def test_a_model_that_says_nan_where_a_request_has_company_is_not_packed():
    """Each of its requests would be asked twice, the second time alone."""
    model = tiny_model()

    def lose(_model, _arguments, named, output):
        mask_BLL = named["attention_mask"][:, 0] if "attention_mask" in named else None
        if mask_BLL is not None and bool((mask_BLL.tril() != 0).any()):
            output.logits = output.logits * torch.nan
        return output

    model.register_forward_hook(lose, with_kwargs=True)
    requests = requests_of(made_up(SHORT))
    assert are_equal(model, requests)
    assert "nan" in probed(model, requests)


class Off(PackedScorer):
    """Is wrong by some nats for each token."""

    by = 0.0

    def loglikelihoods(self, requests):
        pairs = zip(requests, super().loglikelihoods(requests), strict=True)
        return [
            answer._replace(log_likelihood=answer.log_likelihood + self.by * len(continuation))
            for (_, continuation), answer in pairs
        ]


@pytest.mark.parametrize(
    ("dtype", "rounding", "wrong"),
    [
        (torch.float32, 1e-6, 2e-4),
        (torch.float16, 1e-3, 0.15),
        (torch.bfloat16, 1e-2, 0.8),
    ],
)
def test_what_passes_for_rounding_depends_on_the_dtype(dtype, rounding, wrong):
    model = copy.deepcopy(model_named("llama")).to(dtype)
    scorer = Off(model, byte_tokenizer(), batch_tokens=1024, window_tokens=1024)
    requests = requests_of(made_up(SHORT))
    for scorer.by in (0.0, rounding, -rounding):
        assert difference(scorer, [requests], None) is None
    for scorer.by in (wrong, -wrong, float("nan"), float("inf")):
        assert difference(scorer, [requests], None) is not None


class Forgetful(PackedScorer):
    """Takes the log-probabilities of windows from the place before."""

    def log_probs(self, windows):
        for part, log_probs_PV in super().log_probs(windows):
            yield part, log_probs_PV.roll(1, 0)


def test_windows_are_probed_too():
    model, tokens_NT = model_named("llama"), random_tokens(5, 64).numpy()
    scored_NT = np.zeros(tokens_NT.shape, dtype=bool)
    scored_NT[0, 60:] = scored_NT[2:, 1:] = True  # none of the second window
    for windows in (Windows.whole("w@64", tokens_NT), Windows("w@64", tokens_NT, scored_NT)):
        assert probed(model, windows=windows) is None
        wrong = Forgetful(model, byte_tokenizer(), batch_tokens=1024, window_tokens=1024)
        assert "of 64 tokens" in difference(wrong, [], windows)
    assert probed(model_named("mistral"), windows=windows) is None  # no row has others


class ScalesLogits(LlamaForCausalLM):
    """Does something to its logits that depends on where they stand."""

    def forward(self, *args, **kwargs):
        found = super().forward(*args, **kwargs)
        found.logits = found.logits / torch.arange(1, found.logits.shape[1] + 1)[:, None]
        return found


def test_a_head_whose_places_count_is_found_and_hflm_runs_it_at_all_places():
    model, windows = made_of(ScalesLogits), Windows.whole("w@64", random_tokens(2, 64).numpy())
    windows = dataclasses.replace(windows, scored_NT=windows.scored_NT & (np.arange(64) > 50))
    model.forward.__func__.__signature__ = inspect.signature(LlamaForCausalLM.forward)
    assert "alone" in probed(model, windows=windows)
    scorer = HFLMScorer(model, byte_tokenizer(), batch_tokens=1, window_tokens=128)
    ((_, log_probs_PV),) = scorer.log_probs(windows)
    logits_NTV = model(torch.from_numpy(windows.tokens_NT)).logits[:, 50:63]
    assert torch.equal(log_probs_PV, logits_NTV.flatten(0, 1).log_softmax(-1))


def test_nothing_to_score_is_no_difference():
    assert probed(model_named("llama"), Requests([])) is None
    assert probed(model_named("bloom")) == "its forward takes no position_ids"


def test_a_few_items_are_probed_the_extreme_ones_among_them():
    choices = [Request([1, 2, 3, 4], [5, 6]), Request([1, 2, 3, 4], [7, 8])]
    plain = [choices, [Request([1, 2, 3], [4])]] * 10  # none of the others is the first of a shape
    furthest = [Request([9] * 40, [1])]
    shortest = [Request([9], [1])]
    branched = [Request([8], [k] * 15) for k in range(4)]
    items = [*plain, shortest, *plain, furthest, *plain, branched]
    found, num_compared = few([requests_of(items[:30]), requests_of(items[30:])], 128, 0)
    own = [[found[i] for i in item] for item in found.items[""]]
    assert all(item in own for item in (furthest, shortest, branched))
    assert len(own) <= 3 + 2 * 4
    assert num_compared == len(found)
    more, same_number = few([requests_of(items)], 128, 200)
    assert list(more[:num_compared]) == list(found) and same_number == num_compared
    others = sum(len(r.context + r.continuation) for r in more[num_compared:])
    assert 50 < others < 250  # they fill what the few leave of 200 places
    cut, _ = few([requests_of([[Request([1] * 300, [2, 3])]])], 128, 1000)
    assert list(cut) == [Request([1] * 127, [2, 3])]
    assert list(found) == [request for item in own for request in item]
    assert list(found.items) == [""]
