"""Token ids on disk: no draw can tell, none is made twice, what is damaged is made again."""

import json
import logging
import re
import shutil
import threading
from itertools import product

import numpy as np
import pytest
from helpers.words import ids_of, make_tokenizer, text_of

from calib_sweep import atomic
from calib_sweep.dataset.calibration.sampling import draw_from_documents
from calib_sweep.dataset.documents import token_store, tokenised
from calib_sweep.dataset.documents.documents import Documents, in_memory
from calib_sweep.dataset.documents.keeping import kept_in
from calib_sweep.dataset.documents.segments import read_segment, write_segment
from calib_sweep.dataset.documents.token_store import TokenStore
from calib_sweep.dataset.documents.tokenised import TokenisedDocuments
from calib_sweep.dataset.documents.tokenizing import Tokenised, tokenise
from calib_sweep.dataset.text import TextFiles
from calib_sweep.errors import ConfigError
from calib_sweep.processes import host_identity
from calib_sweep.results.store import Store

DESIGNS = [pair for pair in product(("disjoint", "independent", "reference"), ("slice", "pack"))]
DESIGNS += [("disjoint", "document"), ("independent", "document")]
BOS = ("none", "document", "sample")


@pytest.fixture
def read(monkeypatch):
    """Positions of all documents that were tokenised."""
    found: list[int] = []

    def counting(documents, positions, *how, **more):
        found.extend(positions)
        return tokenise(documents, positions, *how, **more)

    monkeypatch.setattr(tokenised, "tokenise", counting)
    return found


def named(texts, name="corpus") -> Documents:
    return in_memory(texts).named(lambda: name)


def draw(documents, tokenizer, calibration, seed=0):
    return draw_from_documents(documents, tokenizer, calibration, seed, {"source": "t"}, "words")


def texts_of(documents, tokenizer, special=False):
    return TokenisedDocuments(documents=documents, tokenizer=tokenizer, special=special)


def segments(folder):
    return sorted(folder.glob("documents/*/*.safetensors"))


def in_part(monkeypatch):
    monkeypatch.setattr(TokenisedDocuments, "complete_if_little", lambda _: None)


@pytest.mark.parametrize("is_whole", [True, False])
@pytest.mark.parametrize(("design", "window"), DESIGNS)
def test_draws_are_the_same_with_and_without(
    documents, tokenizer, settings, tmp_path, monkeypatch, design, window, is_whole
):
    if not is_whole:
        in_part(monkeypatch)
    texts = ["", *documents, " \n", *(f"{text} </s>" for text in documents[:20])]
    for bos, seed in (*product(BOS[:2], (2, 0)), ("sample", 1)):
        chosen = settings(design=design, window=window, bos=bos)
        without = draw(named(texts), tokenizer, chosen, seed)
        for _ in "ab":  # the second time all is from the disk
            with kept_in(tmp_path):
                drawn = draw(named(texts), tokenizer, chosen, seed)
            assert drawn.hash == without.hash and drawn.samples == without.samples
            assert drawn.tokens_NT.tobytes() == without.tokens_NT.tobytes()
            assert drawn.tokens_NT.dtype == without.tokens_NT.dtype == np.int64
            assert drawn.card["pool"].keys() == without.card["pool"].keys()


@pytest.mark.parametrize("design", ("disjoint", "independent"))
def test_packed_windows_of_a_known_stream_are_those_of_a_walk(
    documents, tokenizer, settings, tmp_path, design
):
    """Every place where a window can begin: in a document, at its end, on a separator."""
    texts = documents[:9]  # 1 to 57 words: 261 tokens, and 8 separators
    for width, seed in product((1, 2, 3, 7), range(0, 36, 5)):
        chosen = settings(window="pack", design=design, num_samples=1, seq_len=width)
        with kept_in(tmp_path):
            drawn = draw(named(texts), tokenizer, chosen, seed)
        assert drawn.samples == draw(named(texts), tokenizer, chosen, seed).samples


