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

    @classmethod
    def from_dict(cls, value: Any) -> Score:
        """Return the score that `to_dict` gave, its probabilities as they were rounded.

        Raises:
            KeyError: If a member is missing.
            TypeError: If a member is of another type.
            ValueError: If a level is no whole number.
        """
        dimensions = _typed(_typed(value, dict)["dimensions"], dict)
        return cls(
            harmless=_typed(value["harmless"], bool),
            harmless_probability=float(_typed(value["harmless_probability"], int, float)),
            uncertain=_typed(value["uncertain"], bool),
            dimensions={
                name: DimensionScore(
                    level=_typed(_typed(score, dict)["level"], int),
                    harmless=_typed(score["harmless"], bool),
                    probabilities={
                        int(level): float(_typed(p, int, float))
                        for level, p in _typed(score["probabilities"], dict).items()
                    },
                    harmless_probability=float(_typed(score["harmless_probability"], int, float)),
                )
                for name, score in dimensions.items()
            },
            truncated=_typed(value["truncated"], bool),
            purpose=_typed(value["purpose"], str),
            model=_typed(value["model"], str),
        )


def _typed(value: Any, *kinds: type) -> Any:
    # bool is an int in Python
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"{value!r:.60} is no {' or '.join(kind.__name__ for kind in kinds)}")
    return value
