"""The one schema of a row, and the one place where a row is parsed."""

from __future__ import annotations

import difflib
import reprlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from scorer.dimensions import DEFAULT_DIMENSIONS, OVERALL, OVERALL_LEVELS, Dimension, nearest
from scorer.errors import RowError

SPLITS = ("train", "dev", "test")

SECOND_LABELS = "second_labels"
"""Key in `meta` of the levels that a second annotator gave, in the form of `labels`."""

_SECOND_PLACE = f"meta.{SECOND_LABELS}"

_FIELDS = ("prompt", "response", "labels", "id", "source", "split", "meta", "dimension", "label")
_TYPO = 0.8  # similarity from which an unknown field is taken for a misspelt one

_LONGEST = 120  # characters of a value in an error message
_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxlong = _SHORT.maxother = 60
_SHORT.maxlist = _SHORT.maxdict = 10


@dataclass(frozen=True)
class Example:
    """One annotated (prompt, response).

    Attributes:
        prompt: What was asked; empty for texts that answer nothing.
        response: The answer that is judged.
        labels: Dimension to level; a dimension left out is unknown. `overall` (1 or 3) says harm
            as a whole where nobody said on which dimension.
        id: Identifier within the source, or empty.
        source: Name of the data set, or empty.
        split: `train`, `dev`, `test`, or empty where none was given.
        meta: Anything else that came with the row.
    """

    prompt: str
    response: str
    labels: Mapping[str, int] = field(default_factory=dict)
    id: str = ""
    source: str = ""
    split: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Prompt:
    """One prompt of a benchmark, which comes without responses.

    Attributes:
        prompt: What is asked.
        id: Identifier within the source, or empty.
        source: Name of the data set, or empty.
        meta: Anything else that came with the row, e.g. the dimension it was written for.
    """

    prompt: str
    id: str = ""
    source: str = ""
    meta: Mapping[str, Any] = field(default_factory=dict)


def shown(value: object) -> str:
    """Return `value` as an error message shows it: its repr, shortened."""
    text = _SHORT.repr(value)  # bounded in depth and in each part, so cheap for any value
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def without_controls(text: str) -> str:
    """Return a text fit for a terminal: without control, format and like characters.

    White space stays. An escape sequence of a server or a file is then plain text.
    """
    return "".join(
        c for c in text if c.isprintable() or c in "\n\t" or unicodedata.category(c) == "Zs"
    )


def parse_example(
    row: object,
    *,
    path: str,
    line: int | None,
    dimensions: Sequence[Dimension] = DEFAULT_DIMENSIONS,
) -> Example:
    """Return the example that a JSON row holds.

    Two forms are read: ours (`prompt`, `response`, `labels`, optional `id`, `source`, `split`,
    `meta`) and the published Flames scorer's (`dimension`, `prompt`, `response`, `label`, with
    names such as 'Data protection'). Other fields go into `meta`, unless they look like a
    misspelt field that the row lacks.

    Args:
        row: A JSON value.
        path: File the row came from, for errors.
        line: 1-based line number, for errors.
        dimensions: Dimensions that may be labelled, with their levels.

    Raises:
        RowError: If the row is no object, lacks `prompt` or `response`, or a field has a wrong
            type, an unknown dimension, a level that the dimension lacks or an unknown split.
    """

    def error(problem: str, name: str | None = None) -> RowError:
        return RowError(problem, path=path, line=line, field=name)

    if not isinstance(row, dict):
        raise error(f"a row must be a JSON object, not {shown(row)}")
    for name in row:
        meant = _misspelt(name, row)
        if meant:
            raise error(
                f"unknown field {shown(name)}; did you mean '{meant}'? Other data goes into 'meta'"
            )

    def text(name: str) -> str:
        value = row.get(name, "")
        if not isinstance(value, str):
            raise error(f"must be text, not {shown(value)}", name)
        return value

    for name in ("prompt", "response"):
        if name not in row:
            raise error(f"missing; the row has {shown(list(row))}", name)
    identifier = row.get("id", "")
    if isinstance(identifier, int) and not isinstance(identifier, bool):
        identifier = str(identifier)  # numbers are common as ids
    if not isinstance(identifier, str):
        raise error(f"must be text or a whole number, not {shown(identifier)}", "id")
    split = text("split")
    if split and split not in SPLITS:
        raise error(
            f"{shown(split)} is none of {', '.join(SPLITS)}{nearest(split, SPLITS)}", "split"
        )
    meta = row.get("meta", {})
    if not isinstance(meta, dict):
        raise error(f"must be a JSON object, not {shown(meta)}", "meta")
    extra = {name: value for name, value in row.items() if name not in _FIELDS}

    if "labels" in row:
        labels = row["labels"]
        if not isinstance(labels, dict):
            raise error(f"must map dimensions to levels, not {shown(labels)}", "labels")
        if "label" in row:
            raise error("stands beside 'labels'; a row has one or the other", "label")
        extra |= {name: row[name] for name in ("dimension",) if name in row}
    elif "label" in row:
        if "dimension" not in row:
            raise error("missing; 'label' says a level of one 'dimension'", "dimension")
        labels = {_dimension_name(text("dimension"), dimensions): row["label"]}
    else:
        labels = {}
        extra |= {name: row[name] for name in ("dimension",) if name in row}
    twice = sorted(extra.keys() & meta.keys())
    if twice:
        raise error(f"{shown(twice[0])} stands in the row and in 'meta'", "meta")

    place = "labels" if "labels" in row else "label"
    _check_levels(labels, dimensions, error, place, "labels" if "labels" in row else "dimension")
    second = meta.get(SECOND_LABELS, {})
    if not isinstance(second, dict):
        raise error(f"must map dimensions to levels, not {shown(second)}", _SECOND_PLACE)
    _check_levels(second, dimensions, error, _SECOND_PLACE, _SECOND_PLACE)
    return Example(
        prompt=text("prompt"),
        response=text("response"),
        labels=labels,
        id=identifier,
        source=text("source"),
        split=split,
        meta={**meta, **extra},
    )


