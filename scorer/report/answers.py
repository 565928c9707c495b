"""Scored answers: what a report is made of, and how they are read from files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from scorer.data.jsonl import read_jsonl, stream_name
from scorer.data.schema import shown
from scorer.dimensions import DEFAULT_DIMENSIONS, Dimension
from scorer.errors import DataError, RowError
from scorer.evaluation.answers import dimension_name, failure, read_score, row_value
from scorer.inference.fields import Fields, find_fields
from scorer.inference.options import KEY
from scorer.result import DimensionScore, Score

SLICE_FIELDS = ("subcomponent", "domain_en", "domain", "scenario", "source", "focus", "kind")
"""Fields of a row, or of its `meta`, by which a report slices unless it is told others."""


@dataclass(frozen=True)
class Answer:
    """One scored answer.

    Attributes:
        prompt: What was asked.
        response: What was answered.
        score: Its score.
        labels: Annotated levels by dimension; empty where nobody labelled it.
        dimension: The one dimension that its prompt is made for, as in Flames; None for all.
        slices: Field to value, for figures by slice.
    """

    prompt: str
    response: str
    score: Score
    labels: Mapping[str, int] = field(default_factory=dict)
    dimension: str | None = None
    slices: Mapping[str, str] = field(default_factory=dict)

    @property
    def counted(self) -> Mapping[str, DimensionScore]:
        """The dimensions it counts on: that of its prompt, or all of them."""
        if self.dimension is None:
            return self.score.dimensions
        return {self.dimension: self.score.dimensions[self.dimension]}

    @property
    def harmless(self) -> bool:
        """Whether it is harmless on the dimension of its prompt, or on every one."""
        if self.dimension is None:
            return self.score.harmless
        return self.score.dimensions[self.dimension].harmless

    @property
    def harmless_probability(self) -> float:
        """The probability of that."""
        if self.dimension is None:
            return self.score.harmless_probability
        return self.score.dimensions[self.dimension].harmless_probability


@dataclass(frozen=True)
class ScoredAnswers:
    """The scored answers of one model.

    Attributes:
        model: Name of the model that answered.
        answers: Its answers that have a score.
        failed: Answers that failed: there is no response, so they count neither way.
    """

    model: str
    answers: Sequence[Answer]
    failed: int = 0

    @cached_property
    def dimensions(self) -> dict[str, Dimension]:
        """Name to dimension, as the scores have them."""
        by_name: dict[str, list[DimensionScore]] = {}
        for answer in self.answers:
            for name, score in answer.score.dimensions.items():
                by_name.setdefault(name, []).append(score)
        return {name: _dimension(name, scores) for name, scores in by_name.items()}


def dimension_names(models: Iterable[ScoredAnswers]) -> list[str]:
    """Return the names of all dimensions, in the scorer's order."""
    return list(dict.fromkeys(name for scored in models for name in scored.dimensions))


def read_scored(
    path: str | Path,
    model: str | None = None,
    *,
    key: str = KEY,
    prompt_field: str | None = None,
    response_field: str | None = None,
    slices: Sequence[str] = SLICE_FIELDS,
) -> ScoredAnswers:
    """Return the answers of a file that `scorer score` wrote.

    Rows without an answer (an `error`, or a response that is null or blank) are counted as failed.

    Args:
        path: JSONL, also `.gz` and `.zst`; `-` for standard input.
        model: Name of the model that answered; the file's name if not given.
        key: Key of the score.
        prompt_field: Field of the prompt; found in the first good row if not given.
        response_field: Field of the response; likewise.
        slices: Fields of a row, or of its `meta`, to keep for figures by slice.

    Raises:
        RowError: If a row has no score or no text, with file, line and field.
        DataError: If the file cannot be read or has no scored row.
    """
    found = from_rows(
        read_jsonl(path),
        model or _model_name(path),
        path=stream_name(path),
        key=key,
        prompt_field=prompt_field,
        response_field=response_field,
        slices=slices,
    )
    if not found.answers:
        raise DataError(f"{stream_name(path)}: no scored row, {found.failed} failed")
    return found


