"""Settings of a calibration set are checked completely, and seeds are whole numbers from 0."""

import pytest

from calib_sweep.dataset.calibration.settings import check_seed
from calib_sweep.errors import ConfigError


def test_all_mistakes_are_reported_at_once(settings):
    with pytest.raises(ConfigError) as caught:
        settings(num_samples=0, seq_len=2.5, design="disjiont", window="slices", bos="yes")
    assert len(caught.value.problems) == 5
    text = str(caught.value)
    assert "calibration.num_samples=0" in text and "calibration.seq_len=2.5" in text
    assert "'disjiont': expected one of disjoint, independent, reference" in text
    assert "slice, pack, document" in text and "none, document, sample" in text


@pytest.mark.parametrize("value", [True, "8", None, -3])
def test_a_count_is_a_whole_number(settings, value):
    with pytest.raises(ConfigError, match=r"calibration\.num_samples"):
        settings(num_samples=value)


def test_reference_design_has_no_whole_documents(settings):
    with pytest.raises(ConfigError, match=r"calibration\.window='document'.*slice or pack"):
        settings(design="reference", window="document")


def test_one_token_cannot_hold_bos_and_text(settings):
    with pytest.raises(ConfigError, match=r"calibration\.seq_len=1: expected at least 2"):
        settings(seq_len=1, bos="sample")


@pytest.mark.parametrize("seed", [-1, 1.0, "0", None, True])
def test_what_is_no_seed_is_refused(seed):
    with pytest.raises(ConfigError, match=r"seed=.*an integer >= 0"):
        check_seed(seed)


def test_seed_zero_is_a_seed():
    check_seed(0)
