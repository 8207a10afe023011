"""Statistics are sums: two that saw a half each are one that saw the whole."""

from dataclasses import dataclass

import pytest
import torch
from helpers.fakes import random_tokens, tiny_model

from calib_sweep.compression.walk import compress
from calib_sweep.errors import ConfigError
from calib_sweep.method.base import CompressedWeight, LayerMethod
from calib_sweep.method.statistics.hessian import Hessian
from calib_sweep.method.statistics.input_moments import HessianMoments, InputMoments
from calib_sweep.method.statistics.input_norm import InputNorm
from calib_sweep.method.statistics.input_profile import InputProfile
from calib_sweep.method.statistics.input_range import InputRange
from calib_sweep.method.statistics.statistic import TENSOR_CORES, Statistic
from calib_sweep.model.blocks import decoder_blocks, linear_layers

KINDS = [InputNorm, Hessian, InputProfile]
NUM_IN, SAMPLE = 6, 64


class LargestInput(Statistic):
    """A statistic of somebody else's: the largest magnitude of every feature."""

    def __init__(self, num_in, device="cpu"):
        super().__init__(num_in, device)
        self.largest_I = torch.zeros(num_in, device=self.device)

    def _accumulate(self, inputs_TI):
        self.largest_I = torch.maximum(self.largest_I, inputs_TI.abs().amax(dim=0))

    def _merge(self, other):
        self.largest_I = torch.maximum(self.largest_I, other.largest_I.to(self.device))

    def square_sum_I(self):
        return self.largest_I.square()


@dataclass(frozen=True, kw_only=True)
class RemoveQuietest(LayerMethod):
    statistic = LargestInput

    def compress_weight(self, weight_OI, statistic):
        new_OI = weight_OI.clone()
        new_OI[:, statistic.largest_I.argmin()] = 0
        return CompressedWeight(weight_OI=new_OI)


def inputs(num_samples, seed=0, whole_numbers=False):
    generator = torch.Generator().manual_seed(seed)
    inputs_TI = torch.randn(num_samples * SAMPLE, NUM_IN, generator=generator)
    return (4 * inputs_TI).round() if whole_numbers else inputs_TI


