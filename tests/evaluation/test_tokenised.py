"""Token ids on disk: the tokenizer's own, never stale, made again when damaged, made by one."""

import json
import logging
import re
import threading
import time

import pytest
from helpers.scored import train_tokenizer
from lm_eval.models.huggingface import HFLM
from tokenizers import AddedToken

from calib_sweep import atomic
from calib_sweep.evaluation import tokenised
from calib_sweep.evaluation.harness import Encoder
from calib_sweep.evaluation.tokenised import Shelf, token_ids
from calib_sweep.processes import host_identity
from calib_sweep.results import once as once_module
from calib_sweep.results.claim import try_claim
from calib_sweep.results.store import Store

TEXTS = ["the red cat", "", "über the hill 猫\n\n", "<s> the old dog", "the red cat"]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer()


@pytest.fixture
def calls(monkeypatch):
    """Number of texts of every call of the tokenizer."""
    found, encode = [], tokenised.encode

    def counting(tokenizer, texts, *, special):
        found.append(len(texts))
        return encode(tokenizer, texts, special=special)

    monkeypatch.setattr(tokenised, "encode", counting)
    return found


def ids_of(tokenizer, folder, texts=TEXTS, special=True):
    return token_ids(tokenizer, texts, special=special, shelf=Shelf.of(tokenizer, folder))


def kept(folder):
    return sorted(folder.glob("tokenised/*"))


@pytest.mark.parametrize("special", [True, False])
def test_ids_are_those_of_the_tokenizer_made_kept_and_read(tokenizer, tmp_path, calls, special):
    own = [tokenizer.encode(text, add_special_tokens=special) for text in TEXTS]
    assert len(own[0]) > 3 and (own[0][0] == tokenizer.bos_token_id) == special
    for folder in (None, tmp_path, tmp_path):
        assert ids_of(tokenizer, folder, special=special) == own
    assert calls == [len(TEXTS)] * 2 and len(kept(tmp_path)) == 1


def with_a_word(tokenizer):
    tokenizer.add_tokens([AddedToken("cat")])
    return tokenizer


def without_bos(_):
    return train_tokenizer(bos=False)


def splitting_special_tokens(tokenizer):
    tokenizer.split_special_tokens = True
    return tokenizer


@pytest.mark.parametrize("change", [with_a_word, without_bos, splitting_special_tokens])
def test_another_tokenizer_does_not_find_them(tmp_path, change):
    tokenizer = train_tokenizer()
    before = ids_of(tokenizer, tmp_path)
    tokenizer = change(tokenizer)
    own = [tokenizer.encode(text) for text in TEXTS]
    assert ids_of(tokenizer, tmp_path) == own != before


def test_other_texts_do_not_find_them(tokenizer, tmp_path, calls):
    lists = [["ab", "c"], ["a", "bc"], ["abc"], ["c", "ab"], ["ab", "c", ""]]
    for texts in lists:
        assert ids_of(tokenizer, tmp_path, texts) == [tokenizer.encode(one) for one in texts]
    bare = [tokenizer.encode(one, add_special_tokens=False) for one in lists[0]]
    assert ids_of(tokenizer, tmp_path, lists[0], special=False) == bare
    assert len(calls) == len(kept(tmp_path)) == len(lists) + 1


def truncate(path, _):
    path.write_bytes(path.read_bytes()[:-5])


def flip(path, _):
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def empty(path, _):
    path.write_bytes(b"")


def exchange(path, other):
    path.write_bytes(other.read_bytes())


@pytest.mark.parametrize("damage", [truncate, flip, empty, exchange])
def test_a_damaged_file_is_said_and_made_again(tokenizer, tmp_path, calls, caplog, damage):
    right = ids_of(tokenizer, tmp_path)
    (path,) = kept(tmp_path)
    whole = path.read_bytes()
    ids_of(tokenizer, tmp_path / "other", ["another text"])
    damage(path, kept(tmp_path / "other")[0])
    calls.clear()
    with caplog.at_level(logging.WARNING):
        assert ids_of(tokenizer, tmp_path) == right
    assert calls == [len(TEXTS)] and path.name in caplog.text
    assert path.read_bytes() == whole and ids_of(tokenizer, tmp_path) == right and len(calls) == 1


