import pytest
from helpers.fakes import byte_tokenizer

from calib_sweep.dataset.calibration.own_tokenizer import own_tokenizer


@pytest.fixture
def tokenizer():
    return byte_tokenizer()


def test_one_copy_serves_all_draws_that_leave_it_as_it_was(tokenizer):
    copies = []
    for _ in range(3):
        with own_tokenizer(tokenizer) as own:
            copies.append(own)
            assert own is not tokenizer
            own(["some text", "more"], padding=False, truncation=False)
    assert copies[1] is copies[0] and copies[2] is copies[0]


CHANGES = {
    "a token": lambda own: own.add_tokens(["<new>"]),
    "a side": lambda own: setattr(own, "padding_side", "left"),
    "an attribute": lambda own: setattr(own, "mine", 1),
    "a template": lambda own: setattr(own, "chat_template", "{{ messages }}"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_a_draw_or_anybody_else_changes_is_in_the_next_copy_or_not_as_it_should(
    tokenizer, change
):
    with own_tokenizer(tokenizer) as first:
        change(first)
    with own_tokenizer(tokenizer) as second:
        assert second is not first
        assert len(second) == len(tokenizer) and second.padding_side == tokenizer.padding_side
        assert not hasattr(second, "mine") and second.chat_template == tokenizer.chat_template
    change(tokenizer)
    with own_tokenizer(tokenizer) as third:
        assert third is not second
        assert len(third) == len(tokenizer) and third.chat_template == tokenizer.chat_template


def test_a_draw_that_fails_takes_its_copy_along(tokenizer):
    with pytest.raises(KeyError), own_tokenizer(tokenizer) as first:
        raise KeyError
    with own_tokenizer(tokenizer) as second:
        assert second is not first


def test_one_that_cannot_say_its_state_is_copied_each_time(tokenizer):
    tokenizer.own = lambda: None
    with own_tokenizer(tokenizer) as first:
        pass
    with own_tokenizer(tokenizer) as second:
        assert second is not first
