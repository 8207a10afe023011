"""The points of a grid: counted, bounded, and read once."""

import shlex

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.override_parser.overrides_parser import OverridesParser

from calib_sweep.errors import ConfigError
from calib_sweep.sweep.choices import chosen_settings
from calib_sweep.sweep.points import (
    MAX_POINTS,
    largest_seeds,
    parse,
    parse_words,
    read_options,
    split_points,
)

LOADER = ConfigLoaderImpl(ConfigSearchPathImpl())


def split(*words):
    return split_points(OverridesParser.create().parse_overrides(list(words)))


def test_the_points_are_all_combinations_of_the_values():
    assert split("a=1,2", "b=range(3,7,3)", "c=x") == [
        ["a=1", "b=3", "c=x"],
        ["a=1", "b=6", "c=x"],
        ["a=2", "b=3", "c=x"],
        ["a=2", "b=6", "c=x"],
    ]


@pytest.mark.parametrize(
    "words, num",
    [
        (["seed=range(10)"], 10),
        (["seed=range(9,0,-4)"], 3),
        (["seed=range(5,5)"], 0),
        (["x=range(0,1,0.3)"], 4),
        (["seed=1,2,3", "seed=1,2"], 2),
    ],
)
def test_ranges_are_counted_as_they_are_split(words, num):
    assert len(split(*words)) == num


def test_more_points_than_can_be_planned_are_refused_before_one_is_made():
    with pytest.raises(ConfigError) as caught:
        split("seed=range(1000000000)", "method=a,b")
    assert "2,000,000,000 points (1,000,000,000 (seed) x 2 (method))" in str(caught.value)
    assert f"at most {MAX_POINTS:,}" in str(caught.value) and "sweep_name" in str(caught.value)


@pytest.mark.parametrize(
    "word", ["seed=range(0,10,0)", "x=range(0,inf)", "x=range(nan,1)", "x=interval(0,1)"]
)
def test_values_without_an_end_are_refused(word):
    with pytest.raises(ConfigError, match=r"expected (finite ends|values that can be counted)"):
        split(word)


TEXTS = ["a[b]", "it's", "seed='", "a{b", "(x", "a,", "\u6a21's", 'x="y', "a[\\", "a: b)"]


@pytest.mark.parametrize("text", TEXTS)
def test_the_remedy_for_text_that_cannot_be_read_gives_that_text(text):
    with pytest.raises(ConfigError, match="cannot be read as key=value") as caught:
        parse_words([f"dataset.path={text}"], LOADER)
    remedy = str(caught.value).rpartition("for the shell: ")[2].removesuffix(".")
    (override,) = parse_words(shlex.split(remedy), LOADER)
    assert (override.get_key_element(), override.value()) == ("dataset.path", text)


@pytest.mark.parametrize("word", ["method[sparsity]=1", "\u00e9=1", "method..x=1", "a"])
def test_the_remedy_for_a_key_is_a_key(word):
    with pytest.raises(ConfigError, match=r"names with dots between.*method\.sparsity=0\.5"):
        parse_words([word], LOADER)


@pytest.mark.parametrize("word", ["seed=0", "seed=12", "method.bits=3", "a.b_c=7"])
def test_numbers_are_read_as_hydra_reads_them(word):
    ours, hydras = parse(word), OverridesParser.create().parse_override(word)
    assert ours == hydras and type(ours.value()) is type(hydras.value())


def test_the_largest_seeds_stand_for_all_seeds_before_them():
    points = split("method=a,b", "seed=0,30,4", "bits=3")
    assert largest_seeds(points) == [
        ["method=a", "seed=30", "bits=3"],
        ["method=b", "seed=30", "bits=3"],
    ]


def test_an_unknown_option_is_a_mistake_as_others_are():
    with pytest.raises(ConfigError, match=r"--foo: expected key=value, or an option"):
        read_options(["seed=1", "--foo"])


def test_options_may_stand_between_words():
    options = read_options(["seed=1", "-m", "method=rtn", "--config-dir", "mine", "replicate=1"])
    assert options.overrides == ["seed=1", "method=rtn", "replicate=1"]
    assert options.multirun and options.config_dir == "mine"


def test_choices_within_a_dataset_are_settings_of_its_cells():
    typed = ["dataset=continued", "dataset@dataset.prefix=mini_wiki", "dataset/selector=zipf"]
    chosen = chosen_settings([parse(word) for word in typed])
    assert chosen == {"dataset.prefix": "mini_wiki", "dataset.selector": "zipf"}
    assert chosen_settings([parse("dataset@dataset.parts.b=c4"), parse("method=wanda")]) == {}
