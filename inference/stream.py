"""A file of rows in, the same rows with their scores out; memory does not grow with the file.

Without `resume` the output appears under its name when it is whole. With it, the output grows as
`OUT.part`, and `OUT.resume.json` says how much of it stands. After every window (fewer where the
disk is slow) the output is put on the disk and then the journal; what lies beyond that is cut off by
the run that goes on. Windows are cut by what was read alone, so both runs put the same rows into the
same batches, and the bytes are those of a run that nothing stopped.

That is also why identical rows are scored once within a window, but not once for all: a score from a
window before would stem from another batch, and differ in the last digits from what a run that goes
on computes anew.
"""

from __future__ import annotations

import importlib.metadata
import logging
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import scorer
from scorer.data.jsonl import STANDARD_STREAM, stream_name
from scorer.errors import DataError, ScorerError
from scorer.inference.batching import WINDOW_ROWS
from scorer.inference.encoding import Encoded
from scorer.inference.engines import Engine, OnnxEngine, TorchEngine
from scorer.inference.journal import Journal, State
from scorer.inference.lines import splice
from scorer.inference.options import KEY, Options, Shard
from scorer.inference.outputs import (
    Direct,
    Output,
    Part,
    Rejects,
    is_file_to_be,
    lock_path,
    locked,
    rename,
    table_path,
)
from scorer.inference.predict import Predictor
from scorer.inference.sources import (
    NAMED_REJECTS,
    Source,
    Window,
    is_parquet,
    open_source,
)
from scorer.inference.summary import Summary, Tally
from scorer.result import Score

__all__ = ["KEY", "Options", "Progress", "Shard", "score_jsonl"]

_COMMIT_SHARE = 0.05  # of the time that may go into waiting for the disk

_log = logging.getLogger(__name__)


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


