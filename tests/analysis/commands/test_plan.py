"""The verb `plan`: what it prints for a pilot, and what it says to who typed something else."""

import re

import numpy as np
import pytest
from helpers.item_files import write_items
from helpers.simulated import normal

from calib_sweep.analysis.commands import plan
from calib_sweep.analysis.commands.pilot import find_contrast
from calib_sweep.analysis.commands.plan_arguments import read_arguments
from calib_sweep.errors import ConfigError


@pytest.fixture
def pilot(sweep):
    """Two methods that differ little, on three datasets with four seeds each."""
    noise_MDS = 0.01 * normal("plan", 2, 3, 4)
    for m, method in enumerate(("gptq", "wanda")):
        for d, dataset in enumerate(("c4", "news", "wiki")):
            for s in range(4):
                scores = {"acc/mean": 0.6 + noise_MDS[m, d, s]}
                timings = {"compress": 90.0, "evaluate": 30.0}
                sweep.add(method, scores, dataset=dataset, seed=s, timings_s=timings)
    return str(sweep.folder)


@pytest.fixture
def printed(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments):
        assert plan.main(arguments) == 0
        return capsys.readouterr().out

    return run


def test_the_open_pair_is_planned_for_with_cells_time_and_both_populations(pilot, printed):
    text = printed(pilot, "--budget", "60", "--target", "1", "analysis.num_resamples=1000")
    assert "Plan for gptq against wanda in accuracy, tiny" in text
    assert "the smallest difference that is not claimed" in text
    assert "3 datasets x 4 seeds, 24 cells" in text
    rows = re.findall(r"^ +(\d+) +(\d+) +(\d+) +(\d+ h \d+ min|\d+ min \d+ s)", text, re.MULTILINE)
    assert ("3", "10", "60", "2 h 0 min") in rows  # 60 cells of two minutes
    assert all(int(d) * int(n) * 2 == int(cells) <= 60 for d, n, cells, _ in rows)
    assert re.search(r"On the 3 datasets of the pilot: 3 datasets x 10 seeds, ±0\.\d+ points", text)
    assert re.search(r"For a new dataset the narrowest: \d+ datasets x \d seeds?, ±", text)
    assert re.search(r"within ±1\.0 points on the 3 datasets of the pilot: 3 datasets x \d+", text)
    assert re.search(r"one dataset more +\+8 ", text) and re.search(r"more of each +\+6 ", text)
    assert "no list of the same items" in text and "one task more" not in text


def test_what_the_target_costs_is_the_least_that_reaches_it(pilot, printed):
    pair = "--contrast", "gptq,wanda"
    text = printed(pilot, "--target", "1", *pair)
    seeds = int(re.search(r"of the pilot: 3 datasets x (\d+) seeds", text).group(1))
    for num, is_enough in ((seeds, True), (seeds - 1, False)):
        bought = printed(pilot, "--budget", str(6 * num), *pair)
        width = float(re.search(r"On the 3 datasets.*±([\d.]+) points", bought).group(1))
        assert (width <= 1.0) == is_enough or width == 1.0


def test_fewer_datasets_can_be_asked_for_and_a_contrast_named(pilot, printed):
    text = printed(pilot, "--budget", "60", "--datasets", "4", "--contrast", "wanda,gptq")
    assert "Plan for wanda against gptq" in text and "asked for" in text
    assert "For a new dataset the narrowest: 4 datasets x 7 seeds" in text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "expected --budget CELLS, --target WIDTH, or both"),
        (["--budget", "2"], "a whole number, 4 or more"),
        (["--target", "much"], "a half-width between 0 and 100"),
        (["--budget", "40", "--contrast", "gptq"], "two different methods with a comma"),
        (["--budget", "40", "--contrast", "gptq,spqr"], "expected two of gptq, wanda"),
        (["--budget", "40", "--metric", "acuracy"], "Did you mean accuracy?"),
        (["--budget", "40", "--metric", "speed"], "a score of the sweep: acc/mean, accuracy"),
        (["--budget", "40", "--model", "big"], "expected one of tiny"),
        (["--budgt", "40", "--target", "1"], "Did you mean --budget?"),
        (["--budget", "40", "analysis.power=8"], "a share between 0.5 and 1"),
        (["--budget"], "Example: python -m calib_sweep plan"),
    ],
)
def test_a_mistake_is_told_with_what_is_accepted(pilot, arguments, says):
    with pytest.raises(ConfigError) as error:
        plan.main([pilot, *arguments])
    assert says in str(error.value)


