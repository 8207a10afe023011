"""Documents that do not belong: what a careless crawl picks up. Rates differ by domain.

Each is about one page long. Their sentences keep to their side of the split as all others do.
"""

from calib_sweep.miniature.text.language.draw import Draw
from calib_sweep.miniature.text.passages.writer import Writer

RATES = {  # share of the documents
    "mini_web": 0.03,
    "mini_news": 0.01,
    "mini_mix": 0.02,
    "mini_filtered": 0.012,
    "mini_wiki": 0.005,
}

_LINKS = (
    "Home", "About us", "Contact", "Sitemap", "Log in", "Register", "Privacy policy", "Cart",
    "Terms of use", "Search", "Help", "Archive", "Careers", "Press", "Next page", "Back to top",
)  # fmt: skip
_BOILERPLATE = (
    "[We|This site and our {n2} partners|{firm} and its partners] use[|s] cookies to [improve your "
    "visit|remember your {nouns}|measure how you {do}|show you {adj} {nouns}].",
    "[By clicking accept|By staying on this page] you agree to [our {adj} cookies|the storage of "
    "{small} cookies|{n2} cookies on your device].",
    "All rights reserved, {firm} {year}[|, {town}|, no part may be copied].",
    "[Please enable|Your browser does not support] scripts to [see the {noun}|{do}|load the "
    "{noun}].",
    "[Subscribe|Sign up] to [our|the {firm}] newsletter and get {n2} percent off your {noun}.",
    "[You have|There are] {small} items in your cart[|, {n2} coins in all].",
)
# What UTF-8 becomes when it is read as Latin-1: a letter with an accent, a quote, a dash.
_MISREAD = {
    "e": "\u00c3\u00a9",
    "o": "\u00c3\u00b6",
    "'": "\u00e2\u0080\u0099",
    "a": "\u00c3\u00a4",
}


def strikes(draw: Draw, domain: str) -> bool:
    """Tell whether the document that `draw` is about to write is an anomaly."""
    return draw.chance(RATES[domain])


def page(writer: Writer) -> str:
    """An anomalous document."""
    return writer.draw.pick(KINDS)(writer)


def _join(lines: list[str], separator: str = "\n") -> str:
    return separator.join(line for line in lines if line)


def _boilerplate(writer: Writer) -> str:
    """Menus and cookie notices, the same ones again and again."""
    draw = writer.draw
    menu = writer.insist(lambda: " | ".join(draw.sample(_LINKS, draw.between(6, 9))))
    notices = [writer.say(_BOILERPLATE) for _ in range(4)]
    return _join([menu, *notices, draw.pick(_LINKS)] * draw.between(5, 12))


def _numbers(writer: Writer) -> str:
    """A table of nothing but numbers; a row is too short to belong to a side, or is on it."""
    draw = writer.draw
    width = draw.between(3, 8)
    rows = [
        writer.insist(lambda: " ".join(f"{draw.unit() * 1000:.2f}" for _ in range(width)))
        for _ in range(draw.between(40, 90))
    ]
    return _join(rows)


def _repeated(writer: Writer) -> str:
    """One line or one paragraph many times."""
    draw = writer.draw
    count = draw.pick((1, 1, 3))
    lines = [writer.say("{event}[| {when}].") for _ in range(count)]
    return _join([_join(lines, " ")] * (draw.between(40, 70) // count))


def _shouting(writer: Writer) -> str:
    """Capital letters and exclamation marks."""
    draw = writer.draw
    start = "[BUY NOW|FREE|SALE|CALL {n3} {n4}|WIN {n4} COINS|HOT {product}]"
    lines = [
        writer.insist(lambda: writer.fill(start + ": {do} {reason}").upper() + "!!! $$$ !!!")
        for _ in range(draw.between(25, 50))
    ]
    return _join(lines)


def _misread(writer: Writer) -> str:
    """Text in the wrong encoding."""

    def make() -> str:
        text = writer.fill("{event} {when}, [and|but] {event}.")
        return "".join(
            _MISREAD[sign] if sign in _MISREAD and writer.draw.chance(0.6) else sign
            for sign in text
        )

    return _join([writer.insist(make) for _ in range(writer.draw.between(25, 50))], " ")


KINDS = (_boilerplate, _numbers, _repeated, _shouting, _misread)
