"""Figures over scored answers, as the tables and plots of a report show them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.evaluation.bootstrap import mean_interval, wilson
from scorer.report.answers import Answer, ScoredAnswers
from scorer.report.visible import label

LENGTHS = (50, 100, 200, 400, 800)
"""Characters of a response at which the next slice by length begins."""

LENGTH_NAMES = (
    *(f"{low}–{high - 1}" for low, high in zip((0, *LENGTHS), LENGTHS, strict=False)),
    f"≥ {LENGTHS[-1]}",
)

MOST_VALUES = 12
"""Values of a slice that are shown; the rarer ones are taken together."""

OTHER = "other"

_LONGEST_VALUE = 24  # characters of a slice's value that a plot has room for


@dataclass(frozen=True)
class Share:
    """How many of n answers are harmless.

    Attributes:
        harmless: Their number.
        n: Of how many, n > 0.
    """

    harmless: int
    n: int

    @property
    def rate(self) -> float:
        """Percentage of harmless answers."""
        return 100 * self.harmless / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval of the percentage (Wilson 1927, JASA 22)."""
        low, high = wilson(self.harmless, self.n)
        return 100 * low, 100 * high


@dataclass(frozen=True)
class MeanShare:
    """The unweighted mean of the dimensions' shares, as Flames takes it.

    Attributes:
        shares: Of each dimension; at least one.
    """

    shares: Sequence[Share]

    @property
    def n(self) -> int:
        """Number of answers of all dimensions."""
        return sum(share.n for share in self.shares)

    @property
    def rate(self) -> float:
        """Mean of the percentages."""
        return sum(share.rate for share in self.shares) / len(self.shares)

    @property
    def interval(self) -> tuple[float, float]:
        """Its 95% interval, from the dimensions' Wilson intervals; see `mean_interval`."""
        low, high = mean_interval(
            [share.rate for share in self.shares], [share.interval for share in self.shares]
        )
        return low, high


Rate = Share | MeanShare


def by_prompt_dimension(models: Iterable[ScoredAnswers]) -> bool:
    """Tell whether every answer is to a prompt made for one dimension, as in Flames."""
    return all(answer.dimension is not None for scored in models for answer in scored.answers)


def overall(scored: ScoredAnswers, mean: bool) -> Rate:
    """Return the share of harmless answers of a model.

    Args:
        scored: Its answers.
        mean: Take the mean over dimensions, for `by_prompt_dimension`.
    """
    if mean:
        return MeanShare(tuple(by_dimension(scored.answers).values()))
    return share(answer.harmless for answer in scored.answers)


def share(flags: Iterable[bool]) -> Share:
    """Return the share of flags that are true."""
    values = list(flags)
    return Share(sum(values), len(values))


def by_dimension(answers: Iterable[Answer]) -> dict[str, Share]:
    """Return the share of harmless answers on each dimension, of those that count on it."""
    flags: dict[str, list[bool]] = {}
    for answer in answers:
        for name in answer.score.dimensions:
            flags.setdefault(name, [])  # so that the order is the scorer's
        for name, score in answer.counted.items():
            flags[name].append(score.harmless)
    return {name: share(values) for name, values in flags.items() if values}


def level_counts(answers: Iterable[Answer]) -> dict[str, Counter[int]]:
    """Return how often each level was decided, by dimension."""
    counts: dict[str, Counter[int]] = {}
    for answer in answers:
        for name in answer.score.dimensions:
            counts.setdefault(name, Counter())
        for name, score in answer.counted.items():
            counts[name][score.level] += 1
    return {name: found for name, found in counts.items() if found}


def by_length(answers: Iterable[Answer]) -> dict[str, Share]:
    """Return the share of harmless answers by the response's length in characters."""
    return _grouped(
        answers,
        lambda answer: LENGTH_NAMES[int(np.digitize(len(answer.response), LENGTHS))],
        LENGTH_NAMES,
    )


def slice_values(models: Iterable[ScoredAnswers], field: str) -> list[str]:
    """Return the values of a field that are shown, as they are shown, the most frequent first."""
    counts = Counter(
        _value(answer, field)
        for scored in models
        for answer in scored.answers
        if field in answer.slices
    )
    values = [value for value, _ in counts.most_common(MOST_VALUES)]
    return [*values, OTHER] if len(counts) > MOST_VALUES and OTHER not in values else values


def by_slice(answers: Iterable[Answer], field: str, values: Sequence[str]) -> dict[str, Share]:
    """Return the share of harmless answers by a field's value; see `slice_values`."""
    known = set(values)
    return _grouped(
        (answer for answer in answers if field in answer.slices),
        lambda answer: value if (value := _value(answer, field)) in known else OTHER,
        values,
    )


def _value(answer: Answer, field: str) -> str:
    return label(answer.slices[field], _LONGEST_VALUE)


@dataclass(frozen=True)
class Labelled:
    """Decisions on one dimension beside the annotated levels; arrays of shape (N,), N > 0.

    Attributes:
        truth: Annotated levels.
        decided: Decided levels.
        harmless: Whether the annotated level counts as harmless.
        called_harmless: Whether the decided one does.
        probability: P(harmless).
    """

    truth: NDArray[np.int64]
    decided: NDArray[np.int64]
    harmless: NDArray[np.bool_]
    called_harmless: NDArray[np.bool_]
    probability: NDArray[np.float64]


def labelled(scored: ScoredAnswers) -> dict[str, Labelled]:
    """Return what was decided on labelled rows, by dimension; empty without labels."""
    found: dict[str, Labelled] = {}
    for name, dimension in scored.dimensions.items():
        rows = [
            (answer.labels[name], answer.score.dimensions[name])
            for answer in scored.answers
            if name in answer.labels
        ]
        if rows:
            truth = np.array([level for level, _ in rows], dtype=np.int64)
            found[name] = Labelled(
                truth=truth,
                decided=np.array([score.level for _, score in rows], dtype=np.int64),
                harmless=truth >= dimension.harmless_from,
                called_harmless=np.array([score.harmless for _, score in rows]),
                probability=np.array([score.harmless_probability for _, score in rows]),
            )
    return found


def pooled(parts: Mapping[str, Labelled]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return (P(harmless), whether harmless) over all dimensions together, shape (N,) both."""
    return (
        np.concatenate([part.probability for part in parts.values()]),
        np.concatenate([part.harmless for part in parts.values()]),
    )


def _grouped(
    answers: Iterable[Answer], group: Callable[[Answer], str], order: Sequence[str]
) -> dict[str, Share]:
    flags: dict[str, list[bool]] = {name: [] for name in order}
    for answer in answers:
        flags[group(answer)].append(answer.harmless)
    return {name: share(values) for name, values in flags.items() if values}
