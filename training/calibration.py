"""Calibration, thresholds and the bounds of doubt, chosen on dev rows."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_expit

from scorer import decision
from scorer.checkpoint import Doubt, Platt, Settings, Target, Thresholds
from scorer.data.schema import Example
from scorer.decision import Floats, calibrated, capped, target_slices
from scorer.dimensions import Dimension, overall_truth, target_names
from scorer.evaluation.agreement import quadratic_kappa
from scorer.training.targets import UNKNOWN, encode_labels

_COMBINATIONS = 4096  # of thresholds of a dimension
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
    for dimension, columns in zip(dimensions, target_slices(dimensions).values(), strict=True):
        mine = range(columns.start, columns.stop)
        chosen = [i in usable for i in mine]
        if not any(chosen):
            continue
        reached[:, columns] = capped(reached[:, columns])
        rows, _, weights = usable[mine[chosen.index(True)]]
        levels = np.array(
            [examples[i].labels[dimension.name] for i in np.flatnonzero(rows).tolist()]
        )
        balanced = fit_levels(reached[rows, columns], levels, dimension, chosen, weights)
        for i, threshold in zip(mine, balanced, strict=True):
            if i in usable:
                strict, lenient = fit_edges(reached[rows, i], usable[i][1])
                thresholds = Thresholds(threshold, max(threshold, strict), min(threshold, lenient))
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


def fit_levels(
    reached: NDArray[np.float64],
    levels: NDArray[np.int64],
    dimension: Dimension,
    usable: Sequence[bool],
    weights: NDArray[np.float64] | None = None,
) -> tuple[float, ...]:
    """Return the `balanced` thresholds of a dimension, chosen together, shape (K - 1,).

    They have the best mean of the levels' accuracy and quadratic kappa, of rows that weigh alike or
    not; of equals they are those nearest to 0.5. Where nearly all answers are harmless, accuracy by
    itself is best served by calling all of them so, and kappa by itself by calling far too many
    harmful. The ends are left out, where few dev rows would decide.

    Args:
        reached: P(level ≥ k), capped, shape (N, K - 1).
        levels: Annotated levels, shape (N,).
        dimension: Its levels.
        usable: Of which targets the threshold is chosen; the others keep 0.5. Shape (K - 1,).
        weights: Of the rows, shape (N,).
    """
    by_rank = np.asarray(dimension.levels)

    def merit(thresholds: tuple[float, ...]) -> tuple[float, float]:
        passed = np.logical_and.accumulate(reached >= thresholds, axis=1)
        decided = by_rank[passed.sum(axis=1)]
        kappa = quadratic_kappa(levels, decided, weights=weights) or 0.0
        accuracy = float(np.average(decided == levels, weights=weights))
        from_middle = sum(abs(threshold - 0.5) for threshold in thresholds)
        return round((kappa + accuracy) / 2, 4), -from_middle

    # All combinations are tried, so of many levels fewer thresholds each.
    steps = int(min(61, _COMBINATIONS ** (1 / max(1, sum(usable)))))
    grid = np.round(np.linspace(0.2, 0.8, steps), 4)
    choices = [grid if chosen else (0.5,) for chosen in usable]
    return tuple(float(t) for t in max(itertools.product(*choices), key=merit))


def fit_edges(probability: NDArray[np.float64], truth: NDArray[np.bool_]) -> tuple[float, float]:
    """Return a target's thresholds for `strict` and `lenient`, where they do not cross `balanced`.

    `strict` keeps 95% of the rows below the level below it, `lenient` leaves 99% of those at or
    above it there.
    """
    edges = (
        np.quantile(probability[~truth], STRICT_CAUGHT),
        np.quantile(probability[truth], 1 - LENIENT_KEPT),
    )
    # Of 0 and 1 one would be passed by everything and the other by nothing.
    strict, lenient = (round(float(np.clip(edge, 1e-4, 1 - 1e-4)), 4) for edge in edges)
    return strict, lenient
