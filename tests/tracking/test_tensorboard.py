"""TensorBoard's event files, read back by TensorBoard itself."""

import json
import logging
import shlex

import pytest
from helpers.mirrored_sweeps import cells_of, finished_sweep, mirror

from calib_sweep.tracking import client_process
from calib_sweep.tracking.tensorboard import TensorboardTracking

hparams = pytest.importorskip("tensorboard.plugins.hparams.metadata")
accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")


@pytest.fixture
def store(tmp_path):
    yield finished_sweep(tmp_path / "results", num_cells=2)
    client_process.end()


def read(folder):
    """All that one run says; a folder with events of two runs would be refused."""
    found = accumulator.EventAccumulator(str(folder))
    found.Reload()
    return found


def text_of(run, key):
    (event,) = run.Tensors(key)
    return event.tensor_proto.string_val[0].decode()


def test_cells_and_report_are_runs_that_tensorboard_reads(store, caplog):
    caplog.set_level(logging.INFO)
    tracker = TensorboardTracking(timeout_s=60)
    mirror(tracker, store)
    logs = shlex.quote(f"{store.folder}/tensorboard")
    assert f"TensorBoard: tensorboard --logdir {logs}" in caplog.text
    assert "did not take" not in caplog.text
    names = sorted(path.name for path in (store.folder / "tensorboard").iterdir())
    assert names == ["report", "tiny-wanda-000000000000", "tiny-wanda-000000000001"]
    cell = read(store.folder / "tensorboard" / names[2])
    assert [(e.step, e.value) for e in cell.Scalars("acc/mean")] == [(0, 0.625)]
    assert cell.Scalars("ppl/web")[0].value == float("inf")
    assert [(e.step, e.value) for e in cell.Scalars("layers/output_error/up")] == [
        (0, 0.5),
        (1, 0.25),
    ]
    assert text_of(cell, "status") == "done"
    assert "Record: `results/mirrored/tiny-wanda-000000000001/record.json`" in text_of(
        cell, "notes"
    )
    assert {"_hparams_/session_start_info", "_hparams_/session_end_info"} <= set(
        cell.summary_metadata
    )
    start = cell.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    settings = hparams.parse_session_start_info_plugin_data(start).hparams
    assert settings["method.sparsity"].number_value == 0.5 and settings["seed"].number_value == 1
    assert settings["method"].string_value == "wanda"
    report = read(store.folder / "tensorboard" / "report")
    kept = store.folder / "report"
    figures = sorted(f"figures/{path.stem}" for path in kept.glob("figures/*.png"))
    tables = {f"tables/{path.stem}" for path in kept.glob("tables/*.csv")}
    assert sorted(report.Tags()["images"]) == figures and tables <= set(report.Tags()["tensors"])
    first = kept / f"{figures[0]}.png"
    assert report.Images(figures[0])[0].encoded_image_string == first.read_bytes()
    assert text_of(report, "conclusion") == "\n".join(
        json.loads((kept / "conclusion.json").read_bytes())
    )


@pytest.mark.slow
def test_a_run_that_is_made_again_replaces_the_one_before(store):
    tracker = TensorboardTracking(timeout_s=60)
    cell = cells_of(store)[0]
    folder = store.folder / cell.folder_name
    (store.folder / f".tensorboard-{folder.name}").mkdir()  # of a process that was killed
    tracker.log_missing([cell], store)
    mark = tracker.marks.read(folder)
    assert mark["run"] == f"tensorboard/{folder.name}" and not mark["is_online"]
    (events,) = (store.folder / mark["run"]).iterdir()
    tracker.log_missing([cell], store)
    assert [*(store.folder / mark["run"]).iterdir()] == [events]  # it is there
    (folder / "tensorboard.json").unlink()
    tracker.log_missing([cell], store)
    (again,) = (store.folder / mark["run"]).iterdir()
    assert again != events and not list(store.folder.glob(".tensorboard*"))


@pytest.mark.slow
def test_what_cannot_be_written_ends_nothing_and_is_tried_once(store, caplog):
    (store.folder / "tensorboard").write_text("a file where a folder is wanted")
    tracker = TensorboardTracking(timeout_s=60)
    mirror(tracker, store)
    assert caplog.text.count("TensorBoard did not take") == 1
    assert "TensorBoard lacks 3 runs of this sweep" in caplog.text
    assert "type: the same command" in caplog.text and tracker.marks.is_waiting(store.folder)
    (store.folder / "tensorboard").unlink()
    mirror(tracker, store)
    assert len(list((store.folder / "tensorboard").iterdir())) == 3
    assert not tracker.marks.is_waiting(store.folder)


def test_a_library_that_is_gone_is_named(store, tmp_path, monkeypatch, caplog):
    """Where a worker runs, as on another machine, it may not be installed."""
    tracker = TensorboardTracking(timeout_s=60)
    broken = tmp_path / "broken" / "tensorboard"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('no such library here')\n")
    monkeypatch.syspath_prepend(broken.parent)
    mirror(tracker, store)
    assert caplog.text.count("TensorBoard did not take") == 1
    assert "(ImportError: no such library here)" in caplog.text
