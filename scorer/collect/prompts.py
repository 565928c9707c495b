"""The prompts that are asked: a benchmark's file, or the rows of any JSONL, JSON or CSV file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scorer.checkpoint import sha256
from scorer.collect.answer import ROW_FIELDS
from scorer.data.imports import read_source
from scorer.data.records import Record, Tally
from scorer.data.schema import shown, to_row
from scorer.errors import DataError, RowError
from scorer.inference.fields import Fields, find_fields

BENCHMARKS = ("flames", "cvalues")
"""Benchmarks whose published prompt files are read; keys of `scorer.data.sources.SOURCES`."""


@dataclass(frozen=True)
class Item:
    """One prompt to be asked.

    Attributes:
        id: What tells it from the others of its file.
        prompt: What is asked.
        row: The row that its answer is added to.
        line: Its 1-based line in the file, if known.
    """

    id: str
    prompt: str
    row: Mapping[str, Any]
    line: int | None = None


@dataclass(frozen=True)
class Prompts:
    """The prompts of a file.

    Attributes:
        items: In the file's order, with different ids.
        file: The file.
        sha256: Digest of the file, in hex.
        benchmark: One of `BENCHMARKS`, or None for rows of another kind.
        field: Field that the prompts come from.
    """

    items: tuple[Item, ...]
    file: Path
    sha256: str
    benchmark: str | None
    field: str


def read_benchmark(name: str, path: str | Path) -> Prompts:
    """Return the prompts of a benchmark.

    A row is `id`, `prompt`, `source` and `meta`: dimension and sub-component for Flames, domain for
    CValues.

    Args:
        name: One of `BENCHMARKS`.
        path: The published file, or a folder that holds it.

    Raises:
        ValueError: If there is no such benchmark.
        RowError: If a row is not as published, or an id is given twice.
        DataError: If the file is missing or empty.
    """
    if name not in BENCHMARKS:
        raise ValueError(f"unknown benchmark {name!r}; expected one of {', '.join(BENCHMARKS)}")
    tally = Tally()
    rows = [to_row(row) for row in read_source(name, path, tally)]
    file = tally.files[0]
    items = (Item(row["id"], row["prompt"], row) for row in rows)
    return Prompts(_checked(items, file), file, sha256(file), name, "prompt")


def read_rows(path: str | Path, prompt_field: str | None = None) -> Prompts:
    """Return the prompts of a JSONL, JSON or CSV file.

    A row stays as it is; one without `id` gets its number in the file as one.

    Args:
        path: The file.
        prompt_field: Field of the prompt; found in the first row, as `scorer score` finds it, if
            not given.

    Raises:
        RowError: If a row has no prompt, has a field that collecting writes itself, or an id that
            another row has.
        DataError: If the file cannot be read or is empty.
    """
    file = Path(path)
    fields: Fields | None = None
    items = []
    for record in Tally().records(file):
        fields = fields or _fields(record, prompt_field)
        items.append(_item(record, fields))
    field = prompt_field or (fields.prompt if fields else "prompt")
    return Prompts(_checked(items, file), file, sha256(file), None, field)


def _fields(record: Record, prompt_field: str | None) -> Fields:
    try:
        return find_fields(record.values, prompt_field, response="response")
    except RowError as error:
        raise record.error(error.problem) from error


def _item(record: Record, fields: Fields) -> Item:
    for name in ROW_FIELDS:
        if name in record.values:
            raise record.error("collecting writes this field itself; rename or remove it", name)
    try:
        prompt = fields.prompt_text(record.values)
    except RowError as error:
        raise record.error(error.problem, error.field) from error
    identifier = record.values.get("id", f"prompt-{record.number:04d}")
    if isinstance(identifier, bool) or not isinstance(identifier, (str, int)):
        raise record.error(f"must be text or a whole number, not {shown(identifier)}", "id")
    return Item(str(identifier), prompt, {"id": identifier, **record.values}, record.line)


def _checked(items: Iterable[Item], file: Path) -> tuple[Item, ...]:
    """Return the items; raise where two have one id, or a prompt is blank or cannot be sent."""
    checked = tuple(_each_checked(items, file))
    if not checked:
        raise DataError(f"{file}: holds no prompts")
    return checked


def _each_checked(items: Iterable[Item], file: Path) -> Iterator[Item]:
    seen = set()
    for item in items:
        place: dict[str, Any] = {"path": str(file), "line": item.line}
        if item.id in seen:
            raise RowError(f"{shown(item.id)} is the id of two rows", field="id", **place)
        if not item.prompt.strip():
            raise RowError(f"the prompt of {shown(item.id)} is blank", **place)
        try:
            item.prompt.encode("utf-8")
        except UnicodeEncodeError as error:
            lone = f"U+{ord(item.prompt[error.start]):04X}"
            raise RowError(
                f"the prompt of {shown(item.id)} has the lone surrogate {lone}, half of a "
                "character, which cannot be sent",
                **place,
            ) from error
        seen.add(item.id)
        yield item
