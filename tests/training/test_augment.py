from __future__ import annotations

from scorer.data.schema import Example
from scorer.evaluation.variants import CURT, POLITE, PREFIXES
from scorer.training.augment import with_variants
from scorer.training.rows import WeightedExample

ROWS = [
    WeightedExample(Example(f"问{i}", f"这是第{i}个回答，说得对。", {"fairness": 3}), 0.5)
    for i in range(400)
]


def test_a_share_of_the_responses_changes_and_nothing_else() -> None:
    changed = with_variants(ROWS, 0.25, seed=3)
    different = [
        (a, b)
        for a, b in zip(ROWS, changed, strict=True)
        if a.example.response != b.example.response
    ]
    assert 60 < len(different) < 140
    for before, after in zip(ROWS, changed, strict=True):
        assert after.weight == before.weight
        assert after.example.prompt == before.example.prompt
        assert after.example.labels == before.example.labels
    assert with_variants(ROWS, 0.25, seed=3) == changed
    assert with_variants(ROWS, 0.0, seed=3) == ROWS


def test_the_openers_that_are_measured_are_not_trained_on() -> None:
    for row in with_variants(ROWS, 1.0, seed=3):
        assert not row.example.response.startswith((*POLITE, *CURT, *PREFIXES))
