"""Rows of published data sets in whatever form they come: JSONL, a JSON array or CSV."""

from __future__ import annotations

import codecs
import csv
import io
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from scorer.data.jsonl import open_binary, parse_line, read_jsonl
from scorer.data.schema import shown
from scorer.errors import DataError, RowError

_T = TypeVar("_T")


@dataclass(frozen=True)
class Record:
    """One row as published, whose fields are checked as they are read.

    Attributes:
        values: Column to value.
        path: File, for errors; of a JSON array with the index of the item.
        line: 1-based line number, or None in a JSON array.
        number: 1-based number of the row within the file.
    """

    values: Mapping[str, object]
    path: str
    line: int | None
    number: int

    def error(self, problem: str, field: str | None = None) -> RowError:
        """Return an error that names this row."""
        return RowError(problem, path=self.path, line=self.line, field=field)

    def get(self, field: str) -> object:
        """Return a field that must be there.

        Raises:
            RowError: If it is not.
        """
        if field not in self.values:
            raise self.error(f"missing; the row has {shown(list(self.values))}", field)
        return self.values[field]

    def text(self, field: str) -> str:
        """Return a field that must be text.

        Raises:
            RowError: If it is missing or something else.
        """
        value = self.get(field)
        if not isinstance(value, str):
            raise self.error(f"must be text, not {shown(value)}", field)
        return value

    def whole(self, field: str) -> int:
        """Return a field that must be a whole number; digits in a text are one.

        Raises:
            RowError: If it is missing or something else.
        """
        value = self.get(field)
        if isinstance(value, str) and value.isdecimal() and len(value) < 10:
            return int(value)
        if isinstance(value, bool) or not isinstance(value, int):
            raise self.error(f"must be a whole number, not {shown(value)}", field)
        return value

    def one_of(self, field: str, meanings: Mapping[str, _T]) -> _T:
        """Return what the field's value means.

        Raises:
            RowError: If the value is missing or has no meaning here.
        """
        value = self.get(field)
        key = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(key, str) or key not in meanings:
            known = ", ".join(meanings) if len(meanings) < 20 else f"{len(meanings)} known values"
            raise self.error(f"{shown(value)} is none of {known}", field)
        return meanings[key]


class Tally:
    """What an import read and left out; importers fill it while they yield.

    Attributes:
        files: Files that were opened.
        read: Number of rows read.
        left_out: Reason to number of rows left out.
    """

    def __init__(self) -> None:
        self.files: list[Path] = []
        self.read = 0
        self.left_out: Counter[str] = Counter()

    def records(self, path: Path) -> Iterator[Record]:
        """Yield the rows of a file and count them; see `read_records`."""
        self.files.append(path)
        for record in read_records(path):
            self.read += 1
            yield record

    def leave_out(self, reason: str) -> None:
        """Count one row that is not used."""
        self.left_out[reason] += 1


def read_records(path: Path) -> Iterator[Record]:
    """Yield the rows of a CSV file (by suffix), of a JSON array or of JSONL (by the first byte).

    Raises:
        RowError: If a row is no object, or not valid in its form.
        DataError: If the file cannot be read.
    """
    if ".csv" in (suffix.casefold() for suffix in path.suffixes[-2:]):
        yield from _csv_records(path)
        return
    with open_binary(path, "rb") as stream:
        content = stream.read(64).removeprefix(codecs.BOM_UTF8).lstrip()
        if content.startswith(b"["):
            items = parse_line(content + stream.read(), path, None)
            assert isinstance(items, list), "what begins with [ is an array"
            for index, item in enumerate(items):
                yield _record(item, f"{path}[{index}]", None, index + 1)
            return
    for number, (line, item) in enumerate(read_jsonl(path), start=1):
        yield _record(item, str(path), line, number)


def located(path: Path, parts: Mapping[str, Sequence[str]]) -> list[tuple[str, Path]]:
    """Return (part, file) of a data set at `path`, a file or a folder.

    Args:
        path: What the user has.
        parts: Part to the places where its file may lie in the folder.

    Raises:
        DataError: If `path` does not exist or the folder holds none of the files.
    """
    if path.is_dir():
        found = []
        for part, places in parts.items():
            there = [path / place for place in places if (path / place).is_file()]
            found += [(part, file) for file in there[:1]]
        if found:
            return found
        expected = ", ".join(place for places in parts.values() for place in places)
        raise DataError(f"{path}: holds none of {expected}")
    if not path.exists():
        raise DataError(f"{path}: no such file or folder")
    for part, places in parts.items():
        if path.name in {Path(place).name for place in places}:
            return [(part, path)]
    return [(path.name.split(".")[0], path)]


def _record(item: object, path: str, line: int | None, number: int) -> Record:
    if not isinstance(item, dict):
        raise RowError(f"a row must be a JSON object, not {shown(item)}", path=path, line=line)
    return Record(item, path, line, number)


def _csv_records(path: Path) -> Iterator[Record]:
    with (
        open_binary(path, "rb") as stream,
        io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text,
    ):
        reader = csv.reader(text, strict=True)
        columns: list[str] = []
        number = 0
        while True:
            line = reader.line_num + 1  # where the row begins; a row may span lines
            try:
                row = next(reader)
            except StopIteration:
                return
            except (csv.Error, UnicodeDecodeError) as error:
                raise RowError(f"no valid CSV: {error}", path=str(path), line=line) from error
            if not columns:
                columns = row
                continue
            if not row:
                continue
            if len(row) != len(columns):
                raise RowError(
                    f"{len(row)} columns, but the head has {len(columns)}: {shown(columns)}",
                    path=str(path),
                    line=line,
                )
            number += 1
            yield Record(dict(zip(columns, row, strict=True)), str(path), line, number)
