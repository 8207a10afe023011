"""The cell id: whatever can move a number moves it, and nothing else does."""

import pytest

from calib_sweep import cell
from calib_sweep.cell import DENSE, Cell, cell_id
from calib_sweep.places import CONF
from calib_sweep.settings import applies

CONFIG = {
    "model": {"path": "tiny", "dtype": "float32", "device": "cpu"},
    "method": {"_target_": "somewhere.Wanda", "sparsity": 0.5},
    "dataset": {"name": "corpus", "path": "corpus.txt"},
    "evaluation": {"perplexity": {"seq_len": 32, "batch_tokens": 4, "corpora": [{"name": "a"}]}},
    "calibration": {"num_samples": 4, "seq_len": 32},
    "walk": {"propagate": "compressed", "batch_tokens": 512},
    "tracking": {"mode": "offline"},
    "seed": 0,
    "replicate": 0,
    "sweep_name": "default",
    "results_dir": "results",
    "save_model": None,
}


def changed(path, value):
    def copy(node, keys):
        if not keys:
            return value
        return {**node, keys[0]: copy(node.get(keys[0], {}), keys[1:])}

    return copy(CONFIG, path.split("."))


@pytest.mark.parametrize(
    "path, value",
    [
        ("model.path", "other"),
        ("model.dtype", "float16"),
        ("method.sparsity", 0.6),
        ("method._target_", "somewhere.Other"),
        ("dataset.path", "other.txt"),
        ("evaluation.perplexity.seq_len", 64),
        ("evaluation.perplexity.corpora", [{"name": "b"}]),
        ("calibration.num_samples", 8),
        ("walk.propagate", "dense"),
        ("seed", 1),
        ("replicate", 1),
    ],
)
def test_what_can_move_a_number_changes_the_id(path, value):
    assert cell_id(changed(path, value), needs_data=True) != cell_id(CONFIG, needs_data=True)


@pytest.mark.parametrize(
    "path, value",
    [
        ("model.device", "cuda:1"),
        ("evaluation.perplexity.batch_tokens", 64),
        ("walk.batch_tokens", 1),
        ("walk.tensor_cores", False),
        ("model.offload", "blocks"),
        ("tracking.wandb.mode", "online"),
        ("sweep_name", "other"),
        ("results_dir", "elsewhere"),
        ("save_model", "dense"),
        ("dense_perplexity", False),
        ("allow_overlap", True),
    ],
)
def test_how_a_cell_is_run_does_not_change_the_id(path, value):
    assert cell_id(changed(path, value), needs_data=True) == cell_id(CONFIG, needs_data=True)


def test_trust_in_the_code_of_tasks_does_not_change_the_id():
    ids = [
        cell_id(changed("evaluation.zero_shot", {"tasks": ["own"], **trust}), needs_data=True)
        for trust in ({}, {"trust_task_code": False}, {"trust_task_code": True})
    ]
    assert len(set(ids)) == 1


def test_which_items_belong_together_does_not_change_the_id():
    ids = [
        cell_id(changed("evaluation.zero_shot", {"tasks": ["own"], **groups}), needs_data=True)
        for groups in ({}, {"groups": {}}, {"groups": {"own": "passage"}})
    ]
    assert len(set(ids)) == 1
    name = "evaluation.zero_shot.groups.own"
    assert not applies(name, is_dense=False, reads_data=True)


def test_the_engine_and_its_version_are_in_the_id(monkeypatch):
    def asked_by(**scorer):
        return cell_id(changed("evaluation.zero_shot", {"tasks": [], **scorer}), needs_data=True)

    ids = [asked_by(), asked_by(scorer="packed"), asked_by(scorer="hflm")]
    monkeypatch.setattr(cell, "PACKED_VERSION", cell.PACKED_VERSION + 1)
    assert len({*ids, asked_by(scorer="packed")}) == 4
    assert [asked_by(), asked_by(scorer="hflm")] == [ids[0], ids[2]]
    monkeypatch.setattr(cell, "version", lambda name: f"{name} of tomorrow")
    assert asked_by(scorer="hflm") != ids[2]


@pytest.mark.parametrize("part", ["method", "dataset", "calibration"])
@pytest.mark.parametrize("key", ["batch_size", "batch_tokens", "device", "trust_task_code"])
def test_a_part_that_computes_owns_its_words(part, key):
    small, large = (changed(f"{part}.{key}", value) for value in (1, 2))
    assert cell_id(small, needs_data=True) != cell_id(large, needs_data=True)


@pytest.mark.parametrize(
    "path, value",
    [
        ("seed", 3),
        ("dataset.path", "x"),
        ("calibration.num_samples", 9),
        ("walk.propagate", "dense"),
    ],
)
def test_a_method_that_needs_no_data_has_one_id_for_every_calibration_set(path, value):
    assert cell_id(changed(path, value), needs_data=False) == cell_id(CONFIG, needs_data=False)


