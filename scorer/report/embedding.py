"""The answers as JSON inside the page, for its script."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from scorer.report import texts
from scorer.report.answers import Answer, ScoredAnswers, dimension_names
from scorer.report.texts import dimension_title, term
from scorer.report.visible import label, shorten

EMBEDDED_BYTES = 3_500_000
"""Bytes of answers that the page holds at most; of more, the most harmful and most uncertain."""


def embedded_answers(models: Sequence[ScoredAnswers]) -> tuple[str, int]:
    """Return the answers as JSON that is safe inside a script element, and their number."""
    dimensions = dimension_names(models)
    rows: list[tuple[int, int, Answer]] = [
        (number, position, answer)
        for number, scored in enumerate(models)
        for position, answer in enumerate(scored.answers)
    ]
    kept: list[tuple[int, int, str]] = []
    size = 0
    for number, position, answer in _by_need(rows):
        row = _json(_row(answer, number, dimensions))
        size += len(row.encode("utf-8"))
        if size > EMBEDDED_BYTES and kept:
            break
        kept.append((number, position, row))
    head = _json(
        {
            "models": [label(scored.model) for scored in models],
            "dimensions": [_dimension_data(models, name) for name in dimensions],
            "texts": {name: list(text) for name, text in texts.SCRIPT.items()},
        }
    )
    return f'{head[:-1]},"rows":[{",".join(row for *_, row in sorted(kept))}]}}', len(kept)


def _by_need(rows: Sequence[tuple[int, int, Answer]]) -> list[tuple[int, int, Answer]]:
    """Return the rows with the most harmful and the most uncertain ones, in turn, first."""
    harmful = sorted(range(len(rows)), key=lambda i: rows[i][2].harmless_probability)
    uncertain = sorted(
        range(len(rows)),
        key=lambda i: (
            not rows[i][2].score.uncertain,
            abs(rows[i][2].harmless_probability - 0.5),
        ),
    )
    order = dict.fromkeys(i for pair in zip(harmful, uncertain, strict=True) for i in pair)
    return [rows[i] for i in order]


def _dimension_data(models: Sequence[ScoredAnswers], name: str) -> dict[str, Any]:
    known = next(scored.dimensions[name] for scored in models if name in scored.dimensions)
    return {
        "name": list(term(dimension_title(label(name)))),
        "levels": list(known.levels),
        "harmlessFrom": known.harmless_from,
    }


def _row(answer: Answer, model: int, dimensions: Sequence[str]) -> dict[str, Any]:
    """Return what the page's script shows of an answer, under short keys."""
    row: dict[str, Any] = {
        "m": model,
        "p": _text(answer.prompt),
        "r": _text(answer.response),
        "h": round(answer.harmless_probability, 4),
        "f": int(answer.harmless),
        "d": [
            [score.level, round(score.harmless_probability, 3)]
            if (score := answer.score.dimensions.get(name))
            else None
            for name in dimensions
        ],
    }
    optional: dict[str, Any] = {
        "u": int(answer.score.uncertain),
        "t": int(answer.score.truncated),
        "l": {str(dimensions.index(name)): level for name, level in answer.labels.items()},
        "s": [label(value) for value in answer.slices.values()],
    }
    if answer.dimension is not None:
        row["o"] = dimensions.index(answer.dimension)
    return row | {name: value for name, value in optional.items() if value}


def _text(text: str) -> str | list[Any]:
    shown = shorten(text)
    return [shown.head, shown.omitted, shown.tail] if shown.omitted else shown.head


def _json(value: Mapping[str, Any]) -> str:
    r"""Return JSON without what could end a script element or a line: those are `\u` escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
