"""Scoring on a Ray cluster: one scorer per actor, CPU or GPU; Ray schedules, retries and reads.

A row that cannot be scored never disappears. A data set keeps it, without a score and with the
reason in the column `<key>_error`; of JSON lines it goes, with file, line and reason, into a
`*.rejected.jsonl` beside the scored ones. An actor that dies is started again, and what it had in
hand is scored again.
"""

from __future__ import annotations

import io
import logging
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click

from scorer.data.jsonl import (
    MAX_LINE,
    STANDARD_STREAM,
    Line,
    LongLine,
    encode_row,
    parse_line,
    split_lines,
)
from scorer.errors import DataError, MissingExtraError, RowError, ScorerError
from scorer.inference.batching import WINDOW_ROWS, windows
from scorer.inference.fields import Fields, find_fields
from scorer.inference.lines import make_room, splice
from scorer.inference.options import KEY
from scorer.inference.outputs import rejected_row
from scorer.inference.workers import Loading, pack, pair_or_reason, score_pairs, score_type
from scorer.result import Score

try:
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet
    import ray
    import ray.data
    import ray.exceptions
    from pyarrow.fs import FileSelector, FileType
    from ray.data.block import BlockAccessor
    from ray.data.datasource import BlockBasedFileDatasink, FileBasedDatasource
except ModuleNotFoundError as error:
    raise MissingExtraError("Scoring on Ray", "ray", str(error.name)) from error

ERROR_SUFFIX = "_error"
"""What the name of the column of reasons adds to the key's."""

SUCCESS_FILE = "_SUCCESS"
"""Empty file that a folder of scored files has once it is complete, as Hadoop and Spark write it."""

_PASSED_ON = (
    "model",
    "prompt_field",
    "response_field",
    "key",
    "overwrite_key",
    "purpose",
    "token_budget",
    "max_tokens",
)
_PROBED_LINES = 1000  # among which a row must show the names of its fields
_ROWS_PER_FILE = 100_000
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class Workers:
    """What Ray gives the actors that score.

    Attributes:
        num_cpus: CPU cores of each actor, and the threads that it uses. One suits a small encoder:
            batches side by side are faster than threads inside a batch.
        num_gpus: GPUs of each actor; 0 scores on the CPU, a fraction lets actors share a GPU.
        concurrency: Actors at most, or (fewest, most); None for as many as the cluster has room for.
        rows: Rows that an actor takes at a time, and is given again to another if it dies.
    """

    num_cpus: int = 1
    num_gpus: float = 0
    concurrency: int | tuple[int, int] | None = None
    rows: int = WINDOW_ROWS

    def __post_init__(self) -> None:
        if self.num_cpus < 1 or self.num_gpus < 0 or self.rows < 1:
            raise ValueError(f"{self}: num_cpus and rows must be at least 1, num_gpus at least 0")

    @property
    def device(self) -> str:
        """What each actor scores on."""
        return "cuda" if self.num_gpus else "cpu"

    @property
    def pool(self) -> Any:
        """The actors as Ray's strategy."""
        bounds = self.concurrency
        fewest, most = bounds if isinstance(bounds, tuple) else (1, bounds)
        return ray.data.ActorPoolStrategy(min_size=fewest, max_size=most)


@dataclass(frozen=True)
class Counts:
    """What came of the rows of `score_files`.

    Attributes:
        rows: Rows scored.
        rejected: Rows that could not be.
    """

    rows: int
    rejected: int


