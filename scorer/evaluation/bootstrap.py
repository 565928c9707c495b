"""Intervals by bootstrap over clusters, p-values by permutation; scipy and statsmodels do it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from scorer.errors import MissingExtraError

try:
    from scipy import stats
except ImportError as error:
    raise MissingExtraError("A bootstrap", "report", "scipy") from error

CONFIDENCE = 0.95
RESAMPLES = 2000
_ROUNDING = 1e-9


def ratio_draws(
    sums: NDArray[np.float64],
    sizes: NDArray[np.float64],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> NDArray[np.float64] | None:
    """Return bootstrap draws of Σ sums / Σ sizes over clusters, shape (resamples,).

    Whole clusters are drawn with replacement (Davison and Hinkley 1997, section 3.8). None with
    fewer than two clusters, which say nothing of the spread.

    Args:
        sums: Of the values of each cluster, shape (C,).
        sizes: Number of values of each cluster, above 0, shape (C,).
        resamples: Number of draws.
        seed: Of the draws; the same for two calls on the same clusters gives paired draws.
    """
    if len(sizes) < 2:
        return None
    found = stats.bootstrap(
        (sums, sizes),
        lambda total, size, axis: total.sum(axis=axis) / size.sum(axis=axis),
        n_resamples=resamples,
        paired=True,
        vectorized=True,
        method="percentile",
        batch=max(1, 2_000_000 // len(sizes)),  # 16 MB of drawn numbers at a time
        rng=np.random.default_rng(seed),
    )
    return np.asarray(found.bootstrap_distribution, np.float64)


def percentile_interval(draws: NDArray[np.float64]) -> list[float]:
    """Return the 95% percentile interval [low, high] of draws."""
    tail = (1 - CONFIDENCE) / 2
    return [float(end) for end in np.quantile(draws, [tail, 1 - tail])]


def wilson(count: int, n: int) -> tuple[float, float]:
    """Return Wilson's 95% interval (low, high) of the share count / n (Wilson 1927, JASA 22)."""
    found = stats.binomtest(count, n).proportion_ci(CONFIDENCE, method="wilson")
    return float(found.low), float(found.high)


def without_spread(draws: NDArray[np.float64]) -> bool:
    """Tell whether all draws are the same, since all values that were drawn from are."""
    return bool(np.ptp(draws) < _ROUNDING)


def interval(draws: NDArray[np.float64], n: int, bounds: tuple[float, float]) -> list[float]:
    """Return the 95% interval [low, high] of a mean from its bootstrap draws.

    It is the percentile interval, unless all draws are the same: n values that are all alike show
    no spread, however few they are. Then it is Wilson's: of n harmless answers of n that of their
    share, and for another mean, as far as it gets where the values that Wilson's interval leaves
    to be unlike lie at one of the bounds.

    Args:
        draws: Shape (resamples,).
        n: Values (clusters) that were drawn from.
        bounds: Least and greatest value of the mean.
    """
    if not without_spread(draws):
        return percentile_interval(draws)
    value, unlike = float(draws[0]), 1 - wilson(n, n)[0]
    low, high = bounds
    return [value - unlike * (value - low), value + unlike * (high - value)]


def mean_interval(values: Sequence[float], intervals: Sequence[Sequence[float]]) -> list[float]:
    """Return the interval [low, high] of the mean of independent values from their intervals.

    Zou, Huang and Zhang 2009 (Computational Statistics & Data Analysis 53), equation for a linear
    function of proportions: the distances to the ends add up as variances do.

    Args:
        values: At least one.
        intervals: [low, high] of each.
    """
    at, ends = np.asarray(values), np.asarray(intervals)
    below, above = (np.sqrt(((ends[:, side] - at) ** 2).sum()) / len(at) for side in (0, 1))
    return [float(at.mean() - below), float(at.mean() + above)]


def sign_flip_p(
    differences: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0
) -> float | None:
    """Return the two-sided p-value of 'no difference' from paired differences.

    If two models do equally well, the sign of each difference is a coin's: the sum is compared with
    sums under random signs, all of them where they are few (Fisher 1935, The Design of Experiments,
    section 21). None where no pair differs.

    Args:
        differences: One for each pair; weighted, if the weighted sum is what counts. Shape (N,).
        resamples: Random signs that are tried.
        seed: Of the signs.
    """
    some = differences[differences != 0]
    if not len(some):
        return None
    found = stats.permutation_test(
        (some,),
        lambda values, axis: values.sum(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, 2_000_000 // len(some)),  # 16 MB of signs at a time
        rng=np.random.default_rng(seed),
    )
    return float(found.pvalue)


def permutation_p(value: float, draws: NDArray[np.float64]) -> float | None:
    """Return the two-sided p-value of a difference from its values under permutations.

    The difference itself counts as one of them, so that p is never 0 (Davison and Hinkley 1997,
    section 4.3). None where no permutation changes anything.

    Args:
        value: The difference.
        draws: Its values under random permutations, shape (resamples,).
    """
    if not draws.any() and not value:
        return None
    as_far = int((np.abs(draws) >= abs(value) - _ROUNDING).sum())
    return (as_far + 1) / (len(draws) + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number by Holm's step-down method (Holm 1979).

    Raises:
        MissingExtraError: If statsmodels is not installed.
    """
    try:
        from statsmodels.stats.multitest import multipletests
    except ImportError as error:
        raise MissingExtraError("Holm's correction", "report", "statsmodels") from error
    if not p_values:
        return []
    return [float(p) for p in multipletests(list(p_values), method="holm")[1]]
