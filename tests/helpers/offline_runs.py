"""What W&B's offline runs hold, read back from their own files."""

import json
import struct
from pathlib import Path

BLOCK, FILE_HEADER, PART_HEADER = 32768, 7, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(path: Path):
    """The messages of an offline run's file: LevelDB's log format in blocks of 32 KiB."""
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    position, message = FILE_HEADER, b""
    while position + PART_HEADER <= len(content):
        left = BLOCK - position % BLOCK
        if left < PART_HEADER:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + PART_HEADER])
        position += PART_HEADER
        part = content[position : position + length]
        position += length
        if kind not in (FULL, FIRST, MIDDLE, LAST):
            return
        message = part if kind in (FULL, FIRST) else message + part
        if kind in (FULL, LAST):
            yield message


def read_run(path: Path) -> dict:
    """What one .wandb file says of its run."""
    from wandb.proto import wandb_internal_pb2

    run = {"config": {}, "summary": {}, "history": []}
    for payload in payloads(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(payload)
        kind = record.WhichOneof("record_type")
        if kind == "run":
            told = record.run
            run |= {"id": told.run_id, "group": told.run_group, "name": told.display_name}
            run["cell_id"] = told.run_id.rpartition("-")[0]
            run |= {"job_type": told.job_type, "tags": list(told.tags), "project": told.project}
            run["sweep_id"] = told.sweep_id
            run["config"] |= _items(told.config.update)
        elif kind == "config":
            run["config"] |= _items(record.config.update)
        elif kind == "summary":
            run["summary"] |= _items(record.summary.update)
        elif kind == "history":
            run["history"].append(_items(record.history.item))
        elif kind == "exit":
            run["exit_code"] = record.exit.exit_code
    return run


def _items(items):
    return {".".join(i.nested_key) or i.key: json.loads(i.value_json) for i in items}


def read_runs(folder: Path) -> list[dict]:
    """All offline runs of cells below `folder`, in the order they were made."""
    runs = [read_run(path) for path in sorted(folder.rglob("*.wandb"), key=_modified)]
    return [run for run in runs if run["job_type"] == "cell"]


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns
