from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scorer.api import find_checkpoint
from scorer.checkpoint import read_settings
from scorer.errors import DataError
from scorer.evaluation.misclassification import (
    BY_PURPOSE,
    Errors,
    corrected_draws,
    corrected_figures,
    measured_errors,
    rogan_gladen,
)


def test_errors_of_a_confusion_matrix() -> None:
    confusion = [[40, 8, 2], [13, 24, 10], [0, 3, 60]]
    flames = Errors.from_confusion(confusion, 2)
    assert flames == Errors(harmless=63, harmless_right=60, harmful=97, harmful_right=85)
    responsibility = Errors.from_confusion(confusion, 1)  # level 2 is harmless there
    assert responsibility == Errors(harmless=110, harmless_right=97, harmful=50, harmful_right=40)
    assert flames.sensitivity == pytest.approx(60 / 63)
    assert flames.specificity == pytest.approx(85 / 97)


def test_rogan_gladen_undoes_the_errors() -> None:
    errors = Errors(harmless=100, harmless_right=90, harmful=200, harmful_right=160)
    for true in (0.0, 0.3, 1.0):
        seen = true * 0.9 + (1 - true) * 0.2
        assert rogan_gladen(seen, errors) == pytest.approx(true)
    assert rogan_gladen(0.1, errors) == 0.0  # fewer than its false alarms alone would give
    assert rogan_gladen(0.95, errors) == 1.0


@pytest.mark.parametrize(
    "errors",
    [Errors(10, 5, 10, 5), Errors(10, 2, 10, 3), Errors(0, 0, 10, 9), Errors(10, 9, 0, 0)],
)
def test_no_correction_by_a_scorer_that_tells_nothing(errors: Errors) -> None:
    assert rogan_gladen(0.5, errors) is None
    assert corrected_draws(0.5, 100, errors) is None
    assert corrected_figures(None, None) is None


def test_no_correction_where_too_little_was_measured() -> None:
    assert rogan_gladen(0.5, Errors(3, 3, 3, 1)) is not None
    assert corrected_draws(0.5, 100, Errors(3, 3, 3, 1)) is None


def test_the_interval_covers_the_truth() -> None:
    draw = np.random.default_rng(5)
    true, sensitivity, specificity, covered = 0.4, 0.9, 0.7, 0
    for seed in range(300):
        harmless = draw.binomial(150, true)
        seen = draw.binomial(harmless, sensitivity) + draw.binomial(150 - harmless, 1 - specificity)
        errors = Errors(
            60, int(draw.binomial(60, sensitivity)), 50, int(draw.binomial(50, specificity))
        )
        value = rogan_gladen(seen / 150, errors)
        figures = corrected_figures(value, corrected_draws(seen / 150, 150, errors, 500, seed))
        assert figures is not None
        low, high = figures["interval"]
        assert low <= figures["harmless_rate"] <= high
        covered += low <= 100 * true <= high
    assert 0.92 <= covered / 300 <= 0.98


def test_many_rows_give_the_published_variance() -> None:
    # Rogan and Gladen 1978, eq. 3, with the terms of both errors.
    errors = Errors(4000, 3600, 3000, 2400)
    rate, n = 0.55, 2000
    value = rogan_gladen(rate, errors)
    draws = corrected_draws(rate, n, errors, 20_000)
    assert value is not None
    assert draws is not None
    variance = (
        rate * (1 - rate) / n
        + value**2 * 0.9 * 0.1 / errors.harmless
        + (1 - value) ** 2 * 0.8 * 0.2 / errors.harmful
    ) / 0.7**2
    assert draws.std() == pytest.approx(np.sqrt(variance), rel=0.02)


def test_perfect_counts_still_leave_doubt() -> None:
    draws = corrected_draws(1.0, 20, Errors(20, 20, 20, 20))
    assert draws is not None
    figures = corrected_figures(1.0, draws)
    assert figures is not None
    assert figures["harmless_rate"] == 100.0
    assert figures["interval"][0] < 95
    assert figures["interval"][1] == 100.0


def test_the_shipped_checkpoint_says_what_is_needed() -> None:
    folder = find_checkpoint(None)
    settings = read_settings(folder)
    errors = measured_errors(folder, settings)
    whole = measured_errors(folder, settings, part="all")
    for name in ("fairness", "safety", "morality", "legality", "data_protection"):
        assert errors[name].harmless > 10
        assert errors[name].harmful > 10
        assert whole[name].harmful > errors[name].harmful
        assert errors[name].sensitivity + errors[name].specificity > 1.4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    recorded = {"confusion": [[7, 1, 0], [1, 2, 1], [0, 2, 8]]}
    newer: dict[str, Any] = recorded | {
        BY_PURPOSE: {"balanced": [[11, 1], [2, 8]], "strict": [[12, 0], [4, 6]]}
    }
    figures = {
        "dimensions": {"fairness": newer},
        "parts": {"old": {"dimensions": {"fairness": recorded}}},
    }
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"splits": {"test": {"fp32": figures}}}), encoding="utf-8")
    return tmp_path


def test_each_purpose_has_its_errors(folder: Path) -> None:
    settings = read_settings(find_checkpoint(None))
    strict = measured_errors(folder, settings, "strict", "all")
    assert strict == {"fairness": Errors(10, 6, 12, 12)}
    assert measured_errors(folder, settings, part="old") == {"fairness": Errors(10, 8, 12, 11)}
    with pytest.raises(DataError, match="the balanced purpose alone, not of strict"):
        measured_errors(folder, settings, "strict", "old")


def test_figures_that_are_not_there(folder: Path, tmp_path: Path) -> None:
    settings = read_settings(find_checkpoint(None))
    with pytest.raises(DataError, match="no part 'new' of the test rows; there are all, old"):
        measured_errors(folder, settings, part="new")
    (folder / "metrics.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics.json: cannot be read"):
        measured_errors(folder, settings)
    (folder / "metrics.json").unlink()
    with pytest.raises(DataError, match=r"no metrics.json"):
        measured_errors(folder, settings)
