"""Hadamard matrices of the sizes that models have, as products of small ones.

    H_n = H_K (x) H_2 (x) .. (x) H_2      entries +-1, H_n^T H_n = n I

K is 1 for a power of two. Of other sizes it is the smallest for which Paley's constructions (1933,
doi:10.1002/sapm1933121311) know a matrix, q being a power of a prime, and chi(x) 1 for the squares
of the field with q elements, -1 for the rest, 0 for 0:

    q = 3 mod 4   K = q + 1      I + S             S = [[0, 1], [-1, chi(a - b)]]
    q = 1 mod 4   K = 2 (q + 1)  [[C + I, C - I], [C - I, -C - I]]
                                                   C = [[0, 1], [1, chi(a - b)]]

A vector is multiplied factor by factor, so in n (K + 64 + ..) steps, not in n^2.

QuaRot (Ashkboos et al. 2024, arXiv:2404.00456) takes its H_K from a published list instead: other
signs of the same kind, and for LLaMA-7B's 11008 = 172 * 64 another K, which is 344 here.
"""

from functools import cache
from itertools import count

import numpy as np
import torch
from torch import Tensor

Factors = tuple[Tensor, ...]

LARGEST = 64  # factor of the power of two: of few steps, and large enough for a fast product
MOST_DIGITS = 3  # of a field with p^k elements: up to here no root means irreducible


@cache
def factors_of(size: int) -> Factors | None:
    """Return matrices [k, k] of +-1 whose Kronecker product is a Hadamard matrix of this size.

    None where no construction here makes one.
    """
    power = size & -size  # of two, the largest that divides it
    smallest = _smallest(size // power, power)
    if smallest is None:
        return None
    factors = [] if smallest == 1 else [paley(smallest)]
    left = size // smallest
    while left > 1:
        part = min(left, LARGEST)
        factors.append(sylvester(part))
        left //= part
    return tuple(torch.from_numpy(factor) for factor in factors)


def times(x: Tensor, factors: Factors) -> Tensor:
    """Return x H / sqrt(n) along the last axis, in the dtype of `x`.

    H is the product of the factors, (x) I where that is smaller than the axis.
    """
    shape, right = x.shape, x.shape[-1]
    for factor in factors:
        size = len(factor)
        right //= size
        own = (factor / size**0.5).to(x)
        x = x.reshape(-1, size) @ own if right == 1 else own.T @ x.reshape(-1, size, right)
    return x.reshape(shape)


def sylvester(size: int) -> np.ndarray:
    """Return H_2 (x) .. (x) H_2, for a power of two."""
    matrix = np.ones((1, 1))
    while len(matrix) < size:
        matrix = np.kron(matrix, np.array([[1.0, 1.0], [1.0, -1.0]]))
    return matrix


def paley(size: int) -> np.ndarray:
    """Return Paley's matrix of this size, of the first kind where there are both."""
    one = np.eye(size)
    if (chi := _characters(size - 1, 3)) is not None:
        return one + _bordered(chi, -1)
    chi = _characters(size // 2 - 1, 1)
    assert chi is not None, size
    inner, half = _bordered(chi, 1), np.eye(size // 2)
    return np.block([[inner + half, inner - half], [inner - half, -inner - half]])


def _smallest(odd: int, power: int) -> int | None:
    """Return the smallest K of which a matrix is known, `odd` times a divisor of `power`."""
    if odd == 1:
        return 1
    for exponent in count(2):
        size = odd * 2**exponent
        if 2**exponent > power:
            return None
        if _is_field(size - 1, 3) or _is_field(size // 2 - 1, 1):
            return size
    return None


def _is_field(q: int, rest: int) -> bool:
    return q % 4 == rest and _prime_power(q) is not None


def _prime_power(q: int) -> tuple[int, int] | None:
    """Return p and k of q = p^k, of up to three digits; None where q is no such number."""
    p = next((d for d in range(3, int(q**0.5) + 1, 2) if q % d == 0), q)
    k = next((k for k in range(1, MOST_DIGITS + 1) if p**k == q), None)
    return None if k is None or q < 3 else (p, k)


def _bordered(chi: np.ndarray, corner: int) -> np.ndarray:
    """Return [[0, 1], [corner, chi]]."""
    matrix = np.pad(chi, ((1, 0), (1, 0)), constant_values=1)
    matrix[1:, 0] = corner
    matrix[0, 0] = 0
    return matrix


def _characters(q: int, rest: int) -> np.ndarray | None:
    """Return chi(a - b) for all elements of the field with q = `rest` mod 4 elements; or None."""
    if not _is_field(q, rest):
        return None
    found = _prime_power(q)
    assert found is not None
    p, k = found
    digits = np.array(np.unravel_index(np.arange(q), (p,) * k)).T  # of each element, largest first
    chi = np.full(q, -1.0)
    chi[_numbers(_squares(digits, p), p)] = 1
    chi[0] = 0
    return chi[_numbers((digits[:, None] - digits[None]) % p, p)]


def _numbers(digits: np.ndarray, p: int) -> np.ndarray:
    """Return the number of the element with these digits, [.., k] -> [..]."""
    return digits @ p ** np.arange(digits.shape[-1])[::-1]


def _squares(digits: np.ndarray, p: int) -> np.ndarray:
    """Return the square of every element [q, k]: polynomials, modulo an irreducible one."""
    k = digits.shape[1]
    product = np.array([np.convolve(one, one) for one in digits]) % p
    rule = _irreducible(p, k)  # x^k = rule
    for place in range(k - 1):  # from the highest power down
        product[:, place + 1 : place + 1 + k] += product[:, place : place + 1] * rule
        product %= p
    return product[:, k - 1 :]


def _irreducible(p: int, k: int) -> np.ndarray:
    """Return digits r [k] with x^k - r irreducible: for k of 2 and 3, without a root."""
    x = np.arange(p)
    for number in count(1):
        rule = np.array(np.unravel_index(number, (p,) * k))
        value = x**k - sum(digit * x**place for place, digit in enumerate(rule[::-1]))
        if k == 1 or np.all(value % p):
            return rule
    raise AssertionError("there is an irreducible polynomial of every degree")
