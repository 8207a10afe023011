"""The fingerprint of a model's weights: the same for weights that are equal to the last bit.

    word w_i      eight bytes of a parameter, the last ones filled up with zeros
    sum           of mix(w_i + (i + 1) * STEP) over its words, modulo 2^64
    fingerprint   SHA-256 over name, dtype, shape and sum of every parameter

`mix` is the last step of SplitMix64 (Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195). Sums
of integers are exact in any order, so a GPU and a CPU say the same. It tells weights apart that
differ by chance; against somebody who makes two models alike it is no protection.
"""

import hashlib

import torch
from torch import Tensor, nn

WORD = 8  # bytes
AT_ONCE = 2**20  # words; it bounds memory and moves no result
BITS = 2**64
STEP = 0x9E3779B97F4A7C15
SHIFTS, FACTORS = (30, 27, 31), (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)


@torch.no_grad()
def weights_fingerprint(model: nn.Module) -> str:
    """Hash all parameters of `model` to 32 hex digits, on the device of its first ones.

    Of a model whose blocks wait in host memory these are the embeddings.
    """
    parameters = dict(model.named_parameters())
    device = next(iter(parameters.values())).device
    sums = [word_sum(parameter, device) for parameter in parameters.values()]
    lines = [
        f"{name} {parameter.dtype} {list(parameter.shape)} {total % BITS}\n"
        for (name, parameter), total in zip(
            parameters.items(), torch.stack(sums).tolist(), strict=True
        )
    ]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def word_sum(tensor: Tensor, device: torch.device) -> Tensor:
    """Add the mixed words of a tensor up: one int64, which wraps around."""
    flat = tensor.detach().reshape(-1)
    total = torch.zeros((), dtype=torch.int64, device=device)
    step = AT_ONCE * WORD // flat.element_size()
    for start in range(0, len(flat), step):
        words = _words(flat[start : start + step], device)
        first = start * flat.element_size() // WORD + 1
        place = torch.arange(first, first + len(words), device=device)
        total += _mix(words.add_(place.mul_(_signed(STEP)))).sum()
    return total


def _words(part: Tensor, device: torch.device) -> Tensor:
    """Copy a part to `device` as words."""
    own = part.to(device, copy=True).view(torch.uint8)
    return nn.functional.pad(own, (0, -len(own) % WORD)).view(torch.int64)


def _mix(words: Tensor) -> Tensor:
    """Send each word to another one; no two to the same. In place."""
    for shift, factor in zip(SHIFTS, (*FACTORS, 1), strict=True):
        # The shift of signed numbers brings in copies of the sign; zeros are wanted.
        words.bitwise_xor_((words >> shift).bitwise_and_(2 ** (64 - shift) - 1))
        words.mul_(_signed(factor))
    return words


def _signed(number: int) -> int:
    return number - BITS if number >= BITS // 2 else number