def test_where_nothing_can_be_kept_each_worker_tokenises(tokenizer, tmp_path, calls, caplog):
    (tmp_path / "tokenised").write_text("a file")
    with caplog.at_level(logging.WARNING):
        found = [ids_of(tokenizer, tmp_path) for _ in "ab"]
    assert found == [[tokenizer.encode(text) for text in TEXTS]] * 2 and len(calls) == 2
    assert caplog.text.count("cannot be kept") == 1


@pytest.fixture
def long_texts(monkeypatch):
    monkeypatch.setattr(tokenised, "LONG", 1)
    monkeypatch.setattr(once_module, "POLL_S", 0.01)


@pytest.mark.usefixtures("long_texts")
def test_of_many_workers_one_tokenises_and_the_others_wait(tokenizer, tmp_path, calls, monkeypatch):
    counting, found = tokenised.encode, []

    def slow(*arguments, **settings):
        time.sleep(0.2)
        return counting(*arguments, **settings)

    monkeypatch.setattr(tokenised, "encode", slow)
    threads = [
        threading.Thread(target=lambda: found.append(ids_of(tokenizer, tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert found == [[tokenizer.encode(text) for text in TEXTS]] * 4
    assert [path.suffix for path in kept(tmp_path)] == [".safetensors"]


def claims_of(tokenizer, folder):
    """The folder of the claim on what `ids_of` makes, and nothing made."""
    ids_of(tokenizer, folder)
    (path,) = kept(folder)
    path.unlink()
    claims = path.with_suffix(".tokenising")
    claims.mkdir()
    return claims


@pytest.mark.usefixtures("long_texts")
def test_nobody_waits_for_the_dead(tokenizer, tmp_path, calls):
    claims = claims_of(tokenizer, tmp_path)
    holder = {"host": host_identity(), "pid": 1, "started": "never"}
    (claims / "claim.0").write_text(json.dumps(holder))
    calls.clear()
    assert ids_of(tokenizer, tmp_path) == [tokenizer.encode(text) for text in TEXTS]
    assert len(calls) == 1 and not claims.exists()


@pytest.mark.usefixtures("long_texts")
def test_nobody_waits_for_ever_for_the_living(tokenizer, tmp_path, calls, monkeypatch):
    monkeypatch.setattr(tokenised, "PATIENCE_S", 0.05)
    claims = claims_of(tokenizer, tmp_path)
    calls.clear()
    with try_claim(claims):
        assert ids_of(tokenizer, tmp_path) == [tokenizer.encode(text) for text in TEXTS]
    assert len(calls) == 1


def test_leftovers_of_the_dead_are_swept(tokenizer, tmp_path):
    claims = claims_of(tokenizer, tmp_path)
    holder = {"host": host_identity(), "pid": 1, "started": "never"}
    (claims / "claim.0").write_text(json.dumps(holder))
    of_this_process = atomic.partial_name(claims.with_name("a.safetensors"))
    left = claims.with_name(re.sub(r"-\d+-[\d.]+\.", "-1-0.1.", of_this_process.name))
    left.touch()
    alive = claims.with_name("b.tokenising")
    with try_claim(alive):
        Store(tmp_path, "default").sweep_leftovers()
        assert not claims.exists() and not left.exists() and alive.exists()


STRINGS = ["the red", " cat", "<s>the cat", "<s>", "a", "über 猫", "the red cat "]


@pytest.mark.parametrize("bos", [True, False])
def test_strings_learnt_together_have_the_tokens_of_lm_evals_model(tmp_path, bos):
    tokenizer = train_tokenizer(bos)
    for folder in (None, tmp_path, tmp_path):
        encoder, plain = Encoder(tokenizer, Shelf.of(tokenizer, folder)), Encoder(tokenizer)
        encoder.strings.learn(
            lambda encoder=encoder: [
                encoder.tok_encode(one, add_special_tokens=special)
                for one in STRINGS
                for special in (None, True, False)
            ]
        )
        assert len(encoder.strings._known) == 3 * len(STRINGS)
        for (string, special), tokens in encoder.strings._known.items():
            assert tokens == HFLM.tok_encode(plain, string, special), (string, special)
