"""What the code may import, draw and measure: rules that hold for every file."""

import ast

import pytest
from helpers.repository import ROOT

FILES = sorted((ROOT / "calib_sweep").rglob("*.py")) + sorted((ROOT / "launchers").rglob("*.py"))
NAMES = [str(path.relative_to(ROOT)) for path in FILES]

# Room -> what stands in it, from the ground up. Whatever stands in a line imports, of this room,
# only what stands in the lines before.
LAYERS = {
    "calib_sweep": (
        "completion errors hub interruption places processes quiet seeding sent_errors timings "
        "usage_folders usage_grids valid_json values wording",
        "arguments atomic console hashing ranks settings targets usage",
        "cell group method",
        "activations model results",
        "compression dataset rotation",
        "analysis checkpoints drawing evaluation tracking",
        "parts",
        "cell_files handed inputs session",
        "comparison inspection weights",
        "run",
        "sweep",
        "cli doctor miniature",
        "__main__ api",
    ),
    "calib_sweep/analysis": (
        "metrics rounding",
        "settings",
        "inference",
        "scores",
        "formatting",
        "tables figures",
        "report",
        "commands",
    ),
    "calib_sweep/evaluation": (
        "tokenised",
        "requests templates windows",
        "harness items reference",
        "parts",
        "earlier kept_parts scorers",
        "corpora tasks",
        "set_perplexity",
        "scoring",
        "suite",
    ),
    "calib_sweep/miniature/text": ("language", "knowledge", "passages", "domains"),
}
ONE_FILE_ONLY = {
    "lm_eval": "calib_sweep/evaluation/harness.py",
    "wandb": "calib_sweep/tracking/wandb_client.py",
    "mlflow": "calib_sweep/tracking/mlflow_client.py",
    "tensorboard": "calib_sweep/tracking/tensorboard_client.py",
    "trackio": "calib_sweep/tracking/trackio_client.py",
    "matplotlib": "calib_sweep/analysis/figures/plots.py",
}
JSON = "calib_sweep/valid_json.py"  # the only file that writes JSON
GLOBAL_TORCH = {"manual_seed", "rand", "randn", "randint", "randperm", "multinomial", "normal"}
# Guards against what third-party code draws: one constant seed per cell; lm-eval's own seeding, and
# a seed for each draw with a model, which samples by the global generators; the training of the
# miniature model.
MAY_SEED = {
    "calib_sweep/run.py",
    "calib_sweep/seeding.py",
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


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts).removesuffix(".__init__")


MODULES = {module_of(path): path for path in FILES if path.is_relative_to(ROOT / "calib_sweep")}


def imported_modules(module):
    """Modules of the package that `module` imports, also inside functions."""
    for name in imports(ast.parse(MODULES[module].read_text())):
        found = next((n for n in (name, name.rpartition(".")[0]) if n in MODULES), None)
        if found is not None and MODULES[found].name != "__init__.py":
            yield found


@pytest.mark.parametrize("room", LAYERS)
def test_imports_point_down(room):
    prefix = room.replace("/", ".") + "."
    floor = {name: i for i, line in enumerate(LAYERS[room]) for name in line.split()}
    for module in MODULES:
        name = module.removeprefix(prefix).split(".")[0]
        if not module.startswith(prefix):
            continue
        assert name in floor, f"{module}: in which layer?"
        for other in imported_modules(module):
            below = other.removeprefix(prefix).split(".")[0]
            if other.startswith(prefix) and below != name:
                assert floor[below] < floor[name], f"{module} imports {other}"


def test_no_modules_import_each_other_in_a_circle():
    edges = {module: set(imported_modules(module)) - {module} for module in MODULES}
    while leaves := {module for module, out in edges.items() if not out}:
        edges = {module: out - leaves for module, out in edges.items() if module not in leaves}
    assert not edges


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_some_libraries_are_imported_in_one_file_only(path):
    relative = path.relative_to(ROOT)
    for name in imports(ast.parse(path.read_text())):
        for library, only in ONE_FILE_ONLY.items():
            assert str(relative) == only or name.split(".")[0] != library, name


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_json_is_written_by_one_file_only(path):
    """Python's own writer writes NaN, which is no JSON, unless it is told not to."""
    calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
    own = [call for call in calls if dotted(call.func) in ("json.dumps", "json.dump")]
    assert not own or str(path.relative_to(ROOT)) == JSON


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
