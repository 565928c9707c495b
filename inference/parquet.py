"""Parquet in and out by pyarrow (the extra `parquet`), a batch of rows at a time."""

from __future__ import annotations

import base64
import datetime
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scorer.checkpoint import Settings
from scorer.data.jsonl import BOM, Line, encode_row
from scorer.errors import DataError, MissingExtraError, RowError
from scorer.inference.batching import ROW_BYTES
from scorer.inference.fields import Fields, find_fields
from scorer.inference.options import Options
from scorer.inference.outputs import Output, Part, Rejects, naming, rename, table_path
from scorer.inference.sources import Place, Window, log_reject
from scorer.inference.workers import score_type
from scorer.result import Score

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtraError("Parquet", "parquet", "pyarrow") from error

ROW = "row"
"""Column that holds a line of JSONL, as it was, in Parquet made of JSONL."""

_GROUP_ROWS = 1 << 16  # of a row group that is written
_GROUP_BYTES = 32 << 20
_READ_BYTES = 1 << 20  # of a column at a time, in place of all that a row group has of it


class ParquetSource:
    """Rows of a Parquet file.

    Args:
        path: The file.
        options: Fields, key, limits, shard.
        place: Where an earlier run stopped; None begins at the beginning.

    Raises:
        DataError: If the file cannot be read, lacks the fields, has the key already, or is not what
            it was when the earlier run read it.
    """

    def __init__(self, path: Path, options: Options, place: Place | None = None) -> None:
        self._name, self._options = str(path), options
        try:
            self._bytes = path.stat().st_size
            self._file = pq.ParquetFile(path, buffer_size=_READ_BYTES, pre_buffer=False)
            self._digest = _footer_digest(path)
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{path}: cannot be opened as Parquet: {error}") from error
        self._rows_in_file = self._file.metadata.num_rows
        self._end = self._rows_in_file
        self._position = self._start = 0
        if options.shard is not None:
            self._start, self._end = options.shard.bounds(self._rows_in_file)
            self._position = self._start
        if place is not None:
            if place.digest != self._digest:
                raise DataError(f"{path}: not the same file any more as was read before")
            self._position = place.position
        names = list(self._file.schema_arrow.names)
        try:
            fields = find_fields(dict.fromkeys(names), options.prompt_field, options.response_field)
        except RowError as error:
            raise DataError(f"{path}: {error.problem}") from error
        if fields.context not in names:
            fields = Fields(fields.prompt, fields.response)
        self.fields: Fields | None = fields
        self._check_columns(fields, names)

    def _check_columns(self, fields: Fields, names: Sequence[str]) -> None:
        key = self._options.key
        if len(set(names)) < len(names):
            raise DataError(f"{self._name}: two columns of one name")
        for name in (fields.prompt, fields.response):
            if name not in names:
                raise DataError(f"{self._name}: no column {name!r}; it has {', '.join(names)}")
        if key in fields.names:
            raise DataError(f"{self._name}: {key} holds the text; the score needs another key")
        if key in names and not self._options.overwrite_key:
            raise DataError(f"{self._name}: there is a column {key} already")

    def __enter__(self) -> ParquetSource:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def schema(self) -> Any:
        """Columns, without one that the score replaces."""
        schema = self._file.schema_arrow
        index = schema.get_field_index(self._options.key)
        return schema if index < 0 else schema.remove(index)

    def place(self) -> Place:
        """Return where reading stands."""
        return Place(self._position, self._position - self._start, self._digest)

    def on_disk(self) -> int | None:
        """Return the share of the rows that is read, in bytes of the file."""
        return int(self._bytes * self._position // max(1, self._rows_in_file))

    def windows(self, rejects: Rejects, rows: int) -> Iterator[Window]:
        """Yield the rows that can be scored, so many at a time; the others go to `rejects`."""
        try:
            for batch in self._batches(rows):
                first = self._position
                self._position += batch.num_rows
                pairs, good = self._pairs(batch, first, rejects)
                if pairs:
                    kept = batch.select(self.schema.names)
                    kept = kept if len(good) == batch.num_rows else kept.take(pa.array(good))
                    yield Window(pairs, kept, self.place())
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{self._name}: cannot be read on: {error}") from error

    def _batches(self, rows: int) -> Iterator[Any]:
        """Yield the rows from the position to the end; cut the same wherever the position is."""
        metadata = self._file.metadata
        first = 0
        for number in range(metadata.num_row_groups):
            group = metadata.row_group(number)
            after = first + group.num_rows
            if after > self._position and first < self._end:
                # by the file's own figures
                row_bytes = max(1, group.total_byte_size // max(1, group.num_rows))
                size = max(1, min(rows, rows * ROW_BYTES // row_bytes))
                for batch in self._file.iter_batches(batch_size=size, row_groups=[number]):
                    start, stop = max(first, self._position), min(first + batch.num_rows, self._end)
                    if start < stop:
                        yield batch.slice(start - first, stop - start)
                    first += batch.num_rows
            first = after

    def _pairs(
        self, batch: Any, first: int, rejects: Rejects
    ) -> tuple[list[tuple[str, str]], list[int]]:
        assert self.fields is not None
        fields = self.fields
        columns = {name: _values(batch.column(name)) for name in fields.names}
        pairs, good = [], []
        for i in range(batch.num_rows):
            try:
                pair = fields.pair({name: values[i] for name, values in columns.items()})
                if sum(len(text.encode()) for text in pair) > self._options.max_line:
                    raise RowError(f"longer than {self._options.max_line} bytes")
                pairs.append(pair)
                good.append(i)
            except RowError as error:
                line = first + i + 1
                rejects.add(Line(line, json_lines(batch.slice(i, 1))[0]), error)
                log_reject(rejects, self._name, line, error)
        return pairs, good


def _footer_digest(path: Path) -> str:
    """Return the SHA-256 of a file's footer, which tells every chunk's place, size and extremes."""
    with path.open("rb") as stream:
        stream.seek(-8, 2)
        length = int.from_bytes(stream.read(4), "little")
        stream.seek(-8 - length, 2)
        return hashlib.sha256(stream.read(length)).hexdigest()


def _values(column: Any) -> list[object]:
    """Return the values of a column; see `_value`."""
    try:
        values: list[object] = column.to_pylist()
    except (ValueError, OverflowError):
        values = [_value(item) for item in column]
    return values


def _value(item: Any) -> object:
    """Return a value as Python's; bytes for text that is no UTF-8, text for what Python lacks."""
    try:
        value: object = item.as_py()
    except (ValueError, OverflowError):  # as UnicodeDecodeError; nanoseconds; years beyond 9999
        if isinstance(item, pa.DictionaryScalar):
            value = _value(item.value)
        elif isinstance(item, pa.StructScalar):
            value = {name: _value(item[name]) for name in item}
        elif isinstance(item, pa.ListScalar):
            value = [_value(member) for member in item.values]
        elif isinstance(item, pa.BinaryScalar):
            value = item.as_buffer().to_pybytes()
        else:
            value = item.cast(pa.string()).as_py()
    return value


def json_lines(batch: Any) -> list[bytes]:
    """Return the rows of a batch as lines of JSON.

    Dates and times are in ISO 8601, bytes in Base64; what JSON has no form for is its text.
    """
    names, columns = batch.schema.names, [_values(column) for column in batch.columns]
    return [
        encode_row({name: _plain(values[i]) for name, values in zip(names, columns, strict=True)})
        for i in range(batch.num_rows)
    ]


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float) and (value != value or abs(value) == float("inf")):
        return None  # JSON has neither NaN nor infinities
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


class ParquetSink:
    """Rows with their scores, on their way into a Parquet file.

    A Parquet file cannot be cut and written on, so until the end the rows are Arrow IPC streams, one
    a window, which can.

    Args:
        columns: Schema of the rows; None where they are lines of JSON.
        key: Column of the score, a struct.
        settings: The checkpoint's, for the struct's members.

    Raises:
        DataError: If the score would take the name of the lines' column.
    """

    def __init__(self, columns: Any, key: str, settings: Settings) -> None:
        if columns is None:
            if key == ROW:
                raise DataError(f"the column {ROW} holds the line; the score needs another key")
            columns = pa.schema([(ROW, pa.string())])
        self._type = score_type(settings)
        self._schema = columns.append(pa.field(key, self._type))

    def write(self, output: Output, rows: Any, scores: Sequence[Score]) -> None:
        """Write a window."""
        if isinstance(rows, list):
            texts = [raw.removeprefix(BOM).strip().decode("utf-8") for raw in rows]
            columns = [pa.array(texts, pa.string())]
        else:
            columns = rows.columns
        column = pa.array([score.to_dict() for score in scores], self._type)
        batch = pa.RecordBatch.from_arrays([*columns, column], schema=self._schema)
        buffer = pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, self._schema) as stream:
            stream.write_batch(batch)
        output.write(buffer.getvalue().to_pybytes())

    def finish(self, part: Part) -> None:
        """Make the Parquet file of what was written, under its own name."""
        part.output.end_frame()
        part.close()
        temporary = table_path(part.final)
        try:
            with naming(part.final), temporary.open("wb") as stream:
                with pq.ParquetWriter(stream, self._schema) as writer:
                    for table in _groups(part.temporary, self._schema):
                        writer.write_table(table, row_group_size=table.num_rows)
                Output(stream, str(part.final)).sync()
            rename(temporary, part.final)
        finally:
            temporary.unlink(missing_ok=True)
        part.discard()


def _groups(path: Path, schema: Any) -> Iterator[Any]:
    """Yield the batches of concatenated Arrow streams, in tables of the size of a row group."""
    batches: list[Any] = []
    size = path.stat().st_size
    with path.open("rb") as stream:
        while stream.tell() < size:
            batches.extend(pa.ipc.open_stream(stream))
            rows = sum(batch.num_rows for batch in batches)
            if rows >= _GROUP_ROWS or sum(batch.nbytes for batch in batches) >= _GROUP_BYTES:
                yield pa.Table.from_batches(batches, schema)
                batches = []
    if batches:
        yield pa.Table.from_batches(batches, schema)
