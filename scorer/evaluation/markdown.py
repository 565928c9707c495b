"""Tables in Markdown, for cards and reports."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table for a report.

    Attributes:
        title: What it shows.
        headers: Names of the columns.
        rows: Cells as they are shown; as many in each row as there are headers.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of the cells' texts, without a line break at its end."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)
