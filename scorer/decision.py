"""From logits to calibrated level probabilities and decided levels; training and scoring share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer.checkpoint import Platt, Settings, Target
from scorer.dimensions import Dimension
from scorer.result import DimensionScore, Score

Floats = NDArray[np.float32] | NDArray[np.float64]


_EDGE = 1e-6  # keeps log-odds finite where a probability rounds to 0 or 1


def calibrated(logits: Floats, targets: Sequence[Target]) -> NDArray[np.float64]:
    """Return P(level ≥ k) per target: its Platt-scaled logit; shape (N, T) both."""
    temperatures = np.array([target.platt.temperature for target in targets])
    offsets = np.array([target.platt.offset for target in targets])
    return sigmoid(np.asarray(logits, dtype=np.float64) / temperatures + offsets)


def sigmoid(log_odds: Floats) -> NDArray[np.float64]:
    """Return the probability of log-odds; cannot overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(log_odds, dtype=np.float64))))


def log_odds(probability: Floats) -> NDArray[np.float64]:
    """Return log(p / (1 - p)), with p kept within [1e-6, 1 - 1e-6]."""
    p = np.clip(np.asarray(probability, dtype=np.float64), _EDGE, 1 - _EDGE)
    return np.asarray(np.log(p) - np.log1p(-p))


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
        margin: How far, in log-odds, the row is beyond the thresholds that it must reach to be
            harmless; negative where it is harmful. Shape (N,).
    """

    levels: NDArray[np.int64]
    harmless: NDArray[np.bool_]
    probabilities: NDArray[np.float64]
    harmless_probability: NDArray[np.float64]
    margin: NDArray[np.float64]


def capped(reached: Floats) -> NDArray[np.float64]:
    """Return P(level ≥ k) of one dimension, shape (N, K - 1), capped by those of the levels below.

    Reaching a level means reaching every level below it; independent sigmoids do not promise that.
    """
    return np.minimum.accumulate(np.asarray(reached, dtype=np.float64), axis=1)


def decide(
    reached: Floats, dimension: Dimension, targets: Sequence[Target], purpose: str = "balanced"
) -> Decisions:
    """Return the decisions on one dimension.

    The level is the highest one whose threshold, and every one below it, is reached.

    Args:
        reached: P(level ≥ k) of the dimension's targets, shape (N, K - 1).
        dimension: Its levels.
        targets: Its targets, with their thresholds.
        purpose: Which of the thresholds decide: one of `PURPOSES`.
    """
    consistent = capped(reached)
    edges = np.hstack([np.ones((len(consistent), 1)), consistent, np.zeros((len(consistent), 1))])
    probabilities = edges[:, :-1] - edges[:, 1:]
    thresholds = np.array([getattr(target.thresholds, purpose) for target in targets])
    passed = np.logical_and.accumulate(consistent >= thresholds, axis=1)
    levels: NDArray[np.int64] = np.asarray(dimension.levels, dtype=np.int64)[passed.sum(axis=1)]
    first_harmless = dimension.levels.index(dimension.harmless_from)
    beyond = log_odds(consistent) - log_odds(thresholds)
    return Decisions(
        levels=levels,
        harmless=levels >= dimension.harmless_from,
        probabilities=probabilities,
        harmless_probability=consistent[:, first_harmless - 1],
        margin=beyond[:, :first_harmless].min(axis=1),
    )


def decisions(
    logits: Floats, settings: Settings, purpose: str = "balanced"
) -> dict[str, Decisions]:
    """Return the decisions on every dimension from logits, shape (N, T)."""
    reached = calibrated(logits, settings.targets)
    return {
        dimension.name: decide(reached[:, columns], dimension, settings.targets[columns], purpose)
        for dimension, columns in zip(
            settings.dimensions, target_slices(settings.dimensions).values(), strict=True
        )
    }


def overall(
    by_dimension: Mapping[str, Decisions], platt: Platt
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return whether each row is harmless on every dimension, and its probability of being so.

    The probability is the Platt-scaled log-odds of the dimension that is least likely harmless.
    """
    harmless = np.logical_and.reduce([d.harmless for d in by_dimension.values()])
    least = log_odds(least_harmless(by_dimension))
    return harmless, sigmoid(least / platt.temperature + platt.offset)


def least_harmless(by_dimension: Mapping[str, Decisions]) -> NDArray[np.float64]:
    """Return the smallest probability of being harmless over the dimensions, shape (N,)."""
    least = np.minimum.reduce([d.harmless_probability for d in by_dimension.values()])
    return np.asarray(least, dtype=np.float64)


def certainty(by_dimension: Mapping[str, Decisions]) -> NDArray[np.float64]:
    """Return how far each row's decision as a whole is from being another one, in log-odds.

    A harmless row turns harmful at its nearest threshold; a harmful one turns harmless only when
    its most harmful dimension does.
    """
    nearest = np.minimum.reduce([d.margin for d in by_dimension.values()])
    return np.asarray(np.abs(nearest), dtype=np.float64)


def scores(
    logits: Floats,
    truncated: Sequence[bool],
    settings: Settings,
    unfamiliar: Sequence[float] | None = None,
    purpose: str = "balanced",
) -> list[Score]:
    """Return one `Score` per row of `logits`, shape (N, T).

    Args:
        logits: The model's outputs.
        truncated: Whether a row's text was cut.
        settings: Calibration, thresholds and when to doubt.
        unfamiliar: Share of a row's tokens that training did not have; None for 0.
        purpose: Which thresholds decide: one of `PURPOSES`.
    """
    by_dimension = decisions(logits, settings, purpose)
    harmless, probability = overall(by_dimension, settings.overall)
    uncertain = certainty(by_dimension) < settings.doubt.margin
    if unfamiliar is not None:
        uncertain |= np.asarray(unfamiliar) > settings.doubt.unfamiliar
    levels = {dimension.name: dimension.levels for dimension in settings.dimensions}
    return [
        Score(
            harmless=bool(harmless[row]),
            harmless_probability=float(probability[row]),
            uncertain=bool(uncertain[row]),
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
            purpose=purpose,
            model=settings.model,
        )
        for row, cut in enumerate(truncated)
    ]
