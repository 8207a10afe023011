import pytest
from helpers.simulated import row

from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.groups import group_rows
from calib_sweep.analysis.scores.names import Naming


def datasets_named(*paths, key="dataset.path"):
    rows = [row("wanda", 0.5, dataset="text", seed=0, **{key: path}) for path in paths]
    groups = group_rows(rows)
    naming = Naming.of_groups(groups)
    return [naming.of(group).dataset for group in groups]


@pytest.mark.parametrize(
    ("paths", "shown"),
    [
        (("/long/a.jsonl", "/long/b.jsonl.gz"), ["path=a", "path=b"]),
        (("org/Llama-3.1-8B", "org/Llama-3.2-1B"), ["path=Llama-3.1-8B", "path=Llama-3.2-1B"]),
        (("one/a.txt", "two/a.txt"), ["path=one/a", "path=two/a"]),
        (("c:\\texts\\a.txt", "folder/"), ["path=a", "path=folder"]),
        ((None, "/long/b.txt"), ["path=null", "path=/long/b.txt"]),
    ],
)
def test_paths_are_shown_by_their_stems_where_these_differ(paths, shown):
    assert sorted(datasets_named(*paths)) == sorted(f"text {name}" for name in shown)


def test_only_settings_that_are_paths_are_shortened():
    assert datasets_named("a/b", "c/d", key="dataset.subset") == [
        "text subset=a/b",
        "text subset=c/d",
    ]


def test_a_label_that_a_path_gives_is_not_said_twice():
    """Datasets of two folders are both called x: only these are told apart by their paths."""
    places = {"one/x.txt": "x", "two/x.txt": "x", "y.txt": "y"}
    rows = [
        row("wanda", 0.5, dataset=label, seed=0, **{"dataset.path": path})
        for path, label in places.items()
    ]
    groups = group_rows(rows)
    naming = Naming.of_groups(groups)
    shown = {naming.of(group).dataset for group in groups}
    assert shown == {"x path=one/x", "x path=two/x", "y"}
    apart = [group for group in groups if group.settings["dataset.path"] != "two/x.txt"]
    assert {Naming.of_groups(apart).of(group).dataset for group in apart} == {"x", "y"}


def test_what_selectors_choose_from_one_dataset_are_draws_of_it_and_no_further_datasets():
    chosen = [("random", 64), ("zipf", 64), ("zipf", 128)]
    rows = [
        row(
            "wanda",
            0.5,
            dataset="web",
            seed=0,
            **{"dataset.selector": name, "dataset.selector.pool_size": size},
        )
        for name, size in chosen
    ]
    groups = group_rows(rows)
    names = [Naming.of_groups(groups).of(group) for group in groups]
    assert {one.dataset for one in names} == {"web"} and len({one.draw for one in names}) == 3
    assert {one.bare_method for one in names} == {"wanda"}
    (array,) = score_arrays(rows)
    assert array.datasets == ("web",) and len(array.draws) == 3
