"""Sheets for people, as CSV or XLSX: what a model wrote stays text and comes back as it was.

A spreadsheet takes a cell that begins with =, +, -, @ or a tab for a formula (OWASP, 'CSV
Injection'), so such a cell gets an apostrophe in front. Control characters, which XLSX cannot hold
and terminals obey, and marks that turn the direction of text are written as `⟦U+001B⟧`. `read_sheet`
undoes both.
"""

from __future__ import annotations

import csv
import io
import re
import unicodedata
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree.ElementTree import ParseError

from scorer.data.jsonl import atomic_writer
from scorer.data.schema import shown
from scorer.errors import DataError, MissingExtraError, RowError

if TYPE_CHECKING:
    from openpyxl.worksheet.worksheet import Worksheet

SUFFIXES = (".csv", ".xlsx")

MAX_CELL = 32_767
"""Characters of a cell at most, which Excel counts in UTF-16 units; also opening CSV."""

_CUT = " ⟦cut: {units} UTF-16 units in all⟧"
_CUT_OFF = re.compile(r" ⟦cut: \d+ UTF-16 units in all⟧$")
_ROOM = 64  # units kept free for the note of the cut
_FORMULA = tuple("=+-@\t\r\n＝＋－＠")
_APOSTROPHE = "'"
# C0 but the line feed, C1, bidirectional marks, surrogates, noncharacters; and our own brackets
_UNSAFE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]|⟦(?=U\\+)"
)
_ESCAPED = re.compile(r"⟦U\+([0-9A-F]{4,6})⟧")


def safe_cell(text: str) -> str:
    """Return a text as a cell that no spreadsheet takes for a formula; see `original_text`.

    A text beyond `MAX_CELL` is cut and says so; it is the only one that does not come back whole.
    """
    if _units(text) > MAX_CELL:
        text = _head(text, MAX_CELL - _ROOM) + _CUT.format(units=_units(text))
    safe = _UNSAFE.sub(lambda found: f"⟦U+{ord(found[0]):04X}⟧", text)
    # Programs skip white space and full-width forms differently, so both are looked through.
    begin = unicodedata.normalize("NFKC", text.lstrip()[:1])
    if text.startswith((*_FORMULA, _APOSTROPHE)) or begin in _FORMULA:
        safe = _APOSTROPHE + safe
    if _units(safe) > MAX_CELL:  # the escapes made it longer
        safe = _head(safe, MAX_CELL - _ROOM) + _CUT.format(units=_units(text))
    return safe


def original_text(cell: str) -> str:
    """Return the text that `safe_cell` made the cell of."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)), cell.removeprefix(_APOSTROPHE))


def same_text(first: str, second: str) -> bool:
    """Tell whether two texts are one, but for white space and what `safe_cell` cut off."""
    parts = [" ".join(_CUT_OFF.sub("", text).split()) for text in (first, second)]
    if any(map(_CUT_OFF.search, (first, second))):
        return parts[0].startswith(parts[1]) or parts[1].startswith(parts[0])
    return parts[0] == parts[1]


def _units(text: str) -> int:
    return len(text) + sum(c > "\uffff" for c in text)


def _head(text: str, units: int) -> str:
    """Return the longest start of a text of at most so many UTF-16 units, no escape cut open."""
    head = text[:units]
    while (excess := _units(head) - units) > 0:
        head = head[: -((excess + 1) // 2)]
    opened = head.rfind("⟦", -10)
    return head[:opened] if opened >= 0 and "⟧" not in head[opened:] else head


def write_sheet(
    path: str | Path,
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    choices: Mapping[str, Sequence[str]] | None = None,
) -> int:
    """Write a sheet by the suffix of its name, all or nothing, and return the number of its rows.

    Args:
        path: `.csv` (UTF-8 with a byte order mark, for Excel) or `.xlsx`.
        header: Names of the columns.
        rows: Cells; text is made safe, None is an empty cell.
        choices: Column to the values that XLSX offers in a list there.

    Raises:
        DataError: If the suffix is another, or the file cannot be written.
        MissingExtraError: If XLSX is asked for and openpyxl is missing.
    """
    suffix = _suffix(path)
    names = [safe_cell(name) for name in header]
    content = [[_cell(value) for value in row] for row in rows]
    if suffix == ".csv":
        text = io.StringIO(newline="")
        csv.writer(text).writerows([names, *content])
        data = b"\xef\xbb\xbf" + text.getvalue().encode("utf-8")
    else:
        data = _workbook(names, content, choices or {})
    with atomic_writer(path) as stream:
        stream.write(data)
    return len(content)


def read_sheet(path: str | Path) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield (1-based row number, column to text) of a sheet's rows that are not empty.

    Raises:
        DataError: If the file is no sheet, or has no or a doubled column name.
        RowError: If a row has more cells than there are columns.
        MissingExtraError: If it is XLSX and openpyxl is missing.
    """
    table = _csv_rows(path) if _suffix(path) == ".csv" else _xlsx_rows(path)
    header: list[str] | None = None
    for number, cells in table:
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        if header is None:
            header = [original_text(cell.strip()) for cell in cells]
            doubled = sorted({name for name in header if header.count(name) > 1})
            if doubled or "" in header:
                raise DataError(f"{path}:{number}: column names must differ: {shown(header)}")
            continue
        if len(cells) > len(header):
            raise RowError(
                f"{len(cells)} cells for {len(header)} columns", path=str(path), line=number
            )
        cells += [""] * (len(header) - len(cells))
        texts = [original_text(cell) for cell in cells]
        yield number, dict(zip(header, texts, strict=True))
    if header is None:
        raise DataError(f"{path}: no rows")