@pytest.mark.parametrize("window", ("slice", "pack", "document"))
@pytest.mark.parametrize("design", ("disjoint", "independent"))
def test_the_pool_of_a_corpus_that_is_known_is_exact(tokenizer, settings, tmp_path, design, window):
    texts = [text_of(0, 8), "", text_of(10, 18), text_of(40, 3), " "]
    chosen = settings(design=design, window=window, num_samples=1)
    for seed in range(2 if design == "disjoint" else 8):
        with kept_in(tmp_path):
            drawn = draw(named(texts), tokenizer, chosen, seed)
        # 29 words and two separators; a third one where the stream begins inside a document.
        windows = 4 if drawn.samples[0]["offset"] else 3
        eligible = {"slice": 2, "pack": 3 if design == "disjoint" else windows, "document": 3}
        expected = {"documents": 5, "walked": 5, "eligible": eligible[window]}
        assert expected.items() <= drawn.card["pool"].items()


@pytest.mark.parametrize("window", ("slice", "pack", "document"))
def test_a_pool_that_is_too_small_is_told_alike(documents, tokenizer, settings, tmp_path, window):
    chosen, told = settings(window=window, num_samples=20), []
    for place in (None, tmp_path, tmp_path):
        with kept_in(place), pytest.raises(ConfigError) as caught:
            draw(named(documents), tokenizer, chosen, 50)
        told.append(str(caught.value))
    assert told[0] == told[1] == told[2]


def test_a_large_corpus_is_tokenised_as_far_as_draws_need(
    tokenizer, settings, tmp_path, monkeypatch, read
):
    monkeypatch.setattr(tokenised, "LITTLE", 1000)  # characters
    texts = named([text_of(i, 10) for i in range(100)])
    known = []
    with kept_in(tmp_path):
        for seed in range(4):
            draw(texts, tokenizer, settings(num_samples=15), seed)
            known.append(len(read))
    assert known[0] < 50 and known[-1] == 100 == len(set(read))  # from a half on: to its end
    monkeypatch.setattr(tokenised, "LITTLE", 10_000)
    with kept_in(tmp_path / "small"):
        draw(texts, tokenizer, settings(num_samples=1))
    assert len(read) == 200


def test_what_was_stopped_goes_on_where_it_was(tokenizer, tmp_path, monkeypatch, read):
    texts = named([text_of(i % 50, 10) for i in range(1000)])

    def stop():
        if len(read) > 500:
            raise KeyboardInterrupt

    monkeypatch.setattr(tokenised, "raise_if_told", stop)
    with kept_in(tmp_path):
        with pytest.raises(KeyboardInterrupt):
            texts_of(texts, tokenizer).complete()
        assert 500 < len(read) < 1000
        monkeypatch.setattr(tokenised, "raise_if_told", lambda: None)
        whole = texts_of(texts, tokenizer)
        whole.complete()
    assert read == list(range(1000))
    assert whole.index().length_D.tolist() == [10] * 1000
    assert [path.name for path in tmp_path.glob("documents/*") if not path.is_dir()] == []
    assert len(list(tmp_path.glob("documents/*"))) == 1  # no claim is left


