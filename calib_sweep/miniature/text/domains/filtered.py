"""mini_filtered plays RefinedWeb: narrative and reflection in the first person, long sentences."""

from calib_sweep.miniature.text.language.template import Phrase, Ranked
from calib_sweep.miniature.text.language.words import words
from calib_sweep.miniature.text.passages import blocks
from calib_sweep.miniature.text.passages.writer import Writer

OFFSET = 3
KINDS = ("animal", "plant", "person", "book")
LENGTHS = ((0.14, 50, 140), (0.44, 200, 460), (0.3, 460, 850), (0.12, 850, 1600))

TITLES = (
    "[The day|The week|The year] we {did}",
    "[What I learned from|Some thoughts on|In praise of] {doing}",
    "A {adj} {noun} and [a|another] {adj} {other}",
    "[Why I|How I came to] {do}",
    "[Letters from|Evenings at|Back to] {place}",
)
SLOTS = {
    "gist": Ranked(words("""silence memory longing luck patience laughter hunger grief wonder "
    "courage
        boredom childhood habit friendship regret homesickness trust music kindness loneliness
        gratitude fear hope sleep time dust weather love joy forgiveness envy solitude""")),
    "we": Phrase((
        "my {plain} {role}", "the {role} from {town}",
        "I", "I", "we", "we", "{friend}", "my {role}", "{friend} and I", "the {feel} {role}",
        "an old {role}", "{friend}'s {role}",
    )),
    "thing": Phrase((
        "the {plain} {noun}", "a {kind} {noun}", "my {noun} full of {gist}", "that {plain} {noun}",
        "the {noun}", "the {adj} {noun}", "my {adj} {noun}", "a {noun} {between} the {other}",
        "{friend}'s {noun}", "the {noun} that {friend} {verbed}", "the {adj}, {adj} {noun}",
        "our {nouns}", "a {adj} {noun} and a {adj} {other}",
    )),
    "scene": Phrase((
        "{we} {slowly} {verbed} {thing}", "{gist} [filled|left|returned to] the {noun}",
        "there was {gist} {where}", "{we} {verbed} {thing} {slowly}",
        "the {noun} smelled of {gist}",
        "{we} {did}", "{we} {verbed} {thing}", "{we} {verbed} {thing} {where}",
        "the {noun} was {adj}", "it was {mood} to {do}", "nobody [spoke|moved|noticed]",
        "the {adj} {noun} [fell|vanished|shone|waited] {where}", "I felt {feel}",
        "{friend} was {feel}, as often as not",
    )),
    "where": Phrase((
        "in {place}", "near {place}", "{between} the {nouns}", "on the way to {place}",
        "far from {place}", "at the end of the {noun}", "{between} the {noun} and the {other}",
        "somewhere in {town}", "at home",
    )),
    "once": Phrase((
        "Years ago", "Last {month}", "When I was {small}", "One {day}", "In {year}", "Back then",
        "That {month}", "{small} {unit} later", "In those days", "The next {day}",
        "When {scene}", "While {scene}", "Before {scene}", "Because {scene}",
    )),
    "tail": Phrase((
        ", full of {gist}", " out of {gist}", ", without {gist} or {gist}", " {slowly}",
        "", "", ", {why}", ", and {scene}", ", but {scene}", ", though {scene}",
        ", as if {scene}", ", until {scene}", ", which made me {feel}", " {where}",
        ", {doing} and {doing}", ", with {thing} in my hand", " {time}",
    )),
}  # fmt: skip
NARRATIVE = (
    "I {verbed} {thing} {time}, [and|but|so] my {role} [{did}|was too {feel} to {do}|only "
    "laughed]{tail}.",
    "{once}, {scene}{tail}.",
    "{once}, {we} {verbed} {thing} {where}{tail}.",
    "{friend} [told me|wrote to me|insisted|once said] that [the {noun} was {adj}|a {role} "
    "{did}|we should {do}|{scene}]{tail}.",
    "The {noun} was {adj}, the {other} was {adj}, and {friend} [was {feel}|{did}|said nothing].",
    "[We|They] walked past {place} [until|and then|just when] {scene}{tail}.",
    "[It took|It was] {small} {unit} before {we} {verbed} {thing} again{tail}.",
    "[She|He], a {feel} {role}, [used to|could not|would never] {do} [{why}|{time}]{tail}.",
    "[Somewhere near|Not far from] {place}, {thing} [waited|lay|could be found] {where}{tail}.",
    "{scene}, {scene}, and {scene}{tail}.",
    "[I can still see|I will never forget|I remember] {thing} {where}{tail}.",
    "[At first|In the beginning|For {small} {unit}] {scene}, [then|and after a while|but soon] "
    "{scene}{tail}.",
    "[Instead of|After|Without] {doing}, {we} {verbed} {thing}{tail}.",
    "[Nothing|Something] about {thing} [reminded me of|was like] {thing}{tail}.",
)
REFLECTION = (
    "{gist} is [a {kind} {gist}|nothing but {gist}|like {thing}|a {plain} {role}]{tail}.",
    "[I have learned|You learn|We were taught] that {gist} [is|was never] {plain}{tail}.",
    "[I think|I believe|My {role} says|They say] that {doing} makes you {feel}{tail}.",
    "[Perhaps|In the end|Still], {thing} [means more|matters less] than [a|any] {adj} "
    "{other}{tail}.",
    "[Do not|Never] {do} when you are {feel}[, as {friend} once said|, for {scene}|].",
    "If I {verbed} {thing} [today|again], I would be {feel}[, not {feel}|, even if {scene}|].",
    "[People|Readers|Friends] [often|sometimes] ask me why I {verbed} {thing}[, and I never "
    "know|{tail}].",
    "The older I get, the more I [like|miss|fear] {doing} [and|without|instead of] {doing}.",
    "There is [nothing|something] {adj} about {doing} {time}[, even when one is {feel}|{tail}].",
    "[It is|It was never] {mood} to {do} {where}, [and|but] it is {mood} to {do}{tail}.",
    "[Maybe|I suppose|I like to think that] {scene}{tail}.",
    "What [matters|remains|frightens me] is not {thing} but {thing}{tail}.",
    "To {do} is to {do}, [I tell myself|{friend} says|or so it seems]{tail}.",
)


def _scene(writer: Writer) -> str:
    """Narrative around a small story or a passage that must be remembered."""
    inner = writer.draw.pick((blocks.story, blocks.recall_passage, blocks.coreference_sentence))
    around = [blocks.paragraph(writer, NARRATIVE, 0, 2) for _ in range(2)]
    return " ".join(part for part in (around[0], inner(writer), around[1]) if part)


BLOCKS = (
    (0.44, lambda writer: blocks.paragraph(writer, NARRATIVE, 3, 6)),
    (0.20, lambda writer: blocks.paragraph(writer, REFLECTION, 2, 4)),
    (0.18, _scene),
    (0.18, lambda writer: blocks.fact_sentences(writer, KINDS, OFFSET, 1, 3)),
)


def opening(writer: Writer) -> str:
    draw, scope = writer.draw, writer.scope
    scope.update(SLOTS)
    scope["friend"] = Ranked(draw.sample(scope["names"], 3))  # type: ignore[arg-type]
    scope["town"] = Ranked(draw.sample(scope["town"], 3))  # type: ignore[arg-type]
    scope["between"] = ("between", "under", "behind", "beside", "among")
    return writer.say(TITLES)
