import math

import pytest

from calib_sweep.analysis.settings import AnalysisSettings, read_settings
from calib_sweep.errors import ConfigError

VALUES = {
    "seed": 0,
    "num_resamples": 1000,
    "better_from": 0.75,
    "power": 0.8,
    "targets": [0.01],
    "equivalence": {"acc": 0.005},
}


def test_the_shipped_settings_are_accepted_and_can_be_changed():
    assert read_settings().seed == 0
    changed = read_settings(["analysis.seed=7", "analysis.targets=[0.02,0.5]"])
    assert (changed.seed, changed.targets) == (7, [0.02, 0.5])


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("seed", -1, "analysis.seed=-1: expected an integer >= 0"),
        ("seed", True, "analysis.seed=True"),
        (
            "num_resamples",
            10,
            "expected an integer >= 1000. Example: 'analysis.num_resamples=2000'",
        ),
        ("better_from", 0.5, "a probability between 0.5 and 1"),
        ("power", 80, "a share between 0.5 and 1"),
        ("targets", 0.01, "a list of numbers"),
        ("targets", "0.01", "a list of numbers"),
        ("targets", [], "a list of numbers"),
        ("equivalence", 0.01, "metrics with numbers between 0 and 1"),
        ("equivalence", {"acc": 5}, "metrics with numbers between 0 and 1"),
    ],
)
def test_a_wrong_value_is_told_with_its_key_and_a_remedy(key, value, says):
    with pytest.raises(ConfigError) as error:
        AnalysisSettings(**VALUES | {key: value})
    assert says in str(error.value)
    assert f"analysis.{key}=" in str(error.value)


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        AnalysisSettings(**VALUES | {"seed": "x", "power": 2})
    assert len(error.value.problems) == 2


def test_an_unknown_key_names_the_known_ones():
    with pytest.raises(ConfigError) as error:
        read_settings(["analysis.sed=1"])
    assert "analysis.sed=1: expected one of analysis.seed" in str(error.value)
    assert "Did you mean analysis.seed?" in str(error.value)


def test_what_cannot_be_read_is_told_with_what_was_typed_and_all_else():
    with pytest.raises(ConfigError) as error:
        read_settings(["analysis.equivalence={acc: 0.01", "analysis.sed=1"])
    first, second = error.value.problems
    assert first.startswith("analysis.equivalence={acc: 0.01: cannot be read")
    assert second.startswith("analysis.sed=1")
    with pytest.raises(ConfigError, match=r"analysis\.power=None"):
        read_settings(["analysis.power=null"])


def test_a_margin_of_one_kind_can_be_set_alone():
    changed = read_settings(["analysis.equivalence.acc=0.02"])
    assert changed.margin("acc/mean") == changed.margin("acc_norm/arc") == 0.02
    assert changed.margin("ppl/geomean") == 0.01
    assert math.isnan(changed.margin("kl/wikitext"))
    with pytest.raises(ConfigError):
        read_settings(["analysis.seed.acc=0.02"])