def is_sheet(path: str | Path) -> bool:
    """Tell whether a file is a sheet by its name."""
    return Path(path).suffix.casefold() in SUFFIXES


def _suffix(path: str | Path) -> str:
    suffix = Path(path).suffix.casefold()
    if suffix not in SUFFIXES:
        raise DataError(f"{path}: a sheet's name must end in {' or '.join(SUFFIXES)}")
    return suffix


def _cell(value: object) -> str:
    return "" if value is None else safe_cell(str(value))


def _csv_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    before = csv.field_size_limit(1 << 27)
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            yield from ((number, cells) for number, cells in enumerate(reader, start=1))
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8; save it as 'CSV UTF-8' or as XLSX") from error
    except csv.Error as error:
        raise DataError(f"{path}: no CSV: {error}") from error
    finally:
        csv.field_size_limit(before)


def _xlsx_rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    openpyxl = _openpyxl()
    broken = (
        *(zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError),  # the archive
        *(ParseError, AttributeError, LookupError, TypeError, ValueError),  # what is in it
        openpyxl.utils.exceptions.InvalidFileException,
    )
    try:
        with (
            Path(path).open("rb") as stream,
            closing(openpyxl.load_workbook(stream, read_only=True, data_only=False)) as book,
        ):
            rows = book.worksheets[0].iter_rows(values_only=True)
            for number, cells in enumerate(rows, start=1):
                yield number, [_text(cell) for cell in cells]
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}") from error
    except broken as error:
        raise DataError(f"{path}: no XLSX file, or a damaged one: {error}") from error


def _text(value: object) -> str:
    if value is None:
        return ""
    # A person's 1 comes back as a number, and from some programs as 1.0.
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _workbook(
    header: Sequence[str], rows: Sequence[Sequence[str]], choices: Mapping[str, Sequence[str]]
) -> bytes:
    openpyxl = _openpyxl()
    book = openpyxl.Workbook()
    sheet = book.active
    for number, row in enumerate([header, *rows], start=1):
        for column, text in enumerate(row, start=1):
            if text:
                cell = sheet.cell(number, column)
                cell.value = text
                cell.data_type = "s"  # never a formula, a number or an error
                cell.alignment = openpyxl.styles.Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = "A2"
    for column, name in enumerate(header, start=1):
        letter = openpyxl.utils.get_column_letter(column)
        longest = max((len(row[column - 1]) for row in rows), default=0)
        sheet.column_dimensions[letter].width = min(60, max(12, len(name) + 2, longest))
        if name in choices and rows:
            _offer(sheet, f"{letter}2:{letter}{len(rows) + 1}", choices[name])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _offer(sheet: Worksheet, cells: str, values: Sequence[str]) -> None:
    from openpyxl.worksheet.datavalidation import DataValidation

    listed = ",".join(values)
    offer = DataValidation(type="list", formula1=f'"{listed}"', allow_blank=True)
    sheet.add_data_validation(offer)
    offer.add(cells)


def _openpyxl() -> Any:
    try:
        import openpyxl
        import openpyxl.styles
        import openpyxl.utils.exceptions
    except ImportError as error:
        raise MissingExtraError("XLSX", "report", "openpyxl") from error
    return openpyxl
