"""Temperatures and thresholds, chosen on dev rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_expit
from sklearn.metrics import f1_score

from scorer.checkpoint import Target
from scorer.data.schema import Example
from scorer.decision import Floats, calibrated, capped, target_slices
from scorer.dimensions import Dimension, target_names
from scorer.training.targets import UNKNOWN, encode_labels

_THRESHOLDS = np.arange(20, 81) / 100
_LEAST_ROWS = 20  # of each class; with fewer the dev rows say more about luck than about the model


def calibrate(
    logits: NDArray[np.float32], examples: Sequence[Example], dimensions: Sequence[Dimension]
) -> tuple[Target, ...]:
    """Return each target with the temperature and threshold that its dev rows ask for.

    A target with fewer than 20 dev rows of either class keeps temperature 1 and threshold 0.5.

    Args:
        logits: Of the dev rows, shape (N, T).
        examples: The dev rows.
        dimensions: In the order of the model's outputs.
    """
    targets = [Target(name) for name in target_names(dimensions)]
    if not examples:
        return tuple(targets)
    known = np.array([encode_labels(example.labels, dimensions) for example in examples])
    usable = {}
    for i in range(len(targets)):
        rows = known[:, i] != UNKNOWN
        truth = known[rows, i] > 0
        if min(truth.sum(), (~truth).sum()) >= _LEAST_ROWS:
            usable[i] = rows, truth
    for i, (rows, truth) in usable.items():
        targets[i] = replace(targets[i], temperature=fit_temperature(logits[rows, i], truth))
    reached = calibrated(logits, targets)
    for columns in target_slices(dimensions).values():
        reached[:, columns] = capped(reached[:, columns])
    for i, (rows, truth) in usable.items():
        targets[i] = replace(targets[i], threshold=fit_threshold(reached[rows, i], truth))
    return tuple(targets)


def fit_temperature(logits: Floats, truth: NDArray[np.bool_]) -> float:
    """Return the temperature with the least log loss (Guo et al. 2017, arXiv 1706.04599)."""
    signed = np.where(truth, logits, -logits).astype(np.float64)

    def loss(log_temperature: float) -> float:
        return float(-log_expit(signed / np.exp(log_temperature)).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.1), np.log(20.0)), method="bounded")
    return round(float(np.exp(found.x)), 4)


def fit_threshold(probability: NDArray[np.float64], truth: NDArray[np.bool_]) -> float:
    """Return the threshold with the best macro F1; of equals the one nearest to 0.5.

    Macro F1 rather than accuracy: where nearly all answers are harmless, accuracy is best served
    by calling all of them so. The ends are left out, where few dev rows would decide.
    """
    best = max(
        _THRESHOLDS,
        key=lambda t: (
            round(float(f1_score(truth, probability >= t, average="macro", zero_division=0.0)), 4),
            -abs(t - 0.5),
        ),
    )
    return float(best)
