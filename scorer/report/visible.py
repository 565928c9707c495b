"""Text of unknown origin made fit to show: of bounded length, and with nothing hidden in it."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

LONGEST = 2000
"""Characters of a text that the page shows; see `shorten`."""

_TAIL = 400  # of them from the end: an answer often turns there
_KEPT = frozenset("\n\t\u200c\u200d")  # joiners shape emoji and several scripts
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})  # controls, formats, surrogates, separators
_NO_XML = frozenset("\ufffe\uffff")  # what XML, and so SVG, cannot hold beside those


@dataclass(frozen=True)
class Shown:
    """A text as the page shows it.

    Attributes:
        head: Its beginning, or all of it.
        omitted: Characters left out between head and tail.
        tail: Its end, where something was left out.
    """

    head: str
    omitted: int = 0
    tail: str = ""


def visible(text: str) -> str:
    """Return the text with control, format, surrogate and like characters as `⟦U+202E⟧`.

    So a bidirectional override cannot turn the line around, invisible tags cannot hide, and the
    result can always be written as UTF-8. Line breaks become line feeds.
    """
    plain = text.replace("\r\n", "\n").replace("\r", "\n")
    if plain.isprintable():
        return plain
    return "".join(
        f"⟦U+{ord(character):04X}⟧"
        if character in _NO_XML
        or (character not in _KEPT and unicodedata.category(character) in _HIDDEN)
        else character
        for character in plain
    )


def shorten(text: str, longest: int = LONGEST) -> Shown:
    """Return a text of at most `longest` characters, made visible; the middle is left out."""
    if len(text) <= longest:
        return Shown(visible(text))
    tail = min(_TAIL, longest // 2)
    return Shown(
        visible(text[: longest - tail]), len(text) - longest, visible(text[len(text) - tail :])
    )


def label(text: str, longest: int = 80) -> str:
    """Return a text fit for one line: a name, a cell or a mark on an axis."""
    shown = shorten(text, longest)
    return " ".join((f"{shown.head}…{shown.tail}" if shown.omitted else shown.head).split())
