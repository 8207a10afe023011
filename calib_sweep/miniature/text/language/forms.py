"""Forms of English words by rule, with the exceptions that the lexicon needs."""

from functools import cache

from calib_sweep.miniature.text.language.words import words

_VOWELS = "aeiou"
_PLURALS = {
    "loaf": "loaves", "shelf": "shelves", "leaf": "leaves", "knife": "knives", "wolf": "wolves",
    "child": "children", "fish": "fish", "species": "species", "larva": "larvae",
    "fisherman": "fishermen", "spokesman": "spokesmen", "nurseryman": "nurserymen",
    "genus": "genera", "calf": "calves", "scarf": "scarves", "sheep": "sheep", "series": "series",
}  # fmt: skip
_IRREGULAR_FORMS = """
    hide hid hidden, find found found, keep kept kept, win won won, lose lost lost, lead led
    led, sell sold sold, leave left left, write wrote written, hear heard heard, dig dug dug,
    build built built, rebuild rebuilt rebuilt, buy bought bought, sing sang sung, hold held
    held, bring brought brought, take took taken, see saw seen, draw drew drawn, read read read,
    send sent sent, cut cut cut, feed fed fed, grow grew grown, steal stole stolen, break broke
    broken, lend lent lent, spread spread spread, sweep swept swept, make made made, drive drove
    driven, throw threw thrown, teach taught taught, catch caught caught, choose chose chosen,
    forget forgot forgotten, give gave given, bind bound bound, pay paid paid, split split
    split, beat beat beaten, wear wore worn, rewrite rewrote rewritten, withdraw withdrew
    withdrawn, oversee oversaw overseen, shake shook shaken, hang hung hung
"""  # base, past, participle
_IRREGULAR = {
    base: (past, participle)
    for base, past, participle in (entry.split() for entry in _IRREGULAR_FORMS.split(","))
}
_DOUBLED = frozenset(words("admit commit submit permit format forget regret"))


@cache
def plural(noun: str) -> str:
    if noun in _PLURALS:
        return _PLURALS[noun]
    if noun.endswith(("s", "x", "ch", "sh")):
        return noun + "es"
    if noun.endswith("y") and noun[-2] not in _VOWELS:
        return noun[:-1] + "ies"
    return noun + "s"


def past(verb: str) -> str:
    return _IRREGULAR[verb][0] if verb in _IRREGULAR else _regular(verb)


def participle(verb: str) -> str:
    return _IRREGULAR[verb][1] if verb in _IRREGULAR else _regular(verb)


def gerund(verb: str) -> str:
    stem = verb[:-1] if verb.endswith("e") and not verb.endswith(("ee", "oe")) else _doubled(verb)
    return stem + "ing"


def _regular(verb: str) -> str:
    if verb.endswith("e"):
        return verb + "d"
    if verb.endswith("y") and verb[-2] not in _VOWELS:
        return verb[:-1] + "ied"
    return _doubled(verb) + "ed"


def _doubled(verb: str) -> str:
    """The last consonant twice after one short vowel: trim, trimm(ed)."""
    is_short = (
        len(verb) > 2
        and verb[-1] not in "aeiouwxy"
        and verb[-2] in _VOWELS
        and sum(letter in _VOWELS for letter in verb) == 1
    )
    return verb + verb[-1] if is_short or verb in _DOUBLED else verb