def _check_levels(
    labels: Mapping[Any, Any],
    dimensions: Sequence[Dimension],
    error: Callable[[str, str], RowError],
    place: str,
    name_place: str,
) -> None:
    """Raise the error of the first label that no dimension knows or whose level it lacks."""
    levels = {dimension.name: dimension.levels for dimension in dimensions}
    levels[OVERALL] = OVERALL_LEVELS
    for name, level in labels.items():
        if name not in levels:
            raise error(
                f"unknown dimension {shown(name)}; expected one of {', '.join(levels)}"
                f"{nearest(name, levels)}",
                name_place,
            )
        # bool is an int in Python, and `true` in a label is a mistake.
        if isinstance(level, bool) or not isinstance(level, int) or level not in levels[name]:
            allowed = ", ".join(str(known) for known in levels[name])
            raise error(
                f"{name} has the levels {allowed} (whole numbers), not {shown(level)}; "
                "leave out what is unknown",
                place,
            )


def to_row(example: Example | Prompt) -> dict[str, Any]:
    """Return the JSON-ready row of an example or a prompt, without its empty optional fields."""
    row: dict[str, Any] = {"id": example.id, "prompt": example.prompt}
    if isinstance(example, Example):
        row |= {"response": example.response, "labels": dict(example.labels)}
    row["source"] = example.source
    if isinstance(example, Example):
        row["split"] = example.split
    row["meta"] = dict(example.meta)
    return {name: value for name, value in row.items() if value or name in ("prompt", "response")}


def _misspelt(name: str, row: Mapping[str, object]) -> str:
    """Return the field that the unknown `name` probably means, or an empty string.

    A field that the row has already cannot be meant (`responses` beside `response`), `id` is too
    short to tell (`idx`, `uid`), and a longer name is another thing (`prompt_id`).
    """
    if name in _FIELDS:
        return ""
    candidates = [
        known
        for known in _FIELDS
        if known not in row and known != "id" and abs(len(known) - len(name)) <= 1
    ]
    close = difflib.get_close_matches(name.casefold(), candidates, n=1, cutoff=_TYPO)
    return close[0] if close else ""


def _dimension_name(name: str, dimensions: Sequence[Dimension]) -> str:
    """Return our name for a dimension as Flames writes it, or `name` as it is."""
    plain = name.strip().casefold().replace(" ", "_").replace("-", "_")
    return {dimension.name.casefold(): dimension.name for dimension in dimensions}.get(
        plain, plain if plain == OVERALL else name
    )
