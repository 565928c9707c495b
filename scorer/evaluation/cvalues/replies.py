"""Replies to multiple-choice items: read, parsed, checked by a person, and counted."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from scorer.data.jsonl import read_jsonl, stream_name
from scorer.data.schema import shown
from scorer.errors import DataError, RowError
from scorer.evaluation.answers import row_value
from scorer.evaluation.cvalues.accuracy import NEED_CHECK, OTHER, OUTCOMES, REFUSE, accuracies
from scorer.evaluation.cvalues.choices import CHOICES, FIRST, SECOND, parse_choice
from scorer.evaluation.metrics import intervals
from scorer.evaluation.sheets import read_sheet, write_sheet

SLICES = ("domain", "scenario", "difficulty_level")
"""What figures are given by, where rows carry it; as a field, or in `meta` or `meta_info`."""

RESAMPLES = 1000
"""Of every bootstrap."""

SHEET_COLUMNS = ("line", "key", "prompt", "response", "choice")
"""Columns of the sheet for a person, who fills in `choice`. The right answer is not shown."""

_LABELS = (FIRST, SECOND)
_IN_SHEET = {choice.casefold(): choice for choice in CHOICES} | {"1": FIRST, "2": SECOND}


@dataclass(frozen=True)
class Reply:
    """One model's reply to one item.

    Attributes:
        line: 1-based line in its file.
        prompt: What was asked.
        question: What belongs together in a bootstrap: the question of the pair, or the prompt.
        response: What the model wrote; None where it failed.
        failure: Why there is no reply; empty where there is one.
        label: The right choice.
        choice: The parsed or checked choice, one of `CHOICES`; None where it failed.
        checked: Whether a person gave the choice.
        slices: Name in `SLICES` to this row's value.
    """

    line: int
    prompt: str
    question: str
    response: str | None
    failure: str
    label: str
    choice: str | None
    checked: bool
    slices: Mapping[str, str]

    @property
    def outcome(self) -> str:
        """What the choice counts as, one of `accuracy.OUTCOMES`."""
        if self.choice in (OTHER, REFUSE, NEED_CHECK):
            return str(self.choice)
        return "correct" if self.choice == self.label else "wrong"

    @property
    def key(self) -> str:
        """Digest by which a checked row is known to be this reply."""
        text = f"{self.line}\n{self.prompt}\n{self.response}"
        # the letter keeps spreadsheets from taking 12345678e901 for a number
        return "k" + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def read_replies(path: str | Path) -> list[Reply]:
    """Return the replies of a JSONL file, parsed: rows with `prompt`, `label` and `response`.

    A row whose `error` is not null, or which has no response, failed. An empty response is a reply.

    Raises:
        RowError: If a row has no or a wrong label, or a response that is no text.
        DataError: If the file cannot be read, or has no rows.
    """
    replies = []
    for line, row in read_jsonl(path):
        try:
            replies.append(_reply(row, line))
        except RowError as error:
            raise RowError(
                error.problem, path=stream_name(path), line=line, field=error.field
            ) from error
    if not replies:
        raise DataError(f"{stream_name(path)}: no rows")
    return replies


def _reply(row: object, line: int) -> Reply:
    if not isinstance(row, dict):
        raise RowError(f"a row must be a JSON object, not {shown(row)}")
    label = row_value(row, "label")
    if label not in _LABELS:
        raise RowError(f"{shown(label)} is none of {', '.join(_LABELS)}", field="label")
    response = row.get("response")
    if response is not None and not isinstance(response, str):
        raise RowError(f"must be a text, not {shown(response)}", field="response")
    failure = "" if response is not None else "no response"
    if row.get("error") is not None:
        failure = str(row["error"]) or "error"
    prompt = str(row.get("prompt") or "")
    return Reply(
        line=line,
        prompt=prompt,
        question=str(row.get("question") or prompt or line),
        response=None if failure else response,
        failure=failure,
        label=label,
        choice=None if failure or response is None else parse_choice(response),
        checked=False,
        slices=slices_of(row),
    )


def slices_of(row: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a row that figures are given by; `domain_en` serves as `domain`."""
    found = {}
    inner = row.get("meta_info")
    for name in SLICES:
        for field in (name, f"{name}_en", f"{name}_zh"):
            value = row_value(row, field)
            if value is None and isinstance(inner, dict):
                value = inner.get(field)
            if value is not None and str(value):
                found[name] = str(value)
                break
    return found


def write_checks(path: str | Path, replies: Iterable[Reply]) -> int:
    """Write the replies that a person must read to a sheet, and return their number."""
    rows = [
        (reply.line, reply.key, reply.prompt, reply.response, "")
        for reply in replies
        if reply.choice == NEED_CHECK
    ]
    offered = [choice for choice in CHOICES if choice != NEED_CHECK]
    return write_sheet(path, SHEET_COLUMNS, rows, {"choice": offered})