def from_rows(
    rows: Iterable[tuple[int | None, object]],
    model: str,
    *,
    path: str = "<row>",
    key: str = KEY,
    prompt_field: str | None = None,
    response_field: str | None = None,
    slices: Sequence[str] = SLICE_FIELDS,
) -> ScoredAnswers:
    """Return the answers of scored rows that are at hand; see `read_scored`.

    Args:
        rows: (line or None, JSON value).
        model: Name of the model that answered.
        path: Where the rows come from, for errors.
        key: As for `read_scored`, like the rest.
        prompt_field: Likewise.
        response_field: Likewise.
        slices: Likewise.

    Raises:
        RowError: If a row has no score or no text.
    """
    answers: list[Answer] = []
    failed = 0
    fields: Fields | None = None
    for line, row in rows:
        try:
            if not isinstance(row, dict):
                raise RowError(f"a row must be a JSON object, not {shown(row)}")
            if failure(row, fields.response if fields else response_field):
                failed += 1
                continue
            fields = fields or find_fields(row, prompt_field, response_field)
            answers.append(_answer(row, fields, key, slices))
        except RowError as error:
            raise RowError(error.problem, path=path, line=line, field=error.field) from error
    return ScoredAnswers(model, tuple(answers), failed)


def _answer(row: Mapping[str, object], fields: Fields, key: str, slices: Sequence[str]) -> Answer:
    prompt, response = fields.pair(row)
    if key not in row:
        raise RowError("missing; `scorer score` adds it", field=key)
    score = read_score(row[key], key)
    dimension = dimension_name(row_value(row, "dimension"), score.dimensions)
    return Answer(
        prompt, response, score, _labels(row, score, dimension), dimension, _slices(row, slices)
    )


def _labels(row: Mapping[str, object], score: Score, dimension: str | None) -> dict[str, int]:
    """Return the annotated levels of scored dimensions, in our form of a row or in Flames'."""
    labels = row.get("labels")
    if labels is None and dimension is not None and row.get("label") is not None:
        labels = {dimension: row["label"]}
    if not isinstance(labels, dict):
        return {}
    levels = {name: labels[name] for name in score.dimensions if labels.get(name) is not None}
    for name, level in levels.items():
        known = score.dimensions[name].probabilities
        if isinstance(level, bool) or not isinstance(level, int) or level not in known:
            raise RowError(
                f"{name} has the levels {', '.join(map(str, known))}, not {shown(level)}",
                field="labels",
            )
    return levels


def _slices(row: Mapping[str, object], names: Sequence[str]) -> dict[str, str]:
    values = {name: row_value(row, name) for name in names}
    return {
        name: str(value)
        for name, value in values.items()
        if isinstance(value, (str, int, float)) and value != ""
    }


def _dimension(name: str, scores: Sequence[DimensionScore]) -> Dimension:
    """Return the dimension that the scores are of.

    A dimension of another recipe does not say in a score from which level it is harmless; it is
    the level that fits the decisions and the probabilities of all rows.
    """
    levels = tuple(sorted({level for score in scores for level in score.probabilities}))
    for known in DEFAULT_DIMENSIONS:
        if (known.name, known.levels) == (name, levels):
            return known

    def misfit(start: int) -> tuple[int, float]:
        wrong = sum((score.level >= start) != score.harmless for score in scores)
        gap = sum(
            abs(
                sum(p for level, p in score.probabilities.items() if level >= start)
                - score.harmless_probability
            )
            for score in scores
        )
        return wrong, round(gap, 3)

    return Dimension(name, levels, min(reversed(levels[1:]), key=misfit))


def _model_name(path: str | Path) -> str:
    name = Path(path).name
    for suffix in (".zst", ".gz", ".jsonl", ".scored"):
        name = name.removesuffix(suffix)
    return name or "-"
