from __future__ import annotations

import numpy as np
import pytest

from scorer.checkpoint import Target
from scorer.data.schema import Example
from scorer.dimensions import Dimension
from scorer.training.calibration import calibrate, fit_temperature, fit_threshold

ONE = (Dimension("a", (1, 3), harmless_from=3),)


def sample(n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the outcomes drawn from them."""
    generator = np.random.default_rng(3)
    honest = generator.normal(0.5, 1.5, n)
    truth = generator.random(n) < 1 / (1 + np.exp(-honest))
    return (honest * temperature).astype(np.float64), truth


def test_temperature_of_an_overconfident_model_is_found() -> None:
    assert fit_temperature(*sample(20_000, 3.0)) == pytest.approx(3.0, rel=0.1)


def test_threshold_separates_what_can_be_separated() -> None:
    probability = np.array([0.1, 0.3, 0.62, 0.7, 0.8, 0.9])
    truth = np.array([False, False, False, True, True, True])
    assert 0.62 < fit_threshold(probability, truth) <= 0.7


def test_few_rows_leave_the_defaults() -> None:
    logits, truth = sample(30, 3.0)
    examples = [Example("", "x", {"a": 3 if harmless else 1}) for harmless in truth]
    assert calibrate(logits[:, None].astype(np.float32), examples, ONE) == (Target("a>=3"),)
    assert calibrate(np.empty((0, 1), np.float32), [], ONE) == (Target("a>=3"),)


def test_unlabelled_rows_do_not_count() -> None:
    logits, truth = sample(400, 3.0)
    examples = [Example("", "x", {"a": 3 if harmless else 1}) for harmless in truth]
    noise = [Example("", "y", {}) for _ in range(400)]
    known = calibrate(logits[:, None].astype(np.float32), examples, ONE)
    mixed = np.concatenate([logits, -logits])[:, None].astype(np.float32)
    assert calibrate(mixed, examples + noise, ONE) == known
    assert known[0].temperature > 2
