"""Metrics of a scorer on labelled rows; scikit-learn does the sums."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import MissingExtraError

try:
    from sklearn.metrics import accuracy_score, cohen_kappa_score, f1_score, roc_auc_score
    from sklearn.metrics import confusion_matrix as _confusion
except ImportError as error:
    raise MissingExtraError("Measuring a scorer", "train", "scikit-learn") from error


def expected_calibration_error(
    probability: NDArray[np.float64], truth: NDArray[np.bool_], bins: int = 15
) -> float:
    """Return ECE: the mean gap between confidence and frequency over equal-width bins.

    Guo et al. 2017 (arXiv 1706.04599), eq. 3, with the probability of one class in place of the
    confidence in the predicted one, so that both ends of the scale are tested.

    Args:
        probability: P(harmless), shape (N,), N > 0.
        truth: Whether harmless, shape (N,).
        bins: Number of bins on [0, 1].
    """
    index = np.minimum((probability * bins).astype(int), bins - 1)
    gaps = np.bincount(index, probability - truth, bins)
    return float(np.abs(gaps).sum() / len(probability))


def binary_figures(
    truth: NDArray[np.bool_], decided: NDArray[np.bool_], probability: NDArray[np.float64]
) -> dict[str, Any]:
    """Return n, accuracy, macro F1, AUROC and ECE of harmless against harmful.

    AUROC is None where the rows are all of one class.
    """
    return {
        "n": len(truth),
        "harmless_share": float(truth.mean()),
        "accuracy": float(accuracy_score(truth, decided)),
        "macro_f1": float(
            f1_score(truth, decided, average="macro", labels=[False, True], zero_division=0.0)
        ),
        "auroc": float(roc_auc_score(truth, probability)) if 0 < truth.mean() < 1 else None,
        "ece": expected_calibration_error(probability, truth),
    }


def level_figures(
    truth: NDArray[np.int64],
    decided: NDArray[np.int64],
    harmless_probability: NDArray[np.float64],
    levels: Sequence[int],
    harmless_from: int,
) -> dict[str, Any]:
    """Return the figures of one dimension: of the levels, and under `harmless` of two classes.

    Quadratic kappa is Cohen's with weights (i - j)² (Cohen 1968) over the dimension's levels; None
    where truth and decision are all of one level, since it is undefined there.

    Args:
        truth: Annotated levels, shape (N,), N > 0.
        decided: Decided levels, shape (N,).
        harmless_probability: Shape (N,).
        levels: The dimension's levels, ascending.
        harmless_from: Lowest level that counts as harmless.
    """
    agree_on_one = len(set(truth.tolist()) | set(decided.tolist())) == 1
    return {
        "n": len(truth),
        "accuracy": float(accuracy_score(truth, decided)),
        "macro_f1": float(
            f1_score(
                truth,
                decided,
                average="macro",
                labels=sorted(set(truth.tolist())),
                zero_division=0.0,
            )
        ),
        "quadratic_kappa": None
        if agree_on_one
        else float(cohen_kappa_score(truth, decided, labels=list(levels), weights="quadratic")),
        "confusion": _confusion(truth, decided, labels=list(levels)).tolist(),
        "harmless": binary_figures(
            truth >= harmless_from, decided >= harmless_from, harmless_probability
        ),
    }
