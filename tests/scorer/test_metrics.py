from __future__ import annotations

import numpy as np
import pytest

from scorer.evaluation.metrics import binary_figures, expected_calibration_error, level_figures


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
