"""TensorBoard's event files, a program of its own. The only file that imports tensorboard.

    SWEEP/tensorboard/CELL/    scalars: scores at step 0, errors of layers at their block
                               hparams: axes and settings; text: notes, what is no number, tables

A run is written beside its place and moved there when it is whole.
"""

# Classes of messages are made when their modules are imported, which type checkers cannot see.
# pyright: reportAttributeAccessIssue=false

import shutil
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from calib_sweep import valid_json
from calib_sweep.tracking.content import read_table
from calib_sweep.tracking.mirrored import CELL_JOB
from calib_sweep.tracking.writing import RunInfo, serve, settings_of, steps

MAX_ROWS = 200  # of a table, which is shown as text


class EventFiles:
    """Writes one run."""

    def __init__(self, _settings: Mapping[str, Any]) -> None:
        self._step = 0

    def start(self, run: RunInfo) -> None:
        """Open the run, with its settings, configuration and notes."""
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._sweep = run.sweep
        self._place = run.sweep / "tensorboard" / run.folder.name
        self._draft = run.sweep / f".tensorboard-{run.folder.name}"
        shutil.rmtree(self._draft, ignore_errors=True)  # of a process that was killed
        self._writer = EventFileWriter(str(self._draft))
        if run.kind == CELL_JOB:
            self._add(_hparams(settings_of(run.config), run.id))
            self._text("config", f"```json\n{valid_json.dumps(run.config, indent=1)}\n```")
        self._text("notes", run.notes)
        self._text("tags", ", ".join(run.tags))

    def curve(self, points: Sequence[Mapping[str, float]]) -> None:
        """Add the points, each at its block."""
        for step, values in steps(points):
            for key, value in values.items():
                self._scalar(key, value, step)

    def summary(self, values: Mapping[str, object]) -> None:
        """Add numbers as scalars, all else as text."""
        for key, value in values.items():
            if isinstance(value, int | float):
                self._scalar(key, value)
            else:
                self._text(key, str(value))

    def table(self, key: str, path: Path) -> None:
        """Add a table as Markdown."""
        columns, rows = read_table(path)
        lines = [columns, ["---"] * len(columns), *rows[:MAX_ROWS]]
        text = "\n".join("| " + " | ".join(map(_entry, line)) + " |" for line in lines)
        left_out = len(rows) - MAX_ROWS
        self._text(key, f"{text}\n\n{left_out:,} more in {path.name}" if left_out > 0 else text)

    def file(self, key: str, path: Path) -> None:
        """Add a figure; of a page, where it is."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        if path.suffix != ".png":
            self._text(key, f"`{path}`")
            return
        content = path.read_bytes()
        width, height = struct.unpack(">II", content[16:24])  # of the header of a PNG file
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=content
        )
        self._add(Summary(value=[Summary.Value(tag=key, image=image)]))

    def finish(self, *, is_done: bool) -> tuple[bool, str]:
        """Close the run, and put it in its place."""
        self._add(_session_end(is_done=is_done))
        self._writer.close()
        self._place.parent.mkdir(exist_ok=True)
        shutil.rmtree(self._place, ignore_errors=True)
        self._draft.replace(self._place)
        return False, str(self._place.relative_to(self._sweep))

    def _scalar(self, key: str, value: float, step: int = 0) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary

        self._add(Summary(value=[Summary.Value(tag=key, simple_value=value)]), step)

    def _text(self, key: str, text: str) -> None:
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.compat.proto.tensor_pb2 import TensorProto
        from tensorboard.compat.proto.types_pb2 import DT_STRING
        from tensorboard.plugins.text.metadata import create_summary_metadata

        metadata = create_summary_metadata(display_name=key, description="")
        tensor = TensorProto(dtype=DT_STRING, string_val=[text.encode()])
        self._add(Summary(value=[Summary.Value(tag=key, metadata=metadata, tensor=tensor)]))

    def _add(self, summary: Any, step: int = 0) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))


def _entry(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str("" if value is None else value)
    return text.replace("|", "\\|").replace("\n", " ")


def _hparams(settings: Mapping[str, object], run_id: str) -> Any:
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb

    kinds = bool, int, float, str
    plain = {k: v if isinstance(v, kinds) else valid_json.dumps(v) for k, v in settings.items()}
    return hparams_pb(plain, trial_id=run_id)


def _session_end(*, is_done: bool) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

    status = api_pb2.STATUS_SUCCESS if is_done else api_pb2.STATUS_FAILURE
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=time.time())
    data = plugin_data_pb2.HParamsPluginData(session_end_info=end)
    told = metadata.create_summary_metadata(data)
    tag = metadata.SESSION_END_INFO_TAG
    return Summary(value=[Summary.Value(tag=tag, metadata=told, tensor=metadata.NULL_TENSOR)])


if __name__ == "__main__":
    serve(EventFiles, "tensorboard.summary.writer.event_file_writer")
