from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score

from scorer.checkpoint import EncodingSettings, Settings, Target
from scorer.data.schema import Example
from scorer.dimensions import Dimension
from scorer.training.calibration import (
    calibrate,
    calibrate_whole,
    fit_edges,
    fit_levels,
    fit_platt,
)

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
    levels = np.array([1, 1, 1, 3, 3, 3])
    (found,) = fit_levels(probability[:, None], levels, ONE[0], [True])
    assert 0.62 < found <= 0.7


def noisy_levels(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranks of `count` levels, and probabilities of reaching them that lean."""
    generator = np.random.default_rng(4)
    rank = generator.integers(0, count, 400)
    noisy = rank[:, None] + generator.normal(0, 0.7, (400, count - 1))
    lean = noisy * np.linspace(1.0, 0.6, count - 1)
    edges = np.arange(1, count) - 0.2
    return rank, np.minimum.accumulate(1 / (1 + np.exp(edges - lean)), axis=1)


def test_thresholds_of_a_dimension_are_the_best_together() -> None:
    rank, reached = noisy_levels(3)
    uneven = Dimension("a", (1, 2, 5), harmless_from=5)
    levels = np.array(uneven.levels)[rank]
    weights = np.random.default_rng(5).random(400)

    def merit(thresholds: tuple[float, ...]) -> float:
        passed = np.logical_and.accumulate(reached >= thresholds, axis=1).sum(axis=1)
        decided = np.array(uneven.levels)[passed]
        # scikit-learn weighs ranks; a level between them keeps the distances
        kappa = cohen_kappa_score(
            levels, decided, labels=[1, 2, 3, 4, 5], weights="quadratic", sample_weight=weights
        )
        return float(kappa + accuracy_score(levels, decided, sample_weight=weights)) / 2

    found = fit_levels(reached, levels, uneven, [True, True], weights)
    grid = np.arange(0.2, 0.81, 0.05)
    assert merit(found) >= max(merit((a, b)) for a in grid for b in grid) - 1e-4
    assert merit(found) > merit((0.5, 0.5))
    held = fit_levels(reached, levels, uneven, [False, True], weights)
    assert held[0] == 0.5
    assert merit(held) >= max(merit((0.5, b)) for b in grid) - 1e-4


def test_many_levels_are_tried_on_a_coarser_grid() -> None:
    rank, reached = noisy_levels(6)
    six = Dimension("a", tuple(range(1, 7)), harmless_from=4)
    assert len(fit_levels(reached, rank + 1, six, [True] * 5)) == 5


def test_strict_and_lenient_thresholds_keep_their_promise() -> None:
    logits, truth = sample(4_000, 1.0)
    probability = 1 / (1 + np.exp(-logits))
    strict, lenient = fit_edges(probability, truth)
    assert (probability[~truth] < strict).mean() == pytest.approx(0.95, abs=0.01)
    assert (probability[truth] >= lenient).mean() == pytest.approx(0.99, abs=0.01)


def test_purposes_stay_in_order() -> None:
    generator = np.random.default_rng(6)
    logits = np.concatenate([generator.normal(-6, 1, 300), generator.normal(6, 1, 300)])
    examples = [Example("", "x", {"a": level}) for level in [1] * 300 + [3] * 300]
    (target,) = calibrate(logits[:, None].astype(np.float32), examples, ONE)
    # rows so far apart leave 95% of the harmful ones far below any threshold
    assert fit_edges(1 / (1 + np.exp(-logits)), np.arange(600) >= 300)[0] < 0.2
    thresholds = target.thresholds
    assert thresholds.lenient <= thresholds.balanced <= thresholds.strict
    assert thresholds.strict == thresholds.balanced


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
