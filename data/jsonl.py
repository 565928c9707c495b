"""JSON lines in and out: strict, compressed or not, one line of bounded length at a time."""

from __future__ import annotations

import gzip
import io
import json
import math
import os
import secrets
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast

import zstandard

from scorer.data.schema import Example, parse_example, shown
from scorer.dimensions import DEFAULT_DIMENSIONS, Dimension
from scorer.errors import DataError, RowError

STANDARD_STREAM = "-"

MAX_LINE = 16 << 20
"""Bytes of a line at most; beyond it is no row but a file of another kind."""

BOM = b"\xef\xbb\xbf"

_PIECE = 1 << 18  # bytes that are held of the rest of an over-long line
_MAX_DEPTH = 100  # far below Python's recursion limit, so that what was read can be written again
_MAX_DIGITS = 4000  # below the 4300 that Python converts, so the message is ours
_ZSTD_READ = 4096  # bytes; one read expands to 128 MB at the very most
_ZSTD_WINDOW = 1 << 31  # files written with `zstd --long=31`


def stream_name(path: str | Path) -> str:
    """Return the name that errors give a file: the path, or `<stdin>` for `-`."""
    return "<stdin>" if str(path) == STANDARD_STREAM else str(path)


@contextmanager
def open_binary(path: str | Path, mode: Literal["rb", "wb", "ab", "xb"]) -> Iterator[BinaryIO]:
    """Yield a binary stream: plain, gzip (`.gz`) or Zstandard (`.zst`) by suffix.

    `-` is standard input or output, which stays open afterwards. Appending to a compressed file
    starts a new member or frame; reading takes all of them.

    Raises:
        DataError: If the file cannot be opened, or what is read cannot be decompressed.
    """
    if str(path) == STANDARD_STREAM:
        stream = sys.stdin.buffer if mode == "rb" else sys.stdout.buffer
        yield cast(BinaryIO, stream)
        if mode != "rb":
            stream.flush()
        return
    try:
        raw = Path(path).open(mode)  # noqa: SIM115 - closed below, whatever wraps it
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}") from error
    suffix = Path(path).suffix.casefold()
    with raw:
        if mode != "rb":
            with _compressed(raw, suffix, mode) as writer:
                yield writer
            return
        try:
            with _decompressed(raw, suffix) as reader:
                yield reader
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise DataError(f"{path}: cannot be decompressed: {error}") from error


@contextmanager
def _compressed(raw: BinaryIO, suffix: str, mode: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        # No time stamp: the same rows give the same bytes. A new file is gzip's `w`.
        with gzip.GzipFile("", mode.replace("x", "w"), fileobj=raw, mtime=0) as zipped:
            yield cast(BinaryIO, zipped)
    elif suffix == ".zst":
        with zstandard.ZstdCompressor().stream_writer(raw, closefd=False) as writer:
            yield cast(BinaryIO, writer)
    else:
        yield raw


@contextmanager
def _decompressed(raw: BinaryIO, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".gz":
        with gzip.GzipFile(fileobj=raw, mode="rb") as zipped:
            yield cast(BinaryIO, zipped)
    elif suffix == ".zst":
        with io.BufferedReader(_ZstdReader(raw)) as reader:
            yield reader
    else:
        yield raw


class _ZstdReader(io.RawIOBase):
    """Zstandard frames as a raw stream that notices a file cut short.

    zstandard's own reader takes the end of the file for the end of the data.
    """

    def __init__(self, source: BinaryIO) -> None:
        self._source = source
        self._frame: zstandard.ZstdDecompressionObj | None = None
        self._compressed = b""
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._source.fileno()  # so that progress can be told by the bytes on disk

    def readinto(self, buffer: Any) -> int:
        while not self._pending:
            compressed = self._compressed or self._source.read(_ZSTD_READ)
            if not compressed:
                if self._frame is not None:
                    raise EOFError("the compressed data ends in the middle of a frame")
                return 0
            if self._frame is None:
                decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
                self._frame = decompressor.decompressobj()
            self._pending = memoryview(self._frame.decompress(compressed))
            self._compressed = b""
            if self._frame.eof:
                self._compressed, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._pending))
        buffer[:count], self._pending = self._pending[:count], self._pending[count:]
        return count


