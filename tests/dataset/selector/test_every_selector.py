"""What holds for every selector that is shipped."""

from dataclasses import dataclass

import numpy as np
import pytest
from helpers.fakes import tiny_model
from helpers.words import NUM_WORDS, make_tokenizer
from hydra.utils import instantiate
from omegaconf import OmegaConf

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.calibration.settings import Calibration
from calib_sweep.dataset.documents.documents import in_memory
from calib_sweep.dataset.selected import Selected
from calib_sweep.places import CONF
from calib_sweep.seeding import stream

NAMES = sorted(path.stem for path in (CONF / "dataset" / "selector").glob("*.yaml"))


@dataclass(frozen=True, kw_only=True)
class Texts(TextDataset):
    """Four hundred documents of 4 to 16 words."""

    name: str = "texts"

    def documents(self):
        draw = stream("tests/texts")
        sizes = draw.integers(4, 17, size=400)
        return in_memory(
            [" ".join(f"w{i}" for i in draw.integers(NUM_WORDS, size=n)) for n in sizes]
        )

    def provenance(self):
        return {}

    def fingerprint(self):
        return None


@pytest.fixture(scope="module")
def draw():
    tokenizer = make_tokenizer()
    model = tiny_model("llama", vocab_size=len(tokenizer), max_position_embeddings=16)
    cached = Texts().documents()

    class Cached(Texts):
        def documents(self):
            return cached

    def drawn(name, seed, design="disjoint", num_samples=5):
        selector = instantiate(OmegaConf.load(CONF / "dataset" / "selector" / f"{name}.yaml"))
        calibration = Calibration(
            num_samples=num_samples, seq_len=12, design=design, window="document", bos="none"
        )
        selected = Selected(source=Cached(), selector=selector)
        given = [model] if selected.needs_model else []
        return selected.draw(tokenizer, calibration, seed, *given)

    return drawn


@pytest.mark.parametrize("name", NAMES)
def test_a_seed_draws_the_same_again_and_seeds_differ(name, draw):
    """Or the spread over draws would be zero by construction."""
    sets = [draw(name, seed) for seed in range(4)]
    assert draw(name, 2).hash == sets[2].hash
    documents = [sample["document"] for drawn in sets for sample in drawn.samples]
    assert len(set(documents)) == 20
    others = [draw(name, seed, "independent") for seed in range(3)]
    assert len({drawn.hash for drawn in others}) == 3


@pytest.mark.parametrize("name", NAMES)
def test_who_chose_from_how_many_at_what_cost_is_in_the_card(name, draw):
    card = draw(name, 0).card
    assert card["selection"]["selector"]["name"] == name
    assert card["selection"]["pool_size"] == 40 and len(card["selection"]["chosen"]) == 5
    assert card["selection"]["scores"] is None or len(card["selection"]["scores"]) == 40
    assert card["cost"]["seconds"] >= 0
    assert ("tokens_read" in card["cost"]) == (name in ("perplexity", "kmeans"))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "random"])
def test_the_choice_is_not_the_random_one(name, draw):
    chosen = np.sort(draw(name, 1).card["selection"]["chosen"])
    assert not np.array_equal(chosen, np.sort(draw("random", 1).card["selection"]["chosen"]))
