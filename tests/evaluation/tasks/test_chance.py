"""What guessing scores, by hand and by making each answer the likeliest one in turn."""

import numpy as np
import pytest
from helpers.scored import metric, sentence, write_task, zero_shot_of

from calib_sweep.evaluation.tasks.chance import chances
from calib_sweep.evaluation.tasks.task_scores import by_item
from calib_sweep.evaluation.tasks.zero_shot import prepare_tasks

CHOICES = {
    "output_type": "multiple_choice",
    "doc_to_text": "Q: {{question}}\nA:",
    "doc_to_target": "label",
    "doc_to_choice": "choices",
}
METRICS = [metric("acc"), metric("acc_norm")]


def task_of(folder, tokenizer, name):
    return prepare_tasks(zero_shot_of(folder, name, headline={name: None}), tokenizer).tasks[name]


def items(labels, nums):
    return [
        {
            "question": sentence("question", i),
            "choices": [sentence("choice", i, j) for j in range(num)],
            "label": label,
        }
        for i, (label, num) in enumerate(zip(labels, nums, strict=True))
    ]


def guessed(task):
    """The mean over items and answers of what lm-eval gives for that answer, by metric."""
    found = {}
    for own in by_item(task.instances):
        num = len(task.doc_to_choice(own[0].doc))
        for picked in range(num):
            of_answers = [(0.0 if j == picked else -9.0, False) for j in range(num)]
            unasked = [(0.0, False)] * (len(own) - num)  # of answers by themselves
            for name, value in task.process_results(own[0].doc, of_answers + unasked).items():
                found.setdefault(name, []).append((value / num, own[0].doc_id))
    num_items = len({item for _, item in next(iter(found.values()))})
    return {name: sum(value for value, _ in own) / num_items for name, own in found.items()}


def test_chance_is_the_mean_over_items_of_different_numbers_of_answers(tokenizer, tmp_path):
    write_task(tmp_path, "c", items([0, 1, 2, 0], [2, 3, 4, 2]), **CHOICES, metric_list=METRICS)
    task = task_of(tmp_path, tokenizer, "c")
    by_hand = (1 / 2 + 1 / 3 + 1 / 4 + 1 / 2) / 4
    assert chances(task) == {"acc": pytest.approx(by_hand), "acc_norm": pytest.approx(by_hand)}
    assert chances(task) == pytest.approx(guessed(task))


def test_several_right_answers_are_guessed_more_often(tokenizer, tmp_path):
    write_task(tmp_path, "c", items([[0, 2], [1]], [4, 3]), **CHOICES, metric_list=METRICS)
    task = task_of(tmp_path, tokenizer, "c")
    assert chances(task)["acc"] == pytest.approx((2 / 4 + 1 / 3) / 2)
    assert chances(task) == pytest.approx(guessed(task))


def test_answers_that_are_asked_for_twice_count_once(tokenizer, tmp_path):
    own = [*METRICS, metric("acc_mutual_info")]
    write_task(tmp_path, "c", items([0, 1], [2, 4]), **CHOICES, metric_list=own)
    task = task_of(tmp_path, tokenizer, "c")
    assert chances(task) == pytest.approx(
        dict.fromkeys(("acc", "acc_norm", "acc_mutual_info"), 3 / 8)
    )
    assert chances(task) == pytest.approx(guessed(task))


def test_a_word_of_a_whole_vocabulary_is_not_guessed(task_folder, tokenizer):
    assert chances(task_of(task_folder, tokenizer, "t_word")) == {"acc": 0.0}
    assert chances(task_of(task_folder, tokenizer, "t_page")) == {}


def test_what_code_of_the_task_counts_is_not_known(tokenizer, tmp_path):
    write_task(tmp_path, "c", items([0, 1], [2, 4]), **CHOICES, metric_list=METRICS)
    task = task_of(tmp_path, tokenizer, "c")
    task.config.process_results = lambda doc, results: {"acc": 1.0}
    assert chances(task) == {}


@pytest.mark.parametrize(("choices", "chance"), [(None, {"exact_match": 0.0}), (["a", "b"], {})])
def test_written_answers_are_guessed_only_where_there_are_choices(
    tokenizer, tmp_path, choices, chance
):
    definition = {"doc_to_choice": choices} if choices else {}
    write_task(
        tmp_path,
        "w",
        [{"question": "a?", "answer": "b"}],
        output_type="generate_until",
        doc_to_text="question",
        doc_to_target="answer",
        generation_kwargs={"until": ["\n"]},
        metric_list=[metric("exact_match")],
        **definition,
    )
    assert chances(task_of(tmp_path, tokenizer, "w")) == chance


def test_the_guess_of_a_task_stays_between_its_fewest_and_most_answers(task_folder, tokenizer):
    task = task_of(task_folder, tokenizer, "t_choice")
    nums = [2 + i % 3 for i in range(30)] + [2] * 10
    assert chances(task)["acc"] == pytest.approx(np.mean([1 / num for num in nums]))