@dataclass(frozen=True)
class Line:
    """A line of at most the permitted length.

    Attributes:
        number: 1-based.
        raw: Its bytes, line feed included.
    """

    number: int
    raw: bytes


@dataclass(frozen=True)
class LongLine:
    """A line that is too long to be held.

    Attributes:
        number: 1-based.
        pieces: Its bytes; to be read before the next line is asked for.
    """

    number: int
    pieces: Iterator[bytes]


class Lines(Protocol):
    """What lines are read from: a binary stream."""

    def readline(self, size: int, /) -> bytes:
        """Return the rest of the line, `size` bytes of it at most; nothing at the end."""
        ...


def split_lines(
    stream: Lines, name: str, max_line: int = MAX_LINE, before: int = 0
) -> Iterator[Line | LongLine]:
    """Yield the lines that are not blank, holding one at a time and none beyond `max_line`.

    Args:
        stream: Bytes.
        name: Name of the stream for errors.
        max_line: Bytes of a line at most, its line feed left out.
        before: Lines that were read of the stream already.

    Raises:
        DataError: If the stream cannot be read or decompressed to its end.
    """
    number = before
    while raw := _readline(stream, name, max_line + 1):
        number += 1
        if len(raw) > max_line and not raw.endswith(b"\n"):
            pieces = _pieces(raw, stream, name)
            yield LongLine(number, pieces)
            for _ in pieces:
                pass  # what the caller left
        elif raw.removeprefix(BOM).strip():
            yield Line(number, raw)


def _pieces(raw: bytes, stream: Lines, name: str) -> Iterator[bytes]:
    while raw:
        yield raw
        raw = b"" if raw.endswith(b"\n") else _readline(stream, name, _PIECE)


def _readline(stream: Lines, name: str, size: int) -> bytes:
    try:
        return stream.readline(size)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{name}: cannot be read on: {error}") from error


def read_lines(path: str | Path) -> Iterator[tuple[int, bytes]]:
    """Yield (1-based line number, line) of a file's lines that are not blank.

    Raises:
        RowError: At a line of more than `MAX_LINE` bytes.
        DataError: If the file cannot be opened, read or decompressed.
    """
    name = stream_name(path)
    with open_binary(path, "rb") as stream:
        for line in split_lines(stream, name):
            if isinstance(line, LongLine):
                raise RowError(f"longer than {MAX_LINE} bytes", path=name, line=line.number)
            yield line.number, line.raw


def parse_line(raw: bytes, path: str | Path, line: int | None) -> object:
    """Return the JSON value of one line (or of a whole file, without `line`), read strictly.

    Beyond `json.loads`, it refuses NaN and infinities (also as 1e999), a key given twice, numbers
    of thousands of digits and deep nesting. A byte order mark is skipped; surrogates written as
    escapes stay as they are.

    Raises:
        RowError: If the line is not UTF-8 or not such a value.
    """

    def error(problem: str) -> RowError:
        return RowError(problem, path=stream_name(path), line=line)

    try:
        value: object = _DECODER.decode(raw.removeprefix(BOM).decode("utf-8"))
    except UnicodeDecodeError as bad:
        raise error(f"not UTF-8: {bad.object[bad.start]:#04x} at byte {bad.start + 1}") from bad
    except json.JSONDecodeError as bad:
        near = shown(bad.doc[max(0, bad.pos - 10) : bad.pos + 20])
        raise error(
            f"no valid JSON: {bad.msg.removesuffix(' at')} at character {bad.pos + 1}, near {near}"
        ) from bad
    except ValueError as bad:
        raise error(str(bad)) from bad
    except RecursionError as bad:
        raise error(_TOO_DEEP) from bad
    # Few rows have so many brackets at all, so that the walk costs nothing elsewhere.
    if raw.count(b"[") + raw.count(b"{") > _MAX_DEPTH and _deeper_than(value, _MAX_DEPTH):
        raise error(_TOO_DEEP)
    return value


