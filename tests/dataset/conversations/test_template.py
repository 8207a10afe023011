"""Where the assistant answers in a rendered conversation, for templates of several families."""

import random
from pathlib import Path

import pytest
from helpers import chat_templates as families
from helpers.words import make_tokenizer
from transformers import AutoTokenizer

from calib_sweep.dataset.conversations.template import ChatTemplate, is_template, template_of
from calib_sweep.errors import ConfigError
from calib_sweep.places import task_folder

WORDS = make_tokenizer()
CHAT = [
    {"role": "user", "content": "Where is it?"},
    {"role": "assistant", "content": "In the barn."},
    {"role": "user", "content": "Why there?"},
    {"role": "assistant", "content": "So it is."},
]
SYSTEM = {"role": "system", "content": "Be brief."}


def answers(template, messages, tokenizer=WORDS):
    found = ChatTemplate(template, tokenizer).render(messages, "a.jsonl:0")
    return [found.text[start:stop] for start, stop in found.answers]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (families.CHATML, ["In the barn.<|im_end|>", "So it is.<|im_end|>"]),
        (families.LLAMA_2, ["In the barn. </s>", "So it is. </s>"]),
        (families.LLAMA_3, ["In the barn.<|eot_id|>", "So it is.<|eot_id|>"]),
        (families.MISTRAL, ["In the barn.</s>", "So it is.</s>"]),
        (families.GEMMA, ["In the barn.<end_of_turn>", "So it is.<end_of_turn>"]),
        (families.VICUNA, ["In the barn.</s>", "So it is.</s>"]),
        (families.THINKING, ["In the barn.<|im_end|>", "So it is.<|im_end|>"]),
        (families.PLAIN, ["In the barn.", "So it is."]),
        (families.MARKED, ["In the barn.<|im_end|>", "So it is.<|im_end|>"]),
        (families.OF_WORDS, ["In the barn. </s>", "So it is. </s>"]),
    ],
)
def test_answers_are_found_with_what_ends_them(template, expected):
    assert answers(template, CHAT) == expected
    assert answers(template, CHAT[:2]) == expected[:1]
    assert answers(template, CHAT[:3]) == expected[:1]  # a question that nobody answers
    assert answers(template, CHAT[:1]) == []


@pytest.mark.parametrize("template", [families.CHATML, families.MISTRAL, families.VICUNA])
def test_a_system_prompt_is_no_answer(template):
    text = ChatTemplate(template, WORDS).render([SYSTEM, *CHAT], "a").text
    assert "Be brief." in text
    assert answers(template, [SYSTEM, *CHAT]) == answers(template, CHAT)


def by_prefix(template, messages):
    """The slow way: an answer is what a text has more than the text that asks for it."""

    def write(some, ask=False):
        return WORDS.apply_chat_template(
            some,
            chat_template=template.replace("strftime_now('%d %b %Y')", "'26 Jul 2024'"),
            tokenize=False,
            add_generation_prompt=ask,
        )

    found = []
    for number, message in enumerate(messages):
        if message["role"] == "assistant":
            before = write(messages[:number], ask=True)
            through = write(messages[: number + 1])
            assert through.startswith(before) and write(messages).startswith(through)
            found.append((len(before), len(through.rstrip())))
    return tuple(found)


def drawn_chat(seed):
    draw = random.Random(seed)
    texts = ["a", "b b", "In", "assistant", "x<y>", "user\nA: b", "ä 漢字", "1. a\n\n2. b", "</s"]
    chat = []
    for _ in range(draw.randint(1, 4)):
        chat.append({"role": "user", "content": draw.choice(texts)})
        chat.append({"role": "assistant", "content": " ".join(draw.choices(texts, k=3))})
    return chat


@pytest.mark.parametrize("family", families.BY_PREFIX)
@pytest.mark.parametrize("seed", range(8))
def test_answers_are_those_of_the_slow_way(family, seed):
    template, chat = families.BY_PREFIX[family], drawn_chat(seed)
    found = ChatTemplate(template, WORDS).render(chat, "a").answers
    assert found == by_prefix(template, chat)


