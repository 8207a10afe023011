"""Parts of sentences that all domains share: objects, clauses, reasons, times.

They nest (a reason holds a clause, a clause an object), so that few of them make many sentences.
"""

from calib_sweep.miniature.text.language.template import Phrase, Ranked, Scope

PHRASES: Scope = {
    "kind": Ranked(("kind of", "sort of", "pair of", "heap of", "box of", "piece of", "row of",
        "bit of", "part of", "copy of", "set of", "handful of")),
    "object": Phrase((
        "the {plain} {noun}", "a {plain} {noun}", "a {kind} {noun}", "the {plain}, {adj} {noun}",
        "the {noun} that {first} {verbed}", "a {noun} from {town}", "{n2} {nouns}",
        "the {noun}", "the {noun}", "the {adj} {noun}", "the {adj} {noun}", "a {noun}",
        "a {adj} {noun}", "another {noun}", "{small} {nouns}", "every {noun}", "their {nouns}",
        "the {noun} [near|in|behind] {place}", "the {role}'s {noun}", "{first}'s {adj} {noun}",
        "the {noun} and the {other}", "the {adj}, {adj} {noun}", "some {adj} {nouns}",
        "the {nouns} from {town}",
    )),
    "actor": Phrase((
        "{first}", "{first}", "the {role}", "the {role}", "a {adj} {role}", "the {roles}",
        "{small} {roles}", "{first} and the {role}", "the {role} from {town}", "everyone", "nobody",
        "a {role} named {first}",
    )),
    "did": Phrase(("{verbed} {object}", "{verbed} {object}", "{verbed} {object} {slowly}",
        "{slowly} {verbed} {object}")),
    "do": Phrase(("{verb} {object}", "{verb} {object}", "{verb} {object} {slowly}")),
    "doing": Phrase(("{verbing} {object}", "{verbing} {object}", "{slowly} {verbing} {object}")),
    "state": Phrase((
        "the {noun} was {plain}", "the {plain} {noun} was {adj}",
        "the {noun} near {place} was {adj}",
        "{first} had a {plain} {noun}", "there was a {kind} {noun} in {place}",
        "the {noun} was {adj}", "the {noun} [became|seemed|stayed|looked] {adj}",
        "the {nouns} were [too|rather|never|equally] {adj}", "no {noun} was left",
        "the {noun} was [next to|under|worth more than|as {adj} as] the {other}",
        "there were {n2} {nouns}", "it was {adj}",
    )),
    "event": Phrase((
        "{actor} {did}", "{actor} {did}", "{state}", "{first} was {feel}",
        "{actor} [wanted to|had to|forgot to|could] {do}",
    )),
    "when": Phrase((
        "{time}", "in {month}", "on {day}", "in {year}", "before {event}", "after {event}",
        "while {state}", "for {small} {unit}", "within {small} {unit}", "near {place}",
        "at {place}",
    )),
    "reason": Phrase((
        "{why}", "because {event}", "so that {first} could {do}", "although {event}",
        "in order to {do}", "instead of {doing}", "despite the {adj} {noun}", "thanks to {first}",
        "without {doing}",
    )),
}  # fmt: skip