def test_of_several_that_want_all_one_tokenises(tokenizer, tmp_path, read):
    texts = named([text_of(i % 50, 10) for i in range(600)])
    found = []

    def want():
        with kept_in(tmp_path):
            one = texts_of(texts, make_tokenizer())
            one.complete()
            found.append(one.index().length_D.sum())

    threads = [threading.Thread(target=want) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [6000] * 3 and sorted(read) == list(range(600))


def test_no_document_is_tokenised_twice(documents, tokenizer, settings, tmp_path, read):
    with kept_in(tmp_path):
        for seed, window in product(range(4), ("slice", "pack", "document")):
            draw(named(documents), tokenizer, settings(window=window), seed)
    assert len(read) == len(set(read)) > 0
    draw(named(documents), tokenizer, settings())
    assert len(read) > len(set(read))  # nowhere to keep them


def test_what_has_no_name_is_not_kept(documents, tokenizer, settings, tmp_path):
    with kept_in(tmp_path):
        draw(documents, tokenizer, settings())
    assert not list(tmp_path.iterdir())


def test_ids_are_those_of_the_tokenizer_in_any_order(tokenizer, tmp_path, read):
    texts = named([text_of(0, 3), "", "  ", text_of(5, 1), text_of(7, 2) + " </s>"])
    own = [ids_of(0, 3), [], [], ids_of(5, 1), [*ids_of(7, 2), 2]]
    with kept_in(tmp_path):
        for order in ([3, 1], [4, 3, 0, 2, 1, 3]):
            kept = texts_of(texts, tokenizer)
            found = list(kept.walk(order))
            assert [one.tokens.tolist() for one in found] == [own[i] for i in order]
            assert [one.position for one in found] == order
            assert [one.has_text for one in found] == [i in (0, 3, 4) for i in order]
            kept.keep()
        index = TokenStore.of(texts, tokenizer, False).index(5)
    assert read == [3, 1, 4, 0, 2]
    assert index.length_D.tolist() == [3, 0, 0, 1, 3]
    assert index.has_text_D.tolist() == [True, False, False, True, True]
    assert index.ends_D.tolist() == [False, False, False, False, True]


def test_the_lengths_of_all_are_known_when_all_are_kept(tokenizer, tmp_path):
    texts = named([text_of(i, i) for i in range(1, 6)])
    with kept_in(tmp_path):
        for positions, missing in (([1, 0], [2, 3, 4]), ([3], [2, 4]), ([4, 2], [])):
            kept = texts_of(texts, tokenizer)
            kept.at(positions)
            kept.keep()
            store = TokenStore.of(texts, tokenizer, False)
            assert store.missing(5).tolist() == missing
            assert (store.index(5) is None) == bool(missing)
            assert (store.index(2) is None) == (0 in missing or 1 in missing)
    assert store.index(2).length_D.tolist() == [1, 2]
    assert store.index(5).length_D.tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("change", ["tokenizer", "special", "documents"])
def test_what_ids_depend_on_is_in_the_address(tokenizer, tmp_path, read, change):
    texts, special = named(["w1 w2"]), False
    with kept_in(tmp_path):
        one = texts_of(texts, tokenizer)
        one.at([0])
        one.keep()
        if change == "tokenizer":
            tokenizer = make_tokenizer(num_words=3999)
        if change == "documents":
            texts = named(["w1 w2 w3"], "another")
        special = change == "special"
        (other,) = texts_of(texts, tokenizer, special).at([0])
    assert other.tokens.tolist() == tokenizer(texts[0], add_special_tokens=special).input_ids
    assert read == [0, 0]


@pytest.mark.parametrize("largest", [2**16 - 1, 2**16, 2**31])
def test_large_ids_are_kept_whole(tmp_path, largest):
    ids = [np.array([3, largest]), np.zeros(0, dtype=np.int64), np.array([largest])]
    written = [Tokenised(7 * i, True, one) for i, one in enumerate(ids)]
    segment = read_segment(write_segment(tmp_path, written[::-1], None))
    assert [segment.document(row).tokens.tolist() for row in range(3)] == [o.tolist() for o in ids]
    assert segment.position_K.tolist() == [0, 7, 14]
    assert segment.document(0).tokens.itemsize == (2 if largest < 2**16 else 4)


def cut(path):
    path.write_bytes(path.read_bytes()[:-3])


def flip_ids(path):
    content = bytearray(path.read_bytes())
    content[read_segment(path).offset + 5] ^= 1
    path.write_bytes(content)


def flip_index(path):
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[:8], "little")
    content[8 + size] ^= 1
    path.write_bytes(content)


def empty(path):
    path.write_bytes(b"")


def garble(path):
    path.write_bytes(b"\xff" * 200)


@pytest.mark.parametrize("damage", [cut, flip_ids, flip_index, empty, garble])
def test_what_is_damaged_is_said_and_made_again(tokenizer, tmp_path, read, caplog, damage):
    texts = named([text_of(i, 5) for i in range(20)])
    own = [ids_of(i, 5) for i in range(20)]
    with kept_in(tmp_path):
        for positions in (range(10), range(10, 20)):
            kept = texts_of(texts, tokenizer)
            kept.at(positions)
            kept.keep()
        damage(segments(tmp_path)[0])
        read.clear()
        for expected in (10, 0):
            with caplog.at_level(logging.WARNING):
                kept = texts_of(texts, tokenizer)
                assert [one.tokens.tolist() for one in kept.at(range(20))] == own
            kept.keep()
            assert len(read) == expected
            read.clear()
    assert "is damaged" in caplog.text
    assert len(segments(tmp_path)) == 2