def score_dataset(
    ds: Any,
    model: str | Path | None = None,
    prompt_field: str | None = None,
    response_field: str | None = None,
    key: str = KEY,
    *,
    workers: Workers | None = None,
    purpose: str = "balanced",
    token_budget: int | None = None,
    max_tokens: int | None = None,
) -> Any:
    """Return a `ray.data.Dataset` with two columns more: the score, and why there is none.

    The column `key` is a struct with the fields of `Score.to_dict()`, null where a row could not
    be scored, e.g. because it has no response; `<key>_error` is the reason then, and null
    elsewhere. Every row stays, and its other columns are what they were. Nothing is computed
    before the data set that comes back is consumed.

    Args:
        ds: A `ray.data.Dataset` with a column of prompts and one of responses.
        model: Checkpoint folder or hub id, which the driver sends to the actors; None for the
            checkpoint that comes with the package.
        prompt_field: Column of the prompts; found among the known names if None.
        response_field: Column of the responses; likewise.
        key: Column of the scores.
        workers: Cores, GPUs and number of the actors.
        purpose: Which thresholds decide; see `Scorer.load`.
        token_budget: Tokens of a batch at most; see `Scorer.load`.
        max_tokens: Tokens of a pair at most; see `Scorer.load`.

    Raises:
        CheckpointError: If there is no such checkpoint or it is incomplete.
        DataError: If the data set lacks the columns to read, or has those to write.
        ValueError: If a setting is out of range.
    """
    workers = workers or Workers()
    loading = Loading(workers.device, purpose, token_budget, max_tokens)
    columns = _columns(ds)
    fields = _fields_of_columns(columns, prompt_field, response_field)
    for name in (key, key + ERROR_SUFFIX):
        if name in columns:
            raise DataError(f"the data set has a column {name!r} already; give another key")
    return _mapped(ds, _TableScorer, workers, loading, model, fields, key)


def score_files(
    source: str | Sequence[str],
    target: str,
    model: str | Path | None = None,
    prompt_field: str | None = None,
    response_field: str | None = None,
    key: str = KEY,
    *,
    overwrite_key: bool = False,
    workers: Workers | None = None,
    purpose: str = "balanced",
    token_budget: int | None = None,
    max_tokens: int | None = None,
) -> Counts:
    """Score files of JSON lines or Parquet into a folder and return the number of rows.

    JSON lines come out as they do from `score_jsonl`: `part-*.jsonl`, read in the order of their
    names, hold the rows in their order with every byte of them and the score last;
    `part-*.rejected.jsonl` hold the lines that cannot be scored, with `path`, `line`, `error` and
    `raw` (a line too long to be held is named alone). Parquet comes out as `part-*.parquet`, with
    the columns of `score_dataset`. The folder is complete once it holds `_SUCCESS`.

    Args:
        source: File, folder or a list of them, on any file system that Ray reads; compressed JSON
            lines too, by their suffix.
        target: Folder that is not there yet or empty, likewise.
        model: As for `score_dataset`; so are the others.
        prompt_field: Field of the prompt; found in the first good row if None.
        response_field: Field of the response; likewise.
        key: Key or column that the score goes under.
        overwrite_key: Replace what rows have under `key` already, and what Parquet has under
            `<key>_error`.
        workers: Cores, GPUs and number of the actors.
        purpose: Which thresholds decide.
        token_budget: Tokens of a batch at most.
        max_tokens: Tokens of a pair at most.

    Raises:
        CheckpointError: If there is no such checkpoint or it is incomplete.
        DataError: If files cannot be read or written, no field is found, or the folder is in use.
        ScorerError: If the work fails on the cluster; without `_SUCCESS`, the folder is no result.
        ValueError: If a setting is out of range.
    """
    workers = workers or Workers()
    loading = Loading(workers.device, purpose, token_budget, max_tokens)
    with _ray_errors():
        lines = _LineSource(source)
        parquet = lines.parquet_files()
        sink: _PartSink = _ParquetSink(target, key) if parquet else _LineSink(target)
        if parquet:
            ds = _in_order(ray.data.read_parquet(source))
            if overwrite_key:
                ds = _without_scores(ds, prompt_field, response_field, key)
            scored = score_dataset(
                ds,
                model,
                prompt_field,
                response_field,
                key,
                workers=workers,
                purpose=purpose,
                token_budget=token_budget,
                max_tokens=max_tokens,
            )
        else:
            ds = _in_order(ray.data.read_datasource(lines))
            fields = _fields_of_lines(ds, prompt_field, response_field)
            scored = _mapped(ds, _LineScorer, workers, loading, model, fields, key, overwrite_key)
        scored.write_datasink(sink)
    return sink.counts


