"""What the code may import, draw and measure: rules that hold for every file."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "calib_sweep").rglob("*.py")) + sorted((ROOT / "launchers").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

# Part of the package -> what of the package it must not import.
FORBIDDEN_IMPORTS = {
    "method": ("model", "dataset", "evaluation", "results", "analysis", "walk", "miniature"),
    "dataset": ("method", "model", "evaluation", "analysis", "walk", "results.record"),
    "model": ("dataset", "evaluation", "results", "analysis"),
    "evaluation": ("method", "results", "analysis", "walk"),
    "analysis": ("method", "model", "dataset", "evaluation", "walk", "run", "session"),
}
ONE_FILE_ONLY = {
    "lm_eval": "calib_sweep/evaluation/zero_shot.py",
    "wandb": "calib_sweep/results/wandb_client.py",
    "matplotlib": "calib_sweep/analysis/plots.py",
}
GLOBAL_TORCH = {"manual_seed", "rand", "randn", "randint", "randperm", "multinomial", "normal"}
# Guards against what third-party code draws: one constant seed per cell, lm-eval's own seeding, and
# the training of the miniature model.
MAY_SEED = {
    "calib_sweep/run.py",
    "calib_sweep/evaluation/guests.py",
    "calib_sweep/miniature/training/train.py",
}


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_imports_point_one_way(path):
    relative = path.relative_to(ROOT)
    part = relative.parts[1]
    for name in imports(ast.parse(path.read_text())):
        for forbidden in FORBIDDEN_IMPORTS.get(part, ()):
            assert not (name + ".").startswith(f"calib_sweep.{forbidden}."), name
        for library, only in ONE_FILE_ONLY.items():
            assert str(relative) == only or name.split(".")[0] != library, name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_no_ambient_randomness(path):
    if str(path.relative_to(ROOT)) in MAY_SEED:
        return
    tree = ast.parse(path.read_text())
    modules = [f"{name}." for name in ("random", "np.random", "numpy.random")]
    if "random" not in imports(tree):
        modules.remove("random.")  # a generator called so
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = dotted(node.func)
        if name.startswith(tuple(modules)):
            made = {"Random", "default_rng", "Generator", "PCG64", "SeedSequence"}
            assert name.split(".")[-1] in made, f"line {node.lineno}: {name}"
        if name.startswith("torch.") and name.split(".")[-1] in GLOBAL_TORCH:
            given = {keyword.arg for keyword in node.keywords}
            assert "generator" in given, f"line {node.lineno}: {name}"


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_files_and_functions_stay_small_and_say_what_they_are(path):
    text = path.read_text()
    tree = ast.parse(text)
    assert text.count("\n") <= 300
    assert not text.strip() or ast.get_docstring(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno - node.lineno < 60, node.name
        if isinstance(node, ast.Call):
            assert dotted(node.func) != "print", f"line {node.lineno}"
