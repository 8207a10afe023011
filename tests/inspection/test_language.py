"""Languages by script and function words, and characters counted by hand."""

import pytest

from calib_sweep.inspection.language import FUNCTION_WORDS, characters_of, language_of

TEXTS = {
    "en": "The owner of the mill was not in the town when they found that it had burnt down.",
    "de": "Der Besitzer der Fabrik war nicht in der Stadt, als man die Leiche im Keller fand.",
    "fr": "Le directeur de la fabrique est dans les jardins avec des amis qui ne sont pas du pays.",
    "es": "El hombre que vive en la casa no es el hermano de la mujer que trabaja por las noches.",
    "it": "Il vino che non si beve con gli amici della scuola sono come le torte del giorno dopo.",
    "pt": "O homem que mora em uma casa perto do rio foi com os filhos para o norte, mas ao sul.",
    "nl": "Het huis van de oude man is niet ver van de kerk, maar hij wil er op zondag niet naar.",
    "latin": "def walk(left, right): return left.child.value + right.child.value",
    "cyrillic": "\u0414\u043e\u043c \u043d\u0430 \u0433\u043e\u0440\u0435",
    "ja": "\u5c71\u306e\u4e0a\u306b\u5bb6\u304c\u3042\u308b",
    "zh": "\u5c71\u4e0a\u6709\u4e00\u95f4\u623f\u5b50",
    "none": "12.4 | 99.1 | 3 | 4 | 5.5",
}


@pytest.mark.parametrize("language", TEXTS)
def test_the_language_of_a_text(language):
    assert language_of(TEXTS[language]) == language


def test_an_empty_text_has_no_language():
    assert language_of("") == language_of(" \n") == "none"


def test_function_words_are_listed_once():
    for words in FUNCTION_WORDS.values():
        assert len(set(words.split())) == len(words.split())


def test_characters_by_hand():
    found = characters_of(["Ab 1", "\u00e9\ufffd\n."])
    assert found == {
        "letters": 3 / 8,
        "digits": 1 / 8,
        "white space": 2 / 8,
        "capitals": 1 / 3,  # of the letters
        "beyond ASCII": 2 / 8,
        "broken": 1 / 8,
        "different": 8,
    }
    assert characters_of([])["letters"] == 0
