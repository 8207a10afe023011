"""Two loops in Triton, for GPUs: sums of products of inputs, and rounding column after column.

Needs the package triton, which comes with torch for CUDA on Linux; imported only where it is used.
The maths is that of `Hessian`, and of the column solver with GPTQ's decision, which run wherever
there is no Triton and which the tests hold these kernels to, in Triton's interpreter if need be.

    add_gram        H += factor X^T X of half-precision X. A tensor core adds without rounding to
                    nearest, which over 16,384 tokens shifts a sum by 1e-4; so it sums DEPTH tokens,
                    and these sums are added in ordinary float32. One triangle is computed, the
                    other is its mirror image.
    add_product     P += factor Y^T X in the same way: two matrices of one shape, the whole sum or
                    what lies above its diagonal.
    round_columns   one program owns some rows of a block of columns and keeps them in registers
                    until all its columns are rounded: one launch where there were a thousand.
                    With `Pulled`, columns move as `compensation.py` says as well.
                    To integers, or to floating-point numbers of few bits as `floats.py` does it.

Shapes: T = tokens, I = in_features, B = columns of a block, O = out_features.
"""

# Triton is not there where types are checked, and what it makes of a kernel is not a function.
# pyright: basic, reportMissingImports=false, reportIndexIssue=false

import torch
import triton
import triton.language as tl
from torch import Tensor

# `Pulled` of `column_solver.py`: what a weight is multiplied by when it is rounded, or None; the
# dense weights; the share of its distance from these that a column gives up.
Pulled = tuple[Tensor | None, Tensor, float]

TILE = 128  # rows and columns of H that a program computes
DEPTH = 64  # tokens that tensor cores sum
ROWS = 32  # out_features that a program rounds: a row for every thread of its one warp

# Added to a float32 and taken away again, it leaves the nearest integer, ties to even.
ROUND_TO_NEAREST = tl.constexpr(1.5 * 2**23)
EXPONENT = tl.constexpr(0x7F800000)  # the bits of a float32 that hold its exponent


def add_gram(product_II: Tensor, inputs_TI: Tensor, factor: float = 1.0) -> None:
    """Add factor X^T X to a float32 matrix in place; X is float16 or bfloat16."""
    inputs_TI = inputs_TI.contiguous()
    num_tokens, num_in = inputs_TI.shape
    num_tiles = triton.cdiv(num_in, TILE)
    with torch.cuda.device_of(product_II):
        _add_gram[num_tiles, num_tiles](
            inputs_TI,
            product_II,
            factor,
            num_tokens,
            num_in,
            TILE,
            DEPTH,
            num_warps=8,
            num_stages=3,
        )


@triton.jit
def _add_gram(inputs, product, factor, num_tokens, num_in, TILE: tl.constexpr, DEPTH: tl.constexpr):
    """product += factor * inputs^T inputs; `factor`, mostly 1, keeps the two additions apart."""
    if tl.program_id(0) > tl.program_id(1):
        return
    left = tl.program_id(0) * TILE + tl.arange(0, TILE)
    right = tl.program_id(1) * TILE + tl.arange(0, TILE)
    total = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, num_tokens, DEPTH):
        token = start + tl.arange(0, DEPTH)
        address = inputs + token.to(tl.int64)[:, None] * num_in
        is_token = (token < num_tokens)[:, None]
        x_left = tl.load(address + left[None, :], is_token & (left < num_in)[None, :], 0.0)
        x_right = tl.load(address + right[None, :], is_token & (right < num_in)[None, :], 0.0)
        total += factor * tl.dot(tl.trans(x_left), x_right)
    inside = (left < num_in)[:, None] & (right < num_in)[None, :]
    here = product + left.to(tl.int64)[:, None] * num_in + right[None, :]
    total += tl.load(here, inside, 0.0)
    tl.store(here, total, inside)
    if tl.program_id(0) < tl.program_id(1):
        mirrored = product + right.to(tl.int64)[:, None] * num_in + left[None, :]
        tl.store(mirrored, tl.trans(total), tl.trans(inside))


def add_product(
    product_II: Tensor, left_TI: Tensor, right_TI: Tensor, factor: float = 1.0, *, whole: bool
) -> None:
    """Add factor Y^T X to a float32 matrix in place; not `whole`: from the diagonal tiles on."""
    left_TI, right_TI = left_TI.contiguous(), right_TI.contiguous()
    num_tokens, num_in = right_TI.shape
    num_tiles = triton.cdiv(num_in, TILE)
    with torch.cuda.device_of(product_II):
        _add_product[num_tiles, num_tiles](
            *(
                left_TI,
                right_TI,
                product_II,
                factor,
                num_tokens,
                num_in,
                num_tiles * whole,
                TILE,
                DEPTH,
            ),
            num_warps=8,
            num_stages=3,
        )


@triton.jit
def _add_product(
    lefts,
    rights,
    product,
    factor,
    num_tokens,
    num_in,
    below,
    TILE: tl.constexpr,
    DEPTH: tl.constexpr,
):
    """product += factor * lefts^T rights; `below`: so many tiles below the diagonal, too."""
    if tl.program_id(0) > tl.program_id(1) + below:
        return
    left = tl.program_id(0) * TILE + tl.arange(0, TILE)
    right = tl.program_id(1) * TILE + tl.arange(0, TILE)
    total = tl.zeros((TILE, TILE), tl.float32)
    for start in range(0, num_tokens, DEPTH):
        token = start + tl.arange(0, DEPTH)
        first = token.to(tl.int64)[:, None] * num_in
        is_token = (token < num_tokens)[:, None]
        x = tl.load(lefts + first + left[None, :], is_token & (left < num_in)[None, :], 0.0)
        y = tl.load(rights + first + right[None, :], is_token & (right < num_in)[None, :], 0.0)
        total += factor * tl.dot(tl.trans(x), y)
    inside = (left < num_in)[:, None] & (right < num_in)[None, :]
    here = product + left.to(tl.int64)[:, None] * num_in + right[None, :]
    tl.store(here, total + tl.load(here, inside, 0.0), inside)


