"""The notebooks run as they are in git, on this interpreter, and say what the records say.

Parameters are given as papermill does it: a cell after the one with the tag `parameters`.
"""

import ast
import json
import re
import shutil
import subprocess
import sys
from itertools import product

import nbformat
import pytest
from helpers.repository import ROOT
from helpers.sweeps import read_records
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from traitlets import default

WALKTHROUGH = ROOT / "notebooks" / "variance_walkthrough.ipynb"
PAPER = ROOT / "notebooks" / "paper_figures.ipynb"
PNG = "image/png"
SMALL_SWEEP = [
    *("method=sparsegpt,wanda", "dataset=mini_web,mini_wiki", "seed=range(3)"),
    *("calibration.num_samples=2", "calibration.seq_len=64"),
    *("evaluation.perplexity.seq_len=64", "evaluation.perplexity.max_windows=2"),
    *("evaluation.zero_shot.tasks=[mini_boolq,mini_facts]", "evaluation.zero_shot.num_items=8"),
    "evaluation.divergence=null",
]


class OwnKernels(AsyncKernelManager):
    """Kernels of the interpreter that runs the tests, whatever others are installed."""

    @default("kernel_spec_manager")
    def _no_others(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def read(path):
    return nbformat.read(path, as_version=4)


def parameters_of(notebook):
    """Place of the cell with the parameters, and their values."""
    (place,) = (
        i for i, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", [])
    )
    values = {}
    for statement in ast.parse(notebook.cells[place].source).body:
        names = statement.targets[0]
        given = ast.literal_eval(statement.value)
        if isinstance(names, ast.Tuple):
            values |= dict(zip((name.id for name in names.elts), given, strict=True))
        else:
            values[names.id] = given
    return place, values


def execute(path, cwd, **parameters):
    """The notebook after its execution in `cwd`; an error in a cell is raised here."""
    notebook = read(path)
    place, known = parameters_of(notebook)
    assert parameters.keys() <= known.keys()
    lines = "\n".join(f"{name} = {value!r}" for name, value in parameters.items())
    notebook.cells.insert(place + 1, nbformat.v4.new_code_cell(lines))
    cwd.mkdir(parents=True, exist_ok=True)
    NotebookClient(
        notebook,
        kernel_manager_class=OwnKernels,
        kernel_name="python3",
        timeout=600,
        resources={"metadata": {"path": str(cwd)}},
    ).execute()
    return notebook


def outputs(notebook, kind):
    """All outputs of one kind, in order: text/plain, text/markdown, image/png; printed: stream."""
    found = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    if kind == "stream":
        return "".join(o["text"] for o in found if o.get("name") == "stdout")
    return [output["data"][kind] for output in found if kind in output.get("data", {})]


@pytest.fixture(scope="module", autouse=True)
def no_traces(tmp_path_factory):
    """Neither the user's own IPython nor a network has a part in this."""
    folder = tmp_path_factory.mktemp("jupyter")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
            patch.setenv(name, str(folder))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    """The walkthrough on a smaller sweep, and the folder of that sweep."""
    folder = tmp_path_factory.mktemp("walkthrough")
    notebook = execute(WALKTHROUGH, folder / "notebooks", OVERRIDES=SMALL_SWEEP)
    return notebook, folder / "results" / "walkthrough"


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_notebooks_in_git_have_no_outputs(path):
    for cell in read(path).cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None
    command = [sys.executable, "-m", "nbstripout", "--verify", str(path)]
    assert subprocess.run(command, timeout=60).returncode == 0


def test_the_walkthrough_names_a_sweep_that_can_be_run(run_cli, tmp_path):
    _, values = parameters_of(read(WALKTHROUGH))
    ended = run_cli("check", "-m", *values["OVERRIDES"], "tracking=none", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert "24 cells and 1 dense" in ended.out


@pytest.mark.slow
def test_the_walkthrough_goes_from_a_sweep_to_its_conclusion(walked):
    notebook, folder = walked
    said = outputs(notebook, "stream")
    assert "sweep walkthrough: 13 cells, 13 done, 0 failed" in said
    assert "problems: []" in said
    for sentence in json.loads((folder / "report" / "conclusion.json").read_text()):
        assert f"- {sentence}" in said
    # `compare` stops where a number made by hand is not the table's.
    assert sum("by hand" in text for text in outputs(notebook, "text/plain")) == 6
    assert len(outputs(notebook, PNG)) == 6
    assert len(outputs(notebook, "text/markdown")) == 5


@pytest.mark.slow
def test_the_walkthrough_shows_what_the_records_say(walked):
    notebook, folder = walked
    by_seed = next(text for text in outputs(notebook, "text/plain") if text.startswith("seed"))
    first = next(line for line in by_seed.splitlines() if "wanda" in line)  # of mini_web
    recorded = [
        100 * record["scores"]["acc/mean"]
        for record in read_records(folder)
        if (record["cell"]["method"], record["cell"]["dataset"]) == ("wanda", "mini_web")
    ]
    shown = [float(number) for number in first.split()[-3:]]
    assert shown == pytest.approx(recorded, abs=0.051)


@pytest.mark.slow
def test_the_paper_s_figures_come_from_a_small_sweep(walked, tmp_path):
    _, folder = walked
    few = tmp_path / "results" / "few"  # 2 methods x 2 datasets x 2 seeds, and dense
    shutil.copytree(folder, few, ignore=shutil.ignore_patterns("report", "*seed2*"))
    notebook = execute(PAPER, tmp_path / "notebooks", FOLDER="../results/few")
    said, shown = outputs(notebook, "stream"), "\n".join(outputs(notebook, "text/plain"))
    assert "Count(total=9, done=9, failed=0" in shown
    assert "Figure 3 cannot be made from this sweep. It takes sets of several sizes" in said
    assert said.count("cannot be made") == 1
    assert "No model, method and dataset of self_calibration has cells here." in said
    assert len(outputs(notebook, PNG)) == 3
    (model,) = outputs(notebook, "text/markdown")
    assert model == "**miniature**"


def write_paper_grid(folder):
    """Records with the axes of the paper's grid.

    Accuracy falls by a method, a dataset and with small sets, and rises by a point with each seed.
    """
    for model in ("llama_0b", "llama_1b"):
        write_record(folder, 0.8, model=model, method="dense", dataset=None, seed=None)
        for (method, a), (dataset, b), seed, (size, c) in product(
            (("paper_gptq", 0.0), ("paper_wanda", 0.05)),
            (("c4", 0.0), ("wikipedia", 0.02)),
            range(3),
            ((16, 0.1), (128, 0.0)),
        ):
            cell = {"model": model, "method": method, "dataset": dataset, "seed": seed}
            settings = {"calibration.num_samples": size}
            write_record(folder, 0.7 - a - b - c + 0.01 * seed, **cell, settings=settings)


def write_record(folder, mean, *, settings=None, **cell):
    name = "-".join(map(str, [*cell.values(), *(settings or {}).values()]))
    scores = {"acc/boolq": mean + 0.05, "acc/rte": mean - 0.05, "acc/mean": mean}
    scores["ppl/wikitext2@2048"] = 6 / mean
    record = {"schema": 1, "cell_id": name, "status": "done", "scores": scores}
    record["cell"] = cell | {"replicate": 0, "settings": settings or {}}
    path = folder / name / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))


