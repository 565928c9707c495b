from __future__ import annotations

import numpy as np
import pytest

from scorer.evaluation.bootstrap import holm, percentile_interval, ratio_draws, two_sided_p


def test_draws_of_a_share_spread_as_the_binomial_does() -> None:
    values = np.array([1.0] * 70 + [0.0] * 30)
    draws = ratio_draws(values, np.ones(100))
    assert draws is not None
    assert draws.shape == (2000,)
    assert draws.mean() == pytest.approx(0.7, abs=0.005)
    assert draws.std() == pytest.approx(np.sqrt(0.7 * 0.3 / 100), rel=0.08)
    low, high = percentile_interval(draws)
    assert low < 0.7 < high
    again = ratio_draws(values, np.ones(100))
    assert again is not None
    assert (draws == again).all()  # the same seed, the same draws


def test_clusters_are_drawn_whole() -> None:
    values = np.array([1.0] * 70 + [0.0] * 30)
    alone, five = ratio_draws(values, np.ones(100)), ratio_draws(5 * values, np.full(100, 5.0))
    assert alone is not None
    assert five is not None
    assert five.std() == pytest.approx(alone.std(), rel=0.1)


def test_one_cluster_says_nothing_of_the_spread() -> None:
    assert ratio_draws(np.ones(1), np.ones(1)) is None


def test_p_of_a_difference() -> None:
    centred = np.linspace(-1, 1, 1999)
    assert two_sided_p(centred) == 1.0
    assert two_sided_p(centred + 2) == pytest.approx(2 / 2000)
    assert two_sided_p(-(centred + 2)) == pytest.approx(2 / 2000)
    assert two_sided_p(np.zeros(999)) == 1.0


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
