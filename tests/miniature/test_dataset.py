"""A miniature domain as a dataset: drawn like any other, checked like any other."""

import numpy as np
import pytest
from helpers.repository import ROOT
from hydra.utils import instantiate
from omegaconf import OmegaConf
from transformers import AutoTokenizer

from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.errors import ConfigError
from calib_sweep.miniature.corpus import VERSION, document
from calib_sweep.miniature.dataset import MiniatureDataset
from calib_sweep.places import DOMAINS, WEIGHTS

CONF = ROOT / "conf"


@pytest.mark.parametrize("domain", DOMAINS)
def test_every_domain_has_a_yaml_of_its_name_that_draws_a_set(domain: str) -> None:
    dataset = instantiate(OmegaConf.load(CONF / "dataset" / f"{domain}.yaml"))
    assert dataset.name == dataset.domain == domain
    settings = OmegaConf.to_container(OmegaConf.load(CONF / "model" / "miniature.yaml").calibration)
    calibration = Calibration(design="disjoint", window="slice", bos="none", **settings)
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS)
    first, again, other = (dataset.draw(tokenizer, calibration, seed) for seed in (0, 0, 1))
    assert first.tokens_NT.shape == (16, 256)
    assert np.array_equal(first.tokens_NT, again.tokens_NT)
    assert not np.array_equal(first.tokens_NT, other.tokens_NT)
    origin = first.samples[0]
    assert origin["text"].strip() in document(
        domain, "calibration", int(origin["document"].rsplit("/", 1)[1])
    )


def test_every_mistake_in_the_settings_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        MiniatureDataset(name="x", domain="mini_sms", split="test", num_documents=0)
    message = str(caught.value)
    assert len(caught.value.problems) == 3
    assert "dataset.domain='mini_sms'" in message and "mini_wiki" in message
    assert "dataset.split='test'" in message and "heldout" in message
    assert "dataset.num_documents=0" in message


def test_more_documents_than_the_split_has_are_refused() -> None:
    with pytest.raises(ConfigError, match="from 1 to 400"):
        MiniatureDataset(name="x", domain="mini_web", split="heldout", num_documents=401)


def test_provenance_says_what_the_text_is() -> None:
    dataset = MiniatureDataset(name="x", domain="mini_mix", split="train", num_documents=9)
    assert {
        "domain": "mini_mix",
        "split": "train",
        "num_documents": 9,
    }.items() <= dataset.provenance().items()
    assert dataset.fingerprint() == f"miniature-{VERSION}"
    assert len(dataset.documents()) == 9
