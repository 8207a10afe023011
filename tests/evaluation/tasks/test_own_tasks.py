"""Tasks of the user's own: what is counted, what is refused, and what their texts may do."""

import dataclasses

import pytest
from helpers.scored import metric, scorer_of, sentence, write_task, zero_shot_of
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from calib_sweep.errors import ConfigError
from calib_sweep.evaluation.tasks.zero_shot import check_own_items, prepare_tasks

CHOICE = {
    "output_type": "multiple_choice",
    "doc_to_text": "{{q}}",
    "doc_to_choice": "{{c}}",
    "doc_to_target": "g",
    "metric_list": [metric("acc")],
}


def test_a_metric_behind_a_filter_counts(tmp_path, tokenizer, model):
    items = [{"q": sentence(i), "c": [" a", " the old town", " fox"], "g": i % 3} for i in range(9)]
    write_task(tmp_path, "plain", items, **CHOICE)
    behind = [{"name": "first", "filter": [{"function": "take_first"}]}]
    write_task(tmp_path, "own", items, filter_list=behind, **CHOICE)
    settings = zero_shot_of(tmp_path, "own", "plain", headline={"own": "acc,first"})
    scores = prepare_tasks(settings, tokenizer).score(scorer_of(model))
    assert scores["own"].metrics == {"acc,first": scores["plain"].metrics["acc"]}
    assert scores["own"].headline == "acc,first"
    assert scores["own"].correct.tolist() == scores["plain"].correct.tolist()
    assert 0 < scores["own"].correct.sum() < 9


@pytest.fixture
def merging():
    """A tokenizer that makes one token of a question's end and a short answer together."""
    words = {"f": 0, "o": 1, "x": 2, "fo": 3, "fox": 4, "<s>": 5, "t": 6}
    rules = Tokenizer(models.BPE(words, [("f", "o"), ("fo", "x")]))
    rules.add_special_tokens(["<s>"])
    return PreTrainedTokenizerFast(tokenizer_object=rules, bos_token="<s>", pad_token="<s>")


@pytest.mark.parametrize(
    ("question", "answer"), [("t", ""), ("", ""), ("fo", "x"), ("", "<s>"), ("f", "o")]
)
def test_an_answer_without_a_token_of_its_own_is_named(tmp_path, merging, model, question, answer):
    items = [{"q": "t", "c": ["fo", "x"], "g": 0}, {"q": question, "c": ["t", answer], "g": 0}]
    write_task(tmp_path, "own", items, target_delimiter="", **CHOICE)
    settings = zero_shot_of(tmp_path, "own", "mini_facts", num_items=2)
    told = rf"tasks='own': .*answer 1 of item 1, '{answer}' after '{question}', has none with this"
    with pytest.raises(ConfigError, match=told):
        check_own_items(settings, merging)
    alone = dataclasses.replace(settings, tasks=["own"])
    with pytest.raises(ConfigError, match=told):
        prepare_tasks(alone, merging).score(scorer_of(model))
    write_task(tmp_path, "own", items[:1], target_delimiter="", **CHOICE)
    check_own_items(settings, merging)
    prepare_tasks(alone, merging).score(scorer_of(model))


def test_a_class_may_have_its_answers_written(tmp_path, tokenizer, model):
    (tmp_path / "code.py").write_text(
        "from lm_eval.api.task import ConfigurableTask\n"
        "class Own(ConfigurableTask):\n"
        "    def __init__(self, config):\n"
        "        super().__init__(config={k: v for k, v in config.items() if k != 'class'})\n"
    )
    texts = {"doc_to_text": "{{q}}", "doc_to_target": "{{g}}"}
    bound = {"generation_kwargs": {"until": [], "max_gen_toks": 3}}
    write_task(tmp_path, "own", [{"q": "a", "g": "b"}], **texts, **bound)
    path = tmp_path / "own.yaml"
    path.write_text(path.read_text() + "class: !function code.Own\n")
    settings = zero_shot_of(tmp_path, "own", headline={"own": None}, trust_task_code=True)
    settings.check()
    score = prepare_tasks(settings, tokenizer).score(scorer_of(model))["own"]
    assert score.metrics == {"exact_match": 0} and score.written.max_gen_toks == 3
    with pytest.raises(ConfigError, match=r"headline\.own='acc'"):
        prepare_tasks(dataclasses.replace(settings, headline={}), tokenizer)


def test_templates_of_own_tasks_cannot_run_code(tmp_path, tokenizer):
    ran = tmp_path / "ran"
    reach = f"{{{{cycler.__init__.__globals__.os.makedirs('{ran}', exist_ok=True)}}}}"
    write_task(tmp_path, "own", [{"q": "a", "c": ["x"], "g": 0}], **CHOICE | {"doc_to_text": reach})
    settings = zero_shot_of(tmp_path, "own")
    with pytest.raises(ConfigError, match="SecurityError"):
        prepare_tasks(settings, tokenizer)
    assert not ran.exists()
    prepare_tasks(dataclasses.replace(settings, trust_task_code=True), tokenizer)
    assert ran.exists()


@pytest.mark.parametrize("name", ["ppl", "kl", "flips"])
def test_a_metric_of_a_task_takes_no_name_of_our_scores(tmp_path, tokenizer, name):
    own = CHOICE | {"metric_list": [metric("acc"), metric(name) | {"aggregation": "mean"}]}
    write_task(tmp_path, "own", [{"q": "a", "c": [" a", " b"], "g": 0}], **own)
    settings = zero_shot_of(tmp_path, "own", trust_task_code=True)
    with pytest.raises(ConfigError, match=f"tasks='?own.*without a metric called {name}"):
        settings.check_definitions()
    with pytest.raises(ConfigError):
        prepare_tasks(settings, tokenizer)
