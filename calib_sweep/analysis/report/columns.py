"""Which columns of each table of the analysis are shown, under which heading, and what they say."""

from calib_sweep.analysis.report.table_format import Column

MODEL = Column("model", ("model",), "name", "the model that was compressed")
METHOD = Column(
    "method", ("method",), "name", "how it was compressed, with the settings that differ"
)
DATASET = Column("dataset", ("dataset",), "name", "where calibration text came from; - all of them")
N = Column("n", ("n",), "count", "calibration seeds, each a calibration set of its own")

SUMMARY = [
    MODEL,
    METHOD,
    Column(
        "dataset",
        ("dataset",),
        "name",
        "where calibration text came from; - none, or it needs none",
    ),
    Column(
        "mean (95 %)",
        ("mean", "mean_lo", "mean_hi"),
        "score",
        "mean over seeds, with the interval for the mean over all draws, on this benchmark's items "
        "(Student's t); bold: the best",
        better=0,
    ),
    Column(
        "SD (95 %)",
        ("sd", "sd_lo", "sd_hi"),
        "sd",
        "sample standard deviation over seeds (ddof = 1), everything else fixed, with its interval "
        "(chi-squared)",
    ),
    Column(
        "min..max",
        ("min", "max"),
        "score",
        "the lowest and the highest seed; grows with n, so compare only where n is equal",
    ),
    N,
    Column("vs dense", ("vs_dense",), "change", "mean minus the dense model's score"),
    Column(
        "recovery",
        ("recovery",),
        "share",
        "share of the dense score that is kept: mean / dense; of a perplexity dense / mean, the "
        "likelihood of a token relative to dense",
    ),
    Column(
        "above chance",
        ("recovery_above_chance",),
        "share",
        "(mean - chance) / (dense - chance): 0 is guessing; where chance is known and dense is "
        "above it by two standard errors",
    ),
]
UNCERTAINTY = [
    MODEL,
    METHOD,
    DATASET,
    Column(
        "mean, same benchmark (95 %)",
        ("mean", "same_lo", "same_hi"),
        "score",
        "other draws of calibration data, the same test items",
    ),
    Column(
        "mean, new items (95 %)",
        ("mean", "new_lo", "new_hi"),
        "score",
        "other draws and other test items of the same kind: the wider interval",
    ),
    Column(
        "next draw (95 %)",
        ("draw_lo", "draw_hi"),
        "score",
        "where the score of one more calibration set will lie: what a user of one set gets",
    ),
    Column("worst", ("worst",), "score", "the worst draw seen"),
    Column("SD of draws", ("sd",), "sd", "over calibration seeds"),
    Column("SE of items", ("item_se",), "sd", "standard error over test items of one model"),
]
CLAIMED = Column(
    "claimed",
    ("claimed",),
    "word",
    "yes: A does better, corrected for all that the sweep may claim; no: it was tested and is open",
)
DIFFERENCE = Column(
    "A - B (95 %)",
    ("estimate", "lo", "hi"),
    "difference",
    "over calibration draws, on this benchmark; of perplexity the ratio A / B; the interval of "
    "this pair by itself",
)
P_SWEEP = Column(
    "p",
    ("p_sweep",),
    "p",
    "of the test that belongs to the interval, corrected for all that the sweep may claim",
)
PROBABILITY = Column(
    "P(A better) (95 %)",
    ("prob_better", "prob_lo", "prob_hi"),
    "share",
    "how often A does better than B on one draw, ties half (paired methods: Clopper-Pearson)",
)
DETECTABLE = Column(
    "detectable",
    ("mde",),
    "size",
    "the true difference that this many draws show with the power asked for",
)
COMPARISONS = [
    MODEL,
    Column("A", ("a",), "name", "the one that is ahead"),
    Column("B", ("b",), "name", "the other"),
    DATASET,
    DIFFERENCE,
    Column(
        "new dataset",
        ("new_lo", "new_hi"),
        "ends",
        "the 95 % interval of the same difference for a dataset that is not among these",
    ),
    CLAIMED,
    P_SWEEP,
    PROBABILITY,
    DETECTABLE,
    Column("n", ("n",), "count", "calibration sets that both saw"),
]
OF_DATASETS = [
    MODEL,
    METHOD,
    Column("A", ("a",), "name", "the dataset that is ahead"),
    Column("B", ("b",), "name", "the other"),
    DIFFERENCE,
    CLAIMED,
    P_SWEEP,
    PROBABILITY,
    DETECTABLE,
    Column("n", ("n",), "count", "draws"),
]
SENSITIVITY = [
    MODEL,
    METHOD,
    Column(
        "another draw (95 %)",
        ("draw_sd", "draw_lo", "draw_hi"),
        "spread",
        "SD over calibration sets drawn from one dataset",
    ),
    Column(
        "another dataset (95 %)",
        ("dataset_sd", "dataset_lo", "dataset_hi"),
        "spread",
        "SD between calibration datasets, the draws taken out",
    ),
    Column("other items", ("item_se",), "spread", "standard error over test items of one model"),
    Column("of variance: draw", ("draw_share",), "share", "of the sum of the three variances"),
    Column("dataset", ("dataset_share",), "share", "of the sum of the three variances"),
    Column("items", ("item_share",), "share", "of the sum of the three variances"),
    N,
]
COMPONENTS = [
    MODEL,
    Column("method", ("method",), "name", "a method by itself, or all methods together"),
    Column(
        "component",
        ("component",),
        "name",
        "what the variance lies between: method, dataset, draw (calibration set), a repetition",
    ),
    Column(
        "SD (95 %)",
        ("sd", "sd_lo", "sd_hi"),
        "spread",
        "square root of the variance component (REML); of log perplexity, 0.01 is 1 %",
    ),
    Column("share", ("share",), "share", "of the sum of the components"),
    Column(
        "ICC",
        ("icc",),
        "share",
        "correlation of two scores that share this level and what it lies in, and nothing else",
    ),
]
RANKING = [
    MODEL,
    Column("entrant", ("name",), "name", "the method (or dataset) that is ranked"),
    DATASET,
    Column(
        "ranks left open (95 %)",
        ("rank_range",),
        "name",
        "ranks that the tests of all pairs leave open, after Holm",
    ),
    Column("rank", ("rank",), "count", "by the mean over draws"),
    Column("P(first)", ("p_first",), "share", "over resampled draws, as many as there are"),
    Column("unresolved", ("unresolved",), "count", "others with P(better) between 25 and 75 %"),
]
STABILITY = [
    MODEL,
    DATASET,
    Column("sets", ("draw",), "name", "the settings of calibration, where they differ"),
    Column("seeds", ("num_seeds",), "count", "of each of two studies that are imagined"),
    Column("P(same first)", ("p_top1",), "share", "two independent studies name the same best"),
    Column("P(same order)", ("p_order",), "share", "two independent studies find the same order"),
    Column("Kendall's tau", ("tau",), "plain", "mean agreement of the two orders, 1: equal"),
]
FLIPS = [
    MODEL,
    METHOD,
    DATASET,
    Column("SD over draws", ("sd",), "spread", "of the score, over calibration seeds"),
    Column("flip floor", ("floor",), "spread", "the SD if items flipped independently"),
    Column(
        "systematic SD (95 %)",
        ("systematic", "systematic_lo", "systematic_hi"),
        "spread",
        "what all items share: a change of ability, sqrt(SD^2 - floor^2)",
    ),
    Column("p", ("p",), "p", "of independent flips alone (Cochran's Q)"),
    Column("unstable", ("unstable",), "share", "items right on some draws and wrong on others"),
    Column("items", ("num_items",), "count", "test items"),
]
SIZES = [
    MODEL,
    METHOD,
    DATASET,
    Column("samples", ("num_samples",), "count", "sequences in a calibration set"),
    Column("SD (95 %)", ("sd", "sd_lo", "sd_hi"), "spread", "over calibration seeds"),
    Column("fitted", ("sd_fitted",), "spread", "by variance = floor^2 + slope / samples"),
    N,
]
FLOORS = [
    MODEL,
    METHOD,
    DATASET,
    Column(
        "floor (95 %)",
        ("floor", "floor_lo", "floor_hi"),
        "spread",
        "the SD that would be left however large the sets",
    ),
    Column("sizes", ("num_sizes",), "count", "of sets that were drawn"),
]
OF_DRAWS = {"uncertainty": UNCERTAINTY, "flips": FLIPS, "sizes": SIZES, "size_floors": FLOORS}
FOLDED = {"sizes": "Each size"}
