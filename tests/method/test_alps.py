"""ALPS: hand-computed cases, a slow independent search, each trap of the published code."""

import math

import pytest
import torch
from helpers.least_squares import deficient
from helpers.random_layers import correlated_inputs, random_inputs, random_weight
from torch import tensor

from calib_sweep.errors import ConfigError
from calib_sweep.method import alps as module
from calib_sweep.method.alps import ALPS, refitted
from calib_sweep.method.statistics.spectrum import HessianSpectrum

DEFAULTS = {
    "sparsity": 0.5,
    "pattern": "unstructured",
    "damping": 0.01,
    "rho": 0.1,
    "max_iterations": 300,
}


def alps(**settings):
    return ALPS(**{**DEFAULTS, **settings})


def seen(inputs_TI, num_samples=1):
    statistic = HessianSpectrum(inputs_TI.shape[1])
    statistic.add(inputs_TI, num_samples)
    return statistic


class Slow:
    """The same in float64, by solves instead of eigenvalues, entry by entry where it chooses."""

    def __init__(self, weight, inputs, **settings):
        self.method, self.margin, self.events = alps(**settings), 1.0, []
        hessian = inputs.double().T @ inputs.double()
        hessian += self.method.damping * hessian.diagonal().mean() * torch.eye(len(hessian))
        size = hessian.diagonal().sqrt() + 1e-8
        self.a = hessian / torch.outer(size, size)
        self.dense = weight.double().T * size[:, None]
        self.target = self.a @ self.dense
        support = self.admm()
        self.support = support.T
        self.weight = (self.refit(support) / size[:, None]).T

    def top(self, values):
        """1 where an entry is kept; also how close the last kept one was to the first that goes."""
        keep = torch.zeros_like(values)
        if self.method.pattern == "unstructured":
            num_kept = round((1 - self.method.sparsity) * values.numel())
            self.keep_of(
                [(i, o) for i in range(len(values)) for o in range(values.shape[1])],
                num_kept,
                values,
                keep,
            )
        else:
            num_kept, length = map(int, self.method.pattern.split(":"))
            for o in range(values.shape[1]):
                for start in range(0, len(values), length):
                    places = [(i, o) for i in range(start, start + length)]
                    self.keep_of(places, num_kept, values, keep)
        return keep

    def keep_of(self, places, num_kept, values, keep):
        squares = {place: float(values[place]) ** 2 for place in places}
        order = sorted(places, key=squares.get, reverse=True)
        for place in order[:num_kept]:
            keep[place] = 1
        last, first = squares[order[num_kept - 1]], squares[order[num_kept]]
        self.margin = min(self.margin, (last - first) / last)

    def admm(self):
        rho, raised, eye = self.method.rho, False, torch.eye(len(self.a), dtype=torch.float64)
        d_start = self.dense * self.top(self.dense)
        d, v, before = d_start, torch.zeros_like(d_start), d_start != 0
        for i in range(1, self.method.max_iterations + 1):
            b = torch.linalg.solve(self.a + rho * eye, self.target - v + rho * d)
            d = (v / rho + b) * self.top(v / rho + b)
            v = v + rho * (b - d)
            if i % 3 != 0:
                continue
            now = d != 0
            changed, before = int((now ^ before).sum()), now
            share = changed / int(now.sum())
            event = self.event(changed, share, raised)
            self.events.append(event)
            if event == "end":
                break
            if event == "restart":
                b, d, v = self.dense, d_start, torch.zeros_like(v)
            raised = raised or event in (1.3, 1.2)
            rho = rho / 5 if event in ("restart", "fall") else rho * event
            if i > 30 and share < 3e-4:
                break
        self.last_b = b
        return self.top(b)

    @staticmethod
    def event(changed, share, raised):
        if share > 0.1:
            return 1.3
        if share > 0.005:
            return 1.2
        if changed:
            return 1.1 if raised else "restart"
        return "end" if raised else "fall"

    def refit(self, support):
        """Conjugate gradients on the kept entries of one column after the other."""
        new = torch.zeros_like(self.dense)
        start = self.last_b * support
        for o in range(new.shape[1]):
            kept = support[:, o] != 0
            a, x = self.a[kept][:, kept], start[kept, o]
            r = self.target[kept, o] - a @ x
            p = r
            for _ in range(10):
                if float(r @ r) < 1e-28:
                    break
                step = (r @ r) / (p @ a @ p)
                x, old, r = x + step * p, r, r - step * (a @ p)
                p = r + (r @ r) / (old @ old) * p
            new[kept, o] = x
        return new


# Two features that are always equal, and two others: H is 1 where they meet and 0 elsewhere.
PAIRS = tensor([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])


