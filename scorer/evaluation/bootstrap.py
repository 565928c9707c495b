"""Bootstrap of ratios over clusters, with scipy; percentages in, percentages out."""

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


def two_sided_p(draws: NDArray[np.float64]) -> float:
    """Return the p-value of 'no difference' from bootstrap draws of a difference.

    Twice the smaller share of draws on one side of 0, one draw added to both counts, so that it
    is never 0 (Davison and Hinkley 1997, section 4.2). It agrees with the percentile interval.
    """
    side = min(int((draws <= 0).sum()), int((draws >= 0).sum()))
    return min(1.0, 2 * (side + 1) / (len(draws) + 1))


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
