"""Conversations as calibration sets: tokens and answers by hand, in every window."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers.chat_templates import OF_WORDS
from helpers.words import BOS, EOS, PAD, ids_of, make_tokenizer, text_of

from calib_sweep.dataset.calibration.artifact import describe_draw, load_set, save_set
from calib_sweep.dataset.chat import ChatFiles, HubChat
from calib_sweep.dataset.mixture import Mixture
from calib_sweep.errors import ConfigError

ASK, ANSWER = 4, 5  # tokens that stand before a question and an answer
CHATS = [[(20 * i, 2), (20 * i + 2, 3)] for i in range(6)]  # (first word, words): question, answer


def turns(chat):
    roles = ["user", "assistant"] * len(chat)
    return [
        {"role": role, "content": text_of(*words)} for role, words in zip(roles, chat, strict=False)
    ]


def row_of(chat):
    """Tokens of a conversation by hand, and which are answers."""
    tokens, told = [BOS], [False]
    for number, words in enumerate(chat):
        is_answer = number % 2 == 1
        own = [*ids_of(*words), EOS] if is_answer else ids_of(*words)
        tokens += [ANSWER if is_answer else ASK, *own]
        told += [False, *[is_answer] * len(own)]
    return tokens, told


def write(file, records):
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    return file


def chat_files(path, **changed):
    chosen = {
        "name": "chat",
        "messages": "messages",
        "prompt": [],
        "answer": None,
        "system": None,
        "template": OF_WORDS,
        "license": None,
    }
    return ChatFiles(path=str(path), **{**chosen, **changed})


@pytest.fixture
def chats(tmp_path):
    return chat_files(write(tmp_path / "a.jsonl", [{"messages": turns(one)} for one in CHATS]))


def of(drawn, sample):
    return drawn.tokens_NT[sample].tolist(), drawn.answers_NT[sample].tolist()


def order(drawn):
    return [int(sample["document"].partition(":")[2]) for sample in drawn.samples]


def test_a_document_is_a_padded_conversation_with_its_answers(chats, tokenizer, settings):
    drawn = chats.draw(tokenizer, settings(seq_len=12, window="document", bos="document"), 0)
    assert drawn.answers_NT.dtype == bool and drawn.tokens_NT.dtype == np.int64
    for sample, number in enumerate(order(drawn)):
        tokens, told = row_of(CHATS[number])
        padding = 12 - len(tokens)
        assert of(drawn, sample) == (tokens + [PAD] * padding, told + [False] * padding)
        assert drawn.lengths_N[sample] == len(tokens)
    assert drawn.samples[0]["text"].startswith("<s>")


@pytest.mark.parametrize(("bos", "head"), [("none", []), ("sample", [BOS])])
def test_the_first_token_of_a_template_is_not_there_twice(chats, tokenizer, settings, bos, head):
    drawn = chats.draw(tokenizer, settings(seq_len=12, window="document", bos=bos), 0)
    tokens, told = row_of(CHATS[order(drawn)[0]])
    width = len(head) + len(tokens) - 1
    assert drawn.lengths_N[0] == width
    row, answers = of(drawn, 0)
    assert row[:width] == head + tokens[1:]
    assert answers[:width] == [False] * len(head) + told[1:]


def test_a_slice_keeps_the_marks_where_they_are(tmp_path, tokenizer, settings):
    long = [[(300 * i + 9 * j, 9) for j in range(6)] for i in range(3)]
    source = chat_files(write(tmp_path / "a.jsonl", [{"messages": turns(c)} for c in long]))
    drawn = source.draw(tokenizer, settings(num_samples=3, seq_len=25, bos="document"), 0)
    for sample, number in enumerate(order(drawn)):
        tokens, told = row_of(long[number])
        start = drawn.samples[sample]["offset"]
        assert of(drawn, sample) == (tokens[start : start + 25], told[start : start + 25])


@pytest.mark.parametrize("design", ["disjoint", "independent"])
def test_packed_conversations_are_one_stream(chats, tokenizer, settings, design):
    chosen = settings(num_samples=3, seq_len=15, window="pack", bos="document", design=design)
    drawn = chats.draw(tokenizer, chosen, 0)
    first = drawn.samples[0]
    names = list(dict.fromkeys(name for s in drawn.samples for name in s["documents"]))
    stream = [row_of(CHATS[int(name.partition(":")[2])]) for name in names]
    start = first["offset"]
    # Each ends in an end-of-sequence token, so no other one is put between two of them.
    tokens = [token for one in stream for token in one[0]][start : start + 45]
    told = [answer for one in stream for answer in one[1]][start : start + 45]
    assert drawn.tokens_NT.ravel().tolist() == tokens
    assert drawn.answers_NT.ravel().tolist() == told


def test_every_layout_gives_the_same_conversations(tmp_path, chats, tokenizer, settings):
    chosen = settings(num_samples=6, seq_len=12, window="document")
    expected = sorted(map(tuple, chats.draw(tokenizer, chosen, 0).tokens_NT.tolist()))
    asked = [(text_of(*chat[0]), text_of(*chat[1])) for chat in CHATS]
    for folder, records, changed in (
        (
            "sharegpt",
            [{"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]}
             for q, a in asked],
            {"messages": "conversations"},
        ),
        (
            "alpaca",
            [{"instruction": q, "input": "", "output": a} for q, a in asked],
            {"messages": None, "prompt": ["instruction", "input"], "answer": "output"},
        ),
    ):  # fmt: skip
        (tmp_path / folder).mkdir()
        file = write(tmp_path / folder / "a.jsonl", records)
        drawn = chat_files(file, **changed).draw(tokenizer, chosen, 0)
        assert sorted(map(tuple, drawn.tokens_NT.tolist())) == expected


def test_the_same_conversations_are_drawn_whatever_they_are_called(chats, tokenizer, settings):
    chosen = settings(seq_len=12, window="document")
    expected = chats.draw(tokenizer, chosen, 0)
    file = Path(chats.path)
    other = file.rename(file.with_name("other.jsonl"))
    drawn = chat_files(other, name=None).draw(tokenizer, chosen, 0)
    assert drawn.hash == expected.hash and drawn.card["dataset"] == "other"
    plain = chat_files(other, template="{% for m in messages %}{{ m['content'] }} {% endfor %}")
    assert order(plain.draw(tokenizer, chosen, 0)) == order(drawn)


def test_a_conversation_is_the_same_alone_and_among_others(chats, tokenizer, settings, monkeypatch):
    from calib_sweep.dataset.documents import tokenised

    chosen = settings(num_samples=6, seq_len=12, window="document")
    together = chats.draw(tokenizer, chosen, 0)
    monkeypatch.setattr(tokenised, "FIRST_BATCH", 1)
    monkeypatch.setattr(tokenised, "LARGEST_BATCH", 1)
    assert chats.draw(tokenizer, chosen, 0).hash == together.hash


def test_seeds_share_nothing_and_the_first_samples_stay(chats, tokenizer, settings):
    few, more = (settings(num_samples=n, seq_len=12, window="document") for n in (2, 3))
    sets = [chats.draw(tokenizer, few, seed) for seed in (0, 1, 2)]
    assert sorted(number for one in sets for number in order(one)) == list(range(6))
    assert (chats.draw(tokenizer, more, 0).tokens_NT[:2] == sets[0].tokens_NT).all()
    assert chats.draw(tokenizer, few, 1).hash == sets[1].hash


def test_answers_are_kept_on_disk_and_in_mixtures(tmp_path, chats, tokenizer, settings):
    drawn = chats.draw(tokenizer, settings(seq_len=12, window="document"), 0)
    save_set(drawn, tmp_path / "kept")
    kept = load_set(tmp_path / "kept")
    assert kept.hash == drawn.hash and (kept.answers_NT == drawn.answers_NT).all()
    others = [{"messages": turns(one)} for one in CHATS[:4]]
    other = chat_files(write(tmp_path / "other.jsonl", others), name="other")
    mixed = Mixture(name="both", parts={"a": chats, "b": other}, weights={"a": 1, "b": 1})
    told = mixed.draw(tokenizer, settings(seq_len=12, window="document"), 0).answers_NT
    assert told.any(axis=1).all()


def test_models_that_differ_in_their_template_have_sets_of_their_own(chats, settings):
    own, other = make_tokenizer(), make_tokenizer()
    own.chat_template, other.chat_template = OF_WORDS, OF_WORDS + " w7"
    first, second = (describe_draw(chats, one, settings(), 0, None) for one in (own, other))
    assert first != second and first["tokenizer"] == second["tokenizer"]


def test_the_fingerprint_covers_a_template_file(tmp_path, chats):
    file = tmp_path / "own.jinja"
    file.write_text(OF_WORDS)
    before = chat_files(chats.path, template=str(file)).fingerprint()
    file.write_text(OF_WORDS + " w7")
    after = chat_files(chats.path, template=str(file)).fingerprint()
    assert len({before, after, chats.fingerprint()}) == 3
    with pytest.raises(ConfigError, match=r"gone\.jinja.*cannot be read"):
        chat_files(chats.path, template="gone.jinja").fingerprint()


def test_the_card_tells_layout_template_and_licence(chats, tokenizer, settings):
    card = chats.draw(tokenizer, settings(seq_len=12, window="document"), 0).card
    told = card["provenance"]
    assert told["messages"] == "messages" and told["template"] == OF_WORDS
    assert told["files"] == ["a.jsonl"] and "column" not in told
    assert {"documents": 6, "walked": 4, "eligible": 4}.items() <= card["pool"].items()


@pytest.mark.parametrize(
    ("records", "phrase"),
    [
        ([{"text": "w1"}], r"dataset\.messages='messages': .*columns of a\.jsonl: text\.$"),
        ([{"conversations": []}], r"columns of .*type dataset\.messages=conversations"),
        ([{"messages": "w1"}], r"in a\.jsonl:0, but column messages holds str"),
        ([{"messages": []}] * 6, r"expected at most 0.* of 6 documents"),
    ],
)
def test_files_without_messages_are_explained(tmp_path, tokenizer, settings, records, phrase):
    source = chat_files(write(tmp_path / "a.jsonl", records))
    with pytest.raises(ConfigError, match=phrase):
        source.draw(tokenizer, settings(window="document"), 0)


def test_a_file_and_a_template_that_cannot_be_used_are_told_together(tmp_path, settings):
    source = chat_files(write(tmp_path / "a.jsonl", [{"text": "w1"}]), template=None)
    with pytest.raises(ConfigError) as told:
        source.draw(make_tokenizer(), settings(window="document"), 0)
    keys = [one.partition("=")[0] for one in told.value.problems]
    assert keys == ["dataset.template", "dataset.messages"]


def test_plain_text_holds_no_conversations(tmp_path, tokenizer, settings):
    (tmp_path / "a.txt").write_text("w1")
    with pytest.raises(ConfigError, match="a text file has none"):
        chat_files(tmp_path / "a.txt").draw(tokenizer, settings(window="document"), 0)


def test_no_published_loader_draws_conversations(chats, tokenizer, settings):
    with pytest.raises(ConfigError, match=r"calibration\.design='reference'"):
        chats.draw(tokenizer, settings(design="reference"), 0)


def test_all_wrong_settings_are_told_at_once():
    with pytest.raises(ConfigError) as told:
        chat_files("", template="chatlm", answer="a")
    keys = {one.partition("=")[0] for one in told.value.problems}
    assert keys == {"dataset.path", "dataset.messages", "dataset.answer", "dataset.template"}


def test_a_copy_of_a_repository_gives_the_same_conversations(tmp_path, tokenizer, settings):
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "data").mkdir()
    rows = pa.table({"messages": [turns(one) for one in CHATS], "prompt": ["w1"] * 6})
    pq.write_table(rows, tmp_path / "data" / "train-00000-of-00001.parquet")
    hub = HubChat(
        name="chat",
        hub_id="owner/chats",
        revision=None,
        data_files=["data/train-*.parquet"],
        num_documents=5,
        messages="messages",
        prompt=[],
        answer=None,
        system=None,
        template=OF_WORDS,
        license="MIT",
        path=str(tmp_path),
    )
    chosen = settings(num_samples=5, seq_len=12, window="document", bos="document")
    drawn = hub.draw(tokenizer, chosen, 0)
    assert sorted(order(drawn)) == list(range(5))
    tokens, told = row_of(CHATS[order(drawn)[0]])
    row, answers = of(drawn, 0)
    assert row[: len(tokens)] == tokens and answers[: len(told)] == told
    assert drawn.card["provenance"]["source"] == "owner/chats"
    hub.prefetch()
