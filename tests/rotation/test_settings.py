"""The settings of a rotation, and what is drawn by them."""

import pytest
import torch
from helpers.fakes import tiny_model
from helpers.rotated import rotation

from calib_sweep.errors import ConfigError
from calib_sweep.rotation.settings import Rotation
from calib_sweep.seeding import stream


@pytest.mark.parametrize("matrix", ["hadamard", "random"])
def test_a_matrix_is_orthogonal_and_a_function_of_its_seed_and_size(matrix):
    def made(seed, size=24):
        turn = rotation(matrix, seed).turn(size)
        return turn(torch.eye(size, dtype=torch.float64))

    torch.testing.assert_close(made(0) @ made(0).T, torch.eye(24, dtype=torch.float64))
    assert torch.equal(made(0), made(0)) and not torch.equal(made(0), made(1))
    torch.manual_seed(5)
    assert torch.equal(made(0), made(0))


def test_signs_stand_before_the_hadamard_matrix():
    """Every row of Q is +- a row of H: of one sign throughout, where H's first row is of ones."""
    turn = rotation().turn(32)
    signs = turn(torch.eye(32, dtype=torch.float64))[:, 0].sign()
    flat = turn(torch.diag(signs)) * 32**0.5
    torch.testing.assert_close(flat[:, 0], torch.ones(32, dtype=torch.float64))
    assert sorted(signs.unique().tolist()) == [-1, 1]


def test_the_diagonal_of_r_is_positive():
    """So that Q is uniform among orthogonal matrices, whatever LAPACK makes of signs."""
    turn = rotation("random").turn(16)
    q = turn(torch.eye(16, dtype=torch.float64))
    normal = torch.from_numpy(stream("rotation", "random", 0, 16).standard_normal((16, 16)))
    r = q.T @ normal
    assert bool((r.diagonal() > 0).all()) and float(r.tril(-1).abs().max()) < 1e-12


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as refused:
        Rotation(name="spin", matrix="spin", seed=-1, online=1)
    assert len(refused.value.problems) == 3
    assert "rotation.matrix='spin': expected hadamard or random" in str(refused.value)
    assert "it is not the calibration seed" in str(refused.value)


def test_a_size_without_a_hadamard_matrix_is_refused_and_rotated_at_random():
    model = tiny_model("llama", hidden_size=36 + 8, num_attention_heads=4, head_dim=8)
    rotation().check(model, is_quantized=False)
    odd = tiny_model("llama", hidden_size=26, num_attention_heads=2, head_dim=8)
    with pytest.raises(ConfigError, match=r"it is 26\. Type rotation=random"):
        rotation().check(odd, is_quantized=False)
    rotation("random").check(odd, is_quantized=False)