def test_the_order_of_keys_is_of_no_account_and_the_id_is_stable():
    backwards = dict(reversed(CONFIG.items()))
    assert cell_id(backwards, needs_data=True) == cell_id(CONFIG, needs_data=True)
    # A fixed value: ids must be equal on every machine and in every process.
    assert cell_id(CONFIG, needs_data=True) == "1373ca149611"


def test_a_class_of_the_package_may_move_to_another_file_and_one_from_elsewhere_is_another():
    def named(target):
        return cell_id(changed("method", {"_target_": target, "sparsity": 0.5}), needs_data=True)

    assert named("calib_sweep.method.wanda.Wanda") == named("calib_sweep.pruning.Wanda")
    assert named("calib_sweep.method.wanda.Wanda") != named("calib_sweep.method.wanda.Other")
    assert named("calib_sweep.method.wanda.Wanda") != named("somewhere.Wanda")
    assert named("here.Wanda") != named("somewhere.Wanda")


def test_no_two_classes_that_a_configuration_names_are_called_alike():
    found = {
        line.rpartition(" ")[2]
        for path in CONF.rglob("*.yaml")
        for line in path.read_text().splitlines()
        if "_target_: calib_sweep." in line and "{" not in line
    }
    names = [target.rpartition(".")[2] for target in found]
    assert len(names) > 15 and len(names) == len(set(names))


def make(config=CONFIG, **changes):
    choices = {"model": "hf", "method": "wanda", "dataset": "text"}
    return Cell(
        **{"config": config, "choices": choices, "settings": {}, "needs_data": True} | changes
    )


def test_the_dense_cell_of_any_cell_is_the_same_one_and_its_own():
    settings = {"method.sparsity": 0.6, "calibration.num_samples": 8, "model.dtype": "float16"}
    dense = make(settings=settings).dense()
    assert dense.id == make(changed("seed", 5)).dense().id == dense.dense().id
    assert dense.is_dense and dense.method == "dense" and dense.config["method"] == DENSE
    assert dense.settings == {"model.dtype": "float16"}
    assert dense.dataset is None and dense.seed is None


def test_folder_names_tell_the_axes_and_are_safe():
    cell = make(changed("dataset.name", "a/b c"))
    assert cell.folder_name == f"tiny-wanda-a_b_c-seed0-{cell.id}"
    assert make().axes() == {
        "model": "tiny",
        "method": "wanda",
        "dataset": "corpus",
        "seed": 0,
        "replicate": 0,
    }


def test_a_model_is_called_by_the_whole_last_part_of_its_path():
    names = [make(changed("model.path", f"meta-llama/Llama-3.{n}B")).model for n in ("1-8", "2-1")]
    assert names == ["Llama-3.1-8B", "Llama-3.2-1B"]


HAN = "\u6a21"  # three bytes


@pytest.mark.parametrize(
    "model, dataset, folder",
    [
        ("tiny", "corpus", "tiny-wanda-corpus-seed0"),
        ("m" * 80, "d" * 80, f"{'m' * 60}-wanda-{'d' * 60}-seed0"),
        (HAN * 80, HAN * 90, f"{HAN * 20}-wanda-{HAN * 20}-seed0"),
        ("a" + HAN * 80, "d", f"a{HAN * 59}-wanda-d-seed0"),
    ],
)
def test_the_name_of_a_folder_fits_a_file_system(model, dataset, folder):
    config = {**CONFIG, "model": {"name": model}, "dataset": {"name": dataset}}
    cell = Cell(
        config=config,
        choices={"model": "m", "dataset": "d", "method": "wanda"},
        settings={},
        needs_data=True,
    )
    assert cell.folder_name == f"{folder}-{cell.id}"
    assert len(cell.folder_name.encode()) <= 255


def test_cells_that_differ_in_their_evaluation_alone_are_compressed_in_the_same_way(make_cell):
    one = make_cell()
    asks = {"perplexity": None, "zero_shot": {"scorer": "hflm", "tasks": ["boolq"]}}
    other = make_cell(evaluation=asks, save_model="dense")
    assert one.id != other.id and one.folder_stem == other.folder_stem
    assert one.compression_id == other.compression_id
    moved = [make_cell(method={"_target_": "somewhere.Wanda", "sparsity": 0.6})]
    moved += [
        make_cell(**{key: {"other": 1}}) for key in ("model", "dataset", "calibration", "walk")
    ]
    moved += [make_cell(seed=1), make_cell(replicate=1), make_cell(needs_data=False)]
    assert len({one.compression_id, *(cell.compression_id for cell in moved)}) == 9