def seen(kind, inputs_TI, batch=4 * SAMPLE):
    statistic = kind(NUM_IN)
    for rows_TI in inputs_TI.split(batch):
        statistic.add(rows_TI, len(rows_TI) // SAMPLE)
    return statistic


def what_is_read(statistic):
    """Everything that methods read of a statistic, by name."""
    weight_OI = torch.randn(5, NUM_IN, generator=torch.Generator().manual_seed(9))
    read = {"square sum": statistic.square_sum_I()}
    read["error"] = torch.tensor(statistic.weighted_square_sum(weight_OI) or 0.0)
    if isinstance(statistic, InputNorm):
        read["norm"] = statistic.norm_I()
    if isinstance(statistic, Hessian):
        read["upper"] = statistic.inverse_factor(0.01).upper_II
    if isinstance(statistic, InputProfile):
        read |= {"magnitude": statistic.mean_magnitude_I(), "tokens": statistic.spaced_TI()}
    return read


@pytest.mark.parametrize("kind", [*KINDS, LargestInput])
@pytest.mark.parametrize(("first", "second"), [(16, 16), (64, 16), (1, 3), (0, 5), (5, 0)])
@pytest.mark.parametrize("exact", [True, False])
def test_two_halves_are_the_whole(kind, first, second, exact):
    """To the last bit where the sums are of whole numbers, which no order of additions rounds."""
    whole_TI = inputs(first + second, whole_numbers=exact)
    merged = seen(kind, whole_TI[: first * SAMPLE])
    what_is_read(merged)  # what is computed from a half must not outlive it
    merged.merge(seen(kind, whole_TI[first * SAMPLE :]))
    whole = seen(kind, whole_TI)
    assert (merged.num_tokens, merged.num_samples) == (whole.num_tokens, whole.num_samples)
    expected = what_is_read(whole)
    for name, tensor in what_is_read(merged).items():
        tolerance = 0 if exact else 1e-5
        torch.testing.assert_close(tensor, expected[name], rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_after_a_merge_counts_and_the_other_is_left_alone(kind):
    parts = [inputs(8, seed) for seed in range(3)]
    merged, other = seen(kind, parts[0]), seen(kind, parts[1])
    before = {name: tensor.clone() for name, tensor in what_is_read(other).items()}
    merged.merge(other)
    merged.add(parts[2], 8)
    expected = what_is_read(seen(kind, torch.cat(parts)))
    for name, tensor in what_is_read(merged).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5)
    for name, tensor in what_is_read(other).items():
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize(("first", "second"), [(3, 40), (41, 2), (19, 22)])
def test_joined_tokens_are_as_many_and_as_far_apart_as_of_the_whole(first, second):
    whole_TI = torch.arange((first + second) * SAMPLE * NUM_IN).float().reshape(-1, NUM_IN)
    merged = seen(InputProfile, whole_TI[: first * SAMPLE])
    merged.merge(seen(InputProfile, whole_TI[first * SAMPLE :]))
    place = merged.spaced_TI()[:, 0] / NUM_IN
    step = (seen(InputProfile, whole_TI).spaced_TI()[1, 0] / NUM_IN).item()
    gaps = place.diff()
    assert 512 <= len(place) <= 1025
    assert (gaps == step).sum() >= len(gaps) - 1 and (gaps > 0).all() and gaps.max() <= step


@pytest.mark.parametrize("ends", [(901, 2500), (1, 700, 701, 4100), (1030, 1030, 3001)])
def test_ranks_that_know_their_places_keep_the_tokens_that_one_keeps(ends):
    whole_TI = torch.arange(ends[-1] * NUM_IN).float().reshape(-1, NUM_IN)
    merged, start = InputProfile(NUM_IN), 0
    for end in ends:
        part = InputProfile(NUM_IN)
        part.num_before = start
        for rows_TI in whole_TI[start:end].split(97):
            part.add(rows_TI)
        merged.merge(part)
        start = end
    assert torch.equal(merged.spaced_TI(), seen(InputProfile, whole_TI).spaced_TI())


@pytest.mark.parametrize("kind", [*KINDS, LargestInput, InputMoments, HessianMoments, InputRange])
def test_what_is_sent_is_all_but_the_sums(kind):
    """Sums of an added tensor each, and the rest merged: what `merge` makes of the whole."""
    parts = [seen(kind, inputs(4, seed)) for seed in range(2)]
    expected = seen(kind, inputs(4, 0))
    expected.merge(parts[1])
    merged = kind(NUM_IN).without_sums()
    for part in parts:
        light = part.without_sums()
        assert all(getattr(light, name) is None for name in kind.sums)
        merged.merge(light)
    for name in kind.sums:
        setattr(merged, name, getattr(parts[0], name) + getattr(parts[1], name))
    found = what_is_read(merged)
    for name, tensor in what_is_read(expected).items():
        assert torch.equal(found[name], tensor), name


def test_products_of_tensor_cores_are_not_forgotten():
    plain, other = seen(Hessian, inputs(1)), seen(Hessian, inputs(1))
    other.products = TENSOR_CORES
    plain.merge(other)
    assert plain.products == TENSOR_CORES


def test_statistics_of_different_kinds_or_widths_do_not_add():
    with pytest.raises(AssertionError):
        InputNorm(4).merge(Hessian(4))
    with pytest.raises(AssertionError):
        InputNorm(4).merge(InputNorm(5))


def test_a_statistic_of_somebody_elses_fits():
    model = tiny_model()
    reports = compress(model, RemoveQuietest(), random_tokens(4, 24))
    weight_OI = linear_layers(decoder_blocks(model)[0])["mlp.up_proj"].weight_OI()
    assert (weight_OI == 0).all(dim=0).sum() == 1
    assert all(report.num_tokens == 4 * 24 and report.output_error is None for report in reports)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_weight_stands_for_so_many_rows(kind, dtype):
    rows_TI = inputs(4).to(dtype)
    times_T = torch.randint(1, 4, (len(rows_TI),), generator=torch.Generator().manual_seed(2))
    weighted, repeated = kind(NUM_IN), kind(NUM_IN)
    weighted.add(rows_TI, 4, times_T.float())
    repeated.add(rows_TI.repeat_interleave(times_T, dim=0), 4)
    assert weighted.sum_weights == repeated.sum_weights == repeated.num_tokens == times_T.sum()
    assert (weighted.num_tokens, weighted.num_samples) == (len(rows_TI), 4)
    expected = what_is_read(repeated)
    read = what_is_read(weighted)
    if kind is InputProfile:  # all tokens are kept here
        for profile, found in ((weighted, read), (repeated, expected)):
            found["tokens"] = profile.spaced_products_GCC(NUM_IN)
    for name, tensor in read.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_weighted_halves_are_the_whole(kind):
    whole_TI = inputs(8)
    weights_T = torch.rand(len(whole_TI), generator=torch.Generator().manual_seed(2)) + 0.1
    merged, other, whole = kind(NUM_IN), kind(NUM_IN), kind(NUM_IN)
    merged.add(whole_TI[:256], 4, weights_T[:256])
    other.add(whole_TI[256:], 4, weights_T[256:])
    merged.merge(other)
    whole.add(whole_TI, 8, weights_T)
    assert merged.sum_weights == pytest.approx(whole.sum_weights)
    expected = what_is_read(whole)
    for name, tensor in what_is_read(merged).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5)


def test_a_statistic_that_counts_every_token_once_says_so():
    with pytest.raises(ConfigError, match=r"calibration\.weighting: .*LargestInput.*_accumulate_w"):
        LargestInput(NUM_IN).add(inputs(1), 1, torch.full((SAMPLE,), 0.5))