def read_jsonl(path: str | Path) -> Iterator[tuple[int, object]]:
    """Yield (1-based line number, JSON value) per line; see `parse_line` and `open_binary`.

    Raises:
        RowError: At the first line that is no strict JSON.
        DataError: If the file cannot be read.
    """
    for line, raw in read_lines(path):
        yield line, parse_line(raw, path, line)


def read_examples(
    path: str | Path, dimensions: Sequence[Dimension] = DEFAULT_DIMENSIONS
) -> Iterator[Example]:
    """Yield the examples of a JSONL file.

    Raises:
        RowError: At the first row that `parse_line` or `parse_example` refuses.
        DataError: If the file cannot be read.
    """
    for line, row in read_jsonl(path):
        yield parse_example(row, path=stream_name(path), line=line, dimensions=dimensions)


def encode_row(row: Mapping[str, Any], indent: int | None = None) -> bytes:
    r"""Return a row as one line of UTF-8 JSON with its line feed (as more lines with `indent`).

    A row with lone surrogates, which UTF-8 cannot hold, is written in `\uXXXX` escapes instead.

    Raises:
        ValueError: If the row holds NaN or an infinity.
        TypeError: If the row holds what JSON cannot.
    """
    text = json.dumps(row, ensure_ascii=False, allow_nan=False, indent=indent)
    try:
        return (text + "\n").encode("utf-8")
    except UnicodeEncodeError:
        text = json.dumps(row, ensure_ascii=True, allow_nan=False, indent=indent)
        return (text + "\n").encode("ascii")


@contextmanager
def atomic_writer(path: str | Path) -> Iterator[BinaryIO]:
    """Yield a stream whose content becomes `path` when the block ends without an error.

    Until then it is a hidden file in the same folder; after an error it is gone and an older
    `path` stands as it was. Compressed by suffix; `-` and devices are written directly.

    Raises:
        DataError: If the file cannot be created.
    """
    final = Path(path)
    if str(path) == STANDARD_STREAM or (final.exists() and not final.is_file()):
        with open_binary(path, "wb") as stream:
            yield stream
        return
    final = final.resolve()  # a link keeps pointing to the file; its target is replaced
    # The suffix comes last because it decides on compression.
    temporary = final.with_name(f".{final.stem}.{secrets.token_hex(4)}.tmp{final.suffix}")
    try:
        with open_binary(temporary, "xb") as stream:
            yield stream
        os.replace(temporary, final)  # noqa: PTH105 - one atomic step, named as in POSIX
    finally:
        temporary.unlink(missing_ok=True)


def write_jsonl(path: str | Path, rows: Iterable[Mapping[str, Any]]) -> int:
    """Write rows as JSONL, all or nothing, and return their number; see `atomic_writer`."""
    count = 0
    with atomic_writer(path) as stream:
        for row in rows:
            stream.write(encode_row(row))
            count += 1
    return count


def write_json(path: str | Path, content: Mapping[str, Any]) -> None:
    """Write one JSON object on many lines, whole or not at all; see `atomic_writer`."""
    with atomic_writer(path) as stream:
        stream.write(encode_row(content, indent=1))


_TOO_DEEP = f"nested more than {_MAX_DEPTH} levels deep"


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {shown(twice)} is given twice")
    return result


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"the number {shown(digits)} is too large")
    return value


def _int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits is too large")
    return int(digits)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_constant, parse_float=_float, parse_int=_int
)


def _deeper_than(value: object, limit: int) -> bool:
    """Tell whether arrays and objects nest deeper than `limit`, without recursion."""
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (
                item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
            )
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
