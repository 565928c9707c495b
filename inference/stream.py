"""A JSONL file in, the same rows with their scores out; memory does not grow with the file."""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from scorer.data.jsonl import (
    STANDARD_STREAM,
    atomic_writer,
    open_binary,
    parse_line,
    stream_name,
)
from scorer.errors import DataError, RowError
from scorer.inference.batching import windows
from scorer.inference.fields import Fields, find_fields
from scorer.inference.lines import (
    MAX_LINE,
    Line,
    LongLine,
    Rejects,
    read_lines,
    remove_member,
    splice,
)
from scorer.inference.predict import Predictor
from scorer.inference.summary import Summary, Tally

KEY = "harmlessness"
"""Key that a scored row carries its score under, unless another is asked for."""

_WINDOW_BYTES = 8 << 20  # of lines that are held together
_NAMED_REJECTS = 10  # rejected lines that are logged one by one

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How a file is read and written.

    Attributes:
        prompt_field: Field of the prompt; None finds it in the first good row.
        response_field: Field of the response; None finds it in the first good row.
        key: Key that the score goes under.
        overwrite_key: Replace a value that a row has under `key` already; else the row is rejected.
        rejected: Where rejected lines go; None for `OUT.rejected.jsonl` beside a file and nowhere
            where the output is standard output.
        max_line: Bytes of a line at most; a longer one is rejected.
    """

    prompt_field: str | None = None
    response_field: str | None = None
    key: str = KEY
    overwrite_key: bool = False
    rejected: str | Path | None = None
    max_line: int = MAX_LINE


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        rows: Rows scored.
        tokens: Tokens of the finished windows.
        position: Bytes read of the file, as it lies on disk; None where that is unknown.
    """

    rows: int
    tokens: int
    position: int | None


@dataclass(frozen=True)
class _Row:
    raw: bytes
    pair: tuple[str, str]


def score_jsonl(
    source: str | Path,
    target: str | Path,
    predictor: Predictor,
    options: Options | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Score the rows of a JSONL file and return figures over them.

    Rows keep their order, and every field its exact text; the score comes last. A line that cannot
    be scored is logged, kept among the rejected ones and left out. The output appears under its
    name when it is complete.

    Args:
        source: JSONL, also `.gz` and `.zst`; `-` for standard input.
        target: Likewise; `-` for standard output.
        predictor: Model and settings.
        options: Fields, key and limits.
        on_progress: Called after every batch.

    Raises:
        DataError: If a file cannot be read or written, or two of the files are the same.
    """
    options = options or Options()
    rejected = _rejected_path(target, options)
    _refuse_same_files(source, target, rejected)
    started = time.perf_counter()
    tally = Tally(predictor.settings.dimensions)
    with (
        open_binary(source, "rb") as stream,
        atomic_writer(target) as out,
        Rejects(rejected) as rejects,
    ):
        rows = _Rows(stream, stream_name(source), options, rejects)
        end = _position(stream)
        for window in windows(rows, size=lambda row: len(row.raw), size_limit=_WINDOW_BYTES):
            start, end = end, _position(stream)
            report = _window_report(on_progress, tally, len(window), start, end)
            prediction = predictor.predict([row.pair for row in window], report)
            for row, score in zip(window, prediction.scores, strict=True):
                out.write(splice(row.raw, options.key, score.to_dict()))
            tally.add(prediction.scores, prediction.tokens)
        if rejects.count > _NAMED_REJECTS:
            _log.warning("... %d lines rejected in all", rejects.count)
    seconds = time.perf_counter() - started
    return tally.summary(seconds, rejects.count, rejected, rows.fields)


class _Rows:
    """The rows of a stream that can be scored; the others go to `rejects`."""

    def __init__(self, stream: BinaryIO, name: str, options: Options, rejects: Rejects) -> None:
        self.fields: Fields | None = None
        self._stream, self._name = stream, name
        self._options, self._rejects = options, rejects

    def __iter__(self) -> Iterator[_Row]:
        for line in read_lines(self._stream, self._name, self._options.max_line):
            try:
                if isinstance(line, LongLine):
                    raise RowError(f"longer than {self._options.max_line} bytes")
                yield self._row(line)
            except RowError as error:
                self._reject(line, error)

    def _row(self, line: Line) -> _Row:
        row = parse_line(line.raw, self._name, line.number)
        if not isinstance(row, dict):
            raise RowError("not a JSON object")
        options = self._options
        fields = self.fields or find_fields(row, options.prompt_field, options.response_field)
        pair = fields.pair(row)
        raw = line.raw
        if options.key in row:
            if options.key in (fields.prompt, fields.response, fields.context):
                raise RowError("holds the text; the score needs another key", field=options.key)
            if not options.overwrite_key:
                raise RowError("the row has this key already", field=options.key)
            raw = remove_member(raw, options.key)
        if self.fields is None:
            self.fields = fields
            _log.info("%s", fields)
        return _Row(raw, pair)

    def _reject(self, line: Line | LongLine, error: RowError) -> None:
        if isinstance(line, LongLine):
            self._rejects.add_long(line, error)
        else:
            self._rejects.add(line, error)
        if self._rejects.count <= _NAMED_REJECTS:
            placed = RowError(error.problem, path=self._name, line=line.number, field=error.field)
            _log.warning("%s", placed)


def _rejected_path(target: str | Path, options: Options) -> Path | None:
    if options.rejected is not None:
        return Path(options.rejected)
    if str(target) == STANDARD_STREAM or (Path(target).exists() and not Path(target).is_file()):
        return None  # beside standard output or a device there is no place for a file
    return Path(f"{target}.rejected.jsonl")


def _refuse_same_files(*paths: str | Path | None) -> None:
    seen: set[Path] = set()
    for path in paths:
        if path is None or str(path) == STANDARD_STREAM:
            continue
        real = Path(path).resolve()
        if real in seen:
            raise DataError(f"{path}: input, output and rejected lines must be different files")
        seen.add(real)


def _position(stream: BinaryIO) -> int | None:
    """Return how far the file on disk is read, compressed or not; None for pipes."""
    try:
        return os.lseek(stream.fileno(), 0, os.SEEK_CUR)
    except (OSError, io.UnsupportedOperation):
        return None


def _window_report(
    on_progress: Callable[[Progress], None],
    tally: Tally,
    rows: int,
    start: int | None,
    end: int | None,
) -> Callable[[float], None]:
    """Return what turns the share of a window that is done into progress in the file."""

    def report(share: float) -> None:
        position = None
        if start is not None and end is not None:
            position = start + int(share * (end - start))
        on_progress(Progress(tally.rows + int(share * rows), tally.tokens, position))

    return report