def test_2_by_4_by_hand():
    weight = tensor([[3.0, 1.0, 1.0, 2.0], [-1.0, 4.0, 2.0, 2.5]])
    # Damped by 1 % the diagonal is 1.01: a weight that stays takes over 1 / 1.01 of its twin.
    share = 1 / 1.01
    expected = tensor([[3 + share, 0, 0, 2 + share], [0, 4 - share, 0, 2.5 + 2 * share]])
    for settings in ({}, {"pattern": "1:2"}):
        new = alps(**settings).compress_weight(weight, seen(PAIRS))
        torch.testing.assert_close(new.weight_OI, expected)
        assert new.damping == 0.01 and new.note is None and new.bits is None


@pytest.mark.parametrize("settings", [{}, {"pattern": "2:4"}], ids=str)
def test_one_iteration_keeps_the_largest_weights_times_sizes_by_hand(settings):
    weight = tensor([[1.0, 5.0, 1.0, 3.0], [2.0, -1.0, 9.0, -8.0]])
    inputs = torch.diag(tensor([4.0, 1.0, 1.0, 2.0]))  # sizes 4, 1, 1, 2; features do not meet
    # Weights times sizes: 4 5 1 6 and 8 1 9 16. What stays has no twin to take over.
    new = alps(damping=0, max_iterations=1, **settings).compress_weight(weight, seen(inputs))
    whole, groups = [[0, 0, 0, 3], [2, 0, 9, -8]], [[0, 5, 0, 3], [0, 0, 9, -8]]
    torch.testing.assert_close(new.weight_OI, tensor(groups if settings else whole).float())


CASES = [
    {},
    {"sparsity": 0.7},
    {"pattern": "2:4"},
    {"pattern": "1:4", "sparsity": 0.75},
    {"damping": 0.1, "rho": 1.0},
    {"max_iterations": 7},
]
INPUTS = {
    "many tokens": lambda seed: correlated_inputs(60, 8, seed),
    "few tokens": lambda seed: correlated_inputs(5, 8, seed),
    "deficient": lambda seed: deficient(correlated_inputs(60, 8, seed)),
    "one sample": lambda seed: random_inputs(1, 8, seed),
}


@pytest.mark.parametrize("settings", CASES, ids=str)
@pytest.mark.parametrize("kind", INPUTS)
def test_agrees_with_the_slow_search(kind, settings):
    compared = 0
    for seed in range(6):
        weight, inputs = random_weight(5, 8, seed), INPUTS[kind](seed)
        slow = Slow(weight, inputs, **settings)
        if slow.margin < 1e-4:
            continue  # a decision that hangs on a last digit
        compared += 1
        new = alps(**settings).compress_weight(weight, seen(inputs)).weight_OI
        assert torch.equal(new != 0, slow.support != 0)
        torch.testing.assert_close(new.double(), slow.weight, rtol=2e-3, atol=2e-4)
    assert compared >= 2


@pytest.mark.parametrize(
    ("rho", "seed", "events"),
    [
        (0.1, 0, [1.3, 1.3, 1.3]),
        (13, 2, ["fall", "restart", 1.3, 1.2, 1.2]),
        (13, 0, ["fall", "restart", 1.3, 1.2, 1.1]),
    ],
)
def test_rho_follows_the_support_as_published(rho, seed, events):
    inputs = random_inputs(2000, 32, seed) @ (
        torch.eye(32) + 2 * random_weight(32, 32, seed) / 32**0.5
    )
    weight, settings = random_weight(32, 32, seed), {"rho": rho, "max_iterations": 15}
    slow = Slow(weight, inputs, **settings)
    assert slow.events[: len(events)] == events and slow.margin > 1e-5
    new = alps(**settings).compress_weight(weight, seen(inputs)).weight_OI
    assert torch.equal(new != 0, slow.support != 0)
    torch.testing.assert_close(new.double(), slow.weight, rtol=1e-3, atol=1e-4)


def test_a_restart_at_the_last_look_leaves_the_first_support_as_published():
    weight, inputs = random_weight(32, 32, 1), random_inputs(2000, 32, 1)
    inputs = inputs @ (torch.eye(32) + 2 * weight / 32**0.5)
    slow = Slow(weight, inputs, rho=15, max_iterations=6)
    assert slow.events == ["fall", "restart"]
    statistic = seen(inputs)
    new = alps(rho=15, max_iterations=6).compress_weight(weight, statistic).weight_OI
    score = weight.abs() * statistic.spectrum(0.01).size_I
    first = score >= score.flatten().sort().values[512]
    assert torch.equal(new != 0, first)  # two entries of the free weight's would be others


