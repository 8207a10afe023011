"""Tokens of experts: from layers to records, and from records to the page."""

import pytest

from calib_sweep.analysis.report import appendix
from calib_sweep.analysis.report.opened import Report
from calib_sweep.compression.layer import LayerReport, summarise_layers


def layer(block, name, num_routed):
    return LayerReport(
        block=block,
        layer=name,
        num_out=2,
        num_in=2,
        sparsity=0.5,
        bits=None,
        output_error=None,
        damping=None,
        num_tokens=96,
        num_routed=num_routed,
        products="float32",
        seconds=0.0,
        note=None,
    )


def add(sweep, seed, dataset="web", method="gptq", **experts):
    note = {"sparsity": 0.0, "bits": 4.0, "num_weights": 10, "seconds": 1.0}
    note |= {"experts": experts} if experts else {}
    sweep.add(method, {"acc/mean": 0.5 + 0.01 * seed}, dataset=dataset, seed=seed, compression=note)


def counts(fewest, median, most, unreached):
    named = {"fewest": fewest, "median": median, "most": most, "unreached": unreached}
    return {"num_experts": 64, **named}


def test_an_expert_counts_once_whatever_layers_it_has():
    layers = [layer(0, "self_attn.q_proj", None)]
    for expert, num_tokens in enumerate((0, 40, 8, 0)):
        layers += [
            layer(0, f"mlp.experts.{expert}.{x}", num_tokens) for x in ("gate", "up", "down")
        ]
    layers += [layer(1, "mlp.experts.0.up", 12)]
    assert summarise_layers(layers, 1.0, None)["experts"] == {
        **{"num_experts": 5, "fewest": 0, "median": 8.0, "most": 40, "unreached": 2}
    }
    assert "experts" not in summarise_layers(layers[:1], 1.0, None)


def test_the_table_has_means_over_cells(sweep):
    add(sweep, 0, **counts(0, 10.0, 90, 3))
    add(sweep, 1, **counts(4, 12.0, 70, 0))
    add(sweep, 0, dataset="wiki", **counts(1, 2.0, 3, 0))
    add(sweep, 0, method="rtn")
    add(sweep, 1, dataset="wiki", fewest="many")  # no number: as if it were not there
    table = Report.of(sweep.folder).tables["experts"]
    assert table.columns.tolist() == [
        *("model", "method", "dataset", "n", "num_experts", "fewest", "median", "most"),
        "unreached",
    ]
    assert table["dataset"].tolist() == ["web", "wiki"] and table["n"].tolist() == [2, 1]
    web = table.iloc[0]
    assert (web["fewest"], web["median"], web["most"], web["unreached"]) == (2, 11, 80, 1.5)


@pytest.mark.parametrize("has_experts", [True, False])
def test_the_page_has_the_table_where_there_are_experts(sweep, has_experts):
    for seed in range(2):
        add(sweep, seed, **(counts(0, 10.0, 90, 3) if has_experts else {}))
    blocks = appendix.write(Report.of(sweep.folder).tables, [])
    titles = [getattr(block, "title", "") for block in blocks]
    assert ("Tokens that experts got" in titles) == has_experts