@pytest.mark.slow
def test_the_paper_s_figures_come_from_the_paper_s_axes(tmp_path):
    write_paper_grid(tmp_path / "results" / "paper")
    theirs = tmp_path / "theirs.csv"
    theirs.write_text(
        "model,method,dataset,task,mean,sd,n,unit\n"
        "llama_0b,paper_gptq num_samples=128,c4,mean,71.0,1.0,5,percent\n"
    )
    paths = {"FOLDER": "../results/paper", "PUBLISHED": str(theirs)}
    notebook = execute(PAPER, tmp_path / "notebooks", **paths)
    said = outputs(notebook, "stream")
    assert "Table 3 cannot be made from this sweep. It takes records with their config" in said
    assert "Table 4 cannot be made from this sweep. It takes results of single items" in said
    assert said.count("cannot be made") == 2
    # Two models in Figure 2; Figure 3 and its SDs of two scores; Figure 4; shares; the published.
    assert len(outputs(notebook, PNG)) == 2 + 4 + 1 + 1 + 1
    assert outputs(notebook, "text/markdown") == ["**llama_0b**", "**llama_1b**"]
    shown = "\n".join(outputs(notebook, "text/plain"))
    assert "num_samples=16" not in shown  # beside Figure 3 everything is of sets of 128
    # Three seeds one point apart have an SD of one point. Table 1, its row of GPTQ:
    assert re.search(r"paper_gptq +71\.0 \(1\.0\) +69\.0 \(1\.0\)", shown)
    assert re.search(r"0\.71 +0\.01 +5\.0 .*cannot be told apart", shown, flags=re.DOTALL)
    # Figure 4: sets, worst, best, best - worst.
    assert re.search(r"paper_gptq +6 +68\.0 +72\.0 +4\.0", shown)
