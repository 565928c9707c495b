"""Figures over the scored rows of a file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def combined(summaries: Sequence[Summary]) -> Summary:
    """Return the figures over several files as if they were one.

    Args:
        summaries: One of each file, at least one, all by the same checkpoint.
    """
    rows = sum(summary.rows for summary in summaries)
    paths = {summary.rejected_path for summary in summaries if summary.rejected}
    return Summary(
        rows=rows,
        rejected=sum(summary.rejected for summary in summaries),
        rejected_path=paths.pop() if len(paths) == 1 else None,
        truncated=sum(summary.truncated for summary in summaries),
        uncertain=sum(summary.uncertain for summary in summaries),
        tokens=sum(summary.tokens for summary in summaries),
        seconds=sum(summary.seconds for summary in summaries),
        harmless_rate=_mean([(summary.harmless_rate, summary.rows) for summary in summaries]),
        dimensions={
            name: DimensionSummary(
                n=rows,
                mean_level=_mean([(s.dimensions[name].mean_level, s.rows) for s in summaries]),
                harmless_rate=_mean(
                    [(s.dimensions[name].harmless_rate, s.rows) for s in summaries]
                ),
            )
            for name in summaries[0].dimensions
        },
        fields=summaries[0].fields,
    )


def _mean(figures: Sequence[tuple[float | None, int]]) -> float | None:
    """Return the mean of figures, each of so many rows; None without rows."""
    known = [(figure, rows) for figure, rows in figures if figure is not None]
    total = sum(rows for _, rows in known)
    return sum(figure * rows for figure, rows in known) / total if total else None


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

    def state(self) -> dict[str, Any]:
        """Return the counts, ready for JSON."""
        return {
            "rows": self.rows,
            "tokens": self.tokens,
            "overall": self._overall,
            "truncated": self._truncated,
            "uncertain": self._uncertain,
            "levels": dict(self._levels),
            "harmless": dict(self._harmless),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from counts that `state` returned."""
        self.rows, self.tokens = state["rows"], state["tokens"]
        self._overall = state["overall"]
        self._truncated, self._uncertain = state["truncated"], state["uncertain"]
        self._levels, self._harmless = dict(state["levels"]), dict(state["harmless"])

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
