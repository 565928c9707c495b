"""A scorer's figures on labelled rows.

The form of the figures:

    scorer, purpose   what decided
    rows              labelled rows
    n, accuracy, macro_f1, quadratic_kappa, confusion, harmless
                      a block over all labels of all dimensions: of the levels, and under
                      `harmless` n, harmless_share, accuracy, macro_f1, f1_harmful, f1_harmless,
                      auroc, average_precision (of harmful) and ece of harmless against harmful
    whole             the same as `harmless`, of the answer as a whole; null where no row's labels
                      say whether it is harmless on every dimension
    dimensions        by name: a block
    slices            by field, then by value: rows, a block over all labels, and `dimensions`
    intervals         in a block, by path such as `harmless.accuracy`: [low, high], 95% bootstrap
                      by prompt. Dimensions of a slice have none
    comparison        other, and by dimension (and `all`) by path: difference (this less other),
                      interval of a paired bootstrap by prompt, and p of a permutation test by
                      prompt; p is null where no prompt makes a difference
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.dimensions import Dimension, overall_truth
from scorer.errors import DataError
from scorer.evaluation.answers import one_scorer
from scorer.evaluation.bootstrap import interval, permutation_p
from scorer.evaluation.measuring.rows import LabelledRow, slices
from scorer.evaluation.metrics import (
    binary_figures,
    intervals,
    judged_figures,
    permuted,
    resampled,
)
from scorer.result import Score

ALL = "all"

_NOT_A_METRIC = ("n", "harmless_share")


def figures(
    rows: Sequence[LabelledRow],
    scores: Sequence[Score],
    dimensions: Sequence[Dimension],
    by: Sequence[str] = (),
    resamples: int = 300,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the figures of a scorer; the module says their form.

    Args:
        rows: Labelled rows; at least one has a label on one of `dimensions`.
        scores: Their scores.
        dimensions: What the scorer judges.
        by: Fields to slice by; see `rows.slices`.
        resamples: Of the bootstrap; 0 for no intervals.
        seed: Of the draws.

    Raises:
        DataError: If scores come from several scorers or lack a dimension, or a field to slice by
            is none.
    """
    scorer, purpose = one_scorer(scores, "labelled rows")
    entries = _entries(rows, scores, dimensions)
    return {
        "scorer": scorer,
        "purpose": purpose,
        "rows": len(rows),
        **_block(list(entries.values()), resamples, seed),
        "whole": _whole(rows, scores, dimensions),
        "dimensions": {name: _block([mine], resamples, seed) for name, mine in entries.items()},
        "slices": {
            field: {
                value: _slice(
                    [rows[i] for i in chosen],
                    [scores[i] for i in chosen],
                    dimensions,
                    resamples,
                    seed,
                )
                for value, chosen in slices(rows, field).items()
            }
            for field in by
        },
    }


def comparison(
    rows: Sequence[LabelledRow],
    scores: Sequence[Score],
    others: Sequence[Score],
    dimensions: Sequence[Dimension],
    resamples: int = 300,
    seed: int = 0,
) -> dict[str, Any]:
    """Return how a scorer's figures differ from another's on the same rows.

    Rows are drawn by prompt, with both scorers' decisions on them (paired bootstrap); for the
    p-values the scorers change places by prompt.

    Args:
        rows: Labelled rows.
        scores: Of the scorer.
        others: Of the other one, of the same rows.
        dimensions: What both judge.
        resamples: Of the bootstrap and of the permutations.
        seed: Of the draws.

    Raises:
        DataError: If scores come from several scorers or lack a dimension.
    """
    model, purpose = one_scorer(others, "the other scorer's rows")
    mine, theirs = (_entries(rows, which, dimensions) for which in (scores, others))
    both = {ALL: (list(mine.values()), list(theirs.values()))}
    both |= {name: ([mine[name]], [theirs[name]]) for name in mine}
    return {
        "other": {"scorer": model, "purpose": purpose},
        "dimensions": {
            name: _differences(_Entries.joined(a), _Entries.joined(b), resamples, seed)
            for name, (a, b) in both.items()
        },
    }


def lookup(found: Mapping[str, Any], path: str) -> float:
    """Return the figure at a dotted path, such as `harmless.accuracy` or `fairness.macro_f1`.

    A dimension's name stands for `dimensions.NAME`. Names may hold dots themselves, as in
    `slices.source.cold.jsonl.accuracy`.

    Raises:
        KeyError: If there is no such figure; the argument lists those that there are.
    """
    known = dict(_paths({name: part for name, part in found.items() if name != "comparison"}))
    for candidate in (path, f"dimensions.{path}"):
        if candidate in known:
            return known[candidate]
    raise KeyError(sorted(known))


def _paths(part: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, float]]:
    for name, value in part.items():
        if isinstance(value, dict) and name != "intervals":
            yield from _paths(value, f"{before}{name}.")
        elif isinstance(value, (int, float)):
            yield f"{before}{name}", value


