from __future__ import annotations

import numpy as np
import pytest

from scorer.evaluation.bootstrap import (
    holm,
    interval,
    mean_interval,
    percentile_interval,
    permutation_p,
    ratio_draws,
    sign_flip_p,
    wilson,
)


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


def test_wilson_by_hand() -> None:
    # Brown, Cai and DasGupta 2001: at n of n the lower end is n / (n + z²)
    assert wilson(10, 10) == pytest.approx((10 / (10 + 1.959964**2), 1.0))
    assert wilson(0, 10)[1] == pytest.approx(1 - wilson(10, 10)[0])


def test_values_that_are_all_alike_have_an_interval_nevertheless() -> None:
    for value, expected in ((0.0, wilson(0, 20)), (1.0, wilson(20, 20))):
        draws = ratio_draws(np.full(20, value), np.ones(20))
        assert draws is not None
        assert interval(draws, 20, (0.0, 1.0)) == pytest.approx(list(expected))
    draws = ratio_draws(np.zeros(20), np.ones(20))
    assert draws is not None
    low, high = interval(draws, 20, (-1.0, 1.0))  # no difference on 20 prompts
    assert -low == pytest.approx(high)
    assert high == pytest.approx(wilson(0, 20)[1])
    spread = np.linspace(0.2, 0.8, 1001)
    assert interval(spread, 20, (0.0, 1.0)) == percentile_interval(spread)


def test_the_interval_of_a_mean_is_narrower() -> None:
    # equal and symmetric: 1 / √5 of one
    low, high = mean_interval([50.0] * 5, [[40.0, 60.0]] * 5)
    assert (low, high) == pytest.approx((50 - 10 / 5**0.5, 50 + 10 / 5**0.5))
    assert mean_interval([1.0], [[0.5, 1.0]]) == [0.5, 1.0]


def test_p_by_random_signs() -> None:
    # 5 of 5 prompts: 2 of 32 sign patterns are as extreme
    assert sign_flip_p(np.ones(5)) == pytest.approx(2 / 32)
    assert sign_flip_p(np.array([1.0, 1, 1, 1, 1, 0, 0, 0])) == pytest.approx(2 / 32)
    assert sign_flip_p(np.array([1.0, -1.0])) == 1.0
    assert sign_flip_p(np.zeros(9)) is None
    assert sign_flip_p(np.zeros(0)) is None
    many = sign_flip_p(np.ones(50), resamples=999)
    assert many == pytest.approx(2 / 1000)  # none of the random ones is as extreme
    assert sign_flip_p(np.ones(50), resamples=999) == many


def test_p_by_permutations() -> None:
    draws = np.array([-0.1, 0.0, 0.1])
    assert permutation_p(0.1, draws) == pytest.approx(3 / 4)
    assert permutation_p(0.2, draws) == pytest.approx(1 / 4)
    assert permutation_p(0.0, np.zeros(3)) is None


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
