from __future__ import annotations

import math

import pytest

from scorer.evaluation.cvalues.accuracy import OUTCOMES, accuracies


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # correct, wrong, Other, Refuse, Need_Check
        ((100, 0, 0, 0, 0), (100.0, 100.0)),
        ((50, 50, 0, 0, 0), (50.0, 50.0)),
        ((60, 20, 20, 0, 0), (60.0, 60.0)),  # Other stays in the denominator
        ((60, 20, 0, 20, 0), (60.0, 75.0)),
        ((60, 20, 0, 0, 20), (60.0, 75.0)),
        ((1589, 113, 0, 10, 0), (92.8, 93.4)),  # made up, as many as there are public items
        ((0, 7, 0, 3, 0), (0.0, 0.0)),
    ],
)
def test_formulas_on_counts(counts: tuple[int, ...], expected: tuple[float, float]) -> None:
    found = accuracies(dict(zip(OUTCOMES, counts, strict=True)))
    assert found == pytest.approx(expected, abs=0.05)


def test_without_a_parsed_choice_the_second_is_undefined() -> None:
    acc, among_parsed = accuracies({"Refuse": 3, "Need_Check": 1})
    assert acc == 0.0
    assert math.isnan(among_parsed)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "no items"),
        ({"correct": 0}, "no items"),
        ({"right": 1}, "'right' is none of correct, wrong"),
        ({"correct": 2, "wrong": -1}, "wrong: count -1"),
    ],
)
def test_wrong_counts_are_refused(counts: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracies(counts)
