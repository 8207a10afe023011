"""Languages and characters of texts, roughly: what a set is written in, not who wrote it.

A text's script is that of most of its letters, by their Unicode names. In Latin script its language
is the one whose function words make the largest share of its words, if that is `MIN_SHARE` or more;
else "latin": code, lists, names, another language. The words are a small choice of our own.
"""

import unicodedata
from collections import Counter
from collections.abc import Sequence
from functools import cache

MIN_SHARE = 0.08  # of words; running text has 0.2 to 0.5 in its own language
SEEN_CHARACTERS = 20_000  # of a text: more tells no more
# Scripts with one language that matters here; of others the script itself is told.
OF_SCRIPT = {"hiragana": "ja", "katakana": "ja", "hangul": "ko", "cjk": "zh", "greek": "el"}
OF_SCRIPT |= {"hebrew": "he", "thai": "th"}
FUNCTION_WORDS = {
    "en": "the of and to in is that it was for on with as his they be at this from have or by not",
    "de": "der die und das ist nicht den zu mit sich auf ein eine dem des im von wie auch es aus",
    "fr": "le les et des une du est dans qui que pas pour sur au avec ce il plus sont aux nous",
    "es": "el los las y en una del que por con para se no como su al lo es muy pero sus",
    "it": "il gli che della di non sono per con una anche nel alla come del dei lo si ha le questo",
    "pt": "o os as que do da em um uma ele para com por mais dos das como se ao foi pelo",
    "nl": "de het een en van niet dat op te zijn met voor aan er maar ook als bij uit naar wordt",
}


def language_of(text: str) -> str:
    """Return the language of a text (en, de ...), else its script (latin, cyrillic ...), or none.

    none: hardly a letter in it.
    """
    text = text[:SEEN_CHARACTERS]
    scripts: Counter[str] = Counter()
    for sign, number in Counter(text).items():
        if sign.isalpha():
            scripts[_script(sign)] += number
    if not scripts or 10 * scripts.total() < len(text):
        return "none"
    # Japanese is known by its syllables, however many Chinese characters stand between them.
    syllables = scripts["hiragana"] + scripts["katakana"]
    if 10 * syllables > scripts.total():
        return "ja"
    script = min(scripts, key=lambda name: (-scripts[name], name))
    return _latin(text) if script == "latin" else OF_SCRIPT.get(script, script)


def characters_of(texts: Sequence[str]) -> dict[str, float]:
    """Return shares of the characters of all texts, and the number of different ones."""
    count: Counter[str] = Counter()
    for text in texts:
        count.update(text)
    total, letters = max(count.total(), 1), {c: n for c, n in count.items() if c.isalpha()}

    def share(accepts: object, of: int = total) -> float:
        assert callable(accepts)
        return sum(number for sign, number in count.items() if accepts(sign)) / max(of, 1)

    return {
        "letters": share(str.isalpha),
        "digits": share(str.isdigit),
        "white space": share(str.isspace),
        "capitals": share(str.isupper, sum(letters.values())),
        "beyond ASCII": share(lambda sign: not sign.isascii()),
        "broken": share(lambda sign: sign == "\ufffd"),
        "different": float(len(count)),
    }


def _latin(text: str) -> str:
    words = Counter("".join(c if c.isalpha() else " " for c in text.lower()).split())
    total = max(words.total(), 1)
    shares = {
        name: sum(words[word] for word in own.split()) / total
        for name, own in FUNCTION_WORDS.items()
    }
    best = min(shares, key=lambda name: (-shares[name], name))
    return best if shares[best] >= MIN_SHARE else "latin"


@cache
def _script(sign: str) -> str:
    """Return the first word of a letter's name, which is its script."""
    return unicodedata.name(sign, "unknown").split()[0].split("-")[0].lower()
