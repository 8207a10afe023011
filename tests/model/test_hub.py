"""Models of the hub through the real clients, from a hub on the loopback device, with faults."""

import errno
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers.fakes import save_tiny
from helpers.hub_client import client_of
from helpers.hub_models import hub_model
from helpers.hub_server import READ_ONLY, Server, answer, first, reset, serving
from safetensors.torch import load_file

from calib_sweep.errors import FETCH, ConfigError, UnavailableError
from calib_sweep.model.hub import commit_of

NAME = "me/tiny"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return save_tiny("llama", tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def hub(folder) -> Iterator[Server]:
    with serving() as server:
        server.put("models", NAME, folder)
        yield server


@pytest.fixture
def client(hub: Server, tmp_path: Path) -> Iterator[None]:
    with client_of(hub, tmp_path):
        yield


def test_a_model_arrives_whole_and_is_read_again_without_the_hub(hub, client, folder):
    part = hub_model(NAME)
    part.prefetch()
    hub.asked.clear()
    model = part.load()
    assert part.load_tokenizer().vocab_size and not [a for a in hub.asked if a.name == "cdn"]
    assert commit_of(model) == hub.repositories["models", NAME].refs["main"]
    kept = load_file(folder / "model.safetensors")
    assert all(kept[name].equal(value) for name, value in model.state_dict().items())


def test_a_check_fetches_no_weights(hub, client):
    part = hub_model(NAME)
    assert part.context_length() == 128 and part.load_tokenizer() and part.linear_shapes()
    assert not [
        asked for asked in hub.asked if "safetensors" in asked.path and asked.name != "tree"
    ]


def test_a_revision_is_the_one_that_is_read(hub, client, tmp_path):
    old = hub.repositories["models", NAME].refs["main"]
    new = hub.put("models", NAME, save_tiny("llama", tmp_path / "other", seed=1))
    weights = [hub_model(NAME, revision=revision).load().lm_head.weight for revision in (old, new)]
    assert not weights[0].equal(weights[1])
    for method in ("prefetch", "load_config"):
        with pytest.raises(ConfigError, match=rf"It has no revision {'f' * 40}: see .*/me"):
            getattr(hub_model(NAME, revision="f" * 40), method)()


@pytest.mark.parametrize("method", ["prefetch", "load_config", "load_tokenizer", "load"])
def test_a_gated_model_is_refused_until_one_logs_in(hub, tmp_path, method):
    hub.repositories["models", NAME].is_gated = True
    with client_of(hub, tmp_path), pytest.raises(ConfigError, match="asks who reads it") as caught:
        getattr(hub_model(NAME), method)()
    assert f"accept its terms at {hub.url}/me/tiny, then type hf auth login" in str(caught.value)
    assert not isinstance(caught.value, UnavailableError)
    with client_of(hub, tmp_path, READ_ONLY):
        getattr(hub_model(NAME), method)()


@pytest.mark.parametrize("method", ["prefetch", "load_config"])
def test_a_missing_model_is_a_mistake(hub, client, method):
    with pytest.raises(
        ConfigError, match=r"Correct model\.path=me/gone; where it is right.*login"
    ) as caught:
        getattr(hub_model("me/gone"), method)()
    assert not isinstance(caught.value, UnavailableError)


def test_a_full_disk_is_told_with_its_place(hub, client, monkeypatch, tmp_path):
    def write(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", write)
        with pytest.raises(ConfigError, match=rf"the disk of {tmp_path}/hub is full.*HF_HOME"):
            hub_model(NAME).prefetch()
    hub_model(NAME).prefetch()


def test_weights_in_pickles_alone_are_refused(hub, client, folder):
    names = [path for path in folder.iterdir() if path.suffix == ".json"]
    hub.put("models", NAME, {path.name: path.read_bytes() for path in names} | {"p.bin": b"x"})
    with pytest.raises(ConfigError, match=r"weights in safetensors are missing"):
        hub_model(NAME).prefetch()


def test_an_index_whose_shards_are_not_all_there_is_refused(hub, client, folder):
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    shards = [f"model-0000{i}-of-00002.safetensors" for i in (1, 2)]
    index = {"metadata": {}, "weight_map": dict(zip("ab", shards, strict=True))}
    files |= {"model.safetensors.index.json": json.dumps(index).encode()}
    files[shards[0]] = files.pop("model.safetensors")
    hub.put("models", NAME, files)
    with pytest.raises(ConfigError, match=rf"weights in safetensors are missing: {shards[1]}"):
        hub_model(NAME).prefetch()


@pytest.mark.parametrize("method", ["prefetch", "load_config"])
def test_a_hub_that_is_down_is_a_note_in_a_check(tmp_path, method):
    with serving() as server:
        pass
    with client_of(server, tmp_path), pytest.raises(UnavailableError, match="does not answer") as e:
        getattr(hub_model(NAME), method)()
    assert FETCH in str(e.value)


@pytest.mark.parametrize("fault", [answer(503), answer(429), reset])
def test_a_short_trouble_of_the_hub_is_waited_for(hub, client, monkeypatch, fault):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults["cdn"] = first(2, fault)
    assert hub_model(NAME).load() and hub.names().count("cdn") == 3


def test_a_hub_that_does_not_recover_is_a_note_in_a_check(hub, client, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _: None)
    hub.faults["cdn"] = answer(503)
    with pytest.raises(UnavailableError, match="503") as caught:
        hub_model(NAME).prefetch()
    assert FETCH in str(caught.value)
