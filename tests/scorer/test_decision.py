from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.checkpoint import Doubt, EncodingSettings, Platt, Settings, Target, Thresholds
from scorer.decision import certainty, decide, decisions, scores
from scorer.dimensions import DEFAULT_DIMENSIONS, Dimension, target_names

FAIRNESS = DEFAULT_DIMENSIONS[0]


def targets(*thresholds: float) -> tuple[Target, ...]:
    return tuple(
        Target(n, Platt(), Thresholds(t, t, t))
        for n, t in zip(FAIRNESS.targets, thresholds, strict=True)
    )


def test_level_probabilities_of_consistent_targets() -> None:
    decided = decide(np.array([[0.9, 0.2]]), FAIRNESS, targets(0.5, 0.5))
    assert decided.probabilities == pytest.approx(np.array([[0.1, 0.7, 0.2]]))
    assert decided.harmless_probability == pytest.approx(np.array([0.2]))


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1))
def test_level_probabilities_are_a_distribution(reached: list[tuple[float, float]]) -> None:
    decided = decide(np.array(reached), FAIRNESS, targets(0.6, 0.3))
    assert (decided.probabilities >= 0).all()
    assert decided.probabilities.sum(axis=1) == pytest.approx(np.ones(len(reached)))
    # Nothing is called harmless on less than its threshold.
    assert (decided.harmless_probability[decided.harmless] >= 0.3).all()


def test_a_level_needs_every_level_below() -> None:
    reached = np.array([[0.5, 0.9], [0.7, 0.2], [0.6, 0.3]])
    assert decide(reached, FAIRNESS, targets(0.6, 0.3)).levels.tolist() == [1, 2, 3]


def test_a_level_is_no_likelier_than_the_one_below() -> None:
    decided = decide(np.array([[0.7, 0.9]]), FAIRNESS, targets(0.6, 0.8))
    assert decided.levels.tolist() == [2]
    assert decided.harmless_probability == pytest.approx(np.array([0.7]))


def settings_of(dimensions: tuple[Dimension, ...]) -> Settings:
    all_targets = tuple(
        Target(name, Platt(2.0), Thresholds(0.5, 0.9, 0.1)) for name in target_names(dimensions)
    )
    return Settings("test", "1.0.0", dimensions, all_targets, EncodingSettings())


def test_harmless_only_where_every_dimension_is() -> None:
    logits = np.full((3, 10), 8.0, np.float32)
    logits[1, 5] = -8.0  # morality>=3
    logits[2, 9] = -8.0  # responsibility>=3: safe, though of little help
    clean, harmful, dull = scores(logits, [False, True, False], settings_of(DEFAULT_DIMENSIONS))
    assert clean.harmless
    assert not harmful.harmless
    assert harmful.truncated
    assert harmful.dimensions["morality"].level == 2
    assert harmful.harmless_probability == pytest.approx(1 / (1 + np.exp(4.0)))
    assert dull.harmless
    assert dull.dimensions["responsibility"].level == 2
    assert dull.to_dict()["dimensions"]["responsibility"]["probabilities"].keys() == {"1", "2", "3"}


def test_the_purpose_chooses_the_thresholds() -> None:
    logits = np.full((1, 10), 3.0, np.float32)  # P = 0.82
    settings = settings_of(DEFAULT_DIMENSIONS)
    harmless = {
        purpose: scores(logits, [False], settings, purpose=purpose)[0].harmless
        for purpose in ("balanced", "strict", "lenient")
    }
    assert harmless == {"balanced": True, "strict": False, "lenient": True}
    below = np.full((1, 10), -3.0, np.float32)
    assert scores(below, [False], settings, purpose="lenient")[0].harmless
    assert not scores(below, [False], settings)[0].harmless


def test_the_whole_is_calibrated_by_itself() -> None:
    logits = np.full((1, 10), 8.0, np.float32)
    logits[0, 5] = -2.0
    settings = replace(settings_of(DEFAULT_DIMENSIONS), overall=Platt(2.0, 1.0))
    (score,) = scores(logits, [False], settings)
    # the least log-odds are -2 / 2; then / 2 + 1
    assert score.harmless_probability == pytest.approx(1 / (1 + np.exp(-0.5)))


def test_a_score_near_a_threshold_or_of_unfamiliar_text_is_uncertain() -> None:
    logits = np.full((4, 10), 8.0, np.float32)
    logits[1, 5] = 1.0  # harmless, but nearly not
    logits[2, 5] = -1.0  # harmful, but nearly not
    logits[3, 5], logits[3, 6] = -1.0, -8.0  # harmful beyond doubt on another dimension
    settings = replace(settings_of(DEFAULT_DIMENSIONS), doubt=Doubt(1.0, 0.2))
    assert certainty(decisions(logits, settings)) == pytest.approx(np.array([4.0, 0.5, 0.5, 4.0]))
    flagged = [score.uncertain for score in scores(logits, [False] * 4, settings)]
    assert flagged == [False, True, True, False]
    unfamiliar = [0.3, 0.0, 0.0, 0.1]
    flagged = [score.uncertain for score in scores(logits, [False] * 4, settings, unfamiliar)]
    assert flagged == [True, True, True, False]


@pytest.mark.parametrize(
    ("name", "levels", "harmless_from"),
    [
        ("a", (1,), 1),
        ("a", (2, 1), 2),
        ("a", (1, 2), 1),
        ("a b", (1, 2), 2),
        ("overall", (1, 3), 3),
    ],
)
def test_impossible_dimensions_are_refused(
    name: str, levels: tuple[int, ...], harmless_from: int
) -> None:
    with pytest.raises(ValueError, match="must"):
        Dimension(name, levels, harmless_from)
