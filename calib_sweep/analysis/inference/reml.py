"""Restricted maximum likelihood of variance components, for any mixture of nested and crossed.

    y = mu + sum_k Z_k u_k + e,   u_k ~ N(0, g_k s^2 I),  e ~ N(0, s^2 I)
    H = I + sum_k g_k Z_k Z_k',   P = H^-1 - H^-1 1 1' H^-1 / 1' H^-1 1
    -2 log L(g) = log|H| + log 1' H^-1 1 + (N - 1) log y' P y            s^2 = y' P y / (N - 1)
    d/dg_k      = tr Z_k' P Z_k - (N - 1) |Z_k' P y|^2 / y' P y

Harville 1977; only matrices of the Q levels are inverted (Woodbury; Bates et al. 2015, lme4):
H^-1 = I - Z G A^-1 G Z' with G = diag(sqrt g), A = I + G Z'Z G. Searched over log(1 + g) >= 0: g
may be zero or huge, and at zero the slope must still point away (over sqrt(g) it vanishes there,
and a search that touches zero stays). statsmodels' MixedLM gives the same numbers, at a hundred
times the cost (tests/analysis/inference/test_reml.py).

Of a complete design the mean squares say all (`reml_from_anova`):
-2 log L = sum_l df_l (log lambda_l + MS_l / lambda_l),   lambda = weight @ components

Shapes: N observations, K factors, Q levels of all factors together; L mean anova.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from calib_sweep.analysis.inference import typed_scipy

LARGEST_RATIO = 1e10  # of a variance to the residual's; beyond, the residual is rounding


def fit_reml(value_N: np.ndarray, factors: Sequence[np.ndarray]) -> np.ndarray:
    """Return the variances of the factors and of the residual [K + 1], in the unit of value^2.

    `value_N`: the observations, all finite. `factors`: for each factor the level of each of them
    [N], as whole numbers. No variance is negative.
    """
    assert np.isfinite(value_N).all(), value_N
    if np.ptp(value_N) == 0:
        return np.zeros(len(factors) + 1)
    if not factors:
        return np.var(value_N, ddof=1, keepdims=True)
    scale = float(np.std(value_N))
    model = _Model.of((value_N - value_N.mean()) / scale, factors)

    def deviance(log_K: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope_K = model.deviance(np.expm1(log_K))
        return value, slope_K * np.exp(log_K)

    found_K = typed_scipy.minimise(
        deviance,
        np.full(len(factors), np.log(2.0)),
        [(0.0, np.log(LARGEST_RATIO))] * len(factors),
        "L-BFGS-B",
        ftol=1e-12,
        gtol=1e-8,
        maxiter=500,
    )
    ratio_K = np.expm1(found_K)
    return scale**2 * model.residual_variance(ratio_K) * np.append(ratio_K, 1.0)


def reml_from_anova(square_L: np.ndarray, df_L: np.ndarray, weight_LL: np.ndarray) -> np.ndarray:
    """Return the REML components of a complete design from its mean squares [L].

    The residual comes first. `weight_LL` @ components = expected mean squares, as `anova` has them.
    """
    scale = float(square_L.max())
    if scale == 0:
        return np.zeros(len(square_L))
    seen_L = square_L / scale

    def deviance(component_L: np.ndarray) -> tuple[float, np.ndarray]:
        lambda_L = weight_LL @ component_L
        value = df_L @ (np.log(lambda_L) + seen_L / lambda_L)
        return float(value), weight_LL.T @ (df_L * (1 / lambda_L - seen_L / lambda_L**2))

    start_L = np.maximum(np.linalg.solve(weight_LL, seen_L), 0.01 * seen_L.mean())
    found_L = typed_scipy.minimise(
        deviance,
        start_L,
        [(1 / LARGEST_RATIO, None), *[(0.0, None)] * (len(seen_L) - 1)],
        "TNC",  # no BLAS inside, whose threads would cost more than the search
        ftol=1e-15,
        gtol=1e-10,
        xtol=1e-12,
        maxfun=5000,
    )
    is_there_L = (square_L > 0) | (np.arange(len(square_L)) > 0)  # repetitions may be equal
    return scale * found_L * is_there_L


@dataclass(frozen=True, eq=False)
class _Model:
    """The cross products that the likelihood needs of the data, none of length N."""

    num: int  # N
    factor_Q: np.ndarray  # to which factor a level belongs
    zz_QQ: np.ndarray  # Z'Z
    z1_Q: np.ndarray  # Z'1
    zy_Q: np.ndarray  # Z'y
    yy: float  # y'y; 1'y is zero, y is centred

    @classmethod
    def of(cls, value_N: np.ndarray, factors: Sequence[np.ndarray]) -> "_Model":
        blocks: list[np.ndarray] = []
        for factor_N in factors:
            levels, number_N = np.unique(factor_N, return_inverse=True)
            blocks.append(np.eye(len(levels))[number_N])
        z_NQ = np.hstack(blocks)
        factor_Q = np.repeat(np.arange(len(blocks)), [block.shape[1] for block in blocks])
        yy = float(value_N @ value_N)
        return cls(len(value_N), factor_Q, z_NQ.T @ z_NQ, z_NQ.sum(0), z_NQ.T @ value_N, yy)

    def deviance(self, ratio_K: np.ndarray) -> tuple[float, np.ndarray]:
        """Return -2 log L up to a constant, and its slope in the ratios."""
        root_Q = np.sqrt(ratio_K)[self.factor_Q]
        a_QQ = np.eye(len(root_Q)) + root_Q[:, None] * self.zz_QQ * root_Q
        factor = typed_scipy.cholesky(a_QQ)
        right = root_Q[:, None] * np.column_stack([self.z1_Q, self.zy_Q, self.zz_QQ])
        solved = root_Q[:, None] * typed_scipy.cholesky_solve(factor, right)
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
        slope_K = np.bincount(self.factor_Q, weights=slope_Q, minlength=len(ratio_K))
        return float(value), slope_K

    def residual_variance(self, ratio_K: np.ndarray) -> float:
        """Return s^2 at these ratios."""
        root_Q = np.sqrt(ratio_K)[self.factor_Q]
        a_QQ = np.eye(len(root_Q)) + root_Q[:, None] * self.zz_QQ * root_Q
        right = root_Q[:, None] * np.column_stack([self.z1_Q, self.zy_Q])
        solved = root_Q[:, None] * typed_scipy.solve_positive(a_QQ, right)
        one_h_one = self.num - self.z1_Q @ solved[:, 0]
        mean = -(self.z1_Q @ solved[:, 1]) / one_h_one
        return float(self.yy - self.zy_Q @ solved[:, 1] - mean**2 * one_h_one) / (self.num - 1)
