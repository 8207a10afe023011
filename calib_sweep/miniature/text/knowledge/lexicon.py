"""Words by topic, their forms, and the words that all topics share.

Each domain is at home in three topics, so vocabulary differs between domains. A document uses a few
words of its topic (`focus`), the first ones more often, so that its terms recur.
"""

from dataclasses import dataclass

from calib_sweep.miniature.text.knowledge.topics import TOPIC_WORDS
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.forms import gerund, participle, past, plural
from calib_sweep.miniature.text.language.template import Ranked, Scope
from calib_sweep.miniature.text.language.words import words


@dataclass(frozen=True)
class Topic:
    nouns: tuple[str, ...]  # all of these: the frequent ones first
    verbs: tuple[tuple[str, str, str, str], ...]  # base, past, gerund, participle; take an object
    adjectives: tuple[str, ...]
    places: tuple[str, ...]
    roles: tuple[str, ...]


def _topic(nouns: str, verbs: str, adjectives: str, places: str, roles: str) -> Topic:
    return Topic(
        nouns=tuple(nouns.split()),
        verbs=tuple((verb, past(verb), gerund(verb), participle(verb)) for verb in verbs.split()),
        adjectives=tuple(adjectives.split()),
        places=tuple(places.split(", ")),
        roles=tuple(roles.split()),
    )


TOPICS = {name: _topic(*parts) for name, parts in TOPIC_WORDS.items()}

FOCUS = {"nouns": 24, "verbs": 14, "adjectives": 17, "places": 6, "roles": 6}


def focus(topic: Topic, draw: Draw) -> Scope:
    """The slots that a document fills from its own few words of the topic."""
    few = {key: draw.ranked_sample(getattr(topic, key), count) for key, count in FOCUS.items()}
    verbs = few["verbs"]
    return {
        "noun": Ranked(few["nouns"][:15]),
        "other": Ranked(few["nouns"][15:]),
        "nouns": Ranked(map(plural, few["nouns"])),
        "verb": Ranked(verb[0] for verb in verbs),
        "verbed": Ranked(verb[1] for verb in verbs),
        "verbing": Ranked(verb[2] for verb in verbs),
        "passive": Ranked(verb[3] for verb in verbs),
        "adj": Ranked(few["adjectives"]),
        "place": Ranked(few["places"]),
        "role": Ranked(few["roles"]),
        "roles": Ranked(map(plural, few["roles"])),
    }


COMMON = {
    "time": Ranked((
        "early in the morning", "in the evening", "late at night", "before noon", "after lunch",
        "at dawn", "just before sunset", "on the way home", "over the weekend", "during the storm",
        "at the last minute", "on a rainy day", "between two trains", "shortly after midnight",
        "in broad daylight", "at the end of the week", "once a month", "all summer long",
        "during the holidays", "at the first attempt",
    )),
    "month": tuple(words(
        "January February March April May June July August September October November December"
    )),
    "day": tuple(words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")),
    "small": Ranked(words("two three four five six seven eight nine ten eleven twelve")),
    "often": ("often", "rarely", "always", "usually", "sometimes", "never", "seldom"),
    "feel": Ranked(words(
        "tired happy nervous proud hungry calm angry curious lonely worried grateful hopeful "
        "ashamed relieved confused jealous cheerful bored"
    )),
    "why": Ranked((
        "because it rained", "without any help", "for the first time", "with great care",
        "although it was late", "to save some money", "more than once", "because nobody else could",
        "as quickly as possible", "for a whole week", "in spite of the cold", "out of habit",
        "as carefully as possible", "on purpose", "by mistake", "against all advice",
        "to everybody's surprise", "just for fun", "without a word", "for no good reason",
        "in a hurry", "after a long pause", "as a favour", "with both hands",
    )),
    "unit": Ranked(words("days weeks months hours years minutes")),
    "slowly": Ranked(words(
        "quickly slowly quietly carefully suddenly gladly badly secretly proudly eagerly "
        "reluctantly thoroughly calmly hastily openly properly somehow neatly politely patiently "
        "kindly bravely firmly roughly gently regularly clumsily privately loudly briefly happily "
        "warmly sternly lazily cleverly cheaply"
    )),
    "plain": Ranked(words(
        "new big good long small old bad large great simple second whole real nice hard common "
        "poor fine strong ordinary famous strange fresh empty huge similar useless odd modern "
        "lucky typical serious ugly separate proper foolish pretty unusual harmless sudden"
    )),
    "mood": Ranked(words(
        "good easy hard strange useful important possible wise risky simple silly normal"
    )),
}  # fmt: skip

HOME_TOPICS = {
    "mini_web": ("kitchen", "garden", "workshop"),
    "mini_news": ("harbour", "council", "sport"),
    "mini_mix": ("machine", "school", "market"),
    "mini_filtered": ("home", "forest", "music"),
    "mini_wiki": ("geography", "history", "nature"),
}
