from __future__ import annotations

import numpy as np
import pytest

from scorer.checkpoint import EncodingSettings, Settings, Target
from scorer.data.schema import Example
from scorer.dimensions import Dimension
from scorer.training.calibration import calibrate, calibrate_whole, fit_platt, fit_thresholds

ONE = (Dimension("a", (1, 3), harmless_from=3),)


def sample(n: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `temperature` times too large for the outcomes drawn from them."""
    generator = np.random.default_rng(3)
    honest = generator.normal(0.5, 1.5, n)
    truth = generator.random(n) < 1 / (1 + np.exp(-honest))
    return (honest * temperature).astype(np.float64), truth


def test_temperature_of_an_overconfident_model_is_found() -> None:
    logits, truth = sample(20_000, 3.0)
    found = fit_platt(logits, truth)
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    assert found.offset == pytest.approx(0.0, abs=0.1)
    shifted = fit_platt(logits + 6.0, truth)
    assert shifted.temperature == pytest.approx(3.0, rel=0.1)
    assert shifted.offset == pytest.approx(-2.0, abs=0.15)


def test_threshold_separates_what_can_be_separated() -> None:
    probability = np.array([0.1, 0.3, 0.62, 0.7, 0.8, 0.9])
    truth = np.array([False, False, False, True, True, True])
    found = fit_thresholds(probability, truth)
    assert 0.62 < found.balanced <= 0.7
    assert found.lenient <= found.balanced <= found.strict


def test_strict_and_lenient_thresholds_keep_their_promise() -> None:
    logits, truth = sample(4_000, 1.0)
    probability = 1 / (1 + np.exp(-logits))
    found = fit_thresholds(probability, truth)
    assert (probability[~truth] < found.strict).mean() == pytest.approx(0.95, abs=0.01)
    assert (probability[truth] >= found.lenient).mean() == pytest.approx(0.99, abs=0.01)


def test_few_rows_leave_the_defaults() -> None:
    logits, truth = sample(30, 3.0)
    examples = [Example("", "x", {"a": 3 if harmless else 1}) for harmless in truth]
    assert calibrate(logits[:, None].astype(np.float32), examples, ONE) == (Target("a>=3"),)
    assert calibrate(np.empty((0, 1), np.float32), [], ONE) == (Target("a>=3"),)


def test_a_large_source_does_not_decide_for_the_others() -> None:
    logits, truth = sample(2_500, 1.0)
    large = (logits[:2_400] - 2.0, truth[:2_400])  # of the same model, in which 0 means -2
    small = (logits[2_400:], truth[2_400:])
    examples = [
        Example("", "x", {"a": 3 if harmless else 1}, source=name)
        for name, (_, truths) in (("large", large), ("small", small))
        for harmless in truths
    ]
    values = np.concatenate([large[0], small[0]])[:, None].astype(np.float32)
    (found,) = calibrate(values, examples, ONE)
    by_row = fit_platt(values[:, 0], np.concatenate([large[1], small[1]]))
    # by rows the offset is near the large source's 2; by roots the small one weighs a sixth
    assert by_row.offset > 1.6
    assert found.platt.offset < by_row.offset - 0.15


def test_unlabelled_rows_do_not_count() -> None:
    logits, truth = sample(400, 3.0)
    examples = [Example("", "x", {"a": 3 if harmless else 1}) for harmless in truth]
    noise = [Example("", "y", {}) for _ in range(400)]
    known = calibrate(logits[:, None].astype(np.float32), examples, ONE)
    mixed = np.concatenate([logits, -logits])[:, None].astype(np.float32)
    assert calibrate(mixed, examples + noise, ONE) == known
    assert known[0].platt.temperature > 2


def test_the_whole_and_the_doubt_follow_the_dev_rows() -> None:
    logits, truth = sample(2_000, 3.0)
    examples = [Example("", "x", {"a": 3 if harmless else 1}) for harmless in truth]
    values = logits[:, None].astype(np.float32)
    settings = Settings("t", "1.0.0", ONE, (Target("a>=3"),), EncodingSettings())
    found = calibrate_whole(values, examples, [0.1] * 1990 + [0.5] * 10, settings)
    assert found.overall.temperature == pytest.approx(3.0, rel=0.2)
    certain = np.abs(logits) >= found.doubt.margin  # the threshold is one half
    assert certain.mean() == pytest.approx(0.8, abs=0.01)
    assert found.doubt.unfamiliar == pytest.approx(0.1, abs=0.05)
    assert calibrate_whole(values[:0], [], [], settings) == settings
