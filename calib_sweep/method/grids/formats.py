"""The formats by the names that settings have for them, and the check of these settings."""

from calib_sweep.errors import collected, require
from calib_sweep.method.grids.float_formats import FOUR_THIRDS, FP8, MXFP4, NVFP4, OCP
from calib_sweep.method.grids.integer_format import IntegerFormat
from calib_sweep.method.grids.weight_format import WeightFormat
from calib_sweep.method.settings import check_bits, check_group_size, check_symmetric

INT, NVFP4_NAME, MXFP4_NAME, FP8_NAME, FP8_BLOCK = "int", "nvfp4", "mxfp4", "fp8", "fp8_block"
FORMATS = (INT, NVFP4_NAME, MXFP4_NAME, FP8_NAME, FP8_BLOCK)
BLOCK = 128  # rows and columns of a block of fp8_block


def weight_format(
    format: str,
    bits: int,
    group_size: int | None,
    symmetric: bool,
    *,
    searches: bool = False,
    scale_rule: str = OCP,
    tensor_factor: float | None = None,
) -> WeightFormat:
    """Make the format that checked settings name. `searches`: whether scales are searched."""
    if format == INT:
        return IntegerFormat(
            bits=bits, group_size=group_size, symmetric=symmetric, searches=searches
        )
    if format == NVFP4_NAME:
        return NVFP4(searches=searches, tensor_factor=tensor_factor)
    if format == MXFP4_NAME:
        return MXFP4(searches=searches, scale_rule=scale_rule)
    if format == FP8_NAME:
        return FP8(searches=searches)
    assert format == FP8_BLOCK, format
    return FP8(searches=searches, group_size=BLOCK, num_rows=BLOCK)


def check_format(
    format: object,
    bits: object,
    group_size: object,
    symmetric: object,
    scale_rule: object = OCP,
    *,
    known: tuple[str, ...] = FORMATS,
) -> None:
    """Check the settings of grids together. `known`: the formats that a method takes."""
    with collected() as problems:
        problems.of(_check_name, format, known)
        problems.of(_check_scale_rule, scale_rule, format)
        if format not in known or format == INT:
            problems.of(check_bits, bits)
            problems.of(check_group_size, group_size)
        else:
            problems.of(_check_fixed, str(format), bits, group_size)
        problems.of(check_symmetric, symmetric)


def _check_name(format: object, known: tuple[str, ...]) -> None:
    require(
        format in known,
        "method.format",
        format,
        f"one of {', '.join(known)}",
        f"Example: method.format={INT}; docs/methods/formats.md explains them.",
    )


def _check_scale_rule(scale_rule: object, format: object) -> None:
    require(
        scale_rule == OCP or (scale_rule == FOUR_THIRDS and format == MXFP4_NAME),
        "method.scale_rule",
        scale_rule,
        f"{OCP}, or with method.format={MXFP4_NAME} also {FOUR_THIRDS}",
        f"Type method.scale_rule={OCP}, or method.format={MXFP4_NAME}.",
    )


def _check_fixed(format: str, bits: object, group_size: object) -> None:
    """Bits and groups belong to the format: what is typed must be them, or nothing."""
    form = weight_format(format, 0, None, False)
    with collected() as problems:
        problems.of(
            require,
            bits == form.bits,
            "method.bits",
            bits,
            f"{form.bits} with method.format={format}",
            f"Type method.bits={form.bits}, or method.format={INT}.",
        )
        own = "null" if form.group_size is None else f"null or {form.group_size}"
        problems.of(
            require,
            group_size is None or group_size == form.group_size,
            "method.group_size",
            group_size,
            f"{own} with method.format={format}, whose groups are fixed",
            f"Type method.group_size=null, or method.format={INT}.",
        )
