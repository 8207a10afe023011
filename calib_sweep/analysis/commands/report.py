"""The verb `report`: of one sweep, or of several together."""

from collections.abc import Sequence

from calib_sweep.analysis.commands import together
from calib_sweep.analysis.report import write
from calib_sweep.arguments import folders_and_settings, option
from calib_sweep.errors import ConfigError


def main(arguments: Sequence[str]) -> int:
    """Write the report of the sweep named; of several, one that compares them."""
    to, rest = option("report", arguments, "--to")
    published, rest = option("report", rest, "--published")
    folders, typed = folders_and_settings("report", rest, ("--to", "--published"))
    if len(folders) > 1 and published is not None:
        raise ConfigError(
            f"report --published {published}: expected one sweep beside published numbers. "
            f"Example: python -m calib_sweep report {folders[0]} --published {published}."
        )
    if len(folders) > 1:
        return together.main(folders, typed, to)
    if to is not None:
        raise ConfigError(
            f"report --to {to}: expected several sweeps. The report of one lies in its own folder. "
            "Example: python -m calib_sweep report results/A results/B --to results/both."
        )
    beside = [] if published is None else [f"analysis.published={published}"]
    return write.main([*rest, *beside])
