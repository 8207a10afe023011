"""Products with symmetric matrices, panel by panel, against the plain ones."""

import pytest
import torch

from calib_sweep.method.statistics import gram
from calib_sweep.method.statistics.gram import add_gram, form_of_rows


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("panel", [1, 7, 10, 512])
def test_gram_is_added_to_both_triangles(monkeypatch, panel):
    monkeypatch.setattr(gram, "PANEL", panel)
    inputs, found = draw(50, 20), draw(20, 20, seed=1)
    found = found + found.T
    expected = found.double() + inputs.double().T @ inputs.double()
    add_gram(found, inputs)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("panel", [1, 7, 10, 512])
def test_the_form_of_rows_is_a_trace(monkeypatch, panel):
    monkeypatch.setattr(gram, "PANEL", panel)
    weight, product = draw(6, 20), draw(20, 20, seed=1)
    product = product @ product.T
    expected = (weight.double() @ product.double() @ weight.double().T).trace()
    assert form_of_rows(weight, product) == pytest.approx(float(expected), rel=1e-5)


def test_a_matrix_of_one_panel_is_multiplied_as_ever():
    inputs, weight = draw(50, 512), draw(4, 512, seed=1)
    found, expected = torch.zeros(512, 512), torch.zeros(512, 512)
    add_gram(found, inputs)
    assert torch.equal(found, expected.addmm_(inputs.T, inputs))
    plain = float(((weight @ found) * weight).sum(dtype=torch.float64))
    assert form_of_rows(weight, found) == plain
