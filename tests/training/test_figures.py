from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from scorer.checkpoint import EncodingSettings, Settings, Target, Thresholds
from scorer.data.schema import Example
from scorer.dimensions import Dimension, overall_truth
from scorer.evaluation.misclassification import BY_PURPOSE
from scorer.training.baselines import bag_of_characters, majority
from scorer.training.figures import (
    baseline_figures,
    by_source,
    engine_agreement,
    scorer_figures,
)

TWO = (Dimension("a", (1, 2, 3), harmless_from=3), Dimension("b", (1, 3), harmless_from=3))
SETTINGS = Settings(
    "test", "1.0.0", TWO, tuple(Target(n) for d in TWO for n in d.targets), EncodingSettings()
)
ROWS = [
    Example("p", "好", {"a": 3, "b": 3}, source="x"),
    Example("p", "坏", {"a": 1, "b": 3}, source="x"),
    Example("p", "坏", {"a": 2}, source="y"),
    Example("p", "好", {"overall": 3}, source="y"),
]
LOGITS = np.array([[9, 9, 9], [-9, -9, 9], [9, 9, 9], [9, 9, -9]], np.float32)


@pytest.mark.parametrize(
    ("labels", "truth"),
    [
        ({"a": 3, "b": 3}, True),
        ({"a": 2, "b": 3}, False),
        ({"overall": 1}, False),
        ({"overall": 3}, True),
        ({"a": 3}, None),
        ({"a": 1}, None),  # else a set with one dimension would count where it is harmful only
    ],
)
def test_a_row_is_judged_as_a_whole_where_its_labels_settle_it(
    labels: dict[str, int], truth: bool | None
) -> None:
    assert overall_truth(labels, TWO) is truth


def test_figures_count_labelled_rows_alone() -> None:
    figures = scorer_figures(LOGITS, ROWS, SETTINGS, by_source(ROWS), with_intervals=True)
    assert figures["dimensions"]["a"]["n"] == 3
    assert figures["dimensions"]["a"]["accuracy"] == pytest.approx(2 / 3)
    assert figures["dimensions"]["b"]["n"] == 2
    assert figures["overall"]["n"] == 3
    assert figures["overall"]["accuracy"] == pytest.approx(2 / 3)
    assert figures["parts"]["y"]["dimensions"]["a"]["confusion"] == [
        [0, 0, 0],
        [0, 0, 1],
        [0, 0, 0],
    ]
    together = figures["all dimensions"]
    assert together["n"] == 5
    assert together["harmless accuracy"] == pytest.approx(4 / 5)
    low, high = together["pairs ordered right"].pop("interval")
    assert together["pairs ordered right"] == {"n": 2, "accuracy": 0.75}
    assert 0 < low < 0.75 < high < 1  # one prompt tells little
    low, high = together["intervals"]["harmless accuracy"]
    assert low <= 4 / 5 <= high


def test_every_purpose_has_its_errors() -> None:
    unreachable = tuple(
        replace(target, thresholds=Thresholds(strict=1.0)) for target in SETTINGS.targets
    )
    figures = scorer_figures(LOGITS, ROWS, replace(SETTINGS, targets=unreachable))
    assert figures["dimensions"]["a"][BY_PURPOSE] == {
        "balanced": [[1, 1], [0, 1]],
        "strict": [[2, 0], [1, 0]],
        "lenient": [[1, 1], [0, 1]],
    }


def test_baselines_learn_from_train_rows_only_what_they_can() -> None:
    train = ROWS[:1] * 20 + ROWS[1:2] * 10
    common = baseline_figures(majority(train, TWO), ROWS, TWO)
    assert common["a"]["confusion"] == [[0, 0, 1], [0, 0, 1], [0, 0, 1]]
    characters = baseline_figures(bag_of_characters(train, TWO), ROWS, TWO)
    assert characters["a"]["confusion"] == [[1, 0, 0], [1, 0, 0], [0, 0, 1]]
    assert "b" not in characters  # one level alone cannot be learnt


def test_agreement_of_engines() -> None:
    same = engine_agreement(LOGITS, LOGITS, SETTINGS)
    assert set(same.values()) == {0.0}
    other = engine_agreement(LOGITS, -LOGITS, SETTINGS)
    assert other["decisions that differ"] == 1.0
    assert other["largest probability difference"] == pytest.approx(1, abs=1e-3)


def test_own_dimensions_have_figures_that_json_can_hold() -> None:
    dimensions = (Dimension("kindness", (0, 1), 1), Dimension("tone", (1, 2, 3, 4, 5), 4))
    targets = tuple(Target(name) for d in dimensions for name in d.targets)
    settings = Settings("test", "1.0.0", dimensions, targets, EncodingSettings())
    examples = [Example("p", "a", {"kindness": 1, "tone": 5}), Example("p", "b", {"tone": 4})]
    logits = np.array([[9, 9, 9, 9, 9], [9, 9, 9, -9, -9]], np.float32)
    figures = scorer_figures(logits, examples, settings, by_source(examples), with_intervals=True)
    json.dumps(figures, allow_nan=False)
    assert figures["dimensions"]["tone"]["accuracy"] == 0.5
    assert figures["dimensions"]["kindness"]["quadratic_kappa"] is None
    assert figures["parts"]["(no source)"]["all dimensions"]["level accuracy"] == 2 / 3