def score_command(options: Mapping[str, Any]) -> int:
    """Run `scorer score --engine ray` and return its exit status: 1 where rows were rejected.

    Args:
        options: The command's options by name; those that say nothing on a cluster must be unset.

    Raises:
        ScorerError: As `score_files`, or if an option has no meaning here.
    """
    if STANDARD_STREAM in (*options["sources"], options["output"]):
        raise ScorerError("--engine ray reads files and writes a folder, not standard streams")
    for name in ("resume", "shard"):
        if options[name]:
            raise ScorerError(f"--{name} is for one machine; --engine ray writes a new folder")
    if options["rejected"] is not None:
        raise ScorerError("--rejected: --engine ray writes rejected lines into OUT itself")
    if options["device"] not in ("auto", "cpu", "cuda"):
        raise ScorerError(f"--device {options['device']}: --engine ray takes auto, cpu or cuda")
    if options["quiet"]:
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)
    counts = score_files(
        list(options["sources"]),
        options["output"],
        workers=Workers(options["threads"] or 1, num_gpus=int(options["device"] == "cuda")),
        **{name: options[name] for name in _PASSED_ON},
    )
    if not options["quiet"]:
        rejected = f", {counts.rejected:,} rejected" if counts.rejected else ""
        click.echo(f"{counts.rows:,} rows scored{rejected}, in {options['output']}")
    return 1 if counts.rejected else 0


def _mapped(
    ds: Any,
    actor: type,
    workers: Workers,
    loading: Loading,
    model: str | Path | None,
    *arguments: object,
) -> Any:
    """Return the data set that `actor` makes of `ds`, window by window."""
    _, files = pack(model, loading.max_tokens)
    reference = None if files is None else ray.put(files)
    # Small blocks: the work of one file reaches every actor, and little is lost with an actor.
    return ds.repartition(target_num_rows_per_block=workers.rows).map_batches(
        actor,
        batch_size=workers.rows,
        batch_format="pyarrow",
        fn_constructor_args=(loading, reference, workers.num_cpus, *arguments),
        compute=workers.pool,
        num_cpus=workers.num_cpus,
        num_gpus=workers.num_gpus or None,
    )


def _in_order(ds: Any) -> Any:
    """Return the data set, set to keep its rows' order."""
    ds.context.execution_options.preserve_order = True
    return ds


def _columns(ds: Any) -> list[str]:
    schema = ds.schema()
    return [] if schema is None else list(schema.names)


def _without_scores(ds: Any, prompt: str | None, response: str | None, key: str) -> Any:
    """Return the data set without the columns that scores and reasons will have.

    Raises:
        DataError: If one of them holds the text.
    """
    columns = _columns(ds)
    fields = _fields_of_columns(columns, prompt, response)
    older = [name for name in (key, key + ERROR_SUFFIX) if name in columns]
    for name in older:
        if name in fields.names:
            raise DataError(f"{name} holds the text; the score needs another key")
    return ds.drop_columns(older) if older else ds


def _fields_of_columns(columns: Sequence[str], prompt: str | None, response: str | None) -> Fields:
    try:
        fields = find_fields(dict.fromkeys(columns), prompt, response)
    except RowError as error:
        raise DataError(f"data set: {error.problem}") from error
    for name in (fields.prompt, fields.response):
        if name not in columns:
            raise DataError(f"the data set has no column {name!r}, only {', '.join(columns)}")
    return fields if fields.context in columns else replace(fields, context=None)


def _fields_of_lines(ds: Any, prompt: str | None, response: str | None) -> Fields:
    """Return the fields of the first good row, as a single machine finds them."""
    if prompt is not None and response is not None:
        return Fields(prompt, response)
    problem: RowError | None = None
    for line in ds.limit(_PROBED_LINES).iter_rows():
        try:
            _, row = _Line(**line).parsed()
            fields = find_fields(row, prompt, response)
            fields.pair(row)
            return fields
        except RowError as error:
            problem = problem or error
    if problem is None:
        return find_fields({"prompt": "", "response": ""}, prompt, response)  # no line at all
    raise DataError(f"none of the first {_PROBED_LINES} lines can be scored: {problem}")


