"""Figures over the scored rows of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from scorer.dimensions import Dimension
from scorer.inference.fields import Fields
from scorer.result import Score


@dataclass(frozen=True)
class DimensionSummary:
    """Figures of one dimension.

    Attributes:
        n: Scored rows.
        mean_level: Mean decided level; None without rows.
        harmless_rate: Percentage of rows that are harmless on the dimension (Flames, arXiv
            2311.06899, section 4); None without rows.
    """

    n: int
    mean_level: float | None
    harmless_rate: float | None


@dataclass(frozen=True)
class Summary:
    """Figures of one file.

    Attributes:
        rows: Scored rows.
        rejected: Lines that could not be scored.
        rejected_path: Where they are kept, if there are any; None where nothing keeps them.
        truncated: Scored rows whose text was cut to fit the model.
        uncertain: Scored rows that are flagged as uncertain.
        tokens: Tokens that went through the model, padding left out.
        seconds: Wall time, the loading of the model left out.
        harmless_rate: Percentage of rows that are harmless on every dimension; None without rows.
        dimensions: Dimension name to its figures, in the checkpoint's order.
        fields: Fields that were read; None where no row was good.
    """

    rows: int
    rejected: int
    rejected_path: Path | None
    truncated: int
    uncertain: int
    tokens: int
    seconds: float
    harmless_rate: float | None
    dimensions: Mapping[str, DimensionSummary]
    fields: Fields | None

    @property
    def rows_per_second(self) -> float:
        """Scored rows per second of wall time."""
        return self.rows / self.seconds

    @property
    def tokens_per_second(self) -> float:
        """Tokens per second of wall time."""
        return self.tokens / self.seconds


class Tally:
    """Counts scores as they come and forgets them.

    Args:
        dimensions: The checkpoint's dimensions.
    """

    def __init__(self, dimensions: Iterable[Dimension]) -> None:
        self._levels = {dimension.name: 0 for dimension in dimensions}
        self._harmless = dict.fromkeys(self._levels, 0)
        self._overall = 0
        self._truncated = 0
        self._uncertain = 0
        self.rows = 0
        self.tokens = 0

    def add(self, scores: Iterable[Score], tokens: int) -> None:
        """Count the scores of a window."""
        self.tokens += tokens
        for score in scores:
            self.rows += 1
            self._overall += score.harmless
            self._truncated += score.truncated
            self._uncertain += score.uncertain
            for name, dimension in score.dimensions.items():
                self._levels[name] += dimension.level
                self._harmless[name] += dimension.harmless

    def summary(
        self, seconds: float, rejected: int, rejected_path: Path | None, fields: Fields | None
    ) -> Summary:
        """Return the figures so far."""
        return Summary(
            rows=self.rows,
            rejected=rejected,
            rejected_path=rejected_path,
            truncated=self._truncated,
            uncertain=self._uncertain,
            tokens=self.tokens,
            seconds=seconds,
            harmless_rate=self._percentage(self._overall),
            dimensions={
                name: DimensionSummary(
                    n=self.rows,
                    mean_level=levels / self.rows if self.rows else None,
                    harmless_rate=self._percentage(self._harmless[name]),
                )
                for name, levels in self._levels.items()
            },
            fields=fields,
        )

    def _percentage(self, count: int) -> float | None:
        return 100 * count / self.rows if self.rows else None
