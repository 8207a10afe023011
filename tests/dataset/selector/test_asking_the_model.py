"""Selectors that ask the dense model: against references that forward one sample at a time."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers.fakes import random_tokens, tiny_model

from calib_sweep.dataset.selector.kmeans import KMeansCentres, central, hidden_features
from calib_sweep.dataset.selector.perplexity import PerplexityBand
from calib_sweep.model import likelihood
from calib_sweep.seeding import stream

KMEANS = KMeansCentres(name="kmeans", pool_size=None)


@pytest.fixture(scope="module")
def model():
    return tiny_model("llama")


@pytest.fixture
def pool(pool_of, model):
    """Twelve candidates of 2 to 13 tokens."""
    rows = random_tokens(12, 13).numpy()
    return pool_of([row[: 2 + i] for i, row in enumerate(rows)], model=model)


def perplexity(model, row):
    with torch.inference_mode():
        logits = model(torch.as_tensor(row)[None]).logits[0].double().numpy()
    exp = np.exp(logits - logits.max(1, keepdims=True))
    share = exp / exp.sum(1, keepdims=True)
    told = [share[place, token] for place, (_, token) in enumerate(pairwise(row))]
    return np.exp(-np.mean(np.log(told)))


def test_perplexities_are_those_of_each_sample_alone(pool, model):
    band = PerplexityBand(name="perplexity", pool_size=None, low=0.25, high=0.75)
    selection = band.select(pool, 4)
    own = np.array([perplexity(model, row) for row in pool.rows])
    assert selection.scores_C == pytest.approx(own, rel=1e-4)
    assert selection.chosen.tolist() == sorted(np.argsort(own)[3:9])[:4]
    assert selection.cost == {"tokens_read": sum(range(2, 14))}


def test_a_sample_without_a_perplexity_is_above_all(pool_of, model):
    pool = pool_of([[5], [6, 7], [8, 9]], model=model)
    band = PerplexityBand(name="perplexity", pool_size=None, low=0, high=0.67)
    assert band.select(pool, 2).chosen.tolist() == [1, 2]


def features(model, row, projections):
    """As the definition says, all blocks joined and projected at once."""
    with torch.inference_mode():
        block_outputs = []
        hooks = [
            block.register_forward_hook(lambda _m, _i, out: block_outputs.append(out))
            for block in model.model.layers
        ]
        model(torch.as_tensor(row)[None])
        for hook in hooks:
            hook.remove()
    joined = []
    for output in block_outputs:
        states = (output[0] if isinstance(output, tuple) else output).reshape(len(row), -1)
        mean = states.double().numpy().mean(0)
        joined.append(mean / np.sqrt((mean**2).sum()))
    return np.concatenate(joined) @ projections


def test_features_are_projected_means_of_each_block(pool, model):
    drawn = [stream("selector/kmeans/projection", "pool", 0, i) for i in range(2)]
    projections = np.concatenate([one.standard_normal((32, 64)) / 8 for one in drawn])
    own = np.array([features(model, row, projections) for row in pool.rows])
    assert hidden_features(pool) == pytest.approx(own, abs=2e-6)
    assert not model.model.layers[0]._forward_hooks


def test_batches_move_no_choice(pool, monkeypatch):
    chosen, found = [], []
    for size in (1, 30, 1000):
        monkeypatch.setattr(likelihood, "ON_CPU", size)
        found.append(hidden_features(pool))
        chosen.append(KMEANS.select(pool, 4).chosen)
    assert found[1] == pytest.approx(found[0], abs=1e-6)
    assert chosen[0] == chosen[1] == chosen[2]


def test_projection_and_start_belong_to_the_seed(pool_of, model):
    rows = random_tokens(40, 8).tolist()
    chosen = [tuple(KMEANS.select(pool_of(rows, seed=s, model=model), 6).chosen) for s in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


def test_the_nearest_to_each_centre_by_hand():
    """Two groups far apart; the second of each is its mean."""
    features_CF = np.array([[0, 0], [1, 0], [2, 0], [90, 8], [90, 9], [90, 10.0]])
    chosen, distance_C, num_empty = central(features_CF, 2, 0)
    assert chosen == [1, 4] and num_empty == 0
    assert distance_C == pytest.approx([1, 0, 1, 1, 0, 1])


def test_every_cluster_gives_its_nearest_member():
    features_CF = np.random.default_rng(0).standard_normal((80, 5)).astype(np.float32)
    chosen, distance_C, _ = central(features_CF, 9, 3)
    from sklearn.cluster import KMeans

    label_C = KMeans(9, n_init=10, random_state=3).fit_predict(features_CF)
    nearest = [min(np.flatnonzero(label_C == k), key=lambda i: distance_C[i]) for k in range(9)]
    assert chosen == sorted(nearest)


def test_of_two_in_a_cluster_the_first_is_taken_whatever_rounding_says():
    pairs = np.repeat(np.arange(6)[:, None] * 100.0, 2, axis=0)
    for sign in (1, -1):  # which of the two the mean, rounded, is nearer to
        pairs[1::2] = pairs[::2] + 1 + sign * 1e-9
        assert central(pairs, 6, 0)[0] == [0, 2, 4, 6, 8, 10]


def test_equal_candidates_leave_clusters_empty_which_the_first_others_fill():
    features_CF = np.repeat(np.eye(2), 3, axis=0)
    chosen, _, num_empty = central(features_CF, 4, 0)
    assert num_empty == 2 and len(chosen) == 4 and {0, 3} <= set(chosen)


def test_as_many_samples_as_candidates_are_all(pool):
    assert KMEANS.select(pool, 12).chosen == list(range(12))


@pytest.mark.parametrize("architecture", ["gpt2", "opt", "gpt_neox"])
def test_other_architectures_are_asked_too(architecture, pool_of):
    pool = pool_of(random_tokens(6, 8).tolist(), model=tiny_model(architecture))
    assert len(KMEANS.select(pool, 3).chosen) == 3
    assert np.isfinite(hidden_features(pool)).all()