@dataclass(frozen=True)
class _Line:
    """A line and its place; `raw` is None of one that is too long to be held."""

    path: str
    number: int
    raw: bytes | None

    def parsed(self) -> tuple[bytes, dict[str, object]]:
        """Return the line and the object that it holds.

        Raises:
            RowError: If it holds none.
        """
        if self.raw is None:
            raise RowError(f"longer than {MAX_LINE} bytes", path=self.path, line=self.number)
        row = parse_line(self.raw, self.path, self.number)
        if not isinstance(row, dict):
            raise RowError("not a JSON object", path=self.path, line=self.number)
        return self.raw, row

    def rejected(self, error: RowError) -> bytes:
        """Return the line of the rejected ones that says why, as a single machine writes it."""
        return encode_row({"path": self.path, **rejected_row(self.number, error, self.raw)})


@dataclass(frozen=True)
class _Row:
    raw: bytes
    pair: tuple[str, str]


_LINE_SCHEMA = pyarrow.schema(
    [("path", pyarrow.string()), ("number", pyarrow.int64()), ("raw", pyarrow.binary())]
)


def _place(line: Line | LongLine, path: str) -> _Line:
    return _Line(path, line.number, None if isinstance(line, LongLine) else line.raw)


def _size(line: _Line) -> int:
    return len(line.raw or b"")


def _refuse_used(filesystem: Any, folder: str) -> None:
    """Refuse to write where something lies already."""
    kind = filesystem.get_file_info(folder).type
    if kind is FileType.File:
        raise DataError(f"{folder}: is a file; Ray writes a folder")
    if kind is FileType.Directory and filesystem.get_file_info(FileSelector(folder)):
        raise DataError(f"{folder}: is not empty; Ray writes a new folder")


@contextmanager
def _ray_errors() -> Iterator[None]:
    """Turn the errors of Ray into ours: one line, without the workers' tracebacks."""
    try:
        yield
    except ray.exceptions.RayError as error:
        cause = error.cause if isinstance(error, ray.exceptions.RayTaskError) else error
        # What follows the first line is Ray's: hints and tracebacks of the workers.
        text = str(cause).strip().partition("\n")[0] or type(cause).__name__
        raise ScorerError(f"Ray: {text}") from error
    except (ValueError, OSError) as error:  # no such file, no files, no such file system
        raise DataError(str(error).strip().partition("\n")[0]) from error


class _Actor:
    """Loads the scorer once.

    Args:
        loading: How.
        files: Reference to the checkpoint's files; None for the shipped one.
        threads: The actor's CPU cores.
    """

    def __init__(self, loading: Loading, files: Any, threads: int) -> None:
        self._scorer = loading.load(None if files is None else ray.get(files), threads)


class _TableScorer(_Actor):
    """Adds the two columns to a table."""

    def __init__(
        self, loading: Loading, files: Any, threads: int, fields: Fields, key: str
    ) -> None:
        super().__init__(loading, files, threads)
        self._type = score_type(self._scorer.settings)
        self._fields, self._key = fields, key

    def __call__(self, table: Any) -> Any:
        rows = table.select(list(self._fields.names)).to_pylist()
        results = score_pairs(self._scorer, [pair_or_reason(row, self._fields) for row in rows])
        scores = [result.to_dict() if isinstance(result, Score) else None for result in results]
        reasons = [result.reason if isinstance(result, RowError) else None for result in results]
        for name, column in (
            (self._key, pyarrow.array(scores, self._type)),
            (self._key + ERROR_SUFFIX, pyarrow.array(reasons, pyarrow.string())),
        ):
            table = table.append_column(name, column)
        return table


class _LineScorer(_Actor):
    """Makes lines of scored rows, or of rejected ones, out of lines."""

    def __init__(
        self,
        loading: Loading,
        files: Any,
        threads: int,
        fields: Fields,
        key: str,
        overwrite_key: bool,
    ) -> None:
        super().__init__(loading, files, threads)
        self._fields, self._key, self._overwrite_key = fields, key, overwrite_key

    def __call__(self, table: Any) -> Any:
        lines = [_Line(**line) for line in table.to_pylist()]
        rows = [self._row(line) for line in lines]
        pairs = [row if isinstance(row, RowError) else row.pair for row in rows]
        output, rejected = [], []
        for line, row, result in zip(lines, rows, score_pairs(self._scorer, pairs), strict=True):
            if isinstance(row, _Row) and isinstance(result, Score):
                output.append(splice(row.raw, self._key, result.to_dict()))
            elif isinstance(result, RowError):
                output.append(line.rejected(result))
            rejected.append(isinstance(result, RowError))
        return pyarrow.table(
            {
                "line": pyarrow.array(output, pyarrow.binary()),
                "rejected": pyarrow.array(rejected, pyarrow.bool_()),
            }
        )

    def _row(self, line: _Line) -> _Row | RowError:
        try:
            raw, row = line.parsed()
            pair = self._fields.pair(row)
            raw = make_room(raw, row, self._key, self._fields, self._overwrite_key)
        except RowError as error:
            return error
        return _Row(raw, pair)


