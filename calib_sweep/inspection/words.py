"""What is told of a calibration set in words, the same in the terminal and on the page."""

from collections.abc import Mapping, Sequence

from calib_sweep.dataset.calibration.calibration_set import CalibrationSet, Card
from calib_sweep.dataset.calibration.pool import describe_pools
from calib_sweep.errors import printable
from calib_sweep.wording import counted

MAX_LISTED = 5  # of a list in a card
HIDDEN = ("card", "scores", "chosen")  # of a card: too long for a line
# Descriptors of a set, by what they say.
OF_SET = {
    "dense_perplexity": "the dense model's perplexity of the set",
    "entropy": "of the tokens' frequencies, in bits: low is repetitive",
    "unique_share": "different tokens / tokens",
    "repetition": "share of a sample's tokens that occur before in it",
    "coverage": "share of the vocabulary that occurs",
    "diversity": "different runs of n tokens / runs of n tokens, mean over n = 1 to 4",
    "zipf": "exponent of frequency ~ rank^-s over the set's tokens",
    "duplicates": "share of samples that occur before in the set",
    "filled": "share of positions that are no padding",
}
OF_SAMPLES = {
    "length": "tokens that are no padding",
    "unique_share": "different tokens / tokens",
    "compression": "bytes after zlib / bytes: low is repetitive, above 1 is noise",
    "repeated_lines": "share of lines that occurred before in the sample",
    "non_alphabetic": "share of characters, white space aside, that are no letters",
    "perplexity": "of the dense model",
}


def number(value: float | None) -> str:
    """Write a number of any size; "-" where there is none."""
    return "-" if value is None else f"{value:.4g}"


def card_rows(one: CalibrationSet) -> dict[str, str]:
    """Return where a set is from and how it was drawn, by key."""
    card = one.card
    rows: dict[str, object] = {
        "dataset": card["dataset"],
        "seed": card["seed"],
        "set": f"{counted(card['num_samples'], 'sample')} of {_tokens(card)}",
        "design": f"{card['design']}, window {card['window']}, bos {card['bos']}",
        "pool": "\n".join(f"{name}: {text}" for name, text in describe_pools(card).items()) or "-",
        "tokenizer": f"{card['tokenizer']['name']} ({card['tokenizer']['vocabulary']} tokens)",
        "folder": one.folder or "-",
        "hash of the tokens": one.hash,
    }
    if one.answers_NT is not None:
        rows["answers"] = f"{one.answers_NT.mean():.0%} of the tokens"
    told = {**card["provenance"], "cost": card.get("cost"), "selection": card.get("selection")}
    rows |= {key: value for key, value in told.items() if value is not None}
    return {key: printable(_flat(value)) for key, value in rows.items()}


def _tokens(card: Card) -> str:
    shorter = [str(length) for length in dict.fromkeys(card.get("lengths", []))][:-1]
    return " or ".join([*shorter, counted(card["seq_len"], "token")])


def _flat(value: object) -> str:
    if isinstance(value, Mapping):
        told = [(key, item) for key, item in value.items() if key not in HIDDEN]
        nested = [f"({_flat(v)})" if isinstance(v, Mapping) else _flat(v) for _, v in told]
        return ", ".join(f"{key} {text}" for (key, _), text in zip(told, nested, strict=True))
    if isinstance(value, list | tuple):
        more = f" and {len(value) - MAX_LISTED} more" if len(value) > MAX_LISTED else ""
        return ", ".join(map(str, value[:MAX_LISTED])) + more
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def title_of_sample(one: CalibrationSet, sample: int) -> str:
    """Name a sample and its place."""
    origin = one.samples[sample]
    return printable(f"sample {sample}: document {origin['document']}, token {origin['offset']}")


def beginning(text: str, characters: int) -> str:
    """Return a text, or its beginning with dots; without what commands a terminal."""
    return printable(text[:characters]) + (" ..." if len(text) > characters else "")


def duplicates_in_words(groups: Sequence[Sequence[int]]) -> str:
    """Say which samples are equal."""
    if not groups:
        return "no exact duplicates"
    return f"exact duplicates, samples {'; '.join(' = '.join(map(str, g)) for g in groups)}"


def languages_in_words(languages: Mapping[str, int]) -> str:
    """Say how many samples there are of each language."""
    return ", ".join(f"{name} {number}" for name, number in languages.items())


def characters_in_words(characters: Mapping[str, float]) -> str:
    """Say the shares of characters, and how many different ones there are."""
    shares = [f"{name} {value:.1%}" for name, value in characters.items() if name != "different"]
    return ", ".join([*shares, f"{characters.get('different', 0):.0f} different ones"])
