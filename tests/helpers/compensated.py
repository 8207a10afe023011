"""The slow reference of GPTAQ, ResComp and FOEM: their loops, element by element, in float64.

Shapes: O = out_features, I = in_features.
"""

import torch
from helpers.slow_grids import distance_from_tie, slow_grid, slow_round


def strict_upper(matrix_II):
    """What lies above the diagonal."""
    kept_II = torch.zeros_like(matrix_II)
    for i in range(len(matrix_II)):
        kept_II[i, i + 1 :] = matrix_II[i, i + 1 :]
    return kept_II


class SlowRounding:
    """Grids of a row, of groups on the way, or of groups fitted beforehand; rounds one weight."""

    def __init__(self, method, dense_OI, alive_OI, order):
        self.method, self.order = method, order
        self.fit = method.bits, method.symmetric, method.mse
        self.width = method.group_size or len(order)
        source_OI = dense_OI if method.group_size is None else alive_OI
        self.static = method.group_size is None or getattr(method, "static_groups", True)
        self.grids = self.of_groups(source_OI) if self.static else {}
        self.margins = [1.0] * len(dense_OI)

    def of_groups(self, source_OI):
        width = self.width
        return {
            (row, group): slow_grid(values[group * width : (group + 1) * width], *self.fit)
            for row, values in enumerate(source_OI.tolist())
            for group in range(-(-len(values) // width))
        }

    def grid(self, row, i, stale_OI):
        if self.static:
            return self.grids[row, self.order[i] // self.width]
        if i % self.width == 0:
            values = stale_OI[row, i : i + self.width].tolist()
            self.grids[row] = slow_grid(values, *self.fit)
        return self.grids[row]

    def nearest(self, row, i, value, stale_OI):
        grid = self.grid(row, i, stale_OI)
        self.margins[row] = min(self.margins[row], distance_from_tie(value, grid))
        return slow_round(value, grid, self.method.bits)

    def cut(self, row, i, value, stale_OI):
        """The value, or the end of the grid that it lies beyond."""
        scale, zero = self.grid(row, i, stale_OI)
        return min(max(value, -zero * scale), (2**self.method.bits - 1 - zero) * scale)


def slow_compensated(method, weight_OI, dense_TI, seen_TI):
    """The rounded weight, and of every row the smallest distance from a tie."""
    seen_TI, dense_TI, num_in = seen_TI.double(), dense_TI.double(), weight_OI.shape[1]
    hessian = 2 * seen_TI.T @ seen_TI
    cross = 2 * (dense_TI - seen_TI).T @ seen_TI
    alive = weight_OI.double().clone()
    for i in range(num_in):
        if hessian[i, i] == 0:
            hessian[i, i] = 1
            alive[:, i] = 0
    order = list(range(num_in))
    if method.act_order:
        order.sort(key=lambda i: -float(hessian[i, i]))
    rounding = SlowRounding(method, weight_OI.double(), alive, order)
    w0, hessian, cross = alive[:, order], hessian[order][:, order], cross[order][:, order]
    damped = hessian + method.damping * hessian.diagonal().mean() * torch.eye(num_in)
    upper = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    carried = method.alpha * strict_upper(cross @ upper.T) @ upper
    seen_by_dense = hessian + cross if method.alpha else hessian
    returned = method.rescomp * strict_upper(seen_by_dense @ upper.T) @ upper
    ordered = torch.empty_like(w0)
    for row in range(len(w0)):
        ordered[row] = _row(method, row, w0[row], upper, carried, returned, rounding, w0.clone())
    result = torch.empty_like(ordered)
    result[:, order] = ordered
    return result, torch.tensor(rounding.margins)


def _row(method, row, w0_I, upper, carried, returned, rounding, stale_OI):
    """One row; `stale_OI`: the weight as its blocks find it, which groups are fitted to."""
    work = w0_I.clone()
    rounded = torch.empty_like(work)
    for start in range(0, len(work), method.block_size):
        stop = min(start + method.block_size, len(work))
        stale_OI[row] = work
        errors, counted = {}, {}
        for i in range(start, stop):
            w = float(work[i])
            q = rounding.nearest(row, i, w, stale_OI)
            error = (w - q - method.foem * (w - float(w0_I[i]))) / float(upper[i, i])
            for j in range(i + 1, stop):
                work[j] += w * carried[i, j] + (w0_I[i] - w) * returned[i, j] - error * upper[i, j]
            if i + 1 < stop:
                work[i + 1] -= method.foem * (work[i + 1] - w0_I[i + 1])
            left = w - error * float(upper[i, i])
            clips = method.beyond == "clipped"
            rounded[i], errors[i] = q, error
            counted[i] = rounding.cut(row, i, w, stale_OI) if clips else left
        for j in range(stop, len(work)):
            for i in range(start, stop):
                w = counted[i]
                work[j] += w * carried[i, j] + (w0_I[i] - w) * returned[i, j]
                work[j] -= errors[i] * upper[i, j]
    return rounded
