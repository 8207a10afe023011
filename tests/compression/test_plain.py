"""Plain files: to the last bit, and nothing that a class does is done."""

import json
from dataclasses import dataclass, field
from functools import cached_property

import pytest
import torch
from helpers.full_disk import no_room
from safetensors.torch import save_file

from calib_sweep.compression import plain

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Grid:
    scale: torch.Tensor
    bits: int
    label: str = "none"
    own: dict = field(default_factory=dict)

    def __post_init__(self):
        assert self.label != "unchecked", "code of a class was run"


class Sums:
    def __init__(self, device):
        self.total = torch.ones(2, device=device)
        self.num = 3


@dataclass
class Counted:
    bits: int

    @cached_property
    def levels(self):
        return 2**self.bits


class Hidden(Counted):
    def __init__(self, bits):
        super().__init__(bits)
        self.more = "is in no field"


def back(value, path):
    plain.write(path, value)
    return plain.read(path, CPU)


def test_values_come_back_to_the_last_bit(tmp_path):
    value = {
        "numbers": [0.1, float("inf"), -0.0, 1, True, None, "text", 2**80],
        ("a", 1): (1.5, [torch.arange(6, dtype=torch.int16).view(2, 3)]),
        "half": torch.tensor([0.1, float("nan")], dtype=torch.bfloat16),
        "none": torch.zeros(0, 5),
        "mask": torch.tensor([True, False]),
    }
    got = back(value, tmp_path / "one")
    assert list(got) == list(value) and got["numbers"] == value["numbers"]
    assert str(got["numbers"][2]) == "-0.0" and got["numbers"][4] is True
    for key in ("half", "none", "mask"):
        assert got[key].dtype == value[key].dtype
        assert torch.equal(got[key].view(torch.uint8), value[key].view(torch.uint8))
    assert isinstance(got["a", 1], tuple)
    assert torch.equal(got["a", 1][1][0], value["a", 1][1][0])


def test_views_of_one_tensor_and_transposed_ones_come_back(tmp_path):
    whole = torch.arange(12.0).view(3, 4)
    got = back([whole, whole[1:], whole.T, whole[:, 1]], tmp_path / "one")
    for mine, want in zip(got, [whole, whole[1:], whole.T, whole[:, 1]], strict=True):
        assert torch.equal(mine, want)


def test_objects_are_their_attributes(tmp_path):
    got = back([Grid(torch.ones(2), 4, own={"x": 1}), Sums(CPU)], tmp_path / "one")
    assert isinstance(got[0], Grid) and got[0].bits == 4 and got[0].own == {"x": 1}
    assert isinstance(got[1], Sums) and torch.equal(got[1].total, torch.ones(2))


def test_what_an_object_works_out_is_worked_out_again(tmp_path):
    value = Counted(3)
    assert value.levels == 8
    got = back(value, tmp_path / "one")
    assert vars(got) == {"bits": 3} and got.levels == 8


def test_a_full_disk_is_an_error_of_the_disk_and_leaves_nothing(tmp_path):
    with no_room(), pytest.raises(OSError, match="File too large"):
        plain.write(tmp_path / "one", torch.zeros(1000))
    assert list(tmp_path.iterdir()) == []


REFUSED = [lambda: 1, object, {1, 2}, torch.nn.Linear(1, 1), 1j, open, Hidden(3)]


@pytest.mark.parametrize("value", REFUSED)
def test_what_is_more_than_its_attributes_is_refused(tmp_path, value):
    with pytest.raises(plain.NotPlainError):
        plain.write(tmp_path / "one", [value])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["antigravity:fly", "os:system", f"{__name__}:back", "x"])
def test_a_file_runs_no_code_and_imports_nothing(tmp_path, name):
    tree = {"class": name, "fields": {}}
    save_file({}, tmp_path / "one", metadata={"tree": json.dumps(tree)})
    with pytest.raises(plain.NotPlainError, match=name):
        plain.read(tmp_path / "one", CPU)


def test_a_class_checks_nothing_and_does_nothing_when_it_is_read(tmp_path):
    plain.write(tmp_path / "one", Grid(torch.ones(1), 4))
    content = (tmp_path / "one").read_bytes()
    (tmp_path / "one").write_bytes(content.replace(b"none", b"more"))
    assert plain.read(tmp_path / "one", CPU).label == "more"
