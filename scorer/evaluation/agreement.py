"""Agreement of levels; numpy alone, so that no extra is needed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def quadratic_kappa(
    first: Sequence[int] | NDArray[np.int64], second: Sequence[int] | NDArray[np.int64]
) -> float | None:
    """Return Cohen's kappa with weights (i - j)² (Cohen 1968): 1 - observed / expected.

    None where both are all of one and the same level, since it is undefined there.

    Args:
        first: Levels, shape (N,), N > 0.
        second: Levels of the same rows, shape (N,).
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    observed = ((a - b) ** 2).mean()
    # of levels drawn independently: E(a - b)² = var a + var b + (E a - E b)²
    expected = a.var() + b.var() + (a.mean() - b.mean()) ** 2
    return float(1 - observed / expected) if expected else None
