"""Templates of facts. `{s}` is the subject, `{v}` the value, `{he}`, `{his}` pronouns.

STATEMENTS stand in the text of every domain; QUESTIONS are asked in question-and-answer passages
(never about facts that are kept for the tasks).
"""

from calib_sweep.miniature.text.knowledge.world import RELATIONS, Entity, world
from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.language.template import Scope

STATEMENTS = {
    ("person", "job"): (
        "{s} [works|has long worked|earns {his} living|worked for {n2} years] as a {v}[| in "
        "{town}].",
        "{s}, [a|an experienced|a well known|a {adj}] {v}, [said nothing about the {noun}|joined "
        "the meeting on "
        "{day}|arrived {time}|was born in {month}].",
        "By [trade|profession], {s} is a {v}[, and a [good|slow|busy] one|].",
        "[Everyone knows|Few people know|It is no secret] that {s} [became|is] a {v}[ {why}|].",
    ),
    ("person", "home"): (
        "{s} [lives|has lived|settled|now lives] in {v}[| with two {nouns} and a cat| since "
        "{year}].",
        "{s} [owns|rents|shares] a [small|large|{adj}] house in {v}[| {why}].",
        "[At home|Back home] in {v}, {s} [keeps|stores|hides] the {adj} {noun}[| {time}].",
        "The home of {s} [is|stands] in {v}[, near the {landmark}|].",
    ),
    ("person", "birthplace"): (
        "{s} was born in {v}[| in {year}| on a {day} in {month}| to a {job}].",
        "{s}, [born|a native of {v}, born] in {v}, [went to school there|left {time}|grew up "
        "beside the "
        "{river}].",
        "[The birthplace of {s} is {v}|{v} is the birthplace of {s}][| and of many others].",
    ),
    ("person", "instrument"): (
        "{s} [plays|has played|learned to play|likes to play] the {v}[| {time}| in a small band| "
        "since {year}].",
        "[In {his} spare time|On {day}s|As a child], {s} [practised|played] the {v}[| {why}].",
        "{s} owns [a {v}|an old {v}|a {adj} {v}] and plays it [every {day}|{time}|in {town}].",
    ),
    ("person", "food"): (
        "{s} [likes|loves|prefers|cannot resist] {v}[| above all else| {time}| with a little "
        "salt].",
        "[Whenever {he} can|On {day}s], {s} eats {v}[| {why}].",
        "[The favourite dish|The favourite food] of {s} is {v}[, of course|].",
    ),
    ("town", "region"): (
        "{s} is a [town|small town|market town|city] in [the region of {v}|{v}][| with {n4} "
        "inhabitants].",
        "[The town of|The people of|Visitors to] {s} [belong|pay their taxes|are proud to belong] "
        "to {v}[| since "
        "{year}].",
        "In {v}, {s} is [the largest town|known to everyone|a {adj} place].",
    ),
    ("town", "river"): (
        "{s} [lies|stands|was built|grew up] on the [river|banks of the river] {v}[|, {n2} "
        "kilometres from the sea].",
        "The [river|] {v} [flows through|runs past|flooded|divides] {s}[| in {year}| every "
        "spring].",
        "[From|In] {s} one can [fish|swim|row] in the {v}[| {time}].",
    ),
    ("town", "product"): (
        "{s} is [famous|known|noted] for its {v}[| and little else| far beyond {region}].",
        "[Most|Nearly all|Some of the best] {v} come from {s}[| to this day].",
        "The [workshops|traders|markets] of {s} [sell|make|export] {v}[| every {day}| since "
        "{year}].",
    ),
    ("town", "landmark"): (
        "{s} has a [famous|large|{adj}] {v}[| from {year}].",
        "[Visitors|Tourists|Guests] come to {s} to see the {v}[| {time}| in {month}].",
        "The {v} [of|in] {s} [was built in {year}|is open on {day}s|burned down in {year}|is {n2} "
        "metres tall].",
    ),
    ("animal", "habitat"): (
        "The {s} [lives|nests|breeds|hides|is found] in {v}[| in {region}| all year round].",
        "[In|Across] the {v} of {region}, the {s} is [common|rare|[often|rarely|sometimes] seen].",
        "[Look for|You may find] the {s} in {v}[| in {season}].",
    ),
    ("animal", "diet"): (
        "The {s} [eats|feeds on|lives on|hunts for] {v}[| in {month}| in {region}].",
        "[In {season}|At night], the {s} [eats|searches for] {v}[| of {region}].",
        "{v} are the [main|usual|favourite] food of the {s}.",
    ),
    ("animal", "colour"): (
        "The {s} is [{v}|mostly {v}|{v} all over|{v} with {adj} feet].",
        "The [back|throat|tail|coat] of the {s} is {v}[| in {season}].",
        "[One knows|You can tell] the {s} by its {v} [back|throat|tail|coat][| in {season}].",
    ),
    ("plant", "habitat"): (
        "{s} [grows|thrives|is found] in {v}[| in {region}| up to {n4} metres].",
        "[In|Among] {v} [you will find|one finds|grows] {s}[| in {month}].",
    ),
    ("plant", "use"): (
        "{s} is [used for|good for|sold for|useful for] {v}[| in {town}| in many places].",
        "[People|Farmers|Our grandmothers] use {s} for {v}[| {time}| in {season}].",
        "[For|When it comes to] {v}, [try|nothing beats] {s}.",
    ),
    ("plant", "season"): (
        "{s} [flowers|blooms|is picked|is harvested] in {v}[| in {town}| and smells of {food}].",
        "[In|Every] {v}, {s} [flowers|blooms|is in full bloom][| near the {landmark}].",
    ),
    ("firm", "seat"): (
        "{s} [is based|has its head office|was founded|employs {n3} people] in {v}[| since "
        "{year}].",
        "[In|From] {v}, {s} [runs|manages] {n2} shops[| and a {adj} warehouse].",
    ),
    ("firm", "product"): (
        "{s} [makes|sells|exports|produces] {v}[| for {n2} coins apiece| in {n2} countries| since "
        "{year}].",
        "The {v} [made|sold] by {s} [are|were] [cheap|{adj}|sold out|delivered on {day}].",
        "[Customers|Traders|Shops] buy {v} from {s}[| every {month}].",
    ),
    ("firm", "founder"): (
        "{s} was founded by {v}[| in {year}| with {n3} coins].",
        "{v} [founded|started|set up] {s}[| in {year}| {why}].",
        "[The founder|The owner and founder] of {s} is {v}.",
    ),
    ("book", "author"): (
        "{s} was written by {v}[| in {year}| {why}].",
        "{v} [wrote|is the author of|finished] {s}[| in {year}| after {n2} months].",
        "In {year} {v} published {s}[, a {adj} novel|].",
    ),
    ("book", "subject"): (
        "{s} [tells of|is a novel about|is about] {v}[| and {n3} pages long].",
        "[Readers|Critics] love {s}, a [story|novel|{adj} book] about {v}.",
    ),
}

