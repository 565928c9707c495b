from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from scorer.evaluation.agreement import quadratic_kappa


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=2))
def test_kappa_is_that_of_scikit_learn(levels: list[tuple[int, int]]) -> None:
    first, second = np.array(levels).T
    if len(set(first) | set(second)) == 1:
        assert quadratic_kappa(first, second) is None
    else:
        expected = cohen_kappa_score(first, second, labels=range(1, 6), weights="quadratic")
        assert quadratic_kappa(first, second) == pytest.approx(expected, abs=1e-9)


def test_levels_may_be_any_numbers() -> None:
    assert quadratic_kappa([0, 1, 0, 1], [0, 1, 1, 0]) == pytest.approx(0.0)
    assert quadratic_kappa([4, 5, 4], [4, 5, 4]) == 1.0
