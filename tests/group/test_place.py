"""A process's place in a group, by its environment."""

import pytest

from calib_sweep.errors import ConfigError
from calib_sweep.group.membership import Place

FOUR = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node0",
    "MASTER_PORT": "29500",
}


def test_all_processes_make_one_group():
    place = Place.of(FOUR, 4)
    assert (place.index, place.count, place.group) == (3, 4, 0)
    assert (place.local_index, place.host, place.port) == (1, "node0", 29500)
    assert not place.hosts


def test_more_processes_than_ranks_make_several_groups():
    places = [Place.of({**FOUR, "RANK": str(rank)}, 2) for rank in range(4)]
    assert [(place.group, place.index) for place in places] == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [place.hosts for place in places] == [True, False, False, False]


def test_the_meeting_place_is_with_whoever_started_the_processes_where_that_says_so():
    place = Place.of({**FOUR, "RANK": "0", "TORCHELASTIC_USE_AGENT_STORE": "True"}, 4)
    assert not place.hosts


def test_processes_that_are_started_again_do_not_meet_those_that_were_lost():
    assert Place.of(FOUR, 4).attempt != Place.of({**FOUR, "TORCHELASTIC_RESTART_COUNT": "1"}, 4)


@pytest.mark.parametrize(
    ("changes", "ranks", "phrases"),
    [
        ({}, 3, ["ranks_per_cell=3", "divides the 4 processes", "--num_processes 3"]),
        ({}, 8, ["ranks_per_cell=8", "divides the 4 processes"]),
        ({"RANK": None}, 4, ["ranks_per_cell=4", "RANK is not set", "hydra/launcher=accelerate"]),
        ({"MASTER_PORT": None}, 4, ["MASTER_PORT is not set"]),
        ({"RANK": "first"}, 4, ["RANK='first'", "an integer"]),
        ({"RANK": "4"}, 4, ["RANK='4'", "an integer from 0 to 3", "unset RANK"]),
        ({"WORLD_SIZE": "0"}, 4, ["WORLD_SIZE='0'", "an integer >= 1"]),
        ({"LOCAL_RANK": "²"}, 4, ["LOCAL_RANK='²'", "an integer"]),
        ({"MASTER_PORT": "99999"}, 4, ["MASTER_PORT='99999'", "an integer from 1 to 65535"]),
    ],
)
def test_other_numbers_are_refused_with_what_to_type(changes, ranks, phrases):
    environment = {k: v for k, v in {**FOUR, **changes}.items() if v is not None}
    with pytest.raises(ConfigError) as refused:
        Place.of(environment, ranks)
    for phrase in phrases:
        assert phrase in str(refused.value)
