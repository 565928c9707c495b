"""Windows of rows from a file, each with the place where reading goes on after it."""

from __future__ import annotations

import hashlib
import io
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from scorer.data.jsonl import (
    STANDARD_STREAM,
    Line,
    LongLine,
    open_binary,
    parse_line,
    split_lines,
    stream_name,
)
from scorer.errors import DataError, RowError
from scorer.inference import batching
from scorer.inference.fields import Fields, find_fields
from scorer.inference.lines import make_room
from scorer.inference.options import Options
from scorer.inference.outputs import Rejects

NAMED_REJECTS = 10
"""Rejected lines that are logged one by one."""

_BLOCK = 1 << 20  # bytes that are read at a time where lines do not matter

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Place:
    """Where in its input a run stands.

    Attributes:
        position: Bytes of text, or rows of Parquet, before it.
        line: Lines, or rows of Parquet, from the beginning of the shard to it.
        digest: SHA-256 of what was read up to it (of Parquet: of the file's footer), by which a
            resumed run knows that it is still the same.
    """

    position: int
    line: int
    digest: str


@dataclass(frozen=True)
class Window:
    """Rows that go through the model together.

    Attributes:
        pairs: (prompt, response) of each.
        rows: The rows: lines of JSON, or a `pyarrow.RecordBatch`.
        place: Where reading goes on after them.
    """

    pairs: list[tuple[str, str]]
    rows: Any
    place: Place


class Source(Protocol):
    """A file that is read window by window; a context manager.

    Attributes:
        fields: Fields that hold the text; None before the first good row.
    """

    fields: Fields | None

    def __enter__(self) -> Source: ...

    def __exit__(self, *error: object) -> None: ...

    def windows(self, rejects: Rejects, rows: int) -> Iterator[Window]:
        """Yield the rows that can be scored, so many at a time; the others go to `rejects`."""
        ...

    def place(self) -> Place:
        """Return where reading stands."""
        ...

    def on_disk(self) -> int | None:
        """Return how many bytes of the file are read, as it lies on disk; None for pipes."""
        ...


def log_reject(rejects: Rejects, name: str, line: int, error: RowError) -> None:
    """Say that a line was rejected, unless there were many."""
    if rejects.count <= NAMED_REJECTS:
        _log.warning("%s", RowError(error.problem, path=name, line=line, field=error.field))


class _Meter:
    """A stream that counts and hashes what is read of it, and ends with the line that crosses `end`."""

    def __init__(self, stream: BinaryIO, start: int, end: int | None, hashing: bool) -> None:
        self.position = start
        self._stream, self._end = stream, end
        self._hash = hashlib.sha256() if hashing else None
        self._at_line = True

    def readline(self, size: int, /) -> bytes:
        if self._at_line and self._end is not None and self.position >= self._end:
            return b""
        data = self._stream.readline(size)
        self._at_line = data.endswith(b"\n")
        self._count(data)
        return data

    def skip(self, size: int) -> None:
        """Read on without regard to lines, to the end at most."""
        while size > 0 and (data := self._stream.read(min(size, _BLOCK))):
            size -= len(data)
            self._count(data)

    def digest(self) -> str:
        return "" if self._hash is None else self._hash.hexdigest()

    def _count(self, data: bytes) -> None:
        self.position += len(data)
        if self._hash is not None:
            self._hash.update(data)


