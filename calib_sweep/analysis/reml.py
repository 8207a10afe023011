"""Restricted maximum likelihood of variance components, for any mixture of nested and crossed.

    y = mu + sum_k Z_k u_k + e,   u_k ~ N(0, g_k s^2 I),  e ~ N(0, s^2 I)
    H = I + sum_k g_k Z_k Z_k',   P = H^-1 - H^-1 1 1' H^-1 / 1' H^-1 1
    -2 log L(g) = log|H| + log 1' H^-1 1 + (N - 1) log y' P y            s^2 = y' P y / (N - 1)
    d/dg_k      = tr Z_k' P Z_k - (N - 1) |Z_k' P y|^2 / y' P y

Harville 1977; only matrices of the Q levels are inverted (Woodbury; Bates et al. 2015, lme4):
H^-1 = I - Z G A^-1 G Z' with G = diag(sqrt g), A = I + G Z'Z G. Searched over sqrt(g) >= 0, as lme4
does, since a component may be zero. statsmodels' MixedLM gives the same numbers, at a hundred times
the cost (tests/analysis/test_reml.py).

Shapes: N observations, K factors, Q levels of all factors together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, optimize

LARGEST_ROOT = 1e5  # of a variance ratio; beyond, the residual is rounding
NEGLIGIBLE = 1e-4  # a root below is tried at exactly zero


def fit_reml(value_N: np.ndarray, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Variances of the factors and of the residual [K + 1]. `factors`: each N level numbers."""
    assert np.isfinite(value_N).all(), value_N
    if np.ptp(value_N) == 0:
        return np.zeros(len(factors) + 1)
    scale = float(np.std(value_N))
    model = _Model.of((value_N - value_N.mean()) / scale, factors)
    search = optimize.minimize(
        model.deviance,
        np.ones(len(factors)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(0.0, LARGEST_ROOT)] * len(factors),
        options={"ftol": 1e-13, "gtol": 1e-9, "maxiter": 500},
    )
    root_K = _with_exact_zeros(model, search.x)
    residual = model.residual_variance(root_K)
    return scale**2 * residual * np.append(root_K**2, 1.0)


def _with_exact_zeros(model: "_Model", root_K: np.ndarray) -> np.ndarray:
    """The search comes close to zero only; take zero where it is at least as likely."""
    for k in np.flatnonzero(root_K < NEGLIGIBLE):
        tried = root_K.copy()
        tried[k] = 0.0
        if model.deviance(tried)[0] <= model.deviance(root_K)[0] + 1e-9:
            root_K = tried
    return root_K


@dataclass(frozen=True, eq=False)
class _Model:
    """What the likelihood needs of the data: cross products, none of length N."""

    num: int  # N
    factor_Q: np.ndarray  # to which factor a level belongs
    zz_QQ: np.ndarray  # Z'Z
    z1_Q: np.ndarray  # Z'1
    zy_Q: np.ndarray  # Z'y
    yy: float  # y'y; 1'y is zero, y is centred

    @classmethod
    def of(cls, value_N: np.ndarray, factors: Sequence[np.ndarray]) -> "_Model":
        blocks = []
        for factor_N in factors:
            levels, number_N = np.unique(factor_N, return_inverse=True)
            blocks.append(np.eye(len(levels))[number_N])
        z_NQ = np.hstack(blocks)
        factor_Q = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
        yy = float(value_N @ value_N)
        return cls(len(value_N), factor_Q, z_NQ.T @ z_NQ, z_NQ.sum(0), z_NQ.T @ value_N, yy)

    def deviance(self, root_K: np.ndarray) -> tuple[float, np.ndarray]:
        """-2 log L up to a constant, and its slope in the roots."""
        root_Q = root_K[self.factor_Q]
        a_QQ = np.eye(len(root_Q)) + root_Q[:, None] * self.zz_QQ * root_Q
        factor = linalg.cho_factor(a_QQ, lower=True, check_finite=False)
        right = root_Q[:, None] * np.column_stack([self.z1_Q, self.zy_Q, self.zz_QQ])
        solved = root_Q[:, None] * linalg.cho_solve(factor, right, check_finite=False)
        one_h_one = self.num - self.z1_Q @ solved[:, 0]
        mean = -(self.z1_Q @ solved[:, 1]) / one_h_one
        ypy = self.yy - self.zy_Q @ solved[:, 1] - mean**2 * one_h_one
        # Z'H^-1 times 1, y and Z
        z_h = np.column_stack([self.z1_Q, self.zy_Q, self.zz_QQ]) - self.zz_QQ @ solved
        trace_Q = np.diag(z_h[:, 2:]) - z_h[:, 0] ** 2 / one_h_one
        zpy_Q = z_h[:, 1] - mean * z_h[:, 0]
        slope_Q = trace_Q - (self.num - 1) * zpy_Q**2 / ypy
        log_det = 2 * np.sum(np.log(np.diag(factor[0])))
        value = log_det + np.log(one_h_one) + (self.num - 1) * np.log(ypy)
        slope_K = np.bincount(self.factor_Q, weights=slope_Q, minlength=len(root_K))
        return float(value), 2 * root_K * slope_K

    def residual_variance(self, root_K: np.ndarray) -> float:
        """s^2 at these roots."""
        root_Q = root_K[self.factor_Q]
        a_QQ = np.eye(len(root_Q)) + root_Q[:, None] * self.zz_QQ * root_Q
        right = root_Q[:, None] * np.column_stack([self.z1_Q, self.zy_Q])
        solved = root_Q[:, None] * linalg.solve(a_QQ, right, assume_a="pos")
        one_h_one = self.num - self.z1_Q @ solved[:, 0]
        mean = -(self.z1_Q @ solved[:, 1]) / one_h_one
        return float(self.yy - self.zy_Q @ solved[:, 1] - mean**2 * one_h_one) / (self.num - 1)
