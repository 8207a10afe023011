"""All tables of a sweep, each a pure function of its rows, items and settings.

summary.csv, variance_components.csv, comparisons.csv, ranking.csv, power.csv and controls.csv are
the report's; claims.csv is what its sentences may say; the others are what they leave out.
notes.csv says where a table has no number and why. All are on the scale of the analysis (log
perplexity), but for the scores as recorded in summary, uncertainty and tails.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pandas as pd

from calib_sweep.analysis.metrics import OURS, Metrics
from calib_sweep.analysis.scores.arrays import score_arrays
from calib_sweep.analysis.scores.cells import ReadCell
from calib_sweep.analysis.scores.clustered import with_clustered_errors
from calib_sweep.analysis.scores.groups import Group, group_rows
from calib_sweep.analysis.scores.items import Items
from calib_sweep.analysis.scores.names import Naming
from calib_sweep.analysis.scores.published import Published
from calib_sweep.analysis.scores.table import Row
from calib_sweep.analysis.settings import AnalysisSettings
from calib_sweep.analysis.tables.checks import control_table
from calib_sweep.analysis.tables.claims import claim_table
from calib_sweep.analysis.tables.compared import compared_table
from calib_sweep.analysis.tables.comparisons import COLUMNS as COMPARISON_COLUMNS
from calib_sweep.analysis.tables.comparisons import comparison_table, dataset_table
from calib_sweep.analysis.tables.correlations import correlation_table
from calib_sweep.analysis.tables.covariates import Descriptors, covariate_table
from calib_sweep.analysis.tables.equivalence import equivalence_table
from calib_sweep.analysis.tables.experts import expert_table
from calib_sweep.analysis.tables.flips import flip_table, unstable_table
from calib_sweep.analysis.tables.losses import loss_table
from calib_sweep.analysis.tables.missing import missing_table
from calib_sweep.analysis.tables.outliers import outlier_table
from calib_sweep.analysis.tables.over_models import over_models_table
from calib_sweep.analysis.tables.power import power_table
from calib_sweep.analysis.tables.profiles import profile_tables
from calib_sweep.analysis.tables.published import published_table
from calib_sweep.analysis.tables.ranking import ranking_tables
from calib_sweep.analysis.tables.sensitivity import sensitivity_table
from calib_sweep.analysis.tables.set_sizes import set_size_tables
from calib_sweep.analysis.tables.spreads import spread_tables
from calib_sweep.analysis.tables.summary import SUMMARY_COLUMNS, summary_table, uncertainty_table
from calib_sweep.analysis.tables.tasks import task_table
from calib_sweep.analysis.tables.variance_components import COLUMNS as COMPONENT_COLUMNS
from calib_sweep.analysis.tables.variance_components import variance_table
from calib_sweep.analysis.tables.verdicts import with_claims

NOTE_COLUMNS = ["table", "model", "method", "a", "b", "dataset", "metric", "component", "note"]
# Tables that are computed with more columns than their file has, and these columns.
SHOWN_COLUMNS = {
    "summary": SUMMARY_COLUMNS,
    "variance_components": COMPONENT_COLUMNS,
    "comparisons": COMPARISON_COLUMNS,
    "dataset_comparisons": ["model", "method", *COMPARISON_COLUMNS[1:]],
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Evidence besides the rows; all of it may be lacking."""

    cells: Sequence[ReadCell] = ()  # the records, for what they measured beside scores
    known: Metrics = OURS  # of the scores
    items: Items = field(default_factory=Items)  # scores per test item
    descriptors: Descriptors = field(default_factory=dict)  # of the calibration sets
    published: Published | None = None  # numbers of others
    set_problems: Sequence[str] = ()  # what is wrong with their pairing, in sentences


def all_tables(
    rows: Sequence[Row], evidence: Evidence, settings: AnalysisSettings
) -> dict[str, pd.DataFrame]:
    """Make every table, by the name of its file without `.csv`."""
    rows = with_clustered_errors(rows, evidence.items)
    groups = group_rows(rows, evidence.known)
    naming = Naming.of_groups(groups)
    arrays = score_arrays(rows, naming, evidence.known)
    comparisons = comparison_table(arrays, settings)
    components = variance_table(arrays, settings)
    tables = {
        "summary": summary_table(groups, naming),
        "compared": compared_table(rows, evidence.cells, groups, naming),
        "sensitivity": sensitivity_table(arrays, components, groups, naming),
        "variance_components": components,
        "comparisons": comparisons,
        **ranking_tables(arrays, comparisons, settings),
        "equivalence": equivalence_table(arrays, comparisons, settings),
        "over_models": over_models_table(comparisons, bare_models(groups, naming), evidence.known),
        "uncertainty": uncertainty_table(groups, naming),
        "dataset_comparisons": dataset_table(arrays, settings),
        **spread_tables(arrays),
        "tasks": task_table(groups, naming),
        "losses": loss_table(arrays, evidence.items),
        "flips": flip_table(arrays, evidence.items),
        "unstable_items": unstable_table(arrays, evidence.items),
        **profile_tables(arrays, settings),
        **set_size_tables(arrays, settings),
        "correlations": correlation_table(arrays, settings),
        "covariates": covariate_table(arrays, evidence.descriptors, settings),
        "experts": expert_table(rows, evidence.cells, groups, naming),
        "tails": outlier_table(groups, naming),
        "published": published_table(groups, naming, evidence.published, settings),
        "missing": missing_table(rows, arrays, naming),
    }
    tables["claims"] = claim_table(tables, evidence.known)
    for name in ("comparisons", "dataset_comparisons"):
        tables[name] = with_claims(tables[name], tables["claims"], settings)
    tables["power"] = power_table(arrays, comparisons, tables["claims"], settings)
    tables["controls"] = control_table(rows, arrays, tables, evidence.set_problems)
    tables["notes"] = _notes(tables)
    return {
        name: table.reindex(columns=SHOWN_COLUMNS.get(name, list(table.columns)))
        for name, table in tables.items()
    }


def bare_models(groups: Sequence[Group], naming: Naming) -> dict[str, str]:
    """Return each model without its settings, by its name in tables."""
    return {naming.of(group).model: group.model for group in groups}


def _notes(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Return every note of the tables, with what it is about."""
    noted = [
        table.loc[table["note"].fillna("") != ""].assign(table=name).reindex(columns=NOTE_COLUMNS)
        for name, table in tables.items()
        if "note" in table
    ]
    return pd.concat(noted, ignore_index=True).fillna("")