class JsonlSource:
    """Rows of JSONL.

    Args:
        path: The file, compressed by suffix; `-` for standard input.
        options: Fields, key, limits, shard.
        place: Where an earlier run stopped; None begins at the beginning.
        fields: What that run found.

    Raises:
        DataError: If the file cannot be read, or is not what it was when the earlier run read it.
    """

    def __init__(
        self,
        path: str | Path,
        options: Options,
        place: Place | None = None,
        fields: Fields | None = None,
    ) -> None:
        self.fields = fields
        self._path, self._name = path, stream_name(path)
        self._options = options
        self._line = 0
        with ExitStack() as stack:
            self._stream = stack.enter_context(open_binary(path, "rb"))
            start, end = 0, None
            if options.shard is not None:
                start, end = options.shard.bounds(self._text_size())
            self._start = start = self._begin(start)
            self._meter = _Meter(self._stream, start, end, options.resume)
            if place is not None:
                self._go_to(place)
            self._stack = stack.pop_all()

    def __enter__(self) -> JsonlSource:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def place(self) -> Place:
        """Return where reading stands."""
        return Place(self._meter.position, self._line, self._meter.digest())

    def on_disk(self) -> int | None:
        """Return how many bytes of the file are read, as it lies on disk; None for pipes."""
        try:
            return os.lseek(self._stream.fileno(), 0, os.SEEK_CUR)
        except (OSError, io.UnsupportedOperation):
            return None

    def windows(self, rejects: Rejects, rows: int) -> Iterator[Window]:
        """Yield the rows that can be scored, so many at a time; the others go to `rejects`."""
        good = self._rows(rejects)
        limit = rows * batching.ROW_BYTES
        for window in batching.windows(good, rows, size=lambda row: len(row[0]), size_limit=limit):
            yield Window([pair for _, pair in window], [raw for raw, _ in window], self.place())

    def _rows(self, rejects: Rejects) -> Iterator[tuple[bytes, tuple[str, str]]]:
        for line in split_lines(self._meter, self._name, self._options.max_line, self._line):
            self._line = line.number
            try:
                if isinstance(line, LongLine):
                    raise RowError(f"longer than {self._options.max_line} bytes")
                row = self._row(line)
            except RowError as error:
                self._reject(line, error, rejects)
            else:
                yield row

    def _row(self, line: Line) -> tuple[bytes, tuple[str, str]]:
        row = parse_line(line.raw, self._name, line.number)
        if not isinstance(row, dict):
            raise RowError("not a JSON object")
        options = self._options
        fields = self.fields or find_fields(row, options.prompt_field, options.response_field)
        pair = fields.pair(row)
        raw = make_room(line.raw, row, options.key, fields, options.overwrite_key)
        if self.fields is None:
            self.fields = fields
            _log.info("%s", fields)
        return raw, pair

    def _reject(self, line: Line | LongLine, error: RowError, rejects: Rejects) -> None:
        number = line.number + self._lines_before
        if isinstance(line, LongLine):
            rejects.add_long(LongLine(number, line.pieces), error)
        else:
            rejects.add(Line(number, line.raw), error)
        log_reject(rejects, self._name, number, error)

    @cached_property
    def _lines_before(self) -> int:
        """Lines before the shard: the one thing to read them for, so only where a line is rejected."""
        lines, left = 0, self._start
        if left:
            with open_binary(self._path, "rb") as stream:
                while left and (data := stream.read(min(left, _BLOCK))):
                    lines += data.count(b"\n")
                    left -= len(data)
        return lines

    def _text_size(self) -> int:
        """Return the bytes of the whole text; a compressed file is unpacked once to know."""
        if self._seekable():
            return Path(self._path).stat().st_size
        size = 0
        with open_binary(self._path, "rb") as stream:
            while data := stream.read(_BLOCK):
                size += len(data)
        return size

    def _begin(self, start: int) -> int:
        """Go to the first line that begins at `start` or later, and return where that is."""
        if start == 0:
            return 0
        # A line that begins at `start` has a line feed before it.
        if self._seekable():
            self._stream.seek(start - 1)
        else:
            _Meter(self._stream, 0, None, False).skip(start - 1)
        meter = _Meter(self._stream, start - 1, None, False)
        while (data := meter.readline(_BLOCK)) and not data.endswith(b"\n"):
            pass
        return meter.position

    def _seekable(self) -> bool:
        return Path(self._path).suffix.casefold() not in (".gz", ".zst")

    def _go_to(self, place: Place) -> None:
        self._meter.skip(place.position - self._start)
        self._line = place.line
        if self.place() != place:
            raise DataError(
                f"{self._name}: the {place.position:,} bytes of text that were scored before are "
                "not the same any more"
            )


def open_source(
    path: str | Path, options: Options, place: Place | None = None, fields: Fields | None = None
) -> Source:
    """Return the rows of a file: Parquet by its suffix, else JSONL.

    Raises:
        DataError: If the file cannot be read, or is not what it was when an earlier run read it.
        MissingExtraError: If it is Parquet and pyarrow is not installed.
    """
    if is_parquet(path):
        from scorer.inference.parquet import ParquetSource

        return ParquetSource(Path(path), options, place)
    return JsonlSource(path, options, place, fields)


def is_parquet(path: str | Path) -> bool:
    """Tell by its suffix whether a file is Parquet."""
    return str(path) != STANDARD_STREAM and Path(path).suffix.casefold() == ".parquet"
