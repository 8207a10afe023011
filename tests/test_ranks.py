"""What ranks hand to each other: in order of ranks, the same on every rank."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
import torch
from helpers.ranked import in_processes, in_threads

from calib_sweep.errors import ConfigError, require
from calib_sweep.ranks import ALONE
from calib_sweep.results.cell_log import place_of


def exchange(ranks):
    """All that ranks do, once: of processes and of threads."""
    own = torch.full((2, 3), 10.0**ranks.index)
    found = {
        "share": [list(ranks.share(total)) for total in (0, 1, 2, 7)],
        "summed": ranks.summed(own),
        "gathered": ranks.gathered([ranks.index] * ranks.index),
        "made": ranks.from_rank(1, lambda: {"rank": ranks.index, "weight": own.T}),
    }
    try:
        ranks.from_rank(1, lambda: refuse(ranks.index))
    except ConfigError as error:
        found["error"] = str(error)
    return found


def refuse(index):
    raise ConfigError(f"rank {index}: no")


def check_exchange(found):
    for index, of_rank in enumerate(found):
        assert of_rank["summed"].tolist() == [[111.0] * 3] * 2
        assert of_rank["gathered"] == [1, 2, 2]
        assert of_rank["made"]["rank"] == 1
        assert of_rank["made"]["weight"].tolist() == [[10.0] * 2] * 3
        assert of_rank["error"] == "rank 1: no"
        assert of_rank["share"][1] == ([0] if index == 2 else [])
    for place, total in enumerate((0, 1, 2, 7)):
        shares = [of_rank["share"][place] for of_rank in found]
        assert [item for share in shares for item in share] == list(range(total))
        assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_threads():
    check_exchange(in_threads(3, exchange))


def exchange_more(ranks):
    """What threads have no need of: tensors of every type, and what cannot be pickled."""
    found = exchange(ranks)
    types = torch.float8_e4m3fn, torch.int16, torch.bfloat16, torch.bool
    own = [torch.tensor(ranks.index).to(one) for one in types]
    found["types"] = [(str(t.dtype), float(t)) for t in ranks.from_rank(1, lambda: own)]
    try:
        ranks.from_rank(1, lambda: lambda: ranks)
    except TypeError as error:
        found["refused"] = str(error)
        ranks.raised(error)
    found["alone"] = [told_by(ranks, culprit) for culprit in (0, 1, 2)]
    found["parted"] = told_by(ranks, None)
    found["after"] = ranks.gathered([ranks.index])
    return found


def told_by(ranks, culprit):
    """What a rank raises when `culprit` alone has an error, while the others go on; who catches it
    meets it again. None: each wants the value of another one.
    """
    try:
        if ranks.index == culprit:
            raise Demanding(culprit, text="code")
        with suppress(Exception):
            ranks.from_rank(2, lambda: torch.ones(3))
            ranks.from_rank(ranks.index if culprit is None else 0, lambda: 0)
        ranks.gathered([0])
    except Exception as error:
        ranks.raised(error)
        return type(error).__name__, str(error), place_of(error)
    return None


@pytest.mark.slow
def test_processes(tmp_path):
    found = in_processes(3, tmp_path, exchange_more)
    check_exchange(found)
    for of_rank in found:
        assert [value for _, value in of_rank["types"]] == [1.0] * 4
        assert [name for name, _ in of_rank["types"]][:2] == ["torch.float8_e4m3fn", "torch.int16"]
        assert "what rank 1 has for the other ranks cannot be pickled" in of_rank["refused"]
        for culprit, told in enumerate(of_rank["alone"]):
            line = told_by.__code__.co_firstlineno + 6
            assert told == ("Demanding", f"code {culprit}", f"{__file__}:{line}")
        assert of_rank["parted"][0] == "RuntimeError"
        assert of_rank["parted"][1].startswith("ranks of this cell want values of different ranks")
        assert of_rank["after"] == [0, 1, 2]


def test_sums_are_added_in_order_of_ranks():
    values = [1.0, -1.0, 2.0**-30]  # in any other order float32 loses the last one

    def add(ranks):
        return ranks.summed(torch.tensor(values[ranks.index]))

    assert [float(total) for total in in_threads(3, add)] == [2.0**-30] * 3


def test_one_rank_hands_on_what_it_has():
    tensor = torch.ones(2)
    assert ALONE.summed(tensor) is tensor
    assert ALONE.gathered((1, 2)) == [1, 2]
    assert ALONE.from_rank(0, lambda: tensor) is tensor
    assert list(ALONE.share(3)) == [0, 1, 2]
    with pytest.raises(ConfigError, match="rank 0: no"):
        ALONE.from_rank(0, lambda: refuse(0))


class Demanding(Exception):
    """An error that arrives nowhere: its class wants another argument than its text."""

    def __init__(self, code, *, text):
        super().__init__(f"{text} {code}")


class Repeating(Exception):
    """An error that would arrive with another text."""

    def __init__(self, key):
        super().__init__(f"no such key: {key}")


def fail_in_step(ranks):
    """Raise on all ranks what only the second one has."""
    for error in (Demanding(7, text="code"), Repeating("seed")):

        def run(error=error):
            if ranks.index == 1:
                raise error

        for attempt in (
            lambda run=run: ranks.from_rank(1, run),
            lambda run=run: ranks.together(run),
        ):
            with pytest.raises(RuntimeError) as told:
                attempt()
            assert type(told.value).__name__ == type(error).__name__
            assert str(told.value) == str(error)
            assert "on rank 1:" in told.value.__notes__[0]


def test_an_error_that_cannot_be_sent_arrives_by_name_and_text():
    in_threads(2, fail_in_step)


def test_an_error_of_another_rank_tells_where_it_was_raised():
    def told(ranks):
        with pytest.raises(ConfigError) as refused:
            ranks.from_rank(1, lambda: refuse(ranks.index))
        return refused.value.__notes__

    for notes in in_threads(2, told):
        assert "on rank 1:" in notes[0] and "in refuse" in notes[0]


@pytest.mark.parametrize("is_called", [False, True])
def test_a_place_in_a_library_is_one_that_this_package_calls(is_called):
    call = partial(torch.load, Path(__file__), weights_only=True)
    if not is_called:
        call = partial(torch.no_grad()(require), False, "key", 1, "0", "Type 0.")
    with ThreadPoolExecutor(1) as pool:  # no line of this file is below the call
        place = place_of(pool.submit(call).exception())
    assert "/torch/" in place if is_called else place is None
