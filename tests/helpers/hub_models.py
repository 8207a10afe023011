"""A checkpoint folder as `model=hf` builds it."""

from calib_sweep.model.loading import HubModel


def hub_model(path, **settings):
    """The part `model=hf model.path=PATH`, float32 on the CPU unless told otherwise."""
    defaults = {"name": None, "revision": None, "dtype": "float32", "device": "cpu"}
    defaults |= {"offload": None, "trust_remote_code": False}
    return HubModel(**{**defaults, "path": str(path), **settings})
