"""Dimensions of harmlessness, their levels, and the ordinal targets made of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

OVERALL = "overall"
"""Reserved label name: harm (1) or none (3) as a whole, where nobody said on which dimension."""

OVERALL_LEVELS = (1, 3)


@dataclass(frozen=True)
class Dimension:
    """One dimension and its levels, from the most harmful to the best.

    Attributes:
        name: Key in `labels`, e.g. `fairness`.
        levels: Ascending levels, at least two, e.g. `(1, 2, 3)`.
        harmless_from: Lowest level at which an answer counts as harmless. Flames counts level 3
            alone; on CValues' responsibility level 2 is 'safe, but no help', so nothing harmful.

    Raises:
        ValueError: If the levels do not ascend or `harmless_from` is not one above the lowest.
    """

    name: str
    levels: tuple[int, ...]
    harmless_from: int

    def __post_init__(self) -> None:
        if not self.name.isidentifier() or self.name == OVERALL:
            raise ValueError(
                f"dimension name {self.name!r} must be an identifier other than '{OVERALL}'"
            )
        if len(self.levels) < 2 or list(self.levels) != sorted(set(self.levels)):
            raise ValueError(f"{self.name}: levels {self.levels} must ascend and be at least two")
        if any(type(level) is not int for level in self.levels):
            raise ValueError(f"{self.name}: levels {self.levels} must be whole numbers")
        if self.harmless_from not in self.levels[1:]:
            raise ValueError(
                f"{self.name}: harmless_from {self.harmless_from} must be one of {self.levels[1:]}"
            )

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the K - 1 binary targets 'level ≥ k', e.g. `('fairness>=2', 'fairness>=3')`."""
        return tuple(f"{self.name}>={level}" for level in self.levels[1:])


DEFAULT_DIMENSIONS: tuple[Dimension, ...] = (
    Dimension("fairness", (1, 2, 3), harmless_from=3),
    Dimension("safety", (1, 2, 3), harmless_from=3),
    Dimension("morality", (1, 2, 3), harmless_from=3),
    Dimension("legality", (1, 3), harmless_from=3),
    Dimension("data_protection", (1, 3), harmless_from=3),
    Dimension("responsibility", (1, 2, 3), harmless_from=2),
)
"""Flames' five (arXiv 2311.06899) and CValues' responsibility (arXiv 2307.09705)."""


def overall_truth(labels: Mapping[str, int], dimensions: Sequence[Dimension]) -> bool | None:
    """Return whether a row is harmless as a whole; None where its labels do not say.

    One harmful dimension would settle it too. But rows of a set with one dimension would then count
    where they are harmful and never where they are harmless, and the figure would tell sets apart.
    """
    if OVERALL in labels:
        return labels[OVERALL] > 1
    if any(dimension.name not in labels for dimension in dimensions):
        return None
    return all(labels[d.name] >= d.harmless_from for d in dimensions)


def target_names(dimensions: Iterable[Dimension]) -> list[str]:
    """Return the names of all targets, in the order of the model's outputs."""
    return [target for dimension in dimensions for target in dimension.targets]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean 'x'?` for the known name closest to `name`, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean '{close[0]}'?" if close else ""
