"""The same conversation out of every layout of records."""

import pytest

from calib_sweep.dataset.conversations.layout import Layout, known_layout
from calib_sweep.errors import ConfigError

CHAT = [{"role": "user", "content": "Why?"}, {"role": "assistant", "content": "So."}]


def layout(**changed):
    chosen = {"messages": None, "prompt": [], "answer": None, "system": None}
    return Layout(**{**chosen, **changed})


TURNS = layout(messages="messages")
COLUMNS = layout(prompt=["instruction", "input"], answer="output")


@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (CHAT, CHAT),
        ([{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}], CHAT),
        ([{**CHAT[0], "name": None}, {**CHAT[1], "from": None}], CHAT),  # as tables fill up rows
        ([{"role": "user", "content": [{"type": "text", "text": "Why?"}]}, CHAT[1]], CHAT),
        ([CHAT[0], {"role": "assistant", "content": None}], [CHAT[0], {**CHAT[1], "content": ""}]),
        ([{**CHAT[0], "name": "Ann"}], [{**CHAT[0], "name": "Ann"}]),
        (
            [
                {
                    "role": "assistant",
                    "tool_calls": [{"name": "f", "arguments": {"a": 1, "b": None}}],
                }
            ],
            [
                {
                    "role": "assistant",
                    "content": "",
                    "tool_calls": [{"name": "f", "arguments": {"a": 1}}],
                }
            ],
        ),
        ([], []),
        (None, []),
    ],
)
def test_turns_of_a_column(turns, expected):
    assert TURNS.conversation({"messages": turns}, "a:0") == expected


@pytest.mark.parametrize(
    ("record", "asked"),
    [
        ({"instruction": "Why?", "input": "", "output": "So."}, "Why?"),
        ({"instruction": "Why?", "input": None, "output": "So."}, "Why?"),
        ({"instruction": "Why?", "input": "It.", "output": "So."}, "Why?\n\nIt."),
    ],
)
def test_columns_of_one_turn(record, asked):
    assert COLUMNS.conversation(record, "a:0") == [{"role": "user", "content": asked}, CHAT[1]]


def test_an_empty_record_is_no_conversation():
    empty = {"instruction": "", "input": " ", "output": None}
    assert COLUMNS.conversation(empty, "a:0") == []
    assert layout(messages="messages", system="Hm.").conversation({"messages": []}, "a:0") == []


def test_a_system_prompt_is_added_where_there_is_none():
    own = layout(messages="messages", system="Be brief.")
    added = [{"role": "system", "content": "Be brief."}]
    assert own.conversation({"messages": CHAT}, "a:0") == [*added, *CHAT]
    theirs = [{"role": "system", "content": "Be long."}, *CHAT]
    assert own.conversation({"messages": theirs}, "a:0") == theirs


@pytest.mark.parametrize(
    ("turns", "phrase"),
    [
        ("Why?", "column messages holds str"),
        ([{"who": "user", "text": "Why?"}], "turn 0, but it has the keys who, text"),
        ([CHAT[0], "So."], "turn 1, but it is str"),
        ([{"role": "user", "content": [{"type": "image"}]}], "that is no text"),
    ],
)
def test_what_is_no_conversation_is_named(turns, phrase):
    with pytest.raises(ConfigError, match=rf"in a\.jsonl:7.*{phrase}"):
        TURNS.conversation({"messages": turns}, "a.jsonl:7")


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({}, ["messages"]),
        ({"messages": "a", "prompt": ["b"], "answer": "c"}, ["messages"]),
        ({"prompt": ["b"]}, ["answer"]),
        ({"answer": "c"}, ["answer"]),
        ({"prompt": "b", "answer": "c"}, ["prompt"]),
        ({"messages": "", "system": 3}, ["messages", "system"]),
    ],
)
def test_settings_that_name_no_columns_are_refused_all_at_once(changed, keys):
    with pytest.raises(ConfigError) as told:
        layout(**changed).check()
    assert [one.partition("=")[0] for one in told.value.problems] == [f"dataset.{k}" for k in keys]


@pytest.mark.parametrize(
    ("columns", "typed"),
    [
        (["id", "conversations"], "dataset.messages=conversations"),
        (["instruction", "input", "output"], "'dataset.prompt=[instruction,input]'"),
        (["prompt", "response"], "'dataset.prompt=[prompt]' dataset.answer=response"),
        (["question", "answer"], "'dataset.prompt=[question]' dataset.answer=answer"),
    ],
)
def test_common_layouts_are_known(columns, typed):
    assert typed in known_layout(columns)
    assert known_layout(["text"]) == ""
