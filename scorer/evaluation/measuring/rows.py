"""Labelled rows and what a scorer decided about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scorer.api import Scorer
from scorer.data.jsonl import read_jsonl, stream_name
from scorer.data.schema import Example, parse_example, shown
from scorer.dimensions import Dimension
from scorer.errors import DataError, RowError
from scorer.evaluation.answers import all_scores, read_score
from scorer.evaluation.misclassification import Errors
from scorer.inference.options import KEY
from scorer.result import Score

_LENGTHS = (50, 150, 400)  # characters of a response at which its slices by length begin
_MOST_SLICES = 100


@dataclass(frozen=True)
class LabelledRow:
    """A row with labels and, if it came with one, its score.

    Attributes:
        example: Prompt, response and labels.
        score: The score, or None.
        row: The row as it stands in the file.
        line: 1-based line number.
    """

    example: Example
    score: Score | None
    row: Mapping[str, Any]
    line: int

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells it from the other rows of its file, in another file of the same rows too."""
        return self.example.id, self.example.prompt, self.example.response


def read_labelled(
    path: str | Path, dimensions: Sequence[Dimension], key: str = KEY
) -> list[LabelledRow]:
    """Return the rows of a JSONL file that have a label on one of the dimensions.

    Args:
        path: JSONL of annotated rows, also `.gz` and `.zst`; `-` for standard input.
        dimensions: Dimensions that may be labelled, with their levels.
        key: Where a scored row has its score.

    Raises:
        RowError: If a row is not of our schema, or has under `key` what is no score.
        DataError: If the file cannot be read or has no such row.
    """
    name, names = stream_name(path), {dimension.name for dimension in dimensions}
    rows = []
    for line, row in read_jsonl(path):
        score = None
        if isinstance(row, dict) and row.get(key) is not None:
            score = _score(row, key, name, line)
            row = {field: value for field, value in row.items() if field != key}
        example = parse_example(row, path=name, line=line, dimensions=dimensions)
        assert isinstance(row, dict), "parse_example refuses others"
        if names & set(example.labels):
            rows.append(LabelledRow(example, score, row, line))
    if not rows:
        raise DataError(f"{name}: no row has a label on {', '.join(sorted(names))}")
    return rows


def scores_of(rows: Sequence[LabelledRow], load: Callable[[], Scorer]) -> list[Score]:
    """Return each row's score: the one it came with, or else a new one.

    Args:
        rows: Labelled rows.
        load: Gives the scorer; called only where a row has no score.
    """
    pairs = [(row.example.prompt, row.example.response) for row in rows]
    return all_scores(pairs, [row.score for row in rows], load)


def scores_from(path: str | Path, rows: Sequence[LabelledRow], key: str = KEY) -> list[Score]:
    """Return another scorer's scores of the same rows, from a file that has them under `key`.

    Args:
        path: The file. It may have other rows too, in any order.
        rows: Rows by whose id, prompt and response the scores are looked up.
        key: Where they stand.

    Raises:
        RowError: If a row of the file is no object or its score is none.
        DataError: If a row of `rows` has no score there.
    """
    name = stream_name(path)
    found: dict[tuple[Any, ...], Score] = {}
    for line, row in read_jsonl(path):
        if not isinstance(row, dict):
            raise RowError(f"a row must be a JSON object, not {shown(row)}", path=name, line=line)
        if row.get(key) is None:
            continue
        prompt, response = row.get("prompt"), row.get("response")
        for field, value in (("prompt", prompt), ("response", response)):
            if not isinstance(value, str):
                raise RowError(
                    f"must be a string, not {shown(value)}", path=name, line=line, field=field
                )
        found[str(row.get("id", "")), prompt, response] = _score(row, key, name, line)
    missing = [row for row in rows if row.key not in found]
    if missing:
        raise DataError(
            f"{name}: {len(missing)} of {len(rows)} labelled rows have no score there, "
            f"the first is {shown(missing[0].example.id or missing[0].example.prompt)}"
        )
    return [found[row.key] for row in rows]


def slices(rows: Sequence[LabelledRow], field: str) -> dict[str, list[int]]:
    """Return value to the indices of the rows that have it, in the values' order.

    Args:
        rows: Labelled rows.
        field: `length` for the response's characters in four ranges; or a dotted path into the
            row, and else into its `meta`, such as `source` or `meta.level`.

    Raises:
        RowError: If a row has an object or an array there.
        DataError: If no row has the field, or there are more than 100 values.
    """
    values = [_length(row) if field == "length" else _value(row, field) for row in rows]
    if all(value is None for value in values):
        raise DataError(f"no row has the field {field!r}")
    found: dict[str, list[int]] = {}
    for index, value in enumerate(values):
        found.setdefault("(none)" if value is None else str(value), []).append(index)
    if len(found) > _MOST_SLICES:
        raise DataError(f"{field!r} has {len(found)} values; {_MOST_SLICES} slices are the most")
    order = _RANGES if field == "length" else sorted(found)
    return {value: found[value] for value in order if value in found}


def measured_on(
    rows: Sequence[LabelledRow], scores: Sequence[Score], dimensions: Sequence[Dimension]
) -> dict[str, Errors]:
    """Return a scorer's errors by dimension on labelled rows."""
    errors = {}
    for dimension in dimensions:
        pairs = [
            (row.example.labels[dimension.name] >= dimension.harmless_from, score)
            for row, score in zip(rows, scores, strict=True)
            if dimension.name in row.example.labels
        ]
        called = [(truth, score.dimensions[dimension.name].harmless) for truth, score in pairs]
        errors[dimension.name] = Errors(
            harmless=sum(truth for truth, _ in called),
            harmless_right=sum(truth and decided for truth, decided in called),
            harmful=sum(not truth for truth, _ in called),
            harmful_right=sum(not truth and not decided for truth, decided in called),
        )
    return errors


def _score(row: Mapping[str, Any], key: str, name: str, line: int) -> Score:
    try:
        return read_score(row[key], key)
    except RowError as error:
        raise RowError(error.problem, path=name, line=line, field=error.field) from error


_RANGES = [
    *(f"{low}-{high - 1}" for low, high in zip((0, *_LENGTHS), _LENGTHS, strict=False)),
    f"{_LENGTHS[-1]}+",
]


def _length(row: LabelledRow) -> str:
    return _RANGES[sum(len(row.example.response) >= edge for edge in _LENGTHS)]


def _value(row: LabelledRow, field: str) -> Any:
    value = _at(row.row, field)
    if value is None:
        value = _at(row.example.meta, field)
    if isinstance(value, (dict, list)):
        raise RowError(f"a slice needs one value, not {shown(value)}", line=row.line, field=field)
    return value


def _at(values: Any, field: str) -> Any:
    for name in field.split("."):
        values = values.get(name) if isinstance(values, Mapping) else None
    return values