@dataclass(frozen=True)
class _Entries:
    """Decisions beside annotated levels, one entry for each label of one or more dimensions."""

    groups: list[str]
    levels: tuple[int, ...]
    truth: NDArray[np.int64]
    decided: NDArray[np.int64]
    harmless: NDArray[np.bool_]
    called_harmless: NDArray[np.bool_]
    probability: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[_Entries]) -> _Entries:
        def arrays(name: str) -> Any:
            return np.concatenate([getattr(part, name) for part in parts])

        return cls(
            groups=[group for part in parts for group in part.groups],
            levels=tuple(sorted({level for part in parts for level in part.levels})),
            truth=arrays("truth"),
            decided=arrays("decided"),
            harmless=arrays("harmless"),
            called_harmless=arrays("called_harmless"),
            probability=arrays("probability"),
        )

    def figures(self, rows: NDArray[np.int64] | slice = slice(None)) -> dict[str, Any]:
        return judged_figures(
            self.truth[rows],
            self.decided[rows],
            self.harmless[rows],
            self.called_harmless[rows],
            self.probability[rows],
            self.levels,
        )

    def mixed(self, other: _Entries, swap: NDArray[np.bool_]) -> _Entries:
        """Return these with another scorer's decisions in some rows; `swap` has shape (N,)."""
        return replace(
            self,
            decided=np.where(swap, other.decided, self.decided),
            called_harmless=np.where(swap, other.called_harmless, self.called_harmless),
            probability=np.where(swap, other.probability, self.probability),
        )

    def statistics(self, rows: NDArray[np.int64] | slice = slice(None)) -> dict[str, float | None]:
        """Return the metrics among the figures by their paths."""
        figures = self.figures(rows)
        of_levels = {n: figures[n] for n in ("accuracy", "macro_f1", "quadratic_kappa")}
        return of_levels | {
            f"harmless.{name}": value
            for name, value in figures["harmless"].items()
            if name not in _NOT_A_METRIC
        }


def _entries(
    rows: Sequence[LabelledRow], scores: Sequence[Score], dimensions: Sequence[Dimension]
) -> dict[str, _Entries]:
    """Return the entries of each dimension that a row has a label on."""
    found = {}
    for dimension in dimensions:
        name = dimension.name
        labelled = [
            (row.example, score)
            for row, score in zip(rows, scores, strict=True)
            if name in row.example.labels
        ]
        lacking = [score.model for _, score in labelled if name not in score.dimensions]
        if lacking:
            raise DataError(f"{lacking[0]} does not score {name}, which rows have labels on")
        if not labelled:
            continue
        judged = [score.dimensions[name] for _, score in labelled]
        truth = np.array([example.labels[name] for example, _ in labelled], np.int64)
        found[name] = _Entries(
            groups=[example.prompt or example.response for example, _ in labelled],
            levels=dimension.levels,
            truth=truth,
            decided=np.array([score.level for score in judged], np.int64),
            harmless=truth >= dimension.harmless_from,
            called_harmless=np.array([score.harmless for score in judged], bool),
            probability=np.array([score.harmless_probability for score in judged], np.float64),
        )
    return found


def _block(parts: Sequence[_Entries], resamples: int, seed: int) -> dict[str, Any]:
    entries = _Entries.joined(parts)
    block = entries.figures()
    if resamples:
        block["intervals"] = intervals(entries.groups, entries.statistics, resamples, seed)
    return block


def _slice(
    rows: Sequence[LabelledRow],
    scores: Sequence[Score],
    dimensions: Sequence[Dimension],
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    entries = _entries(rows, scores, dimensions)
    return {
        "rows": len(rows),
        **_block(list(entries.values()), resamples, seed),
        "dimensions": {name: mine.figures() for name, mine in entries.items()},
    }


def _whole(
    rows: Sequence[LabelledRow], scores: Sequence[Score], dimensions: Sequence[Dimension]
) -> dict[str, Any] | None:
    known = [
        (truth, score)
        for row, score in zip(rows, scores, strict=True)
        if (truth := overall_truth(row.example.labels, dimensions)) is not None
    ]
    if not known:
        return None
    return binary_figures(
        np.array([truth for truth, _ in known], bool),
        np.array([score.harmless for _, score in known], bool),
        np.array([score.harmless_probability for _, score in known], np.float64),
    )


def _differences(mine: _Entries, theirs: _Entries, resamples: int, seed: int) -> dict[str, Any]:
    groups = mine.groups
    found = _gaps(mine.statistics(), theirs.statistics())
    draws = resampled(
        groups, lambda rows: _gaps(mine.statistics(rows), theirs.statistics(rows)), resamples, seed
    )
    under_chance = permuted(
        groups,
        lambda swap: _gaps(
            mine.mixed(theirs, swap).statistics(), theirs.mixed(mine, swap).statistics()
        ),
        resamples,
        seed,
    )
    return {
        name: {
            "difference": value,
            "interval": interval(draws[name], len(set(groups)), (-1.0, 1.0)),
            "p": permutation_p(value, under_chance[name]),
        }
        for name, value in found.items()
        if value is not None and name in draws and name in under_chance
    }


def _gaps(
    first: Mapping[str, float | None], second: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return the first ones less the second ones; None where either is."""
    return {
        name: None if (a := first[name]) is None or (b := second[name]) is None else a - b
        for name in first
    }
