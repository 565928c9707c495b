"""Lines of a stream as bytes, however long, and values spliced into them unchanged."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from scorer.data.jsonl import atomic_writer, encode_row
from scorer.errors import DataError, RowError

MAX_LINE = 16 << 20
"""Bytes of a line at most; beyond it is no row but a file of another kind."""

_BOM = b"\xef\xbb\xbf"
_PIECE = 1 << 18  # bytes that are held of the rest of an over-long line


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


def read_lines(stream: BinaryIO, name: str, max_line: int = MAX_LINE) -> Iterator[Line | LongLine]:
    """Yield the lines that are not blank, holding one at a time and none beyond `max_line`.

    Args:
        stream: Bytes.
        name: Name of the stream for errors.
        max_line: Bytes of a line at most, its line feed left out.

    Raises:
        DataError: If the stream cannot be read or decompressed to its end.
    """
    number = 0
    while raw := _readline(stream, name, max_line + 1):
        number += 1
        if len(raw) > max_line and not raw.endswith(b"\n"):
            pieces = _pieces(raw, stream, name)
            yield LongLine(number, pieces)
            for _ in pieces:
                pass  # what the caller left
        elif raw.removeprefix(_BOM).strip():
            yield Line(number, raw)


def _pieces(raw: bytes, stream: BinaryIO, name: str) -> Iterator[bytes]:
    while raw:
        yield raw
        raw = b"" if raw.endswith(b"\n") else _readline(stream, name, _PIECE)


def _readline(stream: BinaryIO, name: str, size: int) -> bytes:
    try:
        return stream.readline(size)
    except (OSError, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise DataError(f"{name}: cannot be read on: {error}") from error


def splice(raw: bytes, key: str, value: object) -> bytes:
    r"""Return the line of a JSON object with one member more at its end.

    What was there stays byte for byte, since a parser would turn 1.10 into 1.1 and "\u4f60" into
    "你". Only a byte order mark and white space around the object go.

    Args:
        raw: A line that parses as an object with at least one member.
        key: Name of the new member, which the object must not have.
        value: JSON-ready value.

    Raises:
        ValueError: If the value holds NaN or an infinity.
    """
    body = raw.removeprefix(_BOM).strip()
    member = encode_row({key: value})[1:-2]  # without its braces and line feed
    return body[:-1].rstrip() + b", " + member + b"}\n"


def remove_member(raw: bytes, key: str) -> bytes:
    """Return the line of a JSON object without the member `key`, the others byte for byte."""
    text = raw.removeprefix(_BOM).decode("utf-8").strip()
    decoder = json.JSONDecoder()
    members = []
    position = 0  # of the opening brace, later of the comma before the next member
    while text[position] != "}":
        start = _skip_space(text, position + 1)
        if text[start] == "}":
            break
        name, colon = decoder.raw_decode(text, start)
        colon = _skip_space(text, colon)
        _, end = decoder.raw_decode(text, _skip_space(text, colon + 1))
        if name != key:
            members.append(text[start:end])
        position = _skip_space(text, end)
    return ("{" + ", ".join(members) + "}").encode()


def _skip_space(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position


class Rejects:
    """Collects the lines that cannot be scored, in a file that exists only where there are any.

    A context manager: on leaving without an error the file is moved into place, or, with nothing
    rejected, one left by an earlier run is removed.

    Args:
        path: JSONL file of `line`, `error` and `raw` (or `raw_base64` where the line is not UTF-8);
            None keeps nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._stack = ExitStack()
        self._stream: BinaryIO | None = None
        self.count = 0

    def __enter__(self) -> Rejects:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            self._stack.__exit__(type(error), error, error.__traceback__)
            return
        self._stack.close()
        if self._path is not None and self.count == 0 and self._path.is_file():
            self._path.unlink()

    def add(self, line: Line, error: RowError) -> None:
        """Keep one whole line."""
        row: dict[str, object] = {"line": line.number, "error": _message(error)}
        raw = line.raw.rstrip(b"\r\n")
        try:
            row["raw"] = raw.decode("utf-8")
        except UnicodeDecodeError:
            row["raw_base64"] = base64.b64encode(raw).decode("ascii")
        self._write(encode_row(row))
        self.count += 1

    def add_long(self, line: LongLine, error: RowError) -> None:
        """Keep an over-long line, piece by piece."""
        row = {"line": line.number, "error": _message(error), "raw_base64": ""}
        self._write(encode_row(row).removesuffix(b'"}\n'))
        rest = b""
        for piece in line.pieces:
            data = rest + piece
            whole = len(data) - len(data) % 3  # so that the Base64 of pieces joins unpadded
            self._write(base64.b64encode(data[:whole]))
            rest = data[whole:]
        self._write(base64.b64encode(rest) + b'"}\n')
        self.count += 1

    def _write(self, data: bytes) -> None:
        if self._path is None:
            return
        if self._stream is None:
            self._stream = self._stack.enter_context(atomic_writer(self._path))
        self._stream.write(data)


def _message(error: RowError) -> str:
    return error.problem if error.field is None else f"{error.field}: {error.problem}"