class _LineSource(FileBasedDatasource):
    """The lines of files, with their places.

    Args:
        paths: Files and folders.
    """

    def __init__(self, paths: str | Sequence[str]) -> None:
        super().__init__(paths)

    def parquet_files(self) -> list[str]:
        """Return the files, where all of them are Parquet; else nothing.

        Raises:
            DataError: If some are and some are not.
        """
        files = self._paths()
        parquet = [file for file in files if file.endswith(".parquet")]
        if parquet and len(parquet) < len(files):
            (other, *_) = set(files) - set(parquet)
            raise DataError(f"{parquet[0]} is Parquet and {other} is not; score one kind at a time")
        return parquet

    def _read_stream(self, f: Any, path: str) -> Iterator[Any]:
        with io.BufferedReader(f) as stream:
            lines = (_place(line, path) for line in split_lines(stream, path))
            for block in windows(lines, WINDOW_ROWS, size=_size, size_limit=_BLOCK_BYTES):
                yield pyarrow.Table.from_pylist([asdict(line) for line in block], _LINE_SCHEMA)


class _PartSink(BlockBasedFileDatasink):
    """Writes parts into a folder that nothing else is in, and marks it when it is complete.

    Args:
        folder: The folder.

    Raises:
        DataError: If something lies there already.
    """

    def __init__(self, folder: str) -> None:
        super().__init__(folder, min_rows_per_file=_ROWS_PER_FILE)
        _refuse_used(self.filesystem, self.path)  # before any work
        self.counts = Counts(0, 0)

    def write(self, blocks: Iterable[Any], ctx: Any) -> Counts:
        """Write the blocks of one task and return their numbers of rows."""
        tables = [BlockAccessor.for_block(block).to_arrow() for block in blocks]
        tables = [table for table in tables if table.num_rows]
        if not tables:
            return Counts(0, 0)
        table = pyarrow.concat_tables(tables)
        return self.write_part(posixpath.join(self.path, f"part-{ctx.task_idx:06}"), table)

    def write_part(self, path: str, table: Any) -> Counts:
        """Write one part to `path` and a suffix."""
        raise NotImplementedError

    def on_write_complete(self, result: Any) -> None:
        """Add up the counts and mark the folder as complete."""
        parts = result.write_returns
        self.counts = Counts(sum(part.rows for part in parts), sum(part.rejected for part in parts))
        self.on_write_start()  # makes the folder, where there was no row to make it for
        with self.open_output_stream(posixpath.join(self.path, SUCCESS_FILE)):
            pass


class _LineSink(_PartSink):
    """Writes scored lines and rejected ones, each to their own files."""

    def write_part(self, path: str, table: Any) -> Counts:
        rejected = table["rejected"]
        sizes = []
        for suffix, mask in (
            (".jsonl", pyarrow.compute.invert(rejected)),
            (".rejected.jsonl", rejected),
        ):
            lines = table["line"].filter(mask)
            sizes.append(len(lines))
            if lines:
                with self.open_output_stream(path + suffix) as stream:
                    for line in lines:
                        stream.write(line.as_buffer())
        return Counts(*sizes)


class _ParquetSink(_PartSink):
    """Writes tables; rows without a score stay in them.

    Args:
        folder: The folder.
        key: Column of the scores.
    """

    def __init__(self, folder: str, key: str) -> None:
        super().__init__(folder)
        self._key = key

    def write_part(self, path: str, table: Any) -> Counts:
        with self.open_output_stream(path + ".parquet") as stream:
            pyarrow.parquet.write_table(table, stream)
        rejected = table[self._key].null_count
        return Counts(len(table) - rejected, rejected)
