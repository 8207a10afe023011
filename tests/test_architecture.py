"""What the code may import, draw and measure: rules that hold for every file."""

import ast

import pytest
from helpers.repository import ROOT

FILES = sorted((ROOT / "calib_sweep").rglob("*.py")) + sorted((ROOT / "launchers").rglob("*.py"))
TEXTS = {str(path.relative_to(ROOT)): path.read_text() for path in FILES}

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


@pytest.fixture(scope="module")
def trees():
    """Every file, parsed once."""
    return {name: ast.parse(text) for name, text in TEXTS.items()}


@pytest.fixture(scope="module")
def edges(trees):
    """Modules of the package -> those that they import, also inside functions."""
    return {module: set(imported_modules(trees[name])) for module, name in MODULES.items()}


def imports(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree):
    """Every call, with the dotted name of what is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)


def dotted(node):
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return ".".join([node.id, *reversed(parts)]) if isinstance(node, ast.Name) else ""


def module_of(name):
    return name.removesuffix(".py").replace("/", ".").removesuffix(".__init__")


MODULES = {module_of(name): name for name in TEXTS if name.startswith("calib_sweep/")}


def imported_modules(tree):
    for name in imports(tree):
        found = next((n for n in (name, name.rpartition(".")[0]) if n in MODULES), None)
        if found is not None and not MODULES[found].endswith("__init__.py"):
            yield found


@pytest.mark.parametrize("room", LAYERS)
def test_imports_point_down(room, edges):
    prefix = room.replace("/", ".") + "."
    floor = {name: i for i, line in enumerate(LAYERS[room]) for name in line.split()}
    for module in MODULES:
        name = module.removeprefix(prefix).split(".")[0]
        if not module.startswith(prefix):
            continue
        assert name in floor, f"{module}: in which layer?"
        for other in edges[module]:
            below = other.removeprefix(prefix).split(".")[0]
            if other.startswith(prefix) and below != name:
                assert floor[below] < floor[name], f"{module} imports {other}"


def test_no_modules_import_each_other_in_a_circle(edges):
    edges = {module: out - {module} for module, out in edges.items()}
    while leaves := {module for module, out in edges.items() if not out}:
        edges = {module: out - leaves for module, out in edges.items() if module not in leaves}
    assert not edges


def test_some_libraries_are_imported_in_one_file_only(trees):
    assert not [
        f"{path} imports {name}"
        for path, tree in trees.items()
        for name in imports(tree)
        if ONE_FILE_ONLY.get(name.split(".")[0], path) != path
    ]


def test_json_is_written_by_one_file_only(trees):
    """Python's own writer writes NaN, which is no JSON, unless it is told not to."""
    assert {
        path
        for path, tree in trees.items()
        for _, name in calls(tree)
        if name in ("json.dumps", "json.dump")
    } == {JSON}


def test_no_ambient_randomness(trees):
    assert not [
        f"{path}:{line}"
        for path, tree in trees.items()
        if path not in MAY_SEED
        for line in ambient_draws(tree)
    ]


def ambient_draws(tree):
    """Lines that draw from, or seed, a generator that everybody shares."""
    modules = [f"{name}." for name in ("random", "np.random", "numpy.random")]
    if "random" not in imports(tree):
        modules.remove("random.")  # a generator called so
    made = {"Random", "default_rng", "Generator", "PCG64", "SeedSequence"}
    for call, name in calls(tree):
        last = name.split(".")[-1]
        if name.startswith(tuple(modules)) and last not in made:
            yield call.lineno
        given = {keyword.arg for keyword in call.keywords}
        if name.startswith("torch.") and last in GLOBAL_TORCH and "generator" not in given:
            yield call.lineno


def test_files_and_functions_stay_small_and_say_what_they_are(trees):
    assert not [
        f"{path}: {fault}"
        for path, tree in trees.items()
        for fault in faults_of_form(TEXTS[path], tree)
    ]


def faults_of_form(text, tree):
    if text.count("\n") > 300:
        yield "over 300 lines"
    if text.strip() and not ast.get_docstring(tree):
        yield "says not what it is"
    for node in ast.walk(tree):
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if function and node.end_lineno - node.lineno >= 60:
            yield f"line {node.lineno}: {node.name} is long"
        if isinstance(node, ast.Call) and dotted(node.func) == "print":
            yield f"line {node.lineno}: print"
