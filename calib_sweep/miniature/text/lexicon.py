"""Words by topic. Each domain is at home in three topics, so vocabulary differs between domains.

Verbs are "base past gerund" and take the topic's nouns as objects.
"""

from dataclasses import dataclass

from calib_sweep.miniature.text.words import words


@dataclass(frozen=True)
class Topic:
    nouns: tuple[str, ...]
    verbs: tuple[tuple[str, str, str], ...]
    adjectives: tuple[str, ...]
    places: tuple[str, ...]
    roles: tuple[str, ...]


def _topic(nouns: str, verbs: str, adjectives: str, places: str, roles: str) -> Topic:
    return Topic(
        nouns=tuple(nouns.split()),
        verbs=tuple((b, p, g) for b, p, g in (verb.split() for verb in verbs.split(", "))),
        adjectives=tuple(adjectives.split()),
        places=tuple(places.split(", ")),
        roles=tuple(roles.split()),
    )


TOPICS = {
    "kitchen": _topic(
        "pan kettle oven spoon bowl loaf soup sauce pie apron jug grater tray cake recipe stove "
        "ladle",
        "wash washed washing, warm warmed warming, cover covered covering, taste tasted tasting, "
        "stir stirred stirring, order ordered ordering, pack packed packing, serve served serving",
        "heavy creamy crisp sweet salty copper shallow fresh spicy tender thick buttery",
        "the stove, the pantry, the counter, the back kitchen, the bakery",
        "cook baker guest waiter customer",
    ),
    "garden": _topic(
        "rake hedge shed seed bulb fence lawn pot hose basket ladder spade bench path pond trellis",
        "plant planted planting, trim trimmed trimming, water watered watering, move moved moving, "
        "paint painted painting, dig dug digging, weed weeded weeding, shade shaded shading",
        "leafy muddy wooden sunny early climbing hardy bare tall dwarf mossy rusty",
        "the greenhouse, the orchard, the vegetable patch, the compost heap, the terrace",
        "gardener neighbour nurseryman beginner visitor",
    ),
    "workshop": _topic(
        "drill hammer screw board lamp chair hinge drawer saw glue varnish handle shelf wheel "
        "cable clamp",
        "repair repaired repairing, sand sanded sanding, measure measured measuring, "
        "replace replaced replacing, fasten fastened fastening, sell sold selling, "
        "polish polished polishing, assemble assembled assembling",
        "solid loose cordless oiled cheap sturdy narrow spare brass folding handmade cracked",
        "the workbench, the garage, the showroom, the tool shop, the warehouse",
        "carpenter buyer seller mechanic apprentice",
    ),
    "harbour": _topic(
        "ferry crane cargo vessel anchor pier container tugboat lighthouse net hull captain dock "
        "cable buoy",
        "inspect inspected inspecting, tow towed towing, unload unloaded unloading, "
        "delay delayed delaying, search searched searching, rescue rescued rescuing, "
        "insure insured insuring, block blocked blocking",
        "damaged foreign overdue stranded coastal rusting empty registered flooded missing",
        "the quay, the outer harbour, the customs house, the shipyard, the breakwater",
        "sailor docker pilot inspector fisherman",
    ),
    "council": _topic(
        "budget vote proposal levy bridge school contract petition inquiry deadline tax report "
        "clinic road "
        "motion permit",
        "approve approved approving, reject rejected rejecting, postpone postponed postponing, "
        "announce announced announcing, defend defended defending, criticise criticised "
        "criticising, "
        "review reviewed reviewing, fund funded funding",
        "disputed costly temporary annual secret controversial regional emergency revised public",
        "the town hall, the council chamber, the district court, the ministry, the press room",
        "mayor councillor spokesman lawyer resident",
    ),
    "sport": _topic(
        "match goal trophy league final coach penalty season referee stadium title race record "
        "medal squad "
        "injury",
        "win won winning, lose lost losing, watch watched watching, celebrate celebrated "
        "celebrating, "
        "dominate dominated dominating, lead led leading, regret regretted regretting, "
        "miss missed missing",
        "opening decisive late brilliant narrow unbeaten veteran unexpected crucial disappointing",
        "the stadium, the training ground, the dressing room, the finish line, the main stand",
        "striker goalkeeper runner captain supporter",
    ),
    "machine": _topic(
        "server file table index query buffer node queue thread cache module log parser socket "
        "batch script",
        "load loaded loading, parse parsed parsing, merge merged merging, delete deleted deleting, "
        "compress compressed compressing, restart restarted restarting, copy copied copying, "
        "rename renamed renaming",
        "idle broken remote nested sorted cached invalid default frozen parallel",
        "the cluster, the main branch, the test suite, the root folder, the data centre",
        "developer maintainer user admin tester",
    ),
    "school": _topic(
        "lesson exam proof theorem essay pupil chapter equation lecture notebook diagram grade "
        "question "
        "library answer sample",
        "solve solved solving, explain explained explaining, study studied studying, "
        "prove proved proving, grade graded grading, summarise summarised summarising, "
        "discuss discussed discussing, estimate estimated estimating",
        "linear finite difficult written weekly simple formal random upper partial",
        "the classroom, the reading room, the laboratory, the seminar, the lecture hall",
        "teacher student professor tutor examiner",
    ),
    "market": _topic(
        "invoice crate sack barrel coin price stall order scale discount parcel receipt stock "
        "bundle cart "
        "ledger",
        "weigh weighed weighing, count counted counting, deliver delivered delivering, "
        "label labelled labelling, store stored storing, trade traded trading, "
        "borrow borrowed borrowing, return returned returning",
        "unpaid bulk sealed dried imported cheap double gross daily wholesale",
        "the market, the counter, the loading bay, the cellar, the auction",
        "merchant clerk porter trader agent",
    ),
    "home": _topic(
        "blanket letter window sofa cup mirror door photograph suitcase clock candle cradle stair "
        "curtain "
        "pillow drawer",
        "open opened opening, clean cleaned cleaning, hide hid hiding, mend mended mending, "
        "carry carried carrying, find found finding, keep kept keeping, wrap wrapped wrapping",
        "quiet dusty warm faded little borrowed precious old yellow familiar",
        "the attic, the hallway, the porch, the spare room, the landing",
        "mother brother aunt child grandfather",
    ),
    "forest": _topic(
        "trail camp tent torch stream oak fog backpack map mushroom hut branch stone compass fire "
        "owl",
        "follow followed following, reach reached reaching, cross crossed crossing, "
        "notice noticed noticing, leave left leaving, gather gathered gathering, "
        "photograph photographed photographing, climb climbed climbing",
        "steep silent damp hidden endless golden cold narrow fallen distant",
        "the clearing, the ridge, the river bank, the valley, the edge of the woods",
        "hiker ranger guide camper stranger",
    ),
    "music": _topic(
        "song violin concert drum melody stage album chorus piano audience rehearsal ticket "
        "rhythm guitar "
        "verse encore",
        "play played playing, record recorded recording, hear heard hearing, practise practised "
        "practising, "
        "love loved loving, remember remembered remembering, write wrote writing, "
        "perform performed performing",
        "slow gentle loud crowded honest haunting live early soft restless",
        "the concert hall, the studio, the cafe, the front row, the festival",
        "singer drummer listener composer friend",
    ),
    "geography": _topic(
        "plateau basin glacier delta canal district border estuary coast peninsula province "
        "valley summit "
        "reservoir island",
        "border bordered bordering, drain drained draining, divide divided dividing, "
        "supply supplied supplying, cover covered covering, survey surveyed surveying, "
        "overlook overlooked overlooking, irrigate irrigated irrigating",
        "northern southern fertile arid mountainous navigable volcanic low-lying western "
        "administrative",
        "the lowlands, the northern coast, the upper valley, the eastern plain, the highlands",
        "geographer settler surveyor inhabitant explorer",
    ),
    "history": _topic(
        "treaty castle dynasty siege fortress charter monastery rebellion parliament throne abbey "
        "manuscript "
        "chronicle guild palace tomb",
        "found founded founding, restore restored restoring, besiege besieged besieging, "
        "rule ruled ruling, rebuild rebuilt rebuilding, abolish abolished abolishing, "
        "inherit inherited inheriting, describe described describing",
        "medieval royal fortified ancient ruined lesser hereditary religious imperial surviving",
        "the old capital, the abbey, the royal court, the archives, the province",
        "king bishop historian duke scholar",
    ),
    "nature": _topic(
        "species habitat nest larva feather subspecies genus population burrow plumage colony "
        "root stem "
        "blossom predator diet",
        "inhabit inhabited inhabiting, resemble resembled resembling, pollinate pollinated "
        "pollinating, "
        "threaten threatened threatening, defend defended defending, occupy occupied occupying, "
        "classify classified classifying, observe observed observing",
        "nocturnal endemic migratory common aquatic rare slender juvenile spotted wild",
        "the wetlands, the forest floor, the coastal dunes, the canopy, the reserve",
        "botanist zoologist naturalist collector biologist",
    ),
}

COMMON = {
    "time": (
        "early in the morning", "before noon", "late at night", "after lunch", "in the evening",
        "at dawn", "just before sunset", "on the way home", "during the storm", "over the weekend",
    ),
    "month": tuple(words(
        "January February March April May June July August September October November December"
    )),
    "day": tuple(words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")),
    "small": tuple(words("two three four five six seven eight nine ten eleven twelve")),
    "often": ("often", "rarely", "always", "usually", "sometimes", "never", "seldom"),
    "feel": tuple(words(
        "tired happy nervous proud hungry calm angry curious lonely worried grateful"
    )),
    "why": (
        "because it rained", "because nobody else could", "for a whole week", "without any help",
        "although it was late", "as carefully as possible", "to save some money", "more than once",
        "for the first time", "in spite of the cold", "as quickly as possible", "with great care",
    ),
}  # fmt: skip

HOME_TOPICS = {
    "mini_web": ("kitchen", "garden", "workshop"),
    "mini_news": ("harbour", "council", "sport"),
    "mini_mix": ("machine", "school", "market"),
    "mini_filtered": ("home", "forest", "music"),
    "mini_wiki": ("geography", "history", "nature"),
}
