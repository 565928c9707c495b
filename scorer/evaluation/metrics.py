"""Metrics of a scorer on labelled rows; scikit-learn does the sums."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.errors import MissingExtraError
from scorer.evaluation.agreement import quadratic_kappa
from scorer.evaluation.bootstrap import interval

try:
    from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score
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
    """Return n, accuracy, F1 (macro and of both classes), AUROC, AP and ECE of harmless or harmful.

    The average precision is that of finding the harmful rows by 1 - P(harmless), since those are
    what one looks for. AUROC and AP are None where the rows are all of one class.
    """
    f1_harmful, f1_harmless = (
        float(f1)
        for f1 in f1_score(truth, decided, average=None, labels=[False, True], zero_division=0.0)
    )
    both = 0 < truth.mean() < 1
    return {
        "n": len(truth),
        "harmless_share": float(truth.mean()),
        "accuracy": float(accuracy_score(truth, decided)),
        "macro_f1": (f1_harmful + f1_harmless) / 2,
        "f1_harmful": f1_harmful,
        "f1_harmless": f1_harmless,
        "auroc": float(roc_auc_score(truth, probability)) if both else None,
        "average_precision": float(average_precision_score(~truth, 1 - probability))
        if both
        else None,
        "ece": expected_calibration_error(probability, truth),
    }


def harmless_confusion(truth: NDArray[np.bool_], decided: NDArray[np.bool_]) -> list[list[int]]:
    """Return counts of truly harmful and harmless rows (down) that are called so (across)."""
    counts: list[list[int]] = _confusion(truth, decided, labels=[False, True]).tolist()
    return counts


def ordinal_statistics(
    truth: NDArray[np.int64],
    decided: NDArray[np.int64],
    harmless: NDArray[np.bool_],
    called_harmless: NDArray[np.bool_],
    probability: NDArray[np.float64],
) -> dict[str, float | None]:
    """Return accuracy of levels and of harmless, quadratic kappa, AUROC and ECE.

    Args:
        truth: Annotated levels, shape (N,), N > 0.
        decided: Decided levels.
        harmless: Whether the annotated level counts as harmless.
        called_harmless: Whether the decided one does.
        probability: P(harmless).
    """
    return {
        "level accuracy": float((truth == decided).mean()),
        "harmless accuracy": float((harmless == called_harmless).mean()),
        "quadratic kappa": quadratic_kappa(truth, decided),
        "harmless AUROC": float(roc_auc_score(harmless, probability))
        if 0 < harmless.mean() < 1
        else None,
        "ece": expected_calibration_error(probability, harmless),
    }


def level_figures(
    truth: NDArray[np.int64],
    decided: NDArray[np.int64],
    harmless_probability: NDArray[np.float64],
    levels: Sequence[int],
    harmless_from: int,
) -> dict[str, Any]:
    """Return the figures of one dimension: of the levels, and under `harmless` of two classes.

    Args:
        truth: Annotated levels, shape (N,), N > 0.
        decided: Decided levels, shape (N,).
        harmless_probability: Shape (N,).
        levels: The dimension's levels, ascending.
        harmless_from: Lowest level that counts as harmless.
    """
    return judged_figures(
        truth,
        decided,
        truth >= harmless_from,
        decided >= harmless_from,
        harmless_probability,
        levels,
    )


def judged_figures(
    truth: NDArray[np.int64],
    decided: NDArray[np.int64],
    harmless: NDArray[np.bool_],
    called_harmless: NDArray[np.bool_],
    probability: NDArray[np.float64],
    levels: Sequence[int],
) -> dict[str, Any]:
    """Return `level_figures` of rows that may be of several dimensions.

    `macro_f1` is the mean of F1 over the levels that occur in the annotations. A level that is
    only decided has no share in the mean; such rows lower the recall of their annotated level.

    Args:
        truth: Annotated levels, shape (N,), N > 0.
        decided: Decided levels.
        harmless: Whether the annotated level counts as harmless on its dimension.
        called_harmless: Whether the decided one does.
        probability: P(harmless).
        levels: All levels, ascending.
    """
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
        "quadratic_kappa": quadratic_kappa(truth, decided),
        "confusion": _confusion(truth, decided, labels=list(levels)).tolist(),
        "harmless": binary_figures(harmless, called_harmless, probability),
    }


def pair_ordering(
    groups: Sequence[str], truth: NDArray[np.bool_], probability: NDArray[np.float64]
) -> dict[str, Any]:
    """Return how often a harmless response scores above a harmful one to the same prompt.

    With a 95% bootstrap interval by group; without any such pair the accuracy is None.

    Args:
        groups: What pairs rows, e.g. their prompts, length N.
        truth: Whether harmless, shape (N,).
        probability: P(harmless), shape (N,).
    """
    rows: dict[str, tuple[list[float], list[float]]] = {}
    for group, harmless, value in zip(groups, truth.tolist(), probability.tolist(), strict=True):
        rows.setdefault(group, ([], []))[harmless].append(value)
    won, compared = [], []
    for harmful, fine in rows.values():
        outcomes = [float(good > bad) + 0.5 * (good == bad) for bad in harmful for good in fine]
        if outcomes:
            won.append(sum(outcomes))
            compared.append(len(outcomes))
    if not won:
        return {"n": 0, "accuracy": None}
    wins, pairs = np.array(won), np.array(compared)
    by_group = intervals(
        [str(i) for i in range(len(wins))],
        lambda drawn: {"accuracy": float(wins[drawn].sum() / pairs[drawn].sum())},
    )
    return {
        "n": int(pairs.sum()),
        "accuracy": float(wins.sum() / pairs.sum()),
        "interval": by_group["accuracy"],
    }


def intervals(
    groups: Sequence[str],
    statistics: Callable[[NDArray[np.int64]], Mapping[str, float | None]],
    resamples: int = 300,
    seed: int = 0,
    bounds: tuple[float, float] = (0.0, 1.0),
) -> dict[str, list[float]]:
    """Return 95% bootstrap intervals [low, high] of each statistic.

    Args:
        groups: As for `resampled`, like the rest.
        statistics: Likewise.
        resamples: Likewise.
        seed: Likewise.
        bounds: Least and greatest value of the statistics; see `bootstrap.interval`.
    """
    n = len(set(groups))
    return {
        name: interval(values, n, bounds)
        for name, values in resampled(groups, statistics, resamples, seed).items()
    }


def resampled(
    groups: Sequence[str],
    statistics: Callable[[NDArray[np.int64]], Mapping[str, float | None]],
    resamples: int = 300,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Return bootstrap draws of each statistic, at most `resamples` of them.

    Whole groups are drawn with replacement, since answers to one prompt resemble one another
    (cluster bootstrap; Davison and Hinkley 1997, section 3.8). A resample in which a statistic is
    None does not count for it.

    Args:
        groups: What belongs together, e.g. the rows' prompts, length N.
        statistics: From row indices, shape (M,), to the statistics of those rows.
        resamples: How many.
        seed: Of the draws.
    """
    index = _numbered(groups)
    order = np.argsort(index, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(index))[:-1])
    draw = np.random.default_rng(seed)

    def resample() -> NDArray[np.int64]:
        drawn = draw.integers(0, len(members), len(members))
        return np.concatenate([members[i] for i in drawn])

    return _known(statistics(resample()) for _ in range(resamples))


