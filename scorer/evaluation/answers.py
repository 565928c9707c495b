"""Files of a model's answers: scored or not, and with answers that failed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.data.jsonl import read_jsonl, stream_name
from scorer.data.schema import shown
from scorer.dimensions import OVERALL
from scorer.errors import DataError, RowError
from scorer.inference.fields import PROMPT_FIELDS, RESPONSE_FIELDS, Fields, find_fields
from scorer.inference.options import KEY
from scorer.result import Score

if TYPE_CHECKING:
    from scorer.api import Scorer


@dataclass(frozen=True)
class Answer:
    """One row of an answers file.

    Attributes:
        prompt: What was asked; may be empty where the answer failed.
        response: The answer; empty where there is none.
        id: Identifier, or empty.
        failure: Why there is no answer to judge; empty where there is one.
        score: Its score, if it has one already.
        row: The row as it stands in the file.
        line: 1-based line number.
    """

    prompt: str
    response: str
    id: str
    failure: str
    score: Score | None
    row: Mapping[str, Any]
    line: int


def read_answers(path: str | Path, key: str = KEY) -> list[Answer]:
    """Return the answers of a JSONL file, those that failed too.

    An answer failed where the row's `error` is not null, or its response is missing, null or
    blank. Fields are found as `scorer score` finds them.

    Args:
        path: JSONL, also `.gz` and `.zst`; `-` for standard input.
        key: Where a scored row has its score.

    Raises:
        RowError: If a line is no JSON object, or prompt, response or score have another form.
        DataError: If the file cannot be read or has no rows.
    """
    name = stream_name(path)
    rows: list[tuple[int, dict[str, Any]]] = []
    for line, row in read_jsonl(path):
        if not isinstance(row, dict):
            raise RowError(f"a row must be a JSON object, not {shown(row)}", path=name, line=line)
        rows.append((line, row))
    if not rows:
        raise DataError(f"{name}: no rows")
    fields = _fields(rows, name)
    answers = []
    for line, row in rows:
        try:
            answers.append(_answer(row, line, fields, key))
        except RowError as error:
            raise RowError(error.problem, path=name, line=line, field=error.field) from error
    return answers


def all_scores(
    pairs: Sequence[tuple[str, str]], scores: Sequence[Score | None], load: Callable[[], Scorer]
) -> list[Score]:
    """Return a score of every pair: the one that it has, or else a new one.

    Args:
        pairs: (prompt, response).
        scores: What they have already, as long as `pairs`.
        load: Gives the scorer; called only where a pair has no score.
    """
    missing = [pair for pair, score in zip(pairs, scores, strict=True) if score is None]
    new = iter(load().score_batch(missing) if missing else ())
    return [next(new) if score is None else score for score in scores]


def one_scorer(scores: Sequence[Score], name: str) -> tuple[str, str]:
    """Return (model, purpose) of the scorer that gave all scores.

    Args:
        scores: At least one.
        name: What they are the scores of, for the error.

    Raises:
        DataError: If there were several scorers, whose figures would tell nothing.
    """
    scorers = sorted({(score.model, score.purpose) for score in scores})
    if len(scorers) > 1:
        listed = " and ".join(f"{model} ({purpose})" for model, purpose in scorers)
        raise DataError(f"{name}: rows are scored by {listed}; score all of them by one")
    return scorers[0]


def read_score(value: object, key: str = KEY) -> Score:
    """Return the score that a row has.

    Args:
        value: What the row has under the key.
        key: The key, for errors.

    Raises:
        RowError: If it is no score: of another form, or with what no scorer gives, such as a
            probability above 1.
    """
    try:
        return _checked(Score.from_dict(value))
    except KeyError as error:
        raise RowError(f"not a score: {error} is missing", field=key) from error
    except (TypeError, ValueError) as error:
        raise RowError(f"not a score: {error}", field=key) from error


def row_value(row: Mapping[str, Any], name: str) -> Any:
    """Return what a row, or else its `meta`, has under a name; None where neither has anything."""
    value, meta = row.get(name), row.get("meta")
    return meta.get(name) if value is None and isinstance(meta, dict) else value


def dimension_name(name: object, known: Iterable[str]) -> str | None:
    """Return our name of a dimension, also as Flames writes it (`Data protection`).

    Args:
        name: What a row says.
        known: Our names.

    Returns:
        One of `known`; None where the name is none of them.
    """
    if not isinstance(name, str):
        return None
    plain = name.strip().casefold().replace(" ", "_").replace("-", "_")
    return next((ours for ours in known if ours.casefold() == plain), None)


def failure(row: Mapping[str, Any], response_field: str | None = None) -> str:
    """Return why a row has no answer to judge, whatever score it has; empty where it has one.

    Args:
        row: A row of answers.
        response_field: Field of the response; the first of the known ones if None.
    """
    if row.get("error") is not None:
        return str(row["error"]) or "error"
    names = RESPONSE_FIELDS if response_field is None else (response_field,)
    response = next((row[name] for name in names if name in row), None)
    if response is None:
        return "no response"
    return "blank response" if isinstance(response, str) and not response.strip() else ""


def _checked(score: Score) -> Score:
    """Return the score; raise `ValueError` where it says what cannot be."""
    parts = score.dimensions.values()
    for p in (score.harmless_probability, *(part.harmless_probability for part in parts)):
        if not 0 <= p <= 1:
            raise ValueError(f"{p} is no probability")
    for name, part in score.dimensions.items():
        if not name.isidentifier() or name == OVERALL:
            raise ValueError(f"{shown(name)} is no name of a dimension")
        if part.level not in part.probabilities or len(part.probabilities) < 2:
            raise ValueError(f"{name} has the level {part.level} of {list(part.probabilities)}")
    if not score.dimensions:
        raise ValueError("it has no dimensions")
    return score


def _fields(rows: Sequence[tuple[int, dict[str, Any]]], name: str) -> Fields:
    """Return the fields of the first row that has both; failed rows may lack the response."""
    problem: RowError | None = None
    for line, row in rows:
        try:
            return find_fields(row)
        except RowError as error:
            if row.get("error") is None and problem is None:
                problem = RowError(error.problem, path=name, line=line, field=error.field)
    if problem is not None:
        raise problem
    return Fields(prompt=PROMPT_FIELDS[0], response=RESPONSE_FIELDS[0])  # all failed


def _answer(row: dict[str, Any], line: int, fields: Fields, key: str) -> Answer:
    why = failure(row, fields.response)
    if why:
        prompt, response = str(row.get(fields.prompt) or ""), ""
    else:
        prompt, response = fields.pair(row)
    score, identifier = row.get(key), row.get("id")
    return Answer(
        prompt=prompt,
        response=response,
        id="" if identifier is None else str(identifier),
        failure=why,
        score=None if why or score is None else read_score(score, key),
        row=row,
        line=line,
    )