def round_columns(
    weight_BO: Tensor,
    upper_BB: Tensor,
    scale_BO: Tensor,
    zero_point_BO: Tensor,
    highest: int,
    pulled: Pulled | None = None,
) -> tuple[Tensor, ...]:
    """Round a block as GPTQ does to grids that are known: the rounded block, and its errors.

    With `pulled` also the weights as they were when they were rounded.
    """
    return _launch(weight_BO, upper_BB, scale_BO, zero_point_BO, (highest, 0.0, 0.0), pulled)


def round_columns_to_floats(
    weight_BO: Tensor,
    upper_BB: Tensor,
    scale_BO: Tensor,
    mantissa_bits: int,
    smallest: float,
    largest: float,
    pulled: Pulled | None = None,
) -> tuple[Tensor, ...]:
    """Do the same with grids of floating-point numbers, whose zero is where it is."""
    floats = largest, smallest, 1.5 * 2.0 ** (23 - mantissa_bits)
    return _launch(weight_BO, upper_BB, scale_BO, scale_BO, floats, pulled)


def _launch(
    weight_BO: Tensor,
    upper_BB: Tensor,
    scale_BO: Tensor,
    zero_point_BO: Tensor,
    levels: tuple[float, float, float],
    pulled: Pulled | None,
) -> tuple[Tensor, ...]:
    """Round to integers up to the first of `levels`, or with the others to floating-point numbers.

    These are the smallest normal number, and what makes a power of two round to its steps.
    """
    num_columns, num_rows = weight_BO.shape
    weight_BO, scale_BO = weight_BO.contiguous(), scale_BO.contiguous()
    rounded_BO, error_BO = torch.empty_like(weight_BO), torch.empty_like(weight_BO)
    moved_BB, dense_BO, beta = pulled or (None, weight_BO, 0.0)
    kept_BO = rounded_BO if pulled is None else torch.empty_like(weight_BO)
    with torch.cuda.device_of(weight_BO):
        _round_columns[(triton.cdiv(num_rows, ROWS),)](
            *(weight_BO, upper_BB.contiguous(), scale_BO, zero_point_BO.contiguous()),
            *(rounded_BO, error_BO, *levels, num_columns, num_rows),
            *(upper_BB if moved_BB is None else moved_BB.contiguous(), dense_BO.contiguous()),
            *(kept_BO, beta, levels[2] > 0, pulled is not None, moved_BB is not None, beta > 0),
            triton.next_power_of_2(num_columns),
            ROWS,
            num_warps=1,
        )
    return (rounded_BO, error_BO) if pulled is None else (rounded_BO, error_BO, kept_BO)


@triton.jit
def _round_columns(
    weight,
    upper,
    scale,
    zero_point,
    rounded,
    error,
    highest,
    smallest,
    magnitude,
    num_columns,
    num_rows,
    moved,
    dense,
    kept,
    beta,
    TO_FLOATS: tl.constexpr,
    KEEPS: tl.constexpr,
    MOVES: tl.constexpr,
    HOLDS: tl.constexpr,
    WIDTH: tl.constexpr,
    ROWS: tl.constexpr,
):
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    column = tl.arange(0, WIDTH)
    is_row = row < num_rows
    inside = (column < num_columns)[:, None] & is_row[None, :]
    work = tl.load(weight + column[:, None] * num_rows + row[None, :], inside, 0.0)
    for current in range(num_columns):
        here = current * num_rows + row
        w = tl.sum(tl.where((column == current)[:, None], work, 0.0), 0)
        s = tl.load(scale + here, is_row, 1.0)
        level = tl.div_rn(w, s)
        if TO_FLOATS:
            level = tl.minimum(tl.maximum(level, -highest), highest)
            power = (level.to(tl.int32, bitcast=True) & EXPONENT).to(tl.float32, bitcast=True)
            steps = tl.maximum(power, smallest) * magnitude
            q = ((level + steps) - steps) * s
        else:
            z = tl.load(zero_point + here, is_row, 0.0)
            level = (level + ROUND_TO_NEAREST) - ROUND_TO_NEAREST
            q = tl.minimum(tl.maximum(level, -z), highest - z) * s
        taken = w - q
        if HOLDS:
            taken -= beta * (w - tl.load(dense + here, is_row, 0.0))
        e = tl.div_rn(taken, tl.load(upper + current * num_columns + current))
        tl.store(rounded + here, q, is_row)
        tl.store(error + here, e, is_row)
        later = (column > current) & (column < num_columns)
        u = tl.load(upper + current * num_columns + column, later, 0.0)
        work -= u[:, None] * e[None, :]
        if KEEPS:
            tl.store(kept + here, w, is_row)
        if MOVES:
            p = tl.load(moved + current * num_columns + column, later, 0.0)
            work += p[:, None] * w[None, :]
        if HOLDS:
            after = here + num_rows
            w0 = tl.load(dense + after, is_row & (after < num_columns * num_rows), 0.0)
            work -= tl.where((column == current + 1)[:, None], beta * (work - w0[None, :]), 0.0)
