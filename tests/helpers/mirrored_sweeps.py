"""A finished sweep that trackers can mirror, without a model."""

import json
from types import SimpleNamespace

import pyarrow
import pyarrow.parquet

from calib_sweep.analysis.report.write import write_report
from calib_sweep.results.store import Store

ERRORS = {("model.layers.0.mlp.up", 0): 0.5, ("model.layers.1.mlp.up", 1): 0.25}  # of layers


def finished_sweep(results, name="mirrored", num_cells=3):
    """Cells of as many seeds, their records, errors of layers, and a report."""
    for seed in range(num_cells):
        cell = {"model": "tiny", "method": "wanda", "dataset": "web", "seed": seed}
        cell |= {"replicate": 0, "settings": {"method.sparsity": 0.5}}
        record = {"schema": 1, "status": "done", "cell": cell, "cell_id": f"{seed:012x}"}
        record |= {"finished_at": f"2030-01-0{seed + 1}", "config": {"seed": seed}}
        record |= {"scores": {"acc/mean": 0.5 + seed / 8, "ppl/web": float("inf")}}
        folder = results / name / f"tiny-wanda-{seed:012x}"
        folder.mkdir(parents=True)
        (folder / "record.json").write_text(json.dumps(record))
        rows = [{"layer": k, "block": b, "output_error": e} for (k, b), e in ERRORS.items()]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "layers.parquet")
    write_report(results / name)
    return Store(results, name)


def cells_of(store):
    """What a tracker asks of the cells of the sweep in `store`."""
    folders = sorted(path.parent for path in store.folder.glob("*/record.json"))
    return [SimpleNamespace(folder_name=folder.name, title=folder.name) for folder in folders]


def mirror(tracker, store):
    """Mirror what is missing, as the end of every command does."""
    tracker.log_missing(cells_of(store), store)
    tracker.log_report(store)
