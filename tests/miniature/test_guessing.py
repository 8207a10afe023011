"""What guessing and mere looking score, on items counted by hand."""

from calib_sweep.miniature.acceptance import guessing

ITEMS = [
    {"passage": "Amrit plays the harp.", "question": "Does Amrit play the harp?", "answer": 1},
    {"passage": "Amrit plays the harp.", "question": "Does Amrit play the lute?", "answer": 0},
    {
        "passage": "Amrit plays the harp. The lute is played by Wendel.",
        "question": "Question: Does Amrit play the lute?",
        "answer": 0,
    },
    {
        "passage": "On Monday the ferry goes to Ordale.",
        "question": "Q: Does a boat go to Ordale on Monday?",
        "answer": 1,
    },
]


def test_looking_is_wrong_only_where_a_value_belongs_to_another(monkeypatch) -> None:
    monkeypatch.setattr(guessing, "read", lambda task: ITEMS)
    assert guessing.looking() == 3 / 4
    assert guessing.guessing("mini_boolq") == 1 / 2