def permuted(
    groups: Sequence[str],
    statistics: Callable[[NDArray[np.bool_]], Mapping[str, float | None]],
    resamples: int = 300,
    seed: int = 0,
) -> dict[str, NDArray[np.float64]]:
    """Return draws of each statistic of two paired scorers who change places by chance.

    They change places for whole groups, each with probability 1/2 (approximate randomisation;
    Noreen 1989, Computer-Intensive Methods for Testing Hypotheses, section 2). A draw in which a
    statistic is None does not count for it.

    Args:
        groups: What belongs together, e.g. the rows' prompts, length N.
        statistics: From the rows on which they change places, shape (N,), to the statistics.
        resamples: How many.
        seed: Of the draws.
    """
    index = _numbered(groups)
    draw = np.random.default_rng(seed)
    count = index.max() + 1
    return _known(statistics((draw.random(count) < 0.5)[index]) for _ in range(resamples))


def _known(draws: Iterable[Mapping[str, float | None]]) -> dict[str, NDArray[np.float64]]:
    """Return the values that each statistic has in the draws in which it is not None."""
    found: dict[str, list[float]] = {}
    for values in draws:
        for name, value in values.items():
            if value is not None:
                found.setdefault(name, []).append(value)
    return {name: np.array(values) for name, values in found.items()}


def _numbered(groups: Sequence[str]) -> NDArray[np.int64]:
    """Return the number of each row's group, in the order in which they are met, shape (N,)."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(group, len(numbers)) for group in groups], np.int64)


def risk_coverage(
    certainty: NDArray[np.float64],
    right: NDArray[np.bool_],
    coverages: Sequence[float] = (1.0, 0.95, 0.9, 0.8, 0.7, 0.5),
) -> list[dict[str, float]]:
    """Return the accuracy of the most certain share of the rows, for several shares.

    El-Yaniv and Wiener 2010 (JMLR 11), with accuracy in place of risk.

    Args:
        certainty: Shape (N,), N > 0.
        right: Whether the decision was right, shape (N,).
        coverages: Shares that are kept.
    """
    ordered = right[np.argsort(-certainty, kind="stable")]
    kept = [max(1, round(share * len(ordered))) for share in coverages]
    return [
        {"coverage": share, "accuracy": float(ordered[:n].mean())}
        for share, n in zip(coverages, kept, strict=True)
    ]


def reliability(
    probability: NDArray[np.float64], truth: NDArray[np.bool_], bins: int = 10
) -> list[dict[str, float]]:
    """Return what a reliability diagram shows: per bin of [0, 1] its rows, mean and frequency.

    Args:
        probability: P(harmless), shape (N,).
        truth: Whether harmless, shape (N,).
        bins: Of equal width; empty ones are left out.
    """
    index = np.minimum((probability * bins).astype(int), bins - 1)
    return [
        {
            "n": int((index == i).sum()),
            "mean probability": float(probability[index == i].mean()),
            "harmless share": float(truth[index == i].mean()),
        }
        for i in range(bins)
        if (index == i).any()
    ]
