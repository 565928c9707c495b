"""Agreement of levels; numpy alone, so that no extra is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def quadratic_kappa(
    first: Sequence[int] | NDArray[np.int64],
    second: Sequence[int] | NDArray[np.int64],
    *,
    weights: NDArray[np.float64] | None = None,
) -> float | None:
    """Return Cohen's kappa with weights (i - j)² (Cohen 1968): 1 - observed / expected.

    None where both are all of one and the same level, since it is undefined there.

    Args:
        first: Levels, shape (N,), N > 0.
        second: Levels of the same rows, shape (N,).
        weights: Of the rows, shape (N,); None where they weigh alike.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    observed = np.average((a - b) ** 2, weights=weights)
    # of levels drawn independently: E(a - b)² = E a² + E b² - 2 E a E b
    squares = np.average(a**2 + b**2, weights=weights)
    expected = squares - 2 * np.average(a, weights=weights) * np.average(b, weights=weights)
    return float(1 - observed / expected) if expected > 1e-9 else None