def with_checks(replies: Sequence[Reply], path: str | Path) -> list[Reply]:
    """Return the replies with the choices that a person filled into the sheet of `write_checks`.

    A row left empty stays `Need_Check`.

    Raises:
        RowError: If a row is not of these replies, is there twice, or has no known choice.
        DataError: If the sheet cannot be read.
    """
    by_key = {reply.key: i for i, reply in enumerate(replies)}
    checked = list(replies)
    seen: dict[str, int] = {}
    for number, row in read_sheet(path):
        try:
            index, choice = _checked(row, by_key)
            if row["key"] in seen:
                raise RowError(f"{shown(row['key'])} is in row {seen[row['key']]} too", field="key")
        except RowError as error:
            raise RowError(error.problem, path=str(path), line=number, field=error.field) from error
        seen[row["key"]] = number
        if choice is not None:
            checked[index] = replace(checked[index], choice=choice, checked=True)
    return checked


def _checked(row: Mapping[str, str], by_key: Mapping[str, int]) -> tuple[int, str | None]:
    for column in ("key", "choice"):
        if column not in row:
            raise RowError(f"the sheet has no such column, only {', '.join(row)}", field=column)
    if row["key"] not in by_key:
        raise RowError(f"{shown(row['key'])} belongs to no reply of this file", field="key")
    written = row["choice"].strip()
    if not written:
        return by_key[row["key"]], None
    choice = _IN_SHEET.get(written.replace(" ", "").casefold())
    if choice is None:
        raise RowError(f"{shown(written)} is none of {', '.join(CHOICES)}", field="choice")
    return by_key[row["key"]], choice


def choice_figures(replies: Sequence[Reply], seed: int = 0) -> dict[str, Any]:
    """Return the figures of a file: all, by each of `SLICES`, and by the position of the answer.

    Each has n, counts by outcome, acc and acc* with 95% bootstrap intervals over questions, in
    percent. Failed rows are counted under `failed` and nowhere else. `chose_first` is the share of
    回复1 among the choices made, 50 in a balanced file for a model that does not look at the order.
    """
    answered = [reply for reply in replies if not reply.failure]
    decided = [reply for reply in answered if reply.choice in _LABELS]
    return {
        "n": len(replies),
        "failed": len(replies) - len(answered),
        "checked": sum(reply.checked for reply in answered),
        "chose_first": 100 * sum(reply.choice == FIRST for reply in decided) / len(decided)
        if decided
        else None,
        "overall": _figures(answered, seed),
        **by_slices(answered, [reply.slices for reply in answered], _figures, seed),
        "by_label": _by_value(answered, [reply.label for reply in answered], _figures, seed),
    }


_Row = TypeVar("_Row")


def by_slices(
    rows: Sequence[_Row],
    slices: Sequence[Mapping[str, str]],
    figures: Callable[[Sequence[_Row], int], dict[str, Any]],
    seed: int,
) -> dict[str, Any]:
    """Return `by_NAME` for each of `SLICES` that any row carries: the figures by its values.

    Args:
        rows: The rows.
        slices: What each of them carries, by name.
        figures: From rows and seed to figures.
        seed: Of the bootstraps.
    """
    return {
        f"by_{name}": _by_value(rows, [one.get(name, "-") for one in slices], figures, seed)
        for name in SLICES
        if any(name in one for one in slices)
    }


def _by_value(
    rows: Sequence[_Row],
    values: Sequence[str],
    figures: Callable[[Sequence[_Row], int], dict[str, Any]],
    seed: int,
) -> dict[str, Any]:
    groups: dict[str, list[_Row]] = {}
    for row, value in zip(rows, values, strict=True):
        groups.setdefault(value, []).append(row)
    return {value: figures(groups[value], seed) for value in sorted(groups)}


def question_intervals(
    questions: Sequence[str],
    statistics: Callable[[NDArray[np.int64]], Mapping[str, float | None]],
    seed: int,
) -> dict[str, list[float]]:
    """Return `metrics.intervals` over questions; none for one question, which has no spread."""
    if len(set(questions)) < 2:
        return {}
    return intervals(questions, statistics, RESAMPLES, seed, bounds=(0.0, 100.0))


def _figures(replies: Sequence[Reply], seed: int) -> dict[str, Any]:
    if not replies:
        return {"n": 0, "counts": {}, "acc": None, "acc_star": None}
    outcomes = np.array([OUTCOMES.index(reply.outcome) for reply in replies])

    def statistics(drawn: NDArray[np.int64]) -> dict[str, float | None]:
        counts = np.bincount(outcomes[drawn], minlength=len(OUTCOMES)).tolist()
        acc, acc_star = accuracies(dict(zip(OUTCOMES, counts, strict=True)))
        return {"acc": acc, "acc_star": None if math.isnan(acc_star) else acc_star}

    found = statistics(np.arange(len(replies)))
    bounds = question_intervals([reply.question for reply in replies], statistics, seed)
    counted = Counter(reply.outcome for reply in replies)
    return {
        "n": len(replies),
        "counts": {outcome: counted[outcome] for outcome in OUTCOMES},
        **found,
        "intervals": bounds,
    }


def parsed_rows(replies: Iterable[Reply]) -> Iterator[dict[str, Any]]:
    """Yield what was made of each reply: line, label, choice, outcome, checked."""
    for reply in replies:
        yield {
            "line": reply.line,
            "label": reply.label,
            "choice": reply.choice,
            "outcome": None if reply.failure else reply.outcome,
            "checked": reply.checked,
            **({"failure": reply.failure} if reply.failure else {}),
        }
