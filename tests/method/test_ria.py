"""RIA: hand-computed scores, a slow reference, and permutations against all that there are."""

from itertools import permutations

import pytest
import torch
from helpers.random_layers import correlated_inputs, norms, random_weight
from torch import tensor

from calib_sweep.errors import ConfigError
from calib_sweep.method.ria import RIA, relative_importance
from calib_sweep.method.selection.channel_permutation import (
    assign_channels,
    deal_channels,
    kept_scores,
)
from calib_sweep.method.statistics.input_norm import InputNorm


def ria(**settings):
    defaults = {"sparsity": 0.5, "pattern": "unstructured", "compare": "layer"}
    return RIA(**{**defaults, "exponent": 0.5, "permutation": None, **settings})


def compressed(weight, inputs, **settings):
    return ria(**settings).compress_weight(weight, norms(inputs)).weight_OI


def slow_scores(weight, inputs, exponent):
    """Nested lists of scores, in Python numbers."""
    size = weight.double().abs().tolist()
    norm = [sum(x * x for x in column) ** 0.5 for column in inputs.double().T.tolist()]
    rows = [sum(row) for row in size]
    columns = [sum(row[i] for row in size) for i in range(len(norm))]

    def share(part, whole):
        return part / whole if whole else 0.0

    return [
        [
            (share(w, rows[o]) + share(w, columns[i])) * norm[i] ** exponent
            for i, w in enumerate(row)
        ]
        for o, row in enumerate(size)
    ]


def slow_gone(scores, sparsity, pattern, compare):
    """True where a weight goes, group by group, by sorting."""
    gone = [[False] * len(row) for row in scores]
    if pattern != "unstructured":
        kept, length = map(int, pattern.split(":"))
        for o, row in enumerate(scores):
            for first in range(0, len(row), length):
                ranked = sorted(range(first, first + length), key=lambda i, row=row: row[i])
                for i in ranked[: length - kept]:
                    gone[o][i] = True
    elif compare == "row":
        for o, row in enumerate(scores):
            for i in sorted(range(len(row)), key=lambda i, row=row: row[i])[
                : int(len(row) * sparsity)
            ]:
                gone[o][i] = True
    else:
        flat = sorted(score for row in scores for score in row)
        threshold = flat[int(len(flat) * sparsity)]
        gone = [[score <= threshold for score in row] for row in scores]
    return tensor(gone)


@pytest.mark.parametrize(("num_out", "num_in"), [(8, 24), (30, 16), (1, 40), (16, 64)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"sparsity": 0.3, "compare": "row"},
        {"pattern": "2:4"},
        {"pattern": "4:8", "exponent": 1.0},
        {"sparsity": 0.75, "pattern": "1:4", "exponent": 0},
    ],
    ids=str,
)
def test_equals_the_slow_reference(num_out, num_in, settings):
    weight, inputs = random_weight(num_out, num_in), correlated_inputs(50, num_in)
    method = ria(**settings)
    scores = slow_scores(weight, inputs, method.exponent)
    gone = slow_gone(scores, method.sparsity, method.pattern, method.compare)
    assert torch.equal(compressed(weight, inputs, **settings), weight.masked_fill(gone, 0))


def test_2_by_2_by_hand():
    # Rows sum to 4 and 6, columns to 4 and 6: importance of W[0, 0] is 1/4 + 1/4, and so on.
    weight = tensor([[1.0, -3.0], [3.0, 3.0]])
    expected = tensor([[1 / 4 + 1 / 4, 3 / 4 + 3 / 6], [3 / 6 + 3 / 4, 3 / 6 + 3 / 6]])
    torch.testing.assert_close(relative_importance(weight.abs()), expected)
    # Norms 4 and 1, roots 2 and 1: scores [[1, 1.25], [2.5, 1]]; 1.25 is the threshold and goes.
    inputs = torch.diag(tensor([4.0, 1.0]))
    assert compressed(weight, inputs).tolist() == [[0, 0], [3, 0]]
    assert compressed(weight, inputs, compare="row").tolist() == [[0, -3], [3, 0]]


def test_a_weight_is_worth_what_it_is_to_its_row_and_column():
    # By size alone the whole first row and column would go: the third smallest is 0.2.
    weight = tensor([[0.1, 0.2, 0.2], [0.1, 5.0, 4.0], [0.2, 3.0, 5.0]])
    new = compressed(weight, torch.eye(3), sparsity=0.3, exponent=0)
    assert int((new == 0).sum()) == 3
    assert (new != 0).any(dim=0).all() and (new != 0).any(dim=1).all()


def test_exponent_zero_looks_at_no_input():
    weight = random_weight(8, 16)
    one, other = (
        compressed(weight, correlated_inputs(40, 16, seed), exponent=0) for seed in (1, 2)
    )
    assert torch.equal(one, other)
    one, other = (compressed(weight, correlated_inputs(40, 16, seed)) for seed in (1, 2))
    assert not torch.equal(one, other)


def test_dead_features_are_noted_where_inputs_count():
    weight, inputs = random_weight(8, 16), correlated_inputs(40, 16)
    inputs[:, 3] = 0
    notes = [ria(exponent=e).compress_weight(weight, norms(inputs)).note for e in (0.5, 0)]
    assert notes == ["1 dead input features, whose weights score 0", None]


def test_rows_and_columns_of_zeros_are_worth_nothing():
    weight = random_weight(8, 16)
    weight[3] = 0
    weight[:, 5] = 0
    score = relative_importance(weight.abs())
    assert torch.isfinite(score).all() and (score[3] == 0).all() and (score[:, 5] == 0).all()
    new = compressed(weight, correlated_inputs(40, 16), sparsity=0.4)
    assert torch.isfinite(new).all()