def test_one_dataset_is_no_pilot_for_new_ones(sweep, printed):
    for s, noise in enumerate(0.01 * normal("alone", 5)):
        sweep.add("gptq", {"acc/mean": 0.6 + noise}, dataset="c4", seed=s)
        sweep.add("wanda", {"acc/mean": 0.6}, dataset="c4", seed=s)
    text = printed(str(sweep.folder), "--budget", "40")
    assert "between datasets not known" in text
    assert "For a new dataset nothing can be planned" in text


def test_two_seeds_are_too_few_for_a_plan_and_are_not_called_one(sweep, printed):
    for s in range(2):
        sweep.add("gptq", {"acc/mean": 0.6 + 0.01 * s}, dataset="c4", seed=s)
        sweep.add("wanda", {"acc/mean": 0.6}, dataset="c4", seed=s)
    text = printed(str(sweep.folder), "--budget", "40", "--target", "1")
    assert "between draws not known, too few seeds" in text
    assert "On the datasets of the pilot nothing can be planned" in text
    assert "seeds do not" not in text  # nobody knows whether they do
    assert text.count("nothing can be planned: a pilot of three seeds") == 2
    assert text.count("nothing can be planned: a pilot of two datasets") == 2


def test_a_sweep_without_scores_is_told_so(sweep):
    sweep.add("gptq", {}, dataset="c4", seed=0)
    with pytest.raises(ConfigError) as error:
        plan.main([str(sweep.folder), "--budget", "40"])
    (told,) = error.value.problems
    assert told.endswith("expected compressed cells with scores.")


def test_one_seed_of_each_of_many_datasets_is_a_pilot_for_new_ones(sweep, printed):
    for d, noise in enumerate(0.01 * normal("many", 6)):
        for method, value in (("cola", 0.6 + noise), ("unique", 0.605)):
            scores = {"acc/mean": value, "acc/boolq": value}
            sweep.add(method, scores, dataset=f"text{d}", seed=0)
    text = printed(str(sweep.folder), "--budget", "40", "--metric", "acc/boolq")
    assert "These two: the smallest difference.\n" in text
    assert "between draws not known, one seed of each" in text
    assert re.search(r"For a new dataset the narrowest: 20 datasets x 1 seed, ±0\.\d+ points", text)
    assert "of the pilot:" not in text  # one seed of each says nothing of these alone


def test_the_part_of_the_items_is_that_of_their_mean_difference(sweep):
    """Of 40 items the one has 12 right and the other 4, the rest is alike, on every draw and task:
    the mean is 0.2, its variance (16 - 40 0.2^2) / 39 / 40, half of it for two tasks."""
    first_I = np.repeat([1.0, 0.0, 1.0, 0.0], [12, 4, 14, 10])
    second_I = np.repeat([0.0, 1.0, 1.0, 0.0], [12, 4, 14, 10])
    for method, right_I in (("gptq", first_I), ("wanda", second_I)):
        mean = float(right_I.mean())
        for seed in range(3):
            scores = {"acc/x": mean, "acc/y": mean, "acc/mean": mean}
            record = sweep.add(method, scores, dataset="c4", seed=seed)
            for task in ("x", "y"):
                write_items(record.with_name("items.parquet"), right_I, task)
    of = ["--budget", "40", "--contrast", "gptq,wanda"]
    found = find_contrast(read_arguments([str(sweep.folder), *of]))
    assert found.pilot.item_variance == pytest.approx(14.4 / 39 / 40 / 2)
    assert (found.pilot.num_tasks, found.num_cells, found.cells_per_pair) == (2, 6, 2)