def test_a_folder_that_takes_nothing_is_said_once(
    documents, tokenizer, settings, tmp_path, monkeypatch, caplog
):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    expected = draw(named(documents), tokenizer, settings()).hash
    monkeypatch.setattr(atomic, "write", full)
    with kept_in(tmp_path), caplog.at_level(logging.WARNING):
        for _ in "ab":
            assert draw(named(documents), tokenizer, settings()).hash == expected
    assert caplog.text.count("No space left on device") == 1 and not segments(tmp_path)


def test_segments_are_written_before_memory_is_full(tokenizer, tmp_path, monkeypatch):
    monkeypatch.setattr(token_store, "SEGMENT_TOKENS", 100)
    texts = named([text_of(i, 10) for i in range(100)])
    with kept_in(tmp_path):
        kept = texts_of(texts, tokenizer)
        list(kept.walk(range(95)))
        assert kept.store.num_documents >= 80 and len(segments(tmp_path)) >= 3
        kept.keep()
        assert TokenStore.of(texts, tokenizer, False).missing(100).tolist() == list(range(95, 100))


def test_who_died_while_tokenising_all_is_taken_over(tokenizer, tmp_path, read):
    texts = named([text_of(i, 5) for i in range(30)])
    with kept_in(tmp_path):
        one = texts_of(texts, tokenizer)
        one.at(range(10))
        one.keep()
        claims = one.store.folder.with_name(f"{one.store.folder.name}.tokenising")
        claims.mkdir()
        holder = {"host": host_identity(), "pid": 1, "started": "never"}
        (claims / "claim.0").write_text(json.dumps(holder))
        other = texts_of(texts, tokenizer)
        other.complete()
    assert read == list(range(30)) and not claims.exists()
    assert other.index().length_D.tolist() == [5] * 30


@pytest.mark.parametrize("when", ["before it is looked at", "before it is read"])
def test_the_folder_can_be_deleted_at_any_time(tokenizer, tmp_path, read, caplog, when):
    texts = named([text_of(i, 5) for i in range(10)])
    with kept_in(tmp_path):
        texts_of(texts, tokenizer).complete()
        one = texts_of(texts, tokenizer)
        if when == "before it is read":
            assert one.index() is not None
        shutil.rmtree(tmp_path / "documents")
        assert [found.tokens.tolist() for found in one.walk(range(10))] == [
            ids_of(i, 5) for i in range(10)
        ]
        one.keep()
    assert len(read) == 20 and len(segments(tmp_path)) == 1 and not caplog.records


def test_leftovers_of_the_dead_are_swept(tokenizer, tmp_path):
    with kept_in(tmp_path):
        kept = texts_of(named(["w1"]), tokenizer)
        kept.at([0])
        kept.keep()
    (segment,) = segments(tmp_path)
    claims = tmp_path / "documents" / "a.tokenising"
    claims.mkdir()
    holder = {"host": host_identity(), "pid": 1, "started": "never"}
    (claims / "claim.0").write_text(json.dumps(holder))
    of_this_process = atomic.partial_name(segment).name
    left = segment.with_name(re.sub(r"-\d+-[\d.]+\.", "-1-0.1.", of_this_process))
    left.touch()
    Store(tmp_path, "default").sweep_leftovers()
    assert not left.exists() and not claims.exists() and segment.exists()


def text_files(path, **changed):
    chosen = {"name": "t", "column": "text", "separator": None, "join": " ", "license": None}
    return TextFiles(**chosen | {"path": str(path)} | changed)


def test_the_name_of_files_is_their_content_not_their_place_or_label(tmp_path):
    lines = [json.dumps({"text": text, "other": "w9"}) for text in ("w1", "w2")]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jsonl").write_text("\n".join(lines))

    def name(folder, **changed):
        return text_files(tmp_path / folder / "x.jsonl", **changed).documents().identity()

    assert name("a") == name("b", name="another", license="mit", join="\n")
    assert name("a") != name("a", column="other")
    (tmp_path / "b" / "x.jsonl").write_text("\n".join(lines[::-1]))
    assert name("a") != name("b")
    (tmp_path / "a" / "t.txt").write_text("w1\n\nw2")
    of_text = [text_files(tmp_path / "a" / "t.txt", separator=s).documents() for s in (None, " ")]
    assert of_text[0].identity() != of_text[1].identity()