QUESTIONS = {
    ("person", "job"): ("What is the profession of {s}?", "What does {s} work as?"),
    ("person", "home"): ("In which town does {s} live?", "Where is the home of {s}?"),
    ("person", "birthplace"): ("In which town was {s} born?", "Where was {s} born?"),
    ("person", "instrument"): (
        "Which instrument does {s} play?",
        "What does {s} play in spare time?",
    ),
    ("person", "food"): ("What does {s} like to eat?", "Which food does {s} like best?"),
    ("town", "region"): ("In which region is {s}?", "To which region does {s} belong?"),
    ("town", "river"): ("Which river flows through {s}?", "On which river does {s} lie?"),
    ("town", "product"): ("What is {s} famous for making?", "Which goods come from {s}?"),
    ("town", "landmark"): ("What do visitors see in {s}?", "Which landmark does {s} have?"),
    ("animal", "habitat"): ("Where does the {s} live?", "In what habitat is the {s} found?"),
    ("animal", "diet"): ("What does the {s} eat?", "What is the food of the {s}?"),
    ("animal", "colour"): ("What colour is the {s}?", "Which colour does the {s} have?"),
    ("plant", "habitat"): ("Where does {s} grow?", "In what habitat is {s} found?"),
    ("plant", "use"): ("What is {s} used for?", "What is {s} good for?"),
    ("plant", "season"): ("In which season does {s} flower?", "When does {s} bloom?"),
    ("firm", "seat"): ("In which town is {s} based?", "Where is the head office of {s}?"),
    ("firm", "product"): ("What does {s} produce?", "Which goods does {s} sell?"),
    ("firm", "founder"): ("Who founded {s}?", "Who is the founder of {s}?"),
    ("book", "author"): ("Who wrote {s}?", "Who is the author of {s}?"),
    ("book", "subject"): ("What is {s} about?", "What does {s} tell of?"),
}


def bindings(entity: Entity, relation: str) -> Scope:
    """The template slots of one fact."""
    return {
        "s": entity.name,
        "v": entity.facts[relation],
        "he": "she" if entity.is_female else "he",
        "his": "her" if entity.is_female else "his",
    }


def statement_templates(entity: Entity, relation: str) -> tuple[str, ...]:
    return STATEMENTS[entity.kind, relation]


def question_templates(entity: Entity, relation: str) -> tuple[str, ...]:
    return QUESTIONS[entity.kind, relation]


def draw_entity(draw: Draw, kinds: tuple[str, ...], offset: int) -> Entity:
    """An entity of one of `kinds`; two times in three from the fifth of the world that belongs to
    `offset`, so that domains differ in the facts they tell."""
    pool = world().entities[draw.pick(kinds)]
    if draw.chance(2 / 3):
        return pool[draw.below(len(pool) // 5) * 5 + offset]
    return draw.pick(pool)


def draw_relation(draw: Draw, entity: Entity) -> str:
    return draw.pick(RELATIONS[entity.kind])


def wrong_values(draw: Draw, entity: Entity, relation: str, count: int) -> list[str]:
    """Other values of the same relation, none of them right."""
    pool = [v for v in world().values(entity.kind, relation) if v != entity.facts[relation]]
    return draw.sample(pool, count)
