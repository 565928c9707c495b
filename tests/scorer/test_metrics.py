from __future__ import annotations

import numpy as np
import pytest

from scorer.evaluation.metrics import (
    binary_figures,
    expected_calibration_error,
    intervals,
    level_figures,
    pair_ordering,
    reliability,
    risk_coverage,
)


def test_ece_of_a_calibrated_and_a_boastful_model() -> None:
    truth = np.array([True, True, True, False])
    assert expected_calibration_error(np.full(4, 0.75), truth) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(4, 1.0), truth) == pytest.approx(0.25)


def test_level_figures_by_hand() -> None:
    truth, decided = np.array([1, 1, 2, 3, 3, 3]), np.array([1, 2, 2, 3, 3, 1])
    figures = level_figures(truth, decided, np.array([0.1, 0.6, 0.2, 0.9, 0.8, 0.3]), (1, 2, 3), 3)
    assert figures["n"] == 6
    assert figures["accuracy"] == pytest.approx(4 / 6)
    assert figures["confusion"] == [[1, 1, 0], [0, 1, 0], [1, 0, 2]]
    # 1 - sum(w o) / sum(w e), w = (i - j)^2: (1 + 4) / (sum over outer(2,1,3; 2,2,2) / 6)
    expected = (2 * (0 * 2 + 1 * 2 + 4 * 2) + 1 * (2 + 0 + 2) + 3 * (4 * 2 + 1 * 2)) / 6
    assert figures["quadratic_kappa"] == pytest.approx(1 - 5 / expected)
    assert figures["harmless"]["accuracy"] == pytest.approx(5 / 6)
    assert figures["harmless"]["auroc"] == pytest.approx(8 / 9)


def test_one_class_has_no_auroc_and_no_kappa() -> None:
    ones = np.ones(3, np.int64) * 3
    figures = level_figures(ones, ones, np.full(3, 0.9), (1, 3), 3)
    assert figures["quadratic_kappa"] is None
    assert figures["harmless"]["auroc"] is None
    assert binary_figures(ones == 3, ones == 3, np.full(3, 0.9))["accuracy"] == 1.0


def test_pairs_are_ordered_within_a_prompt_only() -> None:
    groups = ["p", "p", "p", "q", "q"]
    truth = np.array([True, False, False, True, True])
    probability = np.array([0.6, 0.5, 0.6, 0.1, 0.2])
    found = pair_ordering(groups, truth, probability)
    low, high = found.pop("interval")
    assert found == {"n": 2, "accuracy": 0.75}
    assert 0 < low < 0.75 < high < 1  # one prompt tells little
    assert pair_ordering([], truth[:0], probability[:0]) == {"n": 0, "accuracy": None}


def test_intervals_draw_whole_groups() -> None:
    # Rows of a prompt are copies of one another: ten prompts tell no more than ten rows.
    draw = np.random.default_rng(1)
    prompts = [f"p{i}" for i in range(50)]
    right = draw.random(50) < 0.7

    def width(groups: list[str], values: np.ndarray) -> float:
        found = intervals(groups, lambda rows: {"mean": float(values[rows].mean()), "none": None})
        assert found.keys() == {"mean"}
        low, high = found["mean"]
        assert low < values.mean() < high
        return high - low

    alone = width(prompts, right)
    copied = width([p for p in prompts for _ in range(20)], np.repeat(right, 20))
    assert copied == pytest.approx(alone, rel=0.15)
    assert alone == pytest.approx(
        2 * 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 50), rel=0.2
    )


def test_accuracy_of_the_certain_share() -> None:
    certainty = np.arange(10.0)
    right = np.array([False] * 2 + [True] * 8)
    curve = risk_coverage(certainty, right, (1.0, 0.8, 0.5))
    assert [point["accuracy"] for point in curve] == [0.8, 1.0, 1.0]


def test_reliability_bins() -> None:
    bins = reliability(np.array([0.05, 0.95, 0.97, 1.0]), np.array([False, True, True, False]))
    assert [b["n"] for b in bins] == [1, 3]
    assert bins[1]["harmless share"] == pytest.approx(2 / 3)
    assert bins[1]["mean probability"] == pytest.approx(0.97333, abs=1e-4)
