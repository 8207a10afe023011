"""The page about calibration sets: one HTML file that needs no other, and Markdown of the same.

The same sets give the same bytes.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from calib_sweep import atomic
from calib_sweep.analysis.report.document import (
    Block,
    Callout,
    Figures,
    Fold,
    Heading,
    Image,
    Paragraph,
    Passage,
    SideBySide,
    Table,
    to_markdown,
)
from calib_sweep.analysis.report.page import to_html
from calib_sweep.dataset.calibration.overlap import in_words, is_seen
from calib_sweep.errors import ConfigError
from calib_sweep.inspection.figures import figures_of
from calib_sweep.inspection.inspected import Inspected, Inspection
from calib_sweep.inspection.words import (
    OF_SAMPLES,
    OF_SET,
    beginning,
    card_rows,
    duplicates_in_words,
    languages_in_words,
    number,
    title_of_sample,
)
from calib_sweep.places import FIGURES, INDEX
from calib_sweep.wording import counted

TITLE = "Calibration sets"
MARKDOWN = "inspection.md"
SHOWN_SAMPLES, SHOWN_CHARACTERS = 12, 2400
SHOWN_UNUSUAL = 40  # of each set
SHOWN_BEGINNING = 120  # characters, in tables


def write_pages(inspection: Inspection, folder: Path) -> Path:
    """Write both into `folder`, with the figures of the Markdown; return the HTML page."""
    from calib_sweep.analysis.figures.plots import render

    drawn = {name: render(figure) for name, figure in figures_of(inspection.sets).items()}
    blocks = list(document(inspection, list(drawn)))
    images = {_path(name): forms["svg"] for name, forms in drawn.items()}
    files = {
        f"{FIGURES}/{name}.{form}": data
        for name, forms in drawn.items()
        for form, data in forms.items()
    }
    files[MARKDOWN] = to_markdown(blocks).encode()
    files[INDEX] = to_html(blocks, TITLE, images).encode()
    try:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            atomic.write(folder / name, data, durable=False)
    except OSError as error:
        raise ConfigError(
            f"results_dir={str(folder.parent.parent)!r}: expected a folder that can be written "
            f"({error.strerror}: {error.filename}). Name a folder of yours. Example: "
            "results_dir=my_results."
        ) from error
    return folder / INDEX


def document(inspection: Inspection, figures: Sequence[str]) -> Iterator[Block]:
    """Yield the blocks of the page; `figures`: names of those that are drawn."""
    sets = inspection.sets
    yield Heading(TITLE, 1)
    yield Paragraph(f"{counted(len(sets), 'set')}: {', '.join(one.name for one in sets)}.")
    yield Callout("Worth a look", list(_findings(inspection)))
    yield Heading("The sets")
    yield _numbers(sets)
    yield _languages(sets)
    yield Heading("Distributions")
    yield Paragraph("Of single samples, and how often the tokens of each set occur.")
    images = [Image(_path(name), _alternative(name, sets)) for name in figures]
    yield Figures(images, "A dot is a sample, the tick the median, the bar the middle half.")
    yield Heading("Unusual samples")
    yield from _unusual(sets)
    if inspection.shared:
        yield Heading("What sets share")
        yield _shared(inspection)
    if any(one.seen for one in sets):
        yield Heading("Text that is scored")
        yield _seen(sets)
    yield Heading("Samples side by side")
    yield from _samples(sets)
    yield Heading("Where they are from")
    for one in sets:
        rows = list(card_rows(one.set).items())
        yield Fold(one.name, [Table(("", "value"), rows, 2)])


def _path(name: str) -> str:
    return f"{FIGURES}/{name}.png"


def _alternative(name: str, sets: Sequence[Inspected]) -> str:
    what = f"{name} of the samples: {OF_SAMPLES[name]}" if name in OF_SAMPLES else "Tokens by rank"
    return f"{what}; {', '.join(one.name for one in sets)}"


def _findings(inspection: Inspection) -> Iterator[str]:
    """Say what a person should know first, of all sets; that there is nothing, else."""
    found = False
    for one in inspection.sets:
        told = [in_words(name, seen) for name, seen in one.seen.items() if is_seen(seen)]
        told += [duplicates_in_words(one.duplicates)] if one.duplicates else []
        told += [f"{counted(len(one.near), 'pair')} of near duplicates"] if one.near else []
        if told:
            found = True
            yield f"{one.name}: {'; '.join(told)}."
        if one.unusual:
            found = True
            worst = one.unusual[0]
            told = f"most of all sample {worst.sample}: {worst.reasons[0]}"
            yield f"{one.name}: {counted(len(one.unusual), 'unusual sample')}, {told}."
    near = [pair for pair in inspection.shared if pair.near]
    for pair in near:
        found = True
        yield f"{pair.one} and {pair.other}: {counted(pair.near, 'pair')} of near duplicates."
    if not found:
        yield "No sample stands out, none occurs twice, and nothing that is scored is in them."


def _numbers(sets: Sequence[Inspected]) -> Table:
    names = [name for name in OF_SET if any(name in one.numbers for one in sets)]
    rows = [
        (
            one.name,
            str(len(one.set.tokens_NT)),
            str(one.set.tokens_NT.shape[1]),
            *(number(one.numbers.get(name)) for name in names),
        )
        for one in sets
    ]
    return Table(("set", "samples", "tokens", *names), rows, 1, meanings=OF_SET)


def _languages(sets: Sequence[Inspected]) -> Table:
    rows = [
        (
            *(one.name, languages_in_words(one.languages)),
            *(f"{share:.1%}" for name, share in one.characters.items() if name != "different"),
            f"{one.characters['different']:.0f}",
        )
        for one in sets
    ]
    header = ("set", "languages", *(sets[0].characters if sets else ()))
    meanings = {
        "languages": "samples of each, guessed by scripts and function words",
        "capitals": "of the letters; all other shares are of the characters",
        "broken": "what stands for bytes that are no text",
        "different": "different characters",
    }
    return Table(header, rows, 2, meanings=meanings)


def _samples(sets: Sequence[Inspected]) -> Iterator[Block]:
    num_rows = min(SHOWN_SAMPLES, max((len(one.set.samples) for one in sets), default=0))
    yield Paragraph(
        f"The first {counted(num_rows, 'sample')} of each set, {SHOWN_CHARACTERS:,} characters of "
        "each at most. All of them are in samples.jsonl in the folder of the set."
    )
    yield SideBySide(
        [one.name for one in sets], [[_passage(one, k) for one in sets] for k in range(num_rows)]
    )


def _passage(one: Inspected, sample: int) -> Passage | None:
    if sample >= len(one.set.samples):
        return None
    text = beginning(one.set.samples[sample]["text"], SHOWN_CHARACTERS)
    return Passage(title_of_sample(one.set, sample), text)


def _unusual(sets: Sequence[Inspected]) -> Iterator[Block]:
    rows = [
        (
            one.name,
            str(found.sample),
            "; ".join(found.reasons),
            beginning(" ".join(one.set.samples[found.sample]["text"].split()), SHOWN_BEGINNING),
        )
        for one in sets
        for found in one.unusual[:SHOWN_UNUSUAL]
    ]
    if not rows:
        yield Paragraph("No sample stands out.")
        return
    yield Paragraph(
        "Most unusual first, in each set: samples that are scored, too, equal ones, nearly equal "
        "ones, then those whose "
        "numbers lie more than 3.5 robust standard deviations from the median of their set."
    )
    yield Table(("set", "sample", "why", "text"), rows, 4)


def _shared(inspection: Inspection) -> Table:
    rows = [
        (
            *(pair.one, pair.other, str(pair.documents)),
            *(f"{share:.1%}" for share in pair.windows),
            str(pair.near),
        )
        for pair in inspection.shared
    ]
    header = ("set", "other set", "documents", "its windows", "windows of the other")
    meanings = {
        "documents": "that both drew from",
        "its windows": "share of the set's different 50-token windows that the other has",
        "windows of the other": "the other way round",
        "near duplicates": "pairs of samples that share 80 % of their 5-token runs or more",
    }
    return Table((*header, "near duplicates"), rows, 2, meanings=meanings)


def _seen(sets: Sequence[Inspected]) -> Table:
    rows = [(one.name, name, *_shares(found)) for one in sets for name, found in one.seen.items()]
    meanings = {
        "share": "of the set's different runs of 13 tokens, those that are in the text as well",
        "samples": "samples more than half of whose runs are",
        "items": "items of a task more than half of whose runs are in the set",
    }
    return Table(("set", "text", "share", "samples", "items"), rows, 2, meanings=meanings)


def _shares(found: Mapping[str, float]) -> tuple[str, str, str]:
    items = found.get("items")
    return f"{found['share']:.2%}", f"{found['samples']:.0f}", "-" if items is None else f"{items}"
