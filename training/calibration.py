"""Calibration, thresholds and the bounds of doubt, chosen on dev rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_expit
from sklearn.metrics import f1_score

from scorer import decision
from scorer.checkpoint import Doubt, Platt, Settings, Target, Thresholds
from scorer.data.schema import Example
from scorer.decision import Floats, calibrated, capped, target_slices
from scorer.dimensions import Dimension, overall_truth, target_names
from scorer.training.targets import UNKNOWN, encode_labels

_THRESHOLDS = np.arange(20, 81) / 100
_LEAST_ROWS = 20  # of each class; with fewer the dev rows say more about luck than about the model
STRICT_CAUGHT = 0.95
"""Share of the dev rows below a level that `strict` keeps below it."""
LENIENT_KEPT = 0.99
"""Share of the dev rows at or above a level that `lenient` leaves there."""
COVERAGE = 0.8
"""Share of dev rows that are decided without doubt."""
_FAMILIAR = 0.995  # share of dev rows that are taken for familiar text


def calibrate(
    logits: NDArray[np.float32], examples: Sequence[Example], dimensions: Sequence[Dimension]
) -> tuple[Target, ...]:
    """Return each target with the calibration and thresholds that its dev rows ask for.

    A target with fewer than 20 dev rows of either class keeps P = sigmoid(logit) and 0.5.

    Sources differ in how many of their rows are harmless, and in size: a source of n rows counts
    √n in all. Were rows counted alike, the largest would decide for the others; were sources, the
    smallest would decide as much as the largest.

    Args:
        logits: Of the dev rows, shape (N, T).
        examples: The dev rows.
        dimensions: In the order of the model's outputs.
    """
    targets = [Target(name) for name in target_names(dimensions)]
    if not examples:
        return tuple(targets)
    known = np.array([encode_labels(example.labels, dimensions) for example in examples])
    sources = np.array([example.source for example in examples])
    usable = {}
    for i in range(len(targets)):
        rows = known[:, i] != UNKNOWN
        truth = known[rows, i] > 0
        if min(truth.sum(), (~truth).sum()) >= _LEAST_ROWS:
            usable[i] = rows, truth, _weights(sources[rows])
    for i, (rows, truth, weights) in usable.items():
        targets[i] = replace(targets[i], platt=fit_platt(logits[rows, i], truth, weights))
    reached = calibrated(logits, targets)
    for columns in target_slices(dimensions).values():
        reached[:, columns] = capped(reached[:, columns])
    for i, (rows, truth, weights) in usable.items():
        thresholds = fit_thresholds(reached[rows, i], truth, weights)
        targets[i] = replace(targets[i], thresholds=thresholds)
    return tuple(targets)


def _weights(sources: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return a weight per row, of mean 1, with which a source of n rows counts √n."""
    _, source, counts = np.unique(sources, return_inverse=True, return_counts=True)
    weights = 1 / np.sqrt(counts[source])
    return np.asarray(weights / weights.mean(), np.float64)


def calibrate_whole(
    logits: NDArray[np.float32],
    examples: Sequence[Example],
    unfamiliar: Sequence[float],
    settings: Settings,
) -> Settings:
    """Return settings whose `overall` and `doubt` are what the dev rows ask for.

    Args:
        logits: Of the dev rows, shape (N, T).
        examples: The dev rows.
        unfamiliar: Share of each row's tokens that training did not have.
        settings: With calibrated targets.
    """
    if not examples:
        return settings
    by_dimension = decision.decisions(logits, settings)
    rows, truth = whole_truth(examples, settings.dimensions)
    overall = settings.overall
    if min(truth.sum(), (~truth).sum()) >= _LEAST_ROWS:
        least = decision.log_odds(decision.least_harmless(by_dimension))
        overall = fit_platt(least[rows], truth)
    doubt = Doubt(
        margin=round(float(np.quantile(decision.certainty(by_dimension), 1 - COVERAGE)), 4),
        unfamiliar=round(float(np.quantile(np.asarray(unfamiliar), _FAMILIAR)), 4),
    )
    return replace(settings, overall=overall, doubt=doubt)


def whole_truth(
    examples: Sequence[Example], dimensions: Sequence[Dimension]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which rows' labels settle the whole, shape (N,), and whether each of those is harmless."""
    whole = [overall_truth(example.labels, dimensions) for example in examples]
    known = np.array([truth is not None for truth in whole], bool)
    return known, np.array([bool(truth) for truth in whole], bool)[known]


def fit_platt(
    logits: Floats, truth: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> Platt:
    """Return the scaling with the least log loss (Platt 1999), of rows that weigh alike or not."""
    sign = np.where(truth, 1.0, -1.0)
    values = np.asarray(logits, dtype=np.float64)

    def loss(parameters: NDArray[np.float64]) -> float:
        log_temperature, offset = parameters
        losses = -log_expit(sign * (values / np.exp(log_temperature) + offset))
        return float(np.average(losses, weights=weights))

    bounds = [(np.log(0.1), np.log(20.0)), (-5.0, 5.0)]
    found = minimize(loss, np.zeros(2), bounds=bounds, method="L-BFGS-B")
    return Platt(round(float(np.exp(found.x[0])), 4), round(float(found.x[1]), 4))


def fit_thresholds(
    probability: NDArray[np.float64],
    truth: NDArray[np.bool_],
    weights: NDArray[np.float64] | None = None,
) -> Thresholds:
    """Return the thresholds of each purpose.

    `balanced` has the best macro F1, of rows that weigh alike or not; of equals it is the one
    nearest to 0.5. Macro F1 rather than accuracy: where nearly all answers are harmless, accuracy is
    best served by calling all of them so. Its ends are left out, where few dev rows would decide.
    `strict` keeps 95% of the rows below the level below it, `lenient` leaves 99% of those at or
    above it there; neither crosses `balanced`.
    """

    def macro_f1(threshold: float) -> float:
        reached = probability >= threshold
        f1 = f1_score(truth, reached, average="macro", sample_weight=weights, zero_division=0.0)
        return round(float(f1), 4)

    balanced = float(max(_THRESHOLDS, key=lambda t: (macro_f1(t), -abs(t - 0.5))))
    edges = (
        np.quantile(probability[~truth], STRICT_CAUGHT),
        np.quantile(probability[truth], 1 - LENIENT_KEPT),
    )
    # Of 0 and 1 one would be passed by everything and the other by nothing.
    strict, lenient = (round(float(np.clip(edge, 1e-4, 1 - 1e-4)), 4) for edge in edges)
    return Thresholds(balanced, max(balanced, strict), min(balanced, lenient))
