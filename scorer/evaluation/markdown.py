"""Tables in Markdown, for cards and reports."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scorer.data.schema import without_controls

_UNWRAPPED = 240  # columns; wider than any table of ours

if TYPE_CHECKING:  # only who prints to a terminal needs it
    from rich.table import Table as RichTable


@dataclass(frozen=True)
class Table:
    """A table of figures, before anything is decided about its looks.

    Attributes:
        title: What it shows.
        headers: One per column.
        rows: Cells, as long as `headers`.
    """

    title: str
    headers: Sequence[str]
    rows: Sequence[Sequence[str]]

    def markdown(self) -> str:
        """Return it in Markdown under its title, without a line break at its end."""
        headers, *rows = [[in_a_cell(cell) for cell in row] for row in (self.headers, *self.rows)]
        return f"**{in_a_cell(self.title)}**\n\n{markdown_table(headers, rows)}"

    def rich(self) -> RichTable:
        """Return it for a terminal: the first column on the left, the others on the right."""
        from rich.table import Table as RichTable
        from rich.text import Text

        def cell(text: str) -> Text:
            return Text(without_controls(text))

        table = RichTable(title=cell(self.title), title_justify="left")
        for index, header in enumerate(self.headers):
            table.add_column(cell(header), justify="right" if index else "left", no_wrap=not index)
        for row in self.rows:
            table.add_row(*map(cell, row))
        return table


def in_a_cell(text: str) -> str:
    """Return a text, which may be of anyone, as a cell that neither ends early nor becomes HTML."""
    plain = " ".join(text.split()).replace("\\", "\\\\").replace("|", "\\|")
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", plain)


def markdown_table(header: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """Return a table of the cells' texts, without a line break at its end."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def with_interval(value: float | None, interval: Sequence[float] | None, form: str = ".1f") -> str:
    """Return `45.7 [39.1, 52.4]`; without an interval the value alone, and `-` without a value."""
    if value is None:
        return "-"
    if interval is None:
        return f"{value:{form}}"
    return f"{value:{form}} [{', '.join(f'{end:{form}}' for end in interval)}]"


def p_text(p: float | None) -> str:
    """Return a p-value to three decimals, `<0.001` below, `-` where there is none."""
    return "-" if p is None else f"{p:.3f}" if p >= 0.001 else "<0.001"


def print_tables(tables: Iterable[Table], notes: Iterable[str] = ()) -> None:
    """Print tables, and lines below them, to standard output; into a file or a pipe unwrapped."""
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else _UNWRAPPED)
    for table in tables:
        console.print(table.rich())
    for note in notes:
        console.print(without_controls(note), markup=False, highlight=False, soft_wrap=True)
