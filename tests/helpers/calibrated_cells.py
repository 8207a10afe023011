"""Finished cells that were never run: a record, items, and the calibration set that it names."""

import json
from pathlib import Path

import numpy as np
from helpers.sets import make_set

from calib_sweep.dataset.calibration.artifact import save_set
from calib_sweep.hashing import file_sha256


def make_calibrated_cell(sweep: Path, number: int, rows=((1, 2), (3, 4)), draw=0, **axes) -> Path:
    """The folder of a cell of the sweep in `sweep`; its set has the tokens `rows`, and a seed."""
    drawn = make_set(np.array(rows))
    kept = sweep.parent / "calibration" / drawn.hash[:20]
    save_set(drawn, kept)
    cell = {"model": "tiny", "method": "wanda", "dataset": "web/1", "seed": number} | axes
    folder = sweep / f"tiny-{cell['method']}-{number:012x}"
    folder.mkdir(parents=True)
    (folder / "items.parquet").write_bytes(f"scores of {folder.name}".encode())
    record = {"schema": 1, "status": "done", "cell": cell | {"replicate": 0}}
    record |= {"cell_id": f"{number:012x}", "finished_at": f"2030-01-01T00:00:{number:02d}"}
    record |= {"config": {"seed": number}, "scores": {"acc/mean": 0.5 + number / 1000}}
    used = {"hash": drawn.hash, "folder": kept.name, "dataset": "web/1", "seed": draw}
    record["calibration"] = used | {"num_samples": len(rows)}
    record["files"] = {"items.parquet": file_sha256(folder / "items.parquet")}
    (folder / "record.json").write_text(json.dumps(record))
    return folder
