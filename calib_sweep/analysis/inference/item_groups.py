"""Items that belong together: questions about one passage, of one subject.

They are answered alike, so a mean over N items varies as that of the sums over G groups:

    Var(mean) = G / (G - 1) sum_g (sum_(i in g) (x_i - xbar))^2 / N^2     on G - 1 df

(Miller 2024, arXiv:2411.00640, section 2.2, with the factor for G groups.) Where each item is its
own group this is s^2 / N. What depends on group sums alone is `scale(N, G)` times a sum of squares.

Shapes: C cells, I items (N), G groups.
"""

import numpy as np


def numbered(group_I: np.ndarray | None, num_items: int) -> np.ndarray:
    """Return the groups as numbers from 0 on [I]; None: each item is on its own."""
    if group_I is None:
        return np.arange(num_items)
    _, number_I = np.unique(group_I, return_inverse=True)
    return np.asarray(number_I, dtype=int).reshape(num_items)


def group_sums(x_CI: np.ndarray, number_I: np.ndarray) -> np.ndarray:
    """Return the sum over the items of each group [C, G]; `number_I`: from `numbered`."""
    sums_GC = np.zeros((int(number_I.max()) + 1, len(x_CI)))
    np.add.at(sums_GC, number_I, x_CI.T)
    return sums_GC.T


def scale(num_items: int, num_groups: int) -> float:
    """Return what a sum of squared group sums is to be multiplied with: G / (G - 1) / N^2."""
    return num_groups / max(num_groups - 1, 1) / num_items**2


def clustered_se(value_I: np.ndarray, group_I: np.ndarray | None = None) -> float:
    """Return the standard error of the mean over items, of other groups of the same kind."""
    number_I = numbered(group_I, len(value_I))
    sums_G = group_sums((value_I - value_I.mean())[None], number_I)[0]
    return float(np.sqrt(scale(len(value_I), len(sums_G)) * np.sum(sums_G**2)))
