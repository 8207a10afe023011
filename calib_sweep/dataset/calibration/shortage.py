"""The error for a pool that does not hold the set asked for: its size, and what would fit."""

from calib_sweep.dataset.calibration.windows import Cut, Source
from calib_sweep.errors import ConfigError
from calib_sweep.wording import counted


def pool_too_small(source: Source, cut: Cut, seed: int) -> ConfigError:
    """The error for a draw that found fewer samples than `num_samples`."""
    setting, limit = _binding_limit(source, cut, seed)
    remedies = ["Lower calibration.num_samples or calibration.seq_len"]
    if source.calibration.window != "pack":
        remedies.append("type calibration.window=pack")
    if setting.startswith("seed"):
        remedies.append("type calibration.design=independent (its sets may overlap)")
    remedy = ", ".join([*remedies, "or give more text"])
    return ConfigError(
        f"{setting}: expected {limit}. The pool of dataset {source.name!r} holds "
        f"{_describe_pool(source, cut)}. {remedy}."
    )


def _binding_limit(source: Source, cut: Cut, seed: int) -> tuple[str, str]:
    """The setting that does not fit (key=value), and what would."""
    calibration = source.calibration
    count, seq_len = calibration.num_samples, calibration.seq_len
    if calibration.design == "reference" or (
        cut.eligible == 0 and calibration.window != "document"
    ):
        longest = cut.longest + seq_len - calibration.text_len
        bound = "less than" if calibration.design == "reference" else "at most"
        return f"calibration.seq_len={seq_len}", f"{bound} {longest}"
    num_sets = cut.eligible // count
    if calibration.design == "independent" or num_sets == 0:
        return f"calibration.num_samples={count}", f"at most {cut.eligible}"
    sets = f"{counted(num_sets, 'disjoint set')} of {counted(count, 'sample')}"
    return f"seed={seed}", f"at most {num_sets - 1} ({sets})"


def _describe_pool(source: Source, cut: Cut) -> str:
    """The pool in words, as far as the draw had to look at it: all of it, by now."""
    calibration, width = source.calibration, source.calibration.text_len
    if calibration.window == "pack":
        windows = counted(cut.longest // width, "window")
        return f"{counted(cut.longest, 'token')}, enough for {windows} of {width}"
    if calibration.window == "document":
        return f"{cut.eligible} with text of {counted(cut.documents, 'document')}"
    bound = "more than" if calibration.design == "reference" else "at least"
    return (
        f"{cut.eligible} with {bound} {width} tokens of {_documents(cut)} "
        f"(the longest has {cut.longest})"
    )


def _documents(cut: Cut) -> str:
    if cut.documents > 1:
        return f"{cut.documents} documents"
    return "1 document (a .txt file is one, unless dataset.separator says what parts it)"