def test_without_a_token_relative_importance_alone_decides():
    weight = random_weight(8, 16)
    new = ria().compress_weight(weight, InputNorm(16))
    assert torch.equal(new.weight_OI, compressed(weight, torch.eye(16), exponent=0))
    assert new.note is not None and "no calibration token" in new.note


# Permutations of channels.


def kept_total(score, order, num_kept, length):
    groups = score[:, order].unflatten(1, (-1, length))
    return float(groups.sort(dim=2, descending=True).values[:, :, :num_kept].sum())


def test_channels_are_dealt_to_and_fro_in_ascending_order():
    # Column sums 0, 10, ..., 70 shuffled; ascending: columns 3 5 7 | 1 6 0 | 2 4 8 for groups of 3.
    sums = {3: 0, 5: 10, 7: 20, 1: 30, 6: 40, 0: 50, 2: 60, 4: 70, 8: 80}
    score = tensor([[float(sums[i]) for i in range(9)]])
    groups = deal_channels(score, 3).reshape(3, 3).tolist()
    assert groups == [[3, 0, 2], [5, 6, 4], [7, 1, 8]]


@pytest.mark.parametrize(("num_kept", "length"), [(2, 4), (1, 2), (1, 4), (3, 4), (4, 8)])
def test_kept_scores_are_those_of_groups_with_the_candidate_put_in(num_kept, length):
    generator = torch.Generator().manual_seed(0)
    fixed = torch.rand(5, 3, length - 1, generator=generator)
    candidate = torch.rand(5, 3, generator=generator)
    kept = kept_scores(fixed, candidate, num_kept)
    for g in range(3):
        for k in range(3):
            group = torch.cat([fixed[:, g], candidate[:, k : k + 1]], dim=1)
            expected = group.sort(dim=1, descending=True).values[:, :num_kept].sum()
            assert float(kept[g, k]) == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("pattern", [(2, 4), (1, 4), (1, 2)])
def test_each_assignment_is_the_best_of_all(pattern):
    num_kept, length = pattern
    score = torch.rand(6, 5 * length, generator=torch.Generator().manual_seed(1)) ** 4
    order = deal_channels(score, length)
    expected = order.reshape(5, length).clone()
    for position in range(length):
        tried = []
        for chosen in permutations(range(5)):
            groups = expected.clone()
            groups[:, position] = expected[list(chosen), position]
            tried.append((kept_total(score, groups.flatten(), num_kept, length), groups))
        expected = max(tried, key=lambda pair: pair[0])[1]
    found = assign_channels(score, order, num_kept, length)
    assert torch.equal(found, expected.flatten())
    before, after = (kept_total(score, o, num_kept, length) for o in (order, found))
    assert after > before or pattern == (1, 2)  # where dealing had found the best already


@pytest.mark.parametrize("permutation", ["reallocation", "assignment"])
def test_a_permutation_keeps_more_of_the_scores_and_the_pattern_in_its_order(permutation):
    weight, inputs = (
        random_weight(16, 32) ** 3,
        correlated_inputs(60, 32) * torch.logspace(-1, 1, 32),
    )
    score = tensor(slow_scores(weight, inputs, 0.5))
    kept = {}
    for name in (None, permutation):
        new = compressed(weight, inputs, pattern="2:4", permutation=name)
        assert torch.equal(new[new != 0], weight[new != 0])
        assert ((new != 0).sum(dim=1) == 16).all()
        kept[name] = float(score[new != 0].sum())
    assert kept[permutation] > kept[None]
    order = deal_channels(score.float(), 4)
    if permutation == "assignment":
        order = assign_channels(score.float(), order, 2, 4)
    assert sorted(order.tolist()) == list(range(32))
    assert ((new[:, order] != 0).unflatten(1, (-1, 4)).sum(dim=2) == 2).all()


@pytest.mark.parametrize(
    ("settings", "phrase"),
    [
        ({"exponent": -1}, r"method\.exponent=-1.*=0\.5"),
        ({"exponent": "half"}, r"method\.exponent='half'"),
        ({"compare": "column"}, r"method\.compare='column'.*layer or row"),
        ({"compare": "row", "pattern": "2:4"}, r"method\.compare='row'.*unstructured"),
        ({"permutation": "assignment"}, r"method\.permutation='assignment'.*2:4"),
        ({"permutation": "lsa", "pattern": "2:4"}, r"method\.permutation='lsa'.*reallocation"),
    ],
)
def test_wrong_settings_are_refused_by_name(settings, phrase):
    with pytest.raises(ConfigError, match=phrase):
        ria(**settings)


def test_a_pattern_must_fit_the_width_of_the_layer():
    with pytest.raises(ConfigError, match=r"method\.pattern='2:4'.*10 input features"):
        ria(pattern="2:4").check_shape("down", 8, 10)


def test_arguments_are_left_alone_and_the_dtype_is_kept():
    weight, statistic = random_weight(8, 16).half(), norms(correlated_inputs(50, 16))
    before, norm = weight.clone(), statistic.norm_I().clone()
    for settings in ({}, {"pattern": "2:4", "permutation": "assignment"}):
        new = ria(**settings).compress_weight(weight, statistic).weight_OI
        assert new.dtype == torch.float16
    assert torch.equal(weight, before) and torch.equal(statistic.norm_I(), norm)
