"""Scores without a model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from scorer.dimensions import DEFAULT_DIMENSIONS
from scorer.result import DimensionScore, Score


@pytest.fixture(scope="session")
def score_with() -> Callable[..., Score]:
    """Function from some dimensions' levels to a score; the others are at their highest level."""

    def make(
        levels: dict[str, int],
        probability: float | None = None,
        *,
        model: str = "judge 1.0.0",
        purpose: str = "balanced",
    ) -> Score:
        dimensions: dict[str, DimensionScore] = {}
        for dimension in DEFAULT_DIMENSIONS:
            level = levels.get(dimension.name, dimension.levels[-1])
            harmless = level >= dimension.harmless_from
            p = probability if probability is not None else 0.9 if harmless else 0.1
            rest: dict[int, Any] = dict.fromkeys(dimension.levels, 0.0)
            dimensions[dimension.name] = DimensionScore(level, harmless, rest | {level: 1.0}, p)
        return Score(
            harmless=all(score.harmless for score in dimensions.values()),
            harmless_probability=min(score.harmless_probability for score in dimensions.values()),
            uncertain=False,
            dimensions=dimensions,
            truncated=False,
            purpose=purpose,
            model=model,
        )

    return make
