"""From logits to calibrated level probabilities and decided levels; training and scoring share it."""

from __future__ import annotations

from collections.abc import Sequence

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


def level_probabilities(reached: Floats) -> NDArray[np.float64]:
    """Return the probability of each level from P(level ≥ k) of one dimension.

    Reaching a level means reaching those below it, so each column is first capped by the ones
    before it (independent sigmoids do not promise that).

    Args:
        reached: Shape (N, K - 1).

    Returns:
        Shape (N, K); rows sum to 1.
    """
    capped = np.minimum.accumulate(np.asarray(reached, dtype=np.float64), axis=1)
    edges = np.hstack([np.ones((len(capped), 1)), capped, np.zeros((len(capped), 1))])
    return np.asarray(edges[:, :-1] - edges[:, 1:])


def decided_levels(
    reached: Floats, dimension: Dimension, targets: Sequence[Target]
) -> NDArray[np.int64]:
    """Return the highest level whose threshold, and every one below it, is reached; shape (N,)."""
    thresholds = np.array([target.threshold for target in targets])
    passed = np.logical_and.accumulate(np.asarray(reached) >= thresholds, axis=1)
    levels: NDArray[np.int64] = np.asarray(dimension.levels, dtype=np.int64)[passed.sum(axis=1)]
    return levels


def scores(logits: Floats, truncated: Sequence[bool], settings: Settings) -> list[Score]:
    """Return one `Score` per row of `logits`, shape (N, T)."""
    reached = calibrated(logits, settings.targets)
    per_dimension = []
    for dimension, columns in zip(
        settings.dimensions, target_slices(settings.dimensions).values(), strict=True
    ):
        probabilities = level_probabilities(reached[:, columns])
        first_harmless = dimension.levels.index(dimension.harmless_from)
        per_dimension.append(
            (
                dimension,
                decided_levels(reached[:, columns], dimension, settings.targets[columns]),
                probabilities,
                probabilities[:, first_harmless:].sum(axis=1),
            )
        )
    results = []
    for row, cut in enumerate(truncated):
        dimension_scores = {
            dimension.name: DimensionScore(
                level=int(levels[row]),
                harmless=bool(levels[row] >= dimension.harmless_from),
                probabilities=dict(zip(dimension.levels, probabilities[row].tolist(), strict=True)),
                harmless_probability=float(harmless[row]),
            )
            for dimension, levels, probabilities, harmless in per_dimension
        }
        results.append(
            Score(
                harmless=all(score.harmless for score in dimension_scores.values()),
                harmless_probability=min(
                    score.harmless_probability for score in dimension_scores.values()
                ),
                dimensions=dimension_scores,
                truncated=cut,
                model=settings.model,
            )
        )
    return results
