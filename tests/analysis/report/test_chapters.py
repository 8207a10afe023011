import numpy as np
import pytest
from helpers.simulated import normal

from calib_sweep.analysis.figures import diagrams
from calib_sweep.analysis.report.write import write_report


@pytest.mark.parametrize(("num_methods", "is_cut"), [(11, False), (12, True)])
def test_a_figure_that_leaves_out_pairs_says_so(sweep, undrawn, num_methods, is_cut):
    for (m, seed), noise in np.ndenumerate(normal("pairs", num_methods, 3)):
        scores = {"acc/mean": 0.5 + 0.01 * m + 0.001 * noise}
        sweep.add(f"method{m:02}", scores, dataset="web", seed=seed)
    write_report(sweep.folder)
    text = (sweep.folder / "report" / "report.md").read_text()
    said = f"The first {diagrams.MAX_PAIRS} pairs of each model; tables/claims.csv has all."
    assert "filled: claimed, corrected" in text
    assert (said in text) is is_cut  # 55 and 66 pairs
