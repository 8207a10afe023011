"""A selector chooses from a pool that is the source's own draw of the seed."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from helpers.greedy import Greedy
from helpers.words import ids_of, text_of

from calib_sweep.dataset.base import TextDataset
from calib_sweep.dataset.calibration.artifact import draw_or_load
from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, without_candidates
from calib_sweep.dataset.calibration.pool import describe_pools
from calib_sweep.dataset.documents.documents import in_memory
from calib_sweep.dataset.mixture import Mixture
from calib_sweep.dataset.selected import Selected
from calib_sweep.dataset.selector.at_random import AtRandom
from calib_sweep.dataset.selector.base import Selection, Selector
from calib_sweep.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Texts(TextDataset):
    """Forty documents of 12 words; no word occurs twice."""

    name: str = "texts"

    def documents(self):
        return in_memory([text_of(12 * i, 12) for i in range(40)])

    def provenance(self):
        return {"source": "tests", "license": "none"}

    def fingerprint(self):
        return "f1"

    def sources(self):
        return {"tests": "f1"}


@dataclass(frozen=True, kw_only=True)
class Last(Selector):
    """The last candidates, from the end."""

    name: str = "last"
    pool_size: int | None = 6

    def select(self, pool, num_samples):
        chosen = np.arange(len(pool))[::-1][:num_samples]
        return Selection(chosen=chosen, scores_C=pool.lengths_C, cost={"tokens_read": 3})


class AskingLast(Last):
    needs_model = True

    def select(self, pool, num_samples):
        assert pool.model == "the model"
        return super().select(pool, num_samples)


def test_the_chosen_are_rows_of_the_sources_own_draw(tokenizer, settings):
    chosen = settings(num_samples=2)
    drawn = Selected(source=Texts(), selector=Last()).draw(tokenizer, chosen, 1)
    pool = Texts().draw(tokenizer, replace(chosen, num_samples=6), 1)
    assert np.array_equal(drawn.tokens_NT, pool.tokens_NT[[5, 4]])
    assert drawn.samples == [pool.samples[5], pool.samples[4]]
    assert drawn.card["dataset"] == "texts" and drawn.card["num_samples"] == 2
    assert drawn.card["pool"] == pool.card["pool"]
    assert drawn.card["provenance"] == {"source": "tests", "license": "none"}
    assert drawn.card["selection"] == {
        "selector": {"kind": f"{__name__}.Last", "name": "last", "pool_size": 6},
        "pool_size": 6,
        "chosen": [5, 4],
        "scores": [8] * 6,
    }
    assert drawn.card["cost"]["tokens_read"] == 3 and drawn.card["cost"]["seconds"] >= 0


def test_disjoint_pools_make_disjoint_sets_that_differ(tokenizer, settings):
    selected = Selected(source=Texts(), selector=Last())
    words = [selected.draw(tokenizer, settings(), seed).tokens_NT.ravel() for seed in range(6)]
    assert len(np.unique(np.concatenate(words))) == sum(map(len, words))


def test_equal_text_is_chosen_from_alike_whatever_its_label(tokenizer, settings):
    class Named(Texts):
        def draw_name(self):
            return "the text"

    def drawn(name, kind):
        selector = AtRandom(name="random", pool_size=9)
        return Selected(source=kind(name=name), selector=selector).draw(tokenizer, settings(), 0)

    assert drawn("a", Named).hash == drawn("b", Named).hash
    a, b = (drawn(name, Texts).card["selection"]["chosen"] for name in "ab")
    assert a != b


def test_the_pool_in_words_is_what_a_seed_takes(tokenizer, settings):
    """Forty documents: five pools of eight, though ten sets of four."""
    selected = Selected(source=Texts(), selector=Last(pool_size=8))
    (told,) = describe_pools(selected.draw(tokenizer, settings(), 4).card).values()
    assert "40 samples in 40 documents: enough for 5 seeds" in told
    free = settings(design="independent")
    (told,) = describe_pools(selected.draw(tokenizer, free, 0).card).values()
    assert "the pools of two seeds share" in told


def test_padding_and_answers_go_with_their_samples(tokenizer, settings):
    @dataclass(frozen=True, kw_only=True)
    class Padded(Texts):
        def draw(self, tokenizer, calibration, seed, model=None):
            drawn = super().draw(tokenizer, calibration, seed)
            lengths_N = np.arange(1, len(drawn.samples) + 1)
            answers_NT = np.arange(8) == lengths_N[:, None] - 1
            return replace(drawn, lengths_N=lengths_N, answers_NT=answers_NT)

    drawn = Selected(source=Padded(), selector=Last()).draw(tokenizer, settings(), 0)
    assert drawn.lengths_N.tolist() == [6, 5, 4, 3]
    assert drawn.answers_NT.argmax(1).tolist() == [5, 4, 3, 2]


def test_a_pool_that_the_source_cannot_fill_is_refused_by_the_key_that_asks_for_it(
    tokenizer, settings
):
    selected = Selected(source=Texts(), selector=Last(pool_size=30))
    phrase = r"^seed=1: expected at most 0 .*Lower dataset\.selector\.pool_size"
    with pytest.raises(ConfigError, match=phrase):
        selected.draw(tokenizer, settings(), 1)
    with pytest.raises(ConfigError, match=r"^dataset\.selector\.pool_size=60: expected at most 40"):
        Selected(source=Texts(), selector=Last(pool_size=60)).draw(tokenizer, settings(), 0)


def test_a_pool_smaller_than_the_set_is_refused_before_it_is_drawn(tokenizer, settings):
    class Undrawable(Texts):
        def draw(self, *_):
            raise AssertionError("drawn")

    phrase = r"dataset\.selector\.pool_size=3: expected at least calibration\.num_samples=4"
    for selector in (Last(pool_size=3), AskingLast(pool_size=3)):
        selected = Selected(source=Undrawable(), selector=selector)
        for action in (selected.draw, selected.check):
            with pytest.raises(ConfigError, match=phrase):
                action(tokenizer, settings(), 0)


def test_eight_candidates_for_each_sample_where_nobody_says():
    assert Last(pool_size=None).size_for(5) == 40 and Last(pool_size=7).size_for(5) == 7
    for size in (0, 2.5, "many", True):
        with pytest.raises(ConfigError, match=r"dataset\.selector\.pool_size=.*an integer >= 1"):
            Last(pool_size=size)


@pytest.mark.parametrize("chosen", [[0, 0, 1, 2], [0, 1, 2], [0, 1, 2, 6], [-1, 0, 1, 2]])
def test_a_selector_that_chooses_what_it_must_not_is_told(chosen, tokenizer, settings):
    class Wrong(Last):
        def select(self, pool, num_samples):
            return Selection(chosen=chosen)

    with pytest.raises(ConfigError, match=r"Wrong\.select to choose 4 different candidates"):
        Selected(source=Texts(), selector=Wrong()).draw(tokenizer, settings(), 0)


def test_the_model_is_needed_by_who_asks_it(tokenizer, settings, tmp_path):
    greedy = Greedy(name="greedy", notes=str(tmp_path / "notes"))
    asking = Selected(source=Texts(), selector=AskingLast())
    assert asking.needs_model and Selected(source=greedy, selector=Last()).needs_model
    assert not Selected(source=Texts(), selector=Last()).needs_model
    asking.check(tokenizer, settings(), 0)
    with pytest.raises(ConfigError, match=r"seed=9: .*Lower dataset\.selector\.pool_size"):
        asking.check(tokenizer, settings(), 9)
    drawn = asking.draw(tokenizer, settings(), 0, "the model")
    plain = Selected(source=Texts(), selector=Last()).draw(tokenizer, settings(), 0)
    assert drawn.hash == plain.hash


def test_a_mixture_is_chosen_from_and_a_part_of_one_may_be_chosen(tokenizer, settings):
    parts = {"a": Texts(), "b": Selected(source=Texts(name="b"), selector=Last(pool_size=4))}
    mixed = Mixture(name="mix", parts=parts, weights={"a": 1, "b": 1})
    whole = mixed.draw(tokenizer, settings(), 0)
    alone = parts["b"].draw(tokenizer, settings(num_samples=2), 0)
    assert np.array_equal(whole.tokens_NT[2:], alone.tokens_NT)
    of_mixture = Selected(source=mixed, selector=Last(pool_size=8)).draw(tokenizer, settings(), 0)
    assert len(of_mixture.samples) == 4 and of_mixture.card["dataset"] == "mix"


def test_a_selector_that_takes_the_first_takes_of_every_part_of_a_mixture(tokenizer, settings):
    """A mixture has its parts one after the other; the card counts candidates in that order."""

    @dataclass(frozen=True, kw_only=True)
    class First(Last):
        def select(self, pool, num_samples):
            first_C = pool.candidates.tokens_NT[:, 0]
            return Selection(chosen=list(range(num_samples)), scores_C=first_C)

    @dataclass(frozen=True, kw_only=True)
    class Others(Texts):
        def documents(self):
            return in_memory([text_of(480 + 12 * i, 12) for i in range(40)])

    parts = {"a": Texts(name="a"), "b": Others(name="b")}
    mixed = Mixture(name="mix", parts=parts, weights={"a": 1, "b": 1})
    selected = Selected(source=mixed, selector=First(pool_size=40))
    orders = []
    for seed in (0, 1):
        settings_of_20 = settings(num_samples=20, seq_len=2)
        pool = mixed.draw(tokenizer, replace(settings_of_20, num_samples=40), seed)
        drawn = selected.draw(tokenizer, settings_of_20, seed)
        assert drawn.hash == selected.draw(tokenizer, settings_of_20, seed).hash
        assert 5 <= sum(sample["part"] == "a" for sample in drawn.samples) <= 15
        told = drawn.card["selection"]
        assert np.array_equal(drawn.tokens_NT, pool.tokens_NT[told["chosen"]])
        assert drawn.samples == [pool.samples[i] for i in told["chosen"]]
        assert told["scores"] == pool.tokens_NT[:, 0].tolist()
        orders.append(told["chosen"])
    assert orders[0] != orders[1]


def test_what_the_source_chose_is_told_too(tokenizer, settings):
    inner = Selected(source=Texts(), selector=Last(pool_size=8))
    card = Selected(source=inner, selector=Last(pool_size=6)).draw(tokenizer, settings(), 0).card
    assert card["selection"]["chosen"] == [5, 4, 3, 2]
    assert card["selection"]["selection_of_pool"]["chosen"] == [7, 6, 5, 4, 3, 2]


def test_records_have_no_number_for_each_candidate(tokenizer, settings):
    part = Selected(source=Texts(name="b"), selector=Last(pool_size=4))
    mixed = Mixture(name="m", parts={"a": Texts(), "b": part}, weights={"a": 1, "b": 1})
    for card in (
        part.draw(tokenizer, settings(), 0).card,
        mixed.draw(tokenizer, settings(), 0).card["provenance"]["parts"]["b"]["card"],
    ):
        assert len(card["selection"]["scores"]) == 4
        short = without_candidates({"provenance": {"b": card}, "selection": card["selection"]})
        for selection in (short["selection"], short["provenance"]["b"]["selection"]):
            assert selection == {"selector": card["selection"]["selector"], "pool_size": 4}
        assert short["provenance"]["b"]["design"] == "disjoint"


def test_the_cost_of_the_pool_counts(tokenizer, settings):
    class Costly(Texts):
        def draw(self, tokenizer, calibration, seed, model=None):
            drawn: CalibrationSet = super().draw(tokenizer, calibration, seed)
            cost = {"tokens_written": 5, "tokens_read": 4}
            return replace(drawn, card={**drawn.card, "cost": cost})

    cost = Selected(source=Costly(), selector=Last()).draw(tokenizer, settings(), 0).card["cost"]
    assert (cost["tokens_written"], cost["tokens_read"]) == (5, 7)
    parts = {"a": Costly(name="a"), "b": Costly(name="b"), "c": Texts(name="c")}
    mixed = Mixture(name="mix", parts=parts, weights={"a": 1, "b": 1, "c": 1})
    assert mixed.draw(tokenizer, settings(), 0).card["cost"] == {
        "tokens_written": 10,
        "tokens_read": 8,
    }
    cost = Selected(source=mixed, selector=Last()).draw(tokenizer, settings(), 0).card["cost"]
    assert (cost["tokens_written"], cost["tokens_read"]) == (10, 11)


def test_each_selector_and_setting_has_a_folder_of_its_own(tmp_path, tokenizer, settings):
    def folder(dataset):
        return draw_or_load(tmp_path, dataset, tokenizer, settings(), 0).folder

    datasets = [Texts(), *(Selected(source=Texts(), selector=Last(pool_size=n)) for n in (6, 7))]
    datasets.append(Selected(source=Texts(), selector=AskingLast()))
    folders = [folder(dataset) for dataset in datasets[:3]]
    assert len(set(folders)) == 3 and folder(datasets[1]) == folders[1]
    kept = draw_or_load(tmp_path, datasets[1], tokenizer, settings(), 0)
    assert kept.card["selection"]["chosen"] == [5, 4, 3, 2]
    assert ids_of(0, 1)[0] <= kept.tokens_NT.min()
    assert datasets[1].fingerprint() == "f1" and datasets[1].sources() == {"tests": "f1"}
