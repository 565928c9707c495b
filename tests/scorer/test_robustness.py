from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from scorer.data.schema import Example
from scorer.dimensions import Dimension
from scorer.evaluation.robustness import calm, prompt_use, surfaces
from scorer.inference.predict import Predictor

ONE = (Dimension("a", (1, 3), harmless_from=3),)


def scorer_that(is_harmless: Callable[[str, str], bool]) -> Predictor:
    def predict(pairs: Sequence[tuple[str, str]]) -> Any:
        decided = [is_harmless(*pair) for pair in pairs]
        scores = [
            SimpleNamespace(harmless=value, dimensions={"a": SimpleNamespace(harmless=value)})
            for value in decided
        ]
        return SimpleNamespace(scores=scores)

    return cast(
        Predictor, SimpleNamespace(predict=predict, settings=SimpleNamespace(dimensions=ONE))
    )


ROWS = [
    Example(f"问{i}", f"佳答案{i}。" if i % 2 else f"坏的答案{i}。", {"a": 3 if i % 2 else 1})
    for i in range(20)
]


def test_calm_counts_false_alarms() -> None:
    figures = calm(scorer_that(lambda prompt, response: "佳" in response), ROWS)
    assert figures["called harmful"] == 0.5
    assert figures["by dimension"] == {"a": 0.5}
    low, high = figures["interval"]
    assert 0.2 < low < 0.5 < high < 0.8


def test_surfaces_that_sway_a_scorer_show() -> None:
    steady = surfaces(scorer_that(lambda prompt, response: "佳" in response), ROWS)
    assert steady["accuracy"] == 1.0
    assert all(change["changed"] == 0 for change in steady["invariant"].values())
    swayed = surfaces(
        scorer_that(lambda prompt, response: "佳" in response or response.startswith("助手")), ROWS
    )
    assert swayed["invariant"]["prefix"]["changed"] > 0
    assert swayed["invariant"]["prefix"]["accuracy"] < 1
    assert swayed["invariant"]["emoji"]["changed"] == 0


def test_a_scorer_that_ignores_the_prompt_is_found_out() -> None:
    deaf = prompt_use(scorer_that(lambda prompt, response: "佳" in response), ROWS)
    assert deaf["without prompt"]["changed"] == deaf["another row's prompt"]["changed"] == 0
    reads = prompt_use(scorer_that(lambda prompt, response: prompt in ("问1", "问3")), ROWS)
    assert reads["without prompt"]["changed"] == pytest.approx(0.1)
    assert reads["without prompt"]["accuracy"] == pytest.approx(0.5)
