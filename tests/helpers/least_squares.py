"""The slow reference of every column solver: a sequence of least squares problems, in float64.

GPTQ, SparseGPT and SpQR decide one column after the other, and the columns still undecided are
always those that make up best for what was decided. The solvers get there by updates with a
Cholesky factor of the inverse Hessian; here each of those problems is solved anew from the dense
weight, without a factor, an inverse or an update.

Shapes: O = out_features, I = in_features.
"""

import torch


def shrunk(hessian, off_diagonal):
    """All entries off the diagonal multiplied by a number."""
    hessian = hessian.clone()
    for i in range(len(hessian)):
        for j in range(len(hessian)):
            if i != j:
                hessian[i, j] *= off_diagonal
    return hessian


def swept(weight_OI, damped_II, decide):
    """The decided columns. With V the decided columns and, right of them, the free ones,

        V[:, i:] = argmin tr (V - W) H (V - W)^T,   V[:, :i] given

    before `decide(i, V)` returns the next column. `weight_OI` and `damped_II` are float64 and in
    the order in which columns are decided.
    """
    decided_OI = weight_OI.clone()
    for i in range(weight_OI.shape[1]):
        change_OD = decided_OI[:, :i] - weight_OI[:, :i]
        # The gradient is zero in every free column: (V - W)[:, i:] H[i:, i:] = -change H[:i, i:].
        repair_OF = torch.linalg.solve(damped_II[i:, i:], -(change_OD @ damped_II[:i, i:]).T).T
        free_OI = torch.cat([decided_OI[:, :i], weight_OI[:, i:] + repair_OF], dim=1)
        decided_OI[:, i] = decide(i, free_OI)
    return decided_OI


def pivots(damped_II):
    """(H[i:, i:]^-1)[0, 0] for every column i: how freely it moves when those before are decided.

    The square of the i-th diagonal element of the solvers' factor; scores divide by it.
    """
    num_in = len(damped_II)
    return [float(torch.linalg.inv(damped_II[i:, i:])[0, 0]) for i in range(num_in)]


def deficient(inputs_TI):
    """The same inputs with two equal features and two that are always zero."""
    inputs_TI = inputs_TI.clone()
    inputs_TI[:, 9 % inputs_TI.shape[1]] = inputs_TI[:, 4 % inputs_TI.shape[1]]
    inputs_TI[:, [3 % inputs_TI.shape[1], -1]] = 0
    return inputs_TI