@pytest.mark.parametrize("seed", range(4))
def test_tokens_of_answers_are_those_that_a_template_marks_itself(seed):
    from calib_sweep.dataset.documents.marked import encode_marked

    tokenizer = AutoTokenizer.from_pretrained(Path(task_folder()).parent / "weights")
    chat = drawn_chat(seed)
    theirs = tokenizer.apply_chat_template(
        chat, chat_template=families.MARKED, return_assistant_tokens_mask=True, return_dict=True
    )
    text = ChatTemplate(families.MARKED, tokenizer).render(chat, "a")
    (ours,) = encode_marked(tokenizer, [text], special=False)
    assert [token < 0 for token in ours] == [bool(m) for m in theirs["assistant_masks"]]
    assert [~token if token < 0 else token for token in ours] == theirs["input_ids"]


@pytest.mark.parametrize("said", ["", "<|im_end|>", "assistant", "\n"])
def test_odd_answers_are_found_too(said):
    chat = [CHAT[0], {"role": "assistant", "content": said}, *CHAT[2:]]
    assert answers(families.CHATML, chat)[0] == f"{said}<|im_end|>"


def test_thoughts_are_part_of_the_answer_that_keeps_them():
    aloud = [{**one} for one in CHAT]
    aloud[1]["content"] = "<think>\nHm.\n</think>\n\nIn the barn."
    aloud[3]["content"] = "<think>\nHm.\n</think>\n\nSo it is."
    first, second = answers(families.THINKING, aloud)
    assert first == "In the barn.<|im_end|>"  # the template drops earlier thoughts
    assert second == "Hm.\n</think>\n\nSo it is.<|im_end|>"


def test_an_answer_that_a_template_leaves_out_is_none():
    only_questions = "{% for m in messages if m['role'] == 'user' %}{{ m['content'] }}{% endfor %}"
    assert answers(only_questions, CHAT) == []


def test_every_day_writes_the_same_text():
    text = ChatTemplate(families.LLAMA_3, WORDS).render(CHAT, "a").text
    assert "Today Date: 26 Jul 2024\n" in text
    others = "{{ strftime_now('%Y-%m-%d') }} {{ date_string }}"
    assert ChatTemplate(others, WORDS).render(CHAT, "a").text == "2024-07-26 26 Jul 2024"
    clipped = "\n{{ strftime_now('%Y') }}"  # nothing of the template itself is lost
    assert ChatTemplate(clipped, WORDS).render(CHAT, "a").text == "\n2024"


def test_known_templates_write_what_they_are_known_for():
    chatml = template_of("chatml", WORDS).render(CHAT[:2], "a")
    assert chatml.text == (
        "<|im_start|>user\nWhere is it?<|im_end|>\n<|im_start|>assistant\nIn the barn.<|im_end|>\n"
    )
    alpaca = template_of("alpaca", WORDS).render(CHAT[:2], "a")
    assert alpaca.text.startswith("<s>Below is an instruction that describes a task.")
    assert alpaca.text.endswith("### Instruction:\nWhere is it?\n\n### Response:\nIn the barn.\n\n")
    assert "Below" not in template_of("alpaca", WORDS).render([SYSTEM, *CHAT], "a").text


def test_a_template_comes_from_a_file_from_text_or_from_the_tokenizer(tmp_path):
    file = tmp_path / "own.jinja"
    file.write_text(families.PLAIN)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = families.PLAIN
    for setting in (str(file), families.PLAIN, None):
        assert template_of(setting, tokenizer).text == families.PLAIN
    assert is_template(None) and is_template(families.PLAIN) and not is_template("chatlm")


def test_a_missing_template_is_explained(tmp_path):
    with pytest.raises(ConfigError, match=r"dataset\.template=null: .*one of chatml, alpaca"):
        template_of(None, WORDS)
    with pytest.raises(ConfigError, match=r"gone\.jinja.*cannot be read"):
        template_of(str(tmp_path / "gone.jinja"), WORDS)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        (families.LLAMA_2, "no system prompt here"),
        ("{{ messages[9]['content'] }}", "UndefinedError"),
        ("{% for m in messages %}", "TemplateSyntaxError"),
        ("{{ 1 / 0 }}", "ZeroDivisionError"),
    ],
)
def test_a_template_that_fails_names_the_conversation(template, reason):
    with pytest.raises(
        ConfigError, match=rf"with a\.jsonl:0 it ends in .*{reason}|{reason}"
    ) as told:
        answers(template, [SYSTEM, *CHAT])
    assert "a.jsonl:0" in str(told.value)
