import types

import jinja2
import pytest
from jinja2.exceptions import SecurityError, UndefinedError
from lm_eval import utils

from calib_sweep.evaluation.templates import templates_of

TEMPLATES = [
    "{{text}}\n",
    "{% set word = text.split() | first %}{{word}} {{word | upper}}",
    "{% for one in items %}{{loop.index}}{{one}}{% if not loop.last %}, {% endif %}{% endfor %}",
    "{{ items.index(text) if text in items else -1 }}",
    "{{ text | regex_replace('[ab]', 'x') }}",
    "{% set seen = namespace(num=0) %}{% for one in items %}"
    "{% set seen.num = seen.num + 1 %}{% endfor %}{{seen.num}}",
    "{% macro twice(x) %}{{x}}{{x}}{% endmacro %}{{twice(text)}}",
]
DOCUMENTS = [
    {"text": "ab", "items": ["ab", "c"]},
    {"text": "a b", "items": []},
    {"text": "", "items": ["z"]},
]


def rendered(document, template):
    try:
        return utils.apply_template(template, document)
    except (UndefinedError, IndexError) as error:
        return type(error)


@pytest.mark.parametrize("are_trusted", [True, False])
def test_what_is_rendered_is_what_lm_eval_renders(are_trusted):
    pairs = [(document, template) for document in DOCUMENTS for template in TEMPLATES]
    pairs += [({"text": "a"}, "{{missing}}")]
    plain = [rendered(*pair) for pair in pairs]
    assert len(set(plain)) > len(TEMPLATES)
    for _ in range(2):  # what was remembered, too
        with templates_of(utils, are_trusted=are_trusted):
            assert [rendered(*pair) for pair in pairs] == plain


@pytest.mark.parametrize("are_trusted", [True, False])
def test_a_template_is_compiled_once_for_all_items_and_cells(monkeypatch, are_trusted):
    compiled = []
    compile_it = jinja2.Environment.compile
    monkeypatch.setattr(
        jinja2.Environment,
        "compile",
        lambda own, source, *rest: compiled.append(source) or compile_it(own, source, *rest),
    )
    template = f"{{{{text}}}} of {are_trusted}"
    for text in ("a", "b", "c"):
        with templates_of(utils, are_trusted=are_trusted):
            assert utils.apply_template(template, {"text": text}) == f"{text} of {are_trusted}"
    assert compiled == [template]


def test_only_trusted_templates_reach_into_python():
    reach = "{{ ''.__class__ }}"
    with templates_of(utils, are_trusted=True):
        assert utils.apply_template(reach, {}) == "<class 'str'>"
    with templates_of(utils, are_trusted=False), pytest.raises(SecurityError):
        utils.apply_template(reach, {})


def test_the_environment_is_put_back_after_an_error():
    holder = types.SimpleNamespace(env=utils.env)
    with pytest.raises(KeyError), templates_of(holder, are_trusted=True):
        assert holder.env is not utils.env
        raise KeyError
    assert holder.env is utils.env
