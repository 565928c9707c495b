"""From logits to calibrated level probabilities and decided levels; training and scoring share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.checkpoint import Settings, Target
from scorer.dimensions import Dimension
from scorer.result import DimensionScore, Score

Floats = NDArray[np.float32] | NDArray[np.float64]


def calibrated(logits: Floats, targets: Sequence[Target]) -> NDArray[np.float64]:
    """Return P(level ≥ k) per target: the sigmoid of logit / temperature; shape (N, T) both."""
    temperatures = np.array([target.temperature for target in targets])
    scaled = np.asarray(logits, dtype=np.float64) / temperatures
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * scaled)))  # a sigmoid that cannot overflow


def target_slices(dimensions: Sequence[Dimension]) -> dict[str, slice]:
    """Return each dimension's columns among the targets."""
    slices, start = {}, 0
    for dimension in dimensions:
        stop = start + len(dimension.levels) - 1
        slices[dimension.name] = slice(start, stop)
        start = stop
    return slices


@dataclass(frozen=True)
class Decisions:
    """Decisions on one dimension, for N rows.

    Attributes:
        levels: Decided levels, shape (N,).
        harmless: Whether they count as harmless, shape (N,).
        probabilities: Probability of each level, shape (N, K); rows sum to 1.
        harmless_probability: Probability of a level that counts as harmless, shape (N,).
    """

    levels: NDArray[np.int64]
    harmless: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    harmless_probability: NDArray[np.float64]


def capped(reached: Floats) -> NDArray[np.float64]:
    """Return P(level ≥ k) of one dimension, shape (N, K - 1), capped by those of the levels below.

    Reaching a level means reaching every level below it; independent sigmoids do not promise that.
    """
    return np.minimum.accumulate(np.asarray(reached, dtype=np.float64), axis=1)


def decide(reached: Floats, dimension: Dimension, targets: Sequence[Target]) -> Decisions:
    """Return the decisions on one dimension.

    The level is the highest one whose threshold, and every one below it, is reached.

    Args:
        reached: P(level ≥ k) of the dimension's targets, shape (N, K - 1).
        dimension: Its levels.
        targets: Its targets, with their thresholds.
    """
    consistent = capped(reached)
    edges = np.hstack([np.ones((len(consistent), 1)), consistent, np.zeros((len(consistent), 1))])
    probabilities = edges[:, :-1] - edges[:, 1:]
    thresholds = np.array([target.threshold for target in targets])
    passed = np.logical_and.accumulate(consistent >= thresholds, axis=1)
    levels: NDArray[np.int64] = np.asarray(dimension.levels, dtype=np.int64)[passed.sum(axis=1)]
    first_harmless = dimension.levels.index(dimension.harmless_from)
    return Decisions(
        levels=levels,
        harmless=levels >= dimension.harmless_from,
        probabilities=probabilities,
        harmless_probability=consistent[:, first_harmless - 1],
    )


def decisions(logits: Floats, settings: Settings) -> dict[str, Decisions]:
    """Return the decisions on every dimension from logits, shape (N, T)."""
    reached = calibrated(logits, settings.targets)
    return {
        dimension.name: decide(reached[:, columns], dimension, settings.targets[columns])
        for dimension, columns in zip(
            settings.dimensions, target_slices(settings.dimensions).values(), strict=True
        )
    }


def overall(
    by_dimension: Mapping[str, Decisions],
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return whether each row is harmless on every dimension, and the least probability of it."""
    harmless = np.logical_and.reduce([d.harmless for d in by_dimension.values()])
    probability = np.minimum.reduce([d.harmless_probability for d in by_dimension.values()])
    return harmless, probability


def scores(logits: Floats, truncated: Sequence[bool], settings: Settings) -> list[Score]:
    """Return one `Score` per row of `logits`, shape (N, T)."""
    by_dimension = decisions(logits, settings)
    harmless, probability = overall(by_dimension)
    levels = {dimension.name: dimension.levels for dimension in settings.dimensions}
    return [
        Score(
            harmless=bool(harmless[row]),
            harmless_probability=float(probability[row]),
            dimensions={
                name: DimensionScore(
                    level=int(decided.levels[row]),
                    harmless=bool(decided.harmless[row]),
                    probabilities=dict(
                        zip(levels[name], decided.probabilities[row].tolist(), strict=True)
                    ),
                    harmless_probability=float(decided.harmless_probability[row]),
                )
                for name, decided in by_dimension.items()
            },
            truncated=cut,
            model=settings.model,
        )
        for row, cut in enumerate(truncated)
    ]
