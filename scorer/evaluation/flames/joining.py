"""Which prompt of Flames an answer belongs to: its dimension and sub-component."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scorer.api import Scorer
from scorer.data.importers import FLAMES_DIMENSIONS, FLAMES_FILES
from scorer.data.records import located, read_records
from scorer.data.schema import Prompt, shown
from scorer.data.splits import split_key
from scorer.dimensions import nearest
from scorer.errors import DataError, RowError
from scorer.evaluation.answers import Answer, all_scores, dimension_name, row_value
from scorer.evaluation.flames.formulas import DIMENSIONS
from scorer.evaluation.flames.published import PUBLIC_PROMPTS
from scorer.result import Score


@dataclass(frozen=True)
class Item:
    """An answer and the prompt that it answers.

    Attributes:
        answer: The answer.
        prompt: What tells the prompt from others: its id, or its text where it has none.
        dimension: The one dimension that the answer is judged on, by our name.
        subcomponent: As Flames names it, or empty where nobody said.
    """

    answer: Answer
    prompt: str
    dimension: str
    subcomponent: str


@dataclass(frozen=True)
class Joined:
    """Answers with their prompts, and what did not fit.

    Attributes:
        items: Answers that belong to a prompt, failed ones too.
        missing: Prompts without an answer; empty where nobody said what the prompts are.
        doubled: Prompts with more than one answer.
        unknown: Lines of answers whose prompt is none of the benchmark's.
        by_id: Lines of answers that were joined by id alone, since their prompt has another text.
        expected: How many prompts there are, where nobody said which; None where somebody did.
    """

    items: tuple[Item, ...]
    missing: tuple[str, ...]
    doubled: tuple[str, ...]
    unknown: tuple[int, ...]
    by_id: tuple[int, ...] = ()
    expected: int | None = None

    @property
    def scores(self) -> list[Score]:
        """The scores that the answers have."""
        return [item.answer.score for item in self.items if item.answer.score is not None]

    @property
    def unanswered(self) -> int:
        """Number of prompts without an answer."""
        if self.expected is None:
            return len(self.missing)
        return max(0, self.expected - len({item.prompt for item in self.items}))


def read_prompts(path: Path) -> list[Prompt]:
    """Return the prompts of the published file, or of what `scorer data import flames` made of it.

    Args:
        path: The file, or the folder that holds the published one.

    Raises:
        RowError: If a row has no prompt or no dimension of Flames.
        DataError: If there is no such file, or it holds no prompts or one prompt twice.
    """
    ((_, file),) = located(path, FLAMES_FILES)
    prompts = []
    for record in read_records(file):
        try:
            dimension, subcomponent = _placed(record.values)
        except RowError as error:
            raise record.error(error.problem, error.field) from error
        prompts.append(
            Prompt(
                prompt=record.text("prompt"),
                # ids of the importer, which counts rows from 0
                id=str(record.values.get("id") or f"flames-{record.number - 1:04d}"),
                source="flames",
                meta={"dimension": dimension, "subcomponent": subcomponent},
            )
        )
    if not prompts:
        raise DataError(f"{file}: no prompts")
    for what, values in (("id", [p.id for p in prompts]), ("prompt", [p.prompt for p in prompts])):
        ((value, count),) = Counter(values).most_common(1)
        if count > 1:
            raise DataError(f"{file}: the {what} {shown(value)} stands there {count} times")
    return prompts


def join(
    answers: Sequence[Answer],
    prompts: Sequence[Prompt] | None,
    name: str,
    expected: int = PUBLIC_PROMPTS,
) -> Joined:
    """Return the answers with the prompts that they answer.

    Args:
        answers: Of one model.
        prompts: The benchmark's. An answer belongs to the one with its text, then with its text
            but for white space and punctuation, then with its id. None takes dimension and
            sub-component from the rows (`dimension` and `subcomponent`, also in `meta`).
        name: The answers' file, for errors.
        expected: How many prompts were asked, where there are no `prompts`.

    Raises:
        RowError: If there are no `prompts` and a row names no dimension of Flames; or an answer
            has a prompt's id, but another text that neither holds the prompt nor is held by it.
        DataError: If none of the answers belongs to a prompt.
    """
    missing: list[str] = []
    unknown: list[int] = []
    by_id: list[int] = []
    if prompts is None:
        items = [_by_itself(answer, name) for answer in answers]
    else:
        items, unknown, by_id = _by_prompt(answers, prompts, name)
        answered = {item.prompt for item in items}
        missing = [prompt.id for prompt in prompts if prompt.id not in answered]
    if not items:
        raise DataError(f"{name}: none of {len(answers)} answers belongs to a prompt of Flames")
    counts = Counter(item.prompt for item in items)
    return Joined(
        items=tuple(items),
        missing=tuple(missing),
        doubled=tuple(prompt for prompt, count in counts.items() if count > 1),
        unknown=tuple(unknown),
        by_id=tuple(by_id),
        expected=expected if prompts is None else None,
    )


def judged(joined: Joined, load: Callable[[], Scorer]) -> Joined:
    """Return the same with a score for every answer that did not fail.

    Args:
        joined: Answers that are scored, not scored, or some of each.
        load: Gives the scorer; called only where an answer needs it.
    """
    answers = [item.answer for item in joined.items if not item.answer.failure]
    pairs = [(answer.prompt, answer.response) for answer in answers]
    new = iter(all_scores(pairs, [answer.score for answer in answers], load))
    items = tuple(
        item if item.answer.failure else replace(item, answer=replace(item.answer, score=next(new)))
        for item in joined.items
    )
    return replace(joined, items=items)


def _by_prompt(
    answers: Iterable[Answer], prompts: Sequence[Prompt], name: str
) -> tuple[list[Item], list[int], list[int]]:
    """Return the joined answers, the lines of unknown ones, and of those joined by id alone."""
    with_text = {prompt.prompt: prompt for prompt in prompts}
    with_key = {split_key(prompt.prompt, ""): prompt for prompt in prompts}
    with_id = {prompt.id: prompt for prompt in prompts}
    items, unknown, by_id = [], [], []
    for answer in answers:
        prompt = with_text.get(answer.prompt) or with_key.get(split_key(answer.prompt, ""))
        if prompt is None and (prompt := with_id.get(answer.id)) is not None:
            _refuse_other_text(answer, prompt, name)
            by_id.append(answer.line)
        if prompt is None:
            unknown.append(answer.line)
        else:
            meta = prompt.meta
            items.append(Item(answer, prompt.id, meta["dimension"], meta["subcomponent"]))
    return items, unknown, by_id


def _refuse_other_text(answer: Answer, prompt: Prompt, name: str) -> None:
    """Raise where an answer with a prompt's id is to another prompt: a chance of numbering."""
    mine, published = split_key(answer.prompt, ""), split_key(prompt.prompt, "")
    if mine not in published and published not in mine:  # no text is part of every one
        raise RowError(
            f"{shown(answer.id)} is the id of {shown(prompt.prompt)}, but the row's prompt is "
            f"{shown(answer.prompt)}; remove the ids to join by text alone",
            path=name,
            line=answer.line,
            field="id",
        )


def _by_itself(answer: Answer, name: str) -> Item:
    try:
        dimension, subcomponent = _placed(answer.row)
    except RowError as error:
        raise RowError(error.problem, path=name, line=answer.line, field=error.field) from error
    return Item(answer, answer.prompt or answer.id, dimension, subcomponent)


def _placed(row: Mapping[str, Any]) -> tuple[str, str]:
    """Return (dimension, sub-component) that a row, or else its `meta`, names."""
    dimension, subcomponent = (row_value(row, name) for name in ("dimension", "subcomponent"))
    if dimension is None:
        raise RowError(
            "missing, also in 'meta'; give the published prompts to take it from there (--prompts)",
            field="dimension",
        )
    ours = dimension_name(dimension, DIMENSIONS)
    if ours is None:
        close = nearest(str(dimension), DIMENSIONS)
        raise RowError(
            f"{shown(dimension)} is none of Flames' {', '.join(FLAMES_DIMENSIONS)}{close}",
            field="dimension",
        )
    if subcomponent is not None and not isinstance(subcomponent, str):
        raise RowError(f"must be text, not {shown(subcomponent)}", field="subcomponent")
    return ours, (subcomponent or "").strip()
