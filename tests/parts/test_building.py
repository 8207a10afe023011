"""Parts are built from configuration: once, for whoever owns the builder, and nowhere else."""

import pickle

from calib_sweep.parts.building import Builder

WANDA = {"_target_": "calib_sweep.method.wanda.Wanda", "sparsity": 0.5, "pattern": "unstructured"}


def test_a_part_is_built_once_however_its_keys_are_ordered():
    builder = Builder()
    first = builder.build("method", WANDA)
    assert builder.build("method", dict(reversed(WANDA.items()))) is first
    assert builder.build("method", {**WANDA, "sparsity": 0.6}) is not first


def test_two_builders_share_nothing_and_one_that_is_pickled_arrives_empty():
    builder = Builder()
    first = builder.build("method", WANDA)
    other, arrived = Builder(), pickle.loads(pickle.dumps(builder))
    for one in (other, arrived):
        assert one.build("method", WANDA) == first and one.build("method", WANDA) is not first
