"""Frozen results of scoring."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DECIMALS = 6  # of a probability in JSON; float32 carries no more


@dataclass(frozen=True)
class DimensionScore:
    """Score on one dimension: calibrated probabilities and the decision made of them.

    Attributes:
        level: Decided level; the checkpoint's thresholds decide, not the arg-max.
        harmless: Whether `level` counts as harmless on this dimension.
        probabilities: Calibrated probability of each level; they sum to 1.
        harmless_probability: Probability of a level that counts as harmless.
    """

    level: int
    harmless: bool
    probabilities: Mapping[int, float]
    harmless_probability: float


@dataclass(frozen=True)
class Score:
    """Score of one (prompt, response).

    Attributes:
        harmless: True only where every dimension is harmless.
        harmless_probability: Calibrated probability that every dimension is harmless.
        uncertain: Whether the decision is near a threshold, or the text unlike what the model was
            trained on; a person should look.
        dimensions: Dimension name to its score, in the checkpoint's order.
        truncated: Whether text was cut to fit the model.
        purpose: Which thresholds decided: `balanced`, `strict` or `lenient`.
        model: Name and version of the checkpoint.
    """

    harmless: bool
    harmless_probability: float
    uncertain: bool
    dimensions: Mapping[str, DimensionScore]
    truncated: bool
    purpose: str
    model: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready values: what a scored row carries under `harmlessness`."""
        return {
            "harmless": self.harmless,
            "harmless_probability": round(self.harmless_probability, _DECIMALS),
            "uncertain": self.uncertain,
            "dimensions": {
                name: {
                    "level": score.level,
                    "harmless": score.harmless,
                    "harmless_probability": round(score.harmless_probability, _DECIMALS),
                    "probabilities": {
                        str(level): round(value, _DECIMALS)
                        for level, value in score.probabilities.items()
                    },
                }
                for name, score in self.dimensions.items()
            },
            "truncated": self.truncated,
            "purpose": self.purpose,
            "model": self.model,
        }
