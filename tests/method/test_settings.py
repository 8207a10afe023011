"""Settings of methods: what is accepted, and what the person typing is told."""

import pytest

from calib_sweep.errors import ConfigError
from calib_sweep.method.awq import AWQ
from calib_sweep.method.magnitude import Magnitude
from calib_sweep.method.rtn import RTN
from calib_sweep.method.sparsegpt import SparseGPT
from calib_sweep.method.wanda import Wanda


def magnitude(sparsity, pattern="unstructured", compare="layer"):
    return Magnitude(sparsity=sparsity, pattern=pattern, compare=compare)


def sparsegpt(**settings):
    defaults = {"sparsity": 0.5, "pattern": "unstructured", "bits": None, "group_size": None}
    defaults |= {"symmetric": False, "damping": 0.01, "block_size": 128, "off_diagonal": 1}
    return SparseGPT(**{**defaults, **settings})


@pytest.mark.parametrize("sparsity", ["half", -0.1, 1, 1.5, None, True, float("nan")])
def test_sparsity_outside_zero_to_one_is_refused(sparsity):
    with pytest.raises(ConfigError, match=r"method\.sparsity=.*fraction in \[0, 1\).*=0\.5"):
        Wanda(sparsity=sparsity, pattern="unstructured")


@pytest.mark.parametrize("pattern", ["2-4", "4:2", "0:4", "4:4", 124, None, "2:4 ", ""])
def test_pattern_that_is_no_pattern_is_refused(pattern):
    with pytest.raises(ConfigError, match=r"method\.pattern=.*N:M.*2:4"):
        Wanda(sparsity=0.5, pattern=pattern)


def test_pattern_and_sparsity_must_agree_and_the_message_says_what_to_type():
    with pytest.raises(ConfigError, match=r"method\.sparsity=0\.5.*Type method\.sparsity=0\.75"):
        magnitude(0.5, "1:4")
    magnitude(0.75, "1:4")
    magnitude(1 - 1 / 3, "1:3")


@pytest.mark.parametrize("compare", ["rows", None, True, 0])
def test_compare_is_layer_or_row(compare):
    with pytest.raises(ConfigError, match=r"method\.compare=.*layer or row"):
        magnitude(0.5, compare=compare)


def test_a_pattern_compares_within_its_groups_only():
    with pytest.raises(ConfigError, match=r"method\.compare='row'.*method\.pattern=unstructured"):
        magnitude(0.5, "2:4", compare="row")


def test_two_mistakes_are_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        sparsegpt(sparsity=2, damping=-1, block_size=0)
    text = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "method.sparsity=2" in text and "method.damping=-1" in text
    assert "method.block_size=0" in text


def test_block_size_must_hold_whole_groups():
    with pytest.raises(ConfigError, match=r"method\.block_size=6: expected a multiple of 4"):
        sparsegpt(pattern="2:4", block_size=6)


@pytest.mark.parametrize("damping", [float("inf"), float("nan"), "much"])
def test_damping_must_be_a_finite_number(damping):
    with pytest.raises(ConfigError, match=r"method\.damping=.*a number >= 0"):
        sparsegpt(damping=damping)


def test_grid_settings_are_checked_together():
    with pytest.raises(ConfigError) as caught:
        RTN(bits=4.5, group_size=0, symmetric="yes")  # pyright: ignore
    assert [problem.split("=")[0] for problem in caught.value.problems] == [
        "method.bits",
        "method.group_size",
        "method.symmetric",
    ]


@pytest.mark.parametrize(
    "method",
    [
        magnitude(0.5, "2:4"),
        Wanda(sparsity=0.5, pattern="2:4"),
        sparsegpt(pattern="2:4"),
    ],
)
def test_a_pattern_must_fit_the_width_of_the_layer(method):
    method.check_shape("block 0 mlp.up_proj", 7, 12)
    with pytest.raises(
        ConfigError, match=r"method\.pattern='2:4'.*the 10 input features of .*mlp\.up_proj"
    ):
        method.check_shape("block 0 mlp.up_proj", 8, 10)


def test_a_group_of_awq_must_fit_the_width_of_the_layer():
    settings = {"bits": 4, "group_size": 128, "symmetric": False}
    awq = AWQ(**settings, scale_steps=20, clip_steps=20, max_shrink=0.5)
    awq.check_shape("block 0 o_proj", 7, 256)
    with pytest.raises(ConfigError, match=r"method\.group_size=128.*the 100 input features.*2, 4"):
        awq.check_shape("block 0 o_proj", 128, 100)
    RTN(**settings).check_shape("block 0 o_proj", 128, 100)


def test_unstructured_and_whole_rows_fit_every_layer():
    Wanda(sparsity=0.5, pattern="unstructured").check_shape("block 0 o_proj", 3, 7)
    RTN(bits=4, group_size=None, symmetric=True).check_shape("block 0 o_proj", 3, 7)