def score_jsonl(
    source: str | Path,
    target: str | Path,
    predictor: Predictor,
    options: Options | None = None,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Summary:
    """Score the rows of a file and return figures over them.

    Rows keep their order, and every field its exact text; the score comes last. A line that cannot
    be scored is logged, kept among the rejected ones and left out.

    Args:
        source: JSONL, also `.gz` and `.zst`, or `.parquet`; `-` for JSONL on standard input.
        target: Likewise. Parquet of Parquet has the same columns and the score as a struct; Parquet
            of JSONL has the line as it was in the column `row`.
        predictor: Model and settings.
        options: Fields, key, limits, shard, and whether to go on with an earlier run.
        on_progress: Called after every batch.

    Raises:
        DataError: If a file cannot be read or written, two of the files are the same, another
            process writes the output, or an earlier run was of another input or other settings.
    """
    options = options or Options()
    if options.shard is not None and str(target) != STANDARD_STREAM:
        target = options.shard.path(Path(target))
    rejected = _rejected_path(target, options)
    _refuse_same_files(source, target, rejected)
    if options.resume and not (is_file_to_be(source) and is_file_to_be(target)):
        raise DataError("only a run from file to file can be resumed")
    if options.shard is not None and not is_file_to_be(source):
        raise DataError(f"{stream_name(source)}: only a file can be cut into shards")
    if is_parquet(target) and not is_file_to_be(target):
        raise DataError(f"{target}: Parquet can only be written into a file")
    with ExitStack() as stack:
        for path in (target, rejected):
            if path is not None and is_file_to_be(path):
                stack.enter_context(locked(Path(path).resolve()))
        journal, state = None, State()
        if options.resume:
            journal = _journal(source, Path(target), predictor, options)
            state = journal.read() or State()
            if state.complete and not _temporary(target, resume=True).exists():
                if _stands(Path(target), state):
                    with open_source(source, options, state.place, state.fields):
                        pass  # it is the input that was scored, or that would have said no
                    return _finished_before(target, rejected, predictor, state)
                state = State()  # whoever removed the output wants it anew
        reader = stack.enter_context(open_source(source, options, state.place, state.fields))
        run = _Run(target, rejected, reader, predictor, options, journal, state)
        try:
            run.score(on_progress)
            summary = run.finish()
        except BaseException:
            run.stop()
            raise
        if journal is None:
            _forget_interrupted(target, rejected)
        return summary


class _Sink(Protocol):
    """How rows and scores become bytes."""

    def write(self, output: Output, rows: Any, scores: Sequence[Score]) -> None: ...

    def finish(self, part: Part) -> None: ...


class _JsonlSink:
    def __init__(self, key: str) -> None:
        self._key = key

    def write(self, output: Output, rows: Any, scores: Sequence[Score]) -> None:
        if not isinstance(rows, list):
            from scorer.inference.parquet import json_lines

            rows = json_lines(rows)
        lines = zip(rows, scores, strict=True)
        output.write(b"".join(splice(raw, self._key, score.to_dict()) for raw, score in lines))

    def finish(self, part: Part) -> None:
        part.finish()


def _sink(target: str | Path, reader: Source, key: str, predictor: Predictor) -> _Sink:
    if not is_parquet(target):
        return _JsonlSink(key)
    from scorer.inference.parquet import ParquetSink

    return ParquetSink(getattr(reader, "schema", None), key, predictor.settings)


@dataclass(frozen=True)
class _Ahead:
    """A window that is read, and what was known when it was.

    Attributes:
        window: The rows.
        encoded: Their tokens, in the making.
        on_disk: Bytes read of the file; None for pipes.
        rejected: Bytes of the rejected lines.
        rejects: Their number.
    """

    window: Window
    encoded: Future[list[Encoded]]
    on_disk: int | None
    rejected: int
    rejects: int


class _Run:
    """One run over a file: what it writes, counts and keeps."""

    def __init__(
        self,
        target: str | Path,
        rejected: Path | None,
        reader: Source,
        predictor: Predictor,
        options: Options,
        journal: Journal | None,
        state: State,
    ) -> None:
        self._reader, self._predictor, self._journal = reader, predictor, journal
        self._target, self._rejected = target, rejected
        self._sink = _sink(target, reader, options.key, predictor)
        self._tally = Tally(predictor.settings.dimensions)
        self._state = self._committed = state
        self._started = time.perf_counter() - state.seconds
        self._next_commit = 0.0
        keep = None
        if state.place is not None:
            keep = state.output
            _check_kept(target, target, keep)
            if rejected is not None and is_file_to_be(rejected):
                _check_kept(rejected, target, state.rejected)
            self._tally.restore(state.tally)
            _log.info("%s: going on after %d rows", target, self._tally.rows)
        self._part = _open_part(target, options.resume, keep)
        self._rejects = _open_rejects(rejected, options.resume, state)

    def score(self, on_progress: Callable[[Progress], None]) -> None:
        """Score every row that is left."""
        end = self._reader.on_disk()
        with closing(self._windows()) as windows:
            for ahead in windows:
                window = ahead.window
                start, end = end, ahead.on_disk
                report = _window_report(on_progress, self._tally, len(window.pairs), start, end)
                prediction = self._predictor.predict(window.pairs, report, ahead.encoded.result())
                self._sink.write(self._part.output, window.rows, prediction.scores)
                self._tally.add(prediction.scores, prediction.tokens)
                self._state = State(
                    place=window.place,
                    output=self._part.output.end_frame(),
                    rejected=ahead.rejected,
                    rejects=ahead.rejects,
                    fields=self._reader.fields,
                    tally=self._tally.state(),
                    seconds=self._seconds(),
                )
                if time.monotonic() >= self._next_commit:
                    self._commit()

    def finish(self) -> Summary:
        """Give the files their names and return the figures."""
        self._state = State(
            place=self._reader.place(),
            output=self._part.output.end_frame(),
            rejected=self._rejects.end_frame(),
            rejects=self._rejects.count,
            fields=self._reader.fields,
            tally=self._tally.state(),
            seconds=self._seconds(),
            complete=True,
        )
        self._commit()
        if self._rejects.count > NAMED_REJECTS:
            _log.warning("... %d lines rejected in all", self._rejects.count)
        self._sink.finish(self._part)
        if self._rejects.part is not None:
            self._rejects.part.finish()
        elif self._rejected is not None and self._rejected.is_file():
            self._rejected.unlink()  # of an earlier run
        return _summary(self._tally, self._state, self._rejected)

    def stop(self) -> None:
        """Keep what is done for a run that goes on; without a journal, leave nothing behind."""
        parts = [self._part, *([self._rejects.part] if self._rejects.part is not None else [])]
        if self._journal is None:
            for part in parts:
                part.discard()
            return
        if not self._state.complete:  # else `finish` has committed, and may have closed the files
            with suppress(ScorerError, OSError):  # of a full disk; an earlier commit stands then
                self._commit()
        for part in parts:
            part.close()
        if self._committed.place is not None:
            kept = self._committed.tally["rows"]
            _log.warning("%s: %d rows are kept; --resume goes on after them", self._target, kept)

    def _windows(self) -> Generator[_Ahead, None, None]:
        """Yield the windows, each while the next one of a file is being encoded already.

        What fails in reading a window comes out after the windows before it. A pipe is not read
        ahead, nor in large windows, so that whoever writes slowly into it does not wait longer.
        """
        piped = self._reader.on_disk() is None
        rows = WINDOW_ROWS if piped else self._predictor.engine.window_rows
        windows = self._reader.windows(self._rejects, rows)
        waiting: _Ahead | None = None
        failure: Exception | None = None
        with ThreadPoolExecutor(1) as pool:
            while True:
                try:
                    ahead = self._read_ahead(windows, pool)
                except Exception as error:
                    ahead, failure = None, error
                if waiting is not None:
                    yield waiting
                waiting = ahead
                if ahead is None:
                    break
                if piped:
                    yield ahead
                    waiting = None
        if failure is not None:
            raise failure

    def _read_ahead(self, windows: Iterator[Window], pool: ThreadPoolExecutor) -> _Ahead | None:
        window = next(windows, None)
        if window is None:
            return None
        return _Ahead(
            window,
            pool.submit(self._predictor.encode, window.pairs),
            self._reader.on_disk(),
            self._rejects.end_frame(),
            self._rejects.count,
        )

    def _seconds(self) -> float:
        return time.perf_counter() - self._started

    def _commit(self) -> None:
        """Put everything on the disk, and then the journal that says so."""
        if self._journal is None or self._state.place is None:
            return
        started = time.monotonic()
        self._part.output.sync()
        if self._rejects.part is not None:
            self._rejects.part.output.sync()
        self._journal.write(self._state)
        self._committed = self._state
        self._next_commit = started + (time.monotonic() - started) / _COMMIT_SHARE


def _temporary(path: str | Path, resume: bool) -> Path:
    """Return the name that a file grows under: in sight where a run can go on with it."""
    final = Path(path).resolve()  # a link keeps pointing to the file; its target is replaced
    return final.with_name(f"{final.name}.part" if resume else f".{final.name}.tmp")


def _open_part(path: str | Path, resume: bool, keep: int | None = None) -> Part:
    if not is_file_to_be(path):
        return Direct(path)
    return Part(Path(path).resolve(), _temporary(path, resume), keep)


def _open_rejects(path: Path | None, resume: bool, state: State) -> Rejects:
    if path is None:
        return Rejects(None)
    kept = _open_part(path, resume, state.rejected) if state.rejected else None
    if kept is None and resume and is_file_to_be(path):
        _temporary(path, resume).unlink(missing_ok=True)  # of a run before the one that goes on
    return Rejects(lambda: _open_part(path, resume), state.rejects, kept)


def _journal_path(target: str | Path) -> Path:
    final = Path(target).resolve()
    return final.with_name(f"{final.name}.resume.json")


def _journal(source: str | Path, target: Path, predictor: Predictor, options: Options) -> Journal:
    """Return the journal, with everything that the bytes of the output depend on."""
    settings = predictor.settings
    return Journal(
        _journal_path(target),
        {
            "input size": _size(source),
            "version": scorer.__version__,
            "checkpoint": settings.model,
            "scorer.json": settings.digest,
            "engine": f"{type(predictor.engine).__name__} on {predictor.engine.device}",
            "libraries": _libraries(predictor.engine),
            "token budget": predictor.token_budget,
            "window rows": predictor.engine.window_rows,
            "max tokens": settings.encoding.max_length,
            "purpose": predictor.purpose,
            "prompt field": options.prompt_field,
            "response field": options.response_field,
            "key": options.key,
            "overwrite key": options.overwrite_key,
            "rejected": None if options.rejected is None else str(options.rejected),
            "max line": options.max_line,
            "shard": None if options.shard is None else str(options.shard),
        },
    )


def _libraries(engine: Engine) -> str:
    """Return the libraries that the last digits of a score depend on, with their versions."""
    names = {OnnxEngine: ["onnxruntime"], TorchEngine: ["torch", "transformers"]}
    return ", ".join(
        f"{name} {importlib.metadata.version(name)}"
        for name in ["tokenizers", *names.get(type(engine), [])]
    )


def _size(path: str | Path) -> int:
    try:
        return Path(path).stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be opened: {error.strerror or error}") from error


def _check_kept(path: str | Path, target: str | Path, kept: int) -> None:
    """Refuse to go on where bytes that an earlier run wrote are gone.

    Raises:
        DataError: Then.
    """
    part = _temporary(path, resume=True)
    size = part.stat().st_size if part.exists() else 0
    if size < kept:
        found = f"{size} bytes" if part.exists() else "missing"
        raise DataError(f"{part}: {found}, but {kept} bytes were written before; {_anew(target)}")


def _anew(target: str | Path) -> str:
    return f"remove {_journal_path(target)} to begin anew"


def _stands(target: Path, state: State) -> bool:
    """Tell whether the output of a complete run is there still.

    Raises:
        DataError: If it is another one.
    """
    if not target.is_file():
        return False
    if not is_parquet(target) and target.stat().st_size != state.output:
        raise DataError(
            f"{target}: {target.stat().st_size} bytes, but {state.output} were written; "
            f"{_anew(target)}"
        )
    return True


def _finished_before(
    target: str | Path, rejected: Path | None, predictor: Predictor, state: State
) -> Summary:
    if rejected is not None and state.rejected:
        part = _temporary(rejected, resume=True)
        if part.exists():
            rename(part, rejected.resolve())  # all that the run had left to do
    _log.info("%s is whole already", target)
    tally = Tally(predictor.settings.dimensions)
    tally.restore(state.tally)
    return _summary(tally, state, rejected)


def _forget_interrupted(target: str | Path, rejected: Path | None) -> None:
    """Remove what an interrupted run left of an output that is whole now."""
    if not is_file_to_be(target):
        return
    _journal_path(target).unlink(missing_ok=True)
    for path in (target, rejected):
        if path is not None:
            _temporary(path, resume=True).unlink(missing_ok=True)


def _summary(tally: Tally, state: State, rejected: Path | None) -> Summary:
    return tally.summary(state.seconds, state.rejects, rejected, state.fields)


def _rejected_path(target: str | Path, options: Options) -> Path | None:
    if options.rejected is not None:
        if str(options.rejected) == STANDARD_STREAM:
            raise DataError("rejected lines go into a file, not to standard output")
        path = Path(options.rejected)
        if options.shard is not None and is_file_to_be(path):
            path = options.shard.path(path)
        return path
    if not is_file_to_be(target):
        return None  # beside standard output or a device there is no place for a file
    return Path(f"{target}.rejected.jsonl")


def _refuse_same_files(source: str | Path, target: str | Path, rejected: Path | None) -> None:
    seen: set[Path] = set()
    for path in (source, target, rejected, *_own_files(target), *_own_files(rejected)):
        if path is None or str(path) == STANDARD_STREAM:
            continue
        real = Path(path).resolve()
        if real in seen:
            raise DataError(
                f"{path}: input, output and rejected lines must be different files, and none that "
                "a run keeps beside its output"
            )
        seen.add(real)


def _own_files(path: str | Path | None) -> list[Path]:
    """Return what a run makes and removes beside a file that it writes."""
    if path is None or not is_file_to_be(path):
        return []
    final = Path(path).resolve()
    names = [_temporary(path, resume=True), _temporary(path, resume=False), lock_path(final)]
    return [*names, _journal_path(path), table_path(final)]


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