@pytest.mark.parametrize(("sparsity", "num_zeros"), [(0, 0), (0.25, 15), (0.5, 30), (0.99, 59)])
def test_the_number_of_zeros_is_exact_over_the_whole_layer(sparsity, num_zeros):
    weight, inputs = random_weight(5, 12), correlated_inputs(60, 12)
    weight[0] *= 100  # its row keeps more
    new = alps(sparsity=sparsity).compress_weight(weight, seen(inputs)).weight_OI
    assert int((new == 0).sum()) == num_zeros
    if sparsity == 0.5:
        assert (new == 0).sum(dim=1).tolist()[0] == 0
    if sparsity == 0:
        torch.testing.assert_close(new, weight, rtol=1e-3, atol=1e-4)


def test_the_refit_is_the_least_squares_solution_where_ten_steps_reach_it():
    a = torch.cov(correlated_inputs(200, 20).T).double()
    dense, kept = random_weight(20, 6).double(), torch.rand(20, 6) < 0
    kept[:8] = True
    new = refitted(a, a @ dense, dense * kept)
    expected = torch.linalg.solve(a[:8, :8], (a @ dense)[:8])
    torch.testing.assert_close(new[:8], expected, rtol=1e-4, atol=1e-5)
    assert not new[8:].any()


def test_the_refit_improves_on_what_the_search_leaves_and_moves_no_support():
    weight, inputs = random_weight(24, 48), correlated_inputs(200, 48)
    spectrum = seen(inputs).spectrum(0.01)
    dense = weight.T * spectrum.size_I.unsqueeze(1)
    found = alps(max_iterations=3).search(spectrum, dense, spectrum.products_II @ dense)
    new = refitted(spectrum.products_II, spectrum.products_II @ dense, found)
    assert torch.equal(new != 0, found != 0)
    errors = [
        float(((w - dense) * (spectrum.products_II @ (w - dense))).sum()) for w in (new, found)
    ]
    assert errors[0] < 0.9 * errors[1]


def test_the_scale_of_the_hessian_is_of_no_account():
    weight, inputs = random_weight(8, 16), correlated_inputs(100, 16)
    one, many = (alps().compress_weight(weight, seen(inputs, n)).weight_OI for n in (1, 100))
    torch.testing.assert_close(one, many, rtol=1e-4, atol=1e-5)


def test_weights_of_dead_features_may_stay_as_they_were():
    weight, inputs = random_weight(8, 16), correlated_inputs(100, 16)
    inputs[:, 3] = 0
    weight[2, 3], weight[3, 3] = 1e3, 1e-3
    new = alps().compress_weight(weight, seen(inputs))
    assert float(new.weight_OI[2, 3]) == pytest.approx(1e3) and new.weight_OI[3, 3] == 0
    assert new.note == "1 dead input features, held by the damping alone"


def test_eigenvalues_are_found_once_for_layers_that_share_a_statistic(monkeypatch):
    from calib_sweep.method.statistics import spectrum

    calls, found = [], spectrum.eigenvalues
    monkeypatch.setattr(spectrum, "eigenvalues", lambda m: calls.append(len(m)) or found(m))
    statistic = seen(correlated_inputs(50, 8))
    for seed in range(3):
        alps().compress_weight(random_weight(4, 8, seed), statistic)
    assert calls == [8]
    statistic.add(correlated_inputs(50, 8, 1))
    alps().compress_weight(random_weight(4, 8), statistic)
    assert calls == [8, 8]


def test_the_inverse_is_that_of_the_shifted_products():
    spectrum = seen(correlated_inputs(50, 8)).spectrum(0.01)
    assert spectrum.products_II.diagonal().tolist() == pytest.approx([1] * 8)
    shifted = spectrum.products_II + 0.3 * torch.eye(8)
    torch.testing.assert_close(spectrum.inverse_II(0.3) @ shifted, torch.eye(8))


def test_the_published_constants_are_these():
    assert (module.LOOK_EVERY, module.MAY_SETTLE, module.SETTLED) == (3, 30, 3e-4)
    assert (module.LARGEST_RHO, module.REFIT_STEPS, module.REFIT_TOLERANCE) == (1e6, 10, 1e-4)


def test_mistakes_are_told_all_at_once():
    with pytest.raises(ConfigError) as caught:
        alps(sparsity=-1, damping=-1, rho=0, max_iterations=0)
    for key in ("sparsity=-1", "damping=-1", "rho=0", "max_iterations=0"):
        assert f"method.{key}" in str(caught.value)
    with pytest.raises(ConfigError, match=r"method\.rho=nan"):
        alps(rho=math.nan)
