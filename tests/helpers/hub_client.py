"""The hub's clients of this process, sent to a hub on the loopback device.

They read the environment when they are imported, so what they read is replaced here.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.hub_server import Server


@contextlib.contextmanager
def client_of(hub: Server, home: Path, token: str | None = None) -> Iterator[None]:
    """Let huggingface_hub and datasets of this process ask `hub`, with caches below `home`."""
    import datasets
    import transformers.utils.hub
    from huggingface_hub import constants, file_download, hf_api

    from calib_sweep.hub import in_vain
    from calib_sweep.model.hub import hub_answers

    hub_answers.cache_clear()
    in_vain.clear()
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    with pytest.MonkeyPatch.context() as patch:
        for module, values in (
            (
                constants,
                {
                    "ENDPOINT": hub.url,
                    "HUGGINGFACE_CO_URL_TEMPLATE": template,
                    "HF_HUB_CACHE": str(home / "hub"),
                    "HF_TOKEN_PATH": str(home / "token"),
                    "HF_HUB_OFFLINE": False,
                    "HF_HUB_DISABLE_XET": True,
                },
            ),
            (
                datasets.config,
                {
                    "HF_ENDPOINT": hub.url,
                    "HF_DATASETS_CACHE": home / "datasets",
                    "HF_HUB_OFFLINE": False,
                },
            ),
        ):
            for key, value in values.items():
                patch.setattr(module, key, value)
        # Clients that were made before remember where they ask; before 1.0 so does this module.
        patch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        patch.setattr(hf_api.api, "endpoint", hub.url)
        patch.setattr(transformers.utils.hub, "_hf_api", None, raising=False)
        # transformers before 5 remembers where its cache is.
        cache = str(home / "hub")
        patch.setattr(transformers.utils.hub, "TRANSFORMERS_CACHE", cache, raising=False)
        patch.delenv("HF_TOKEN", raising=False)
        patch.setenv("NO_PROXY", "127.0.0.1")
        if token is not None:
            patch.setenv("HF_TOKEN", token)
        yield
    hub_answers.cache_clear()
    in_vain.clear()
