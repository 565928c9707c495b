"""Files that become whole or stay out of sight: temporary names, frames that can be cut, a lock."""

from __future__ import annotations

import base64
import os
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol, cast

import zstandard

from scorer.data.jsonl import STANDARD_STREAM, Line, LongLine, encode_row
from scorer.errors import DataError, RowError


class _Frame(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


_FRAMES: dict[str, Callable[[], _Frame]] = {
    ".gz": lambda: cast(_Frame, zlib.compressobj(wbits=31)),  # 31: with gzip's head, no time stamp
    ".zst": lambda: cast(_Frame, zstandard.ZstdCompressor().compressobj()),
}


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn the operating system's errors into ones that name the file that is written.

    A reader that has gone stays `BrokenPipeError`: it is no fault of ours.

    Raises:
        DataError: In place of any other `OSError`.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be written: {error.strerror or error}") from error


class Output:
    """Bytes on their way into a file, compressed by the suffix of the name that it will have.

    Compressed data is a row of independent gzip members or Zstandard frames, which end where
    `end_frame` is called: there a file can be cut and written on.

    Attributes:
        position: Bytes in the file.
    """

    def __init__(self, stream: BinaryIO, name: str, position: int = 0) -> None:
        self.position = position
        self._stream, self._name = stream, name
        self._new_frame = _FRAMES.get(Path(name).suffix.casefold())
        self._frame: _Frame | None = None

    def write(self, data: bytes) -> None:
        """Write; what is compressed may stay in memory until the frame ends."""
        if self._new_frame is not None:
            if self._frame is None:
                self._frame = self._new_frame()
            data = self._frame.compress(data)
        self._put(data)

    def end_frame(self) -> int:
        """Hand everything to the operating system and return the position."""
        if self._frame is not None:
            frame, self._frame = self._frame, None
            self._put(frame.flush())
        with naming(self._name):
            self._stream.flush()
        return self.position

    def sync(self) -> None:
        """Wait until what was handed over is on the disk."""
        with naming(self._name):
            os.fsync(self._stream.fileno())

    def _put(self, data: bytes) -> None:
        with naming(self._name):
            self._stream.write(data)
        self.position += len(data)


def is_file_to_be(path: str | Path) -> bool:
    """Tell whether a path is, or can become, a file that is replaced; not standard output, no device."""
    return str(path) != STANDARD_STREAM and (Path(path).is_file() or not Path(path).exists())


class Part:
    """A file under a temporary name, until it is whole and takes its own.

    Args:
        final: Its own name.
        temporary: Where it grows; in the same folder.
        keep: Bytes of it that stand, and that are there; what is beyond them is cut off. None
            begins anew.

    Attributes:
        output: What is written goes here.

    Raises:
        DataError: If it cannot be opened.
    """

    def __init__(self, final: Path, temporary: Path, keep: int | None = None) -> None:
        self.final, self.temporary = final, temporary
        with naming(final):
            stream = temporary.open("wb" if keep is None else "r+b")
            if keep is not None:
                stream.truncate(keep)
                stream.seek(keep)
        self._stream = stream
        self.output = Output(stream, str(final), keep or 0)

    def finish(self) -> None:
        """Put it on the disk, whole, under its own name."""
        self.output.end_frame()
        self.output.sync()
        self._stream.close()
        rename(self.temporary, self.final)

    def close(self) -> None:
        """Leave what is there under the temporary name."""
        with suppress(OSError):  # of what was still to be written; the error has been told already
            self._stream.close()

    def discard(self) -> None:
        """Remove it."""
        self.close()
        with suppress(OSError):
            self.temporary.unlink()


class Direct(Part):
    """Standard output, or a device: what is written is there at once.

    Args:
        path: `-` or the device.

    Raises:
        DataError: If it cannot be opened.
    """

    def __init__(self, path: str | Path) -> None:
        self._standard = str(path) == STANDARD_STREAM
        if self._standard:
            self._stream = cast(BinaryIO, sys.stdout.buffer)
        else:
            with naming(path):
                self._stream = Path(path).open("wb")  # noqa: SIM115 - `close` does
        self.output = Output(self._stream, "<stdout>" if self._standard else str(path))

    def finish(self) -> None:
        """Hand over what is left."""
        self.output.end_frame()
        self.close()

    def close(self) -> None:
        """Close a device; standard output stays open."""
        if not self._standard:
            super().close()

    def discard(self) -> None:
        """Close it: what was written cannot be taken back."""
        self.close()


def rename(temporary: Path, final: Path) -> None:
    """Give a file its own name in one step that outlives a power cut.

    Raises:
        DataError: If the folder is gone or cannot be written.
    """
    with naming(final):
        os.replace(temporary, final)  # noqa: PTH105 - one atomic step, named as in POSIX
        if sys.platform != "win32":
            folder = os.open(final.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep every other process from writing the same file.

    The lock is the operating system's, so it ends with the process however that ends. Where there
    is no such lock (Windows), nothing is locked.

    Raises:
        DataError: If another process has it, or the folder cannot be written.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    name = lock_path(path)
    while True:
        with naming(path):
            descriptor = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise DataError(f"{path}: another process is writing it") from None
            except OSError:
                pass  # a file system without locks
            if not _is(descriptor, name):
                continue  # removed by whoever held it before, between our two calls
            try:
                yield
            finally:
                name.unlink(missing_ok=True)  # while it is ours
            return
        finally:
            os.close(descriptor)


def table_path(path: Path) -> Path:
    """Return where a Parquet file is made of what was written."""
    return path.with_name(f".{path.name}.table")


def lock_path(path: Path) -> Path:
    """Return the file that `locked` locks in place of `path`, which may not be there yet."""
    return path.with_name(f".{path.name}.lock")


def _is(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


class Rejects:
    """Collects the lines that cannot be scored, in a file that exists only where there are any.

    Args:
        open_part: Opens the file once there is a line for it; None keeps nothing.
        count: Lines that were rejected before.
        part: The file, where it holds some of them already.
    """

    def __init__(
        self,
        open_part: Callable[[], Part] | None,
        count: int = 0,
        part: Part | None = None,
    ) -> None:
        self.count = count
        self.part = part
        self._open_part = open_part

    def add(self, line: Line, error: RowError) -> None:
        """Keep one whole line."""
        self._write(encode_row(rejected_row(line.number, error, line.raw)))
        self.count += 1

    def add_long(self, line: LongLine, error: RowError) -> None:
        """Keep an over-long line, piece by piece."""
        row = rejected_row(line.number, error) | {"raw_base64": ""}
        self._write(encode_row(row).removesuffix(b'"}\n'))
        rest = b""
        for piece in line.pieces:
            data = rest + piece
            whole = len(data) - len(data) % 3  # so that the Base64 of pieces joins unpadded
            self._write(base64.b64encode(data[:whole]))
            rest = data[whole:]
        self._write(base64.b64encode(rest) + b'"}\n')
        self.count += 1

    def end_frame(self) -> int:
        """As `Output.end_frame`; 0 where there is no file."""
        return 0 if self.part is None else self.part.output.end_frame()

    def _write(self, data: bytes) -> None:
        if self._open_part is None:
            return
        if self.part is None:
            self.part = self._open_part()
        self.part.output.write(data)


def rejected_row(number: int, error: RowError, raw: bytes | None = None) -> dict[str, object]:
    """Return what is kept of a line that cannot be scored.

    Args:
        number: 1-based.
        error: Why it cannot.
        raw: The line; None where it is too long to be held.
    """
    row: dict[str, object] = {"line": number, "error": error.reason}
    if raw is not None:
        raw = raw.rstrip(b"\r\n")
        try:
            row["raw"] = raw.decode("utf-8")
        except UnicodeDecodeError:
            row["raw_base64"] = base64.b64encode(raw).decode("ascii")
    return row
