"""Synthetic sweeps: folders of records with scores that are known."""

import json
from pathlib import Path
from typing import Any

import pytest


class Sweep:
    """Writes records of made-up cells below `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)

    def add(
        self,
        method: str,
        scores: dict[str, float | None],
        *,
        dataset: str | None = None,
        seed: int | None = None,
        model: str = "tiny",
        replicate: int = 0,
        settings: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Path:
        """Write one record; `fields` replace or add fields of it. Returns its path."""
        cell = {"model": model, "method": method, "dataset": dataset, "seed": seed}
        cell |= {"replicate": replicate, "settings": settings or {}}
        name = "-".join(str(part) for part in (*cell.values(), len(list(self.folder.iterdir()))))
        name = "".join(c if c.isalnum() or c in "-._" else "_" for c in name)
        record = {"schema": 1, "cell_id": name, "status": "done", "cell": cell, "scores": scores}
        return self.write(name, record | fields)

    def write(self, name: str, record: dict[str, Any]) -> Path:
        path = self.folder / name / "record.json"
        path.parent.mkdir()
        path.write_text(json.dumps(record))
        return path


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports whose figures are empty: drawing takes longer than all the rest."""
    kinds, forms = ("seeds", "differences"), ("png", "svg")
    files = {f"figures/{kind}_accuracy.{form}": b"<svg/>" for kind in kinds for form in forms}
    monkeypatch.setattr("calib_sweep.analysis.report.write._draw", lambda *_: files)


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """An empty sweep."""
    return Sweep(tmp_path / "results" / "made_up")


@pytest.fixture
def two_methods(sweep: Sweep) -> Sweep:
    """Dense, and two methods on one dataset with five seeds each: numbers of round means and SDs.

    Perplexity has corpora a and b with b = 4 a, so that the geometric mean is 2 a.
    The SD of 1..5 is sqrt(2.5).
    """
    sweep.add(
        "dense", {"ppl/a@64": 1.0, "ppl/b@64": 4.0, "acc/x": 0.8, "acc/y": 0.6, "acc/mean": 0.7}
    )
    for seed in range(5):
        for method, a, x in (("wanda", 2.0, 0.60), ("sparsegpt", 1.5, 0.62)):
            ppl = a + 0.01 * (seed + 1)
            acc = x + 0.01 * (seed + 1 if method == "wanda" else 5 - seed)
            scores = {"ppl/a@64": ppl, "ppl/b@64": 4 * ppl}
            scores |= {"acc/x": acc + 0.1, "acc/y": acc - 0.1, "acc/mean": acc}
            sweep.add(method, scores, dataset="web", seed=seed)
    return sweep
