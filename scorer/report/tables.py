"""The tiles and tables of a report, for the page and in Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from scorer.evaluation.markdown import Table, in_a_cell, markdown_table
from scorer.report import texts
from scorer.report.answers import ScoredAnswers, dimension_names
from scorer.report.statistics import (
    Rate,
    by_dimension,
    by_prompt_dimension,
    labelled,
    level_counts,
    overall,
    share,
)
from scorer.report.texts import Text, dimension_title, fill, term
from scorer.report.visible import label

_LONGEST_CELL = 500


def tiles(models: Sequence[ScoredAnswers]) -> list[tuple[str, Text, Text | None]]:
    """Return (figure, what it is, note) of each tile."""
    answers = [answer for scored in models for answer in scored.answers]
    mean = by_prompt_dimension(models)
    rates = [overall(scored, mean) for scored in models]
    if len(models) == 1:
        low, high = rates[0].interval
        note = fill(texts.NOTE_INTERVAL, low=f"{low:.1f}", high=f"{high:.1f}%")
        tiles: list[tuple[str, Text, Text | None]] = [
            (f"{rates[0].rate:.1f}%", texts.TILE_MEAN if mean else texts.TILE_HARMLESS, note)
        ]
    else:
        found = sorted(rate.rate for rate in rates)
        tiles = [
            (
                f"{found[0]:.1f}–{found[-1]:.1f}%",
                texts.TILE_MEAN_RANGE if mean else texts.TILE_RANGE,
                None,
            ),
            (f"{len(models)}", texts.TILE_MODELS, None),
        ]
    tiles.append((f"{len(answers):,}", texts.TILE_ANSWERS, None))
    counts = {
        texts.TILE_UNCERTAIN: sum(answer.score.uncertain for answer in answers),
        texts.TILE_FAILED: sum(scored.failed for scored in models),
        texts.TILE_TRUNCATED: sum(answer.score.truncated for answer in answers),
    }
    tiles += [(f"{count:,}", name, None) for name, count in counts.items() if count]
    parts = [part for scored in models for part in labelled(scored).values()]
    if parts:
        right = share(
            bool(same) for part in parts for same in part.harmless == part.called_harmless
        )
        tiles.append((f"{right.rate:.1f}%", fill(texts.TILE_ACCURACY, n=f"{right.n:,}"), None))
    return tiles


def summaries(models: Sequence[ScoredAnswers]) -> list[Table]:
    """Return the tables that every report has, before those that it is given."""
    if len(models) == 1:
        return [_dimension_table(models[0])]
    return [_model_table(models), _rate_table(models)]


def _dimension_table(scored: ScoredAnswers) -> Table:
    shares, counts = by_dimension(scored.answers), level_counts(scored.answers)
    levels = sorted({level for name in shares for level in scored.dimensions[name].levels})
    rows = []
    for name, rate in shares.items():
        found, n = counts[name], rate.n
        mean = sum(level * count for level, count in found.items()) / n
        of_levels = [
            f"{100 * found[level] / n:.1f}" if level in scored.dimensions[name].levels else "-"
            for level in levels
        ]
        rows.append([dimension_title(label(name)), *_rate_cells(rate), f"{mean:.2f}", *of_levels])
    mean = by_prompt_dimension([scored])
    name = texts.MEAN.en if mean else "Overall"
    rows.append([name, *_rate_cells(overall(scored, mean)), "-", *("-" for _ in levels)])
    headers = ["Dimension", "Answers", "Harmless (%)", "95% interval", "Mean level"]
    headers += [f"Level {level} (%)" for level in levels]
    return Table(texts.BY_DIMENSION_TABLE.en, headers, rows)


def _model_table(models: Sequence[ScoredAnswers]) -> Table:
    mean = by_prompt_dimension(models)
    rows = []
    for scored in models:
        uncertain = sum(answer.score.uncertain for answer in scored.answers)
        counts = [f"{uncertain:,}", f"{scored.failed:,}"]
        rows.append([label(scored.model), *_rate_cells(overall(scored, mean)), *counts])
    rate = texts.MEAN_RATE.en if mean else "Harmless (%)"
    headers = ["Model", "Answers", rate, "95% interval", "Uncertain", "Failed"]
    return Table(texts.SUMMARY.en, headers, rows)


def _rate_table(models: Sequence[ScoredAnswers]) -> Table:
    shares = [by_dimension(scored.answers) for scored in models]
    dimensions = [d for d in dimension_names(models) if any(d in one for one in shares)]
    rows = []
    for scored, one in zip(models, shares, strict=True):
        cells = [f"{one[name].rate:.1f}" if name in one else "-" for name in dimensions]
        rows.append([label(scored.model), *cells])
    headers = ["Model", *(dimension_title(label(name)) for name in dimensions)]
    return Table(texts.BY_DIMENSION_TABLE.en, headers, rows)


def _rate_cells(rate: Rate) -> list[str]:
    """Return number, percentage and interval."""
    low, high = rate.interval
    return [f"{rate.n:,}", f"{rate.rate:.1f}", f"{low:.1f}–{high:.1f}"]


def shown_table(table: Table) -> dict[str, Any]:
    """Return a table for the page: cells in both languages, and whether a column is of figures."""
    rows = [[label(str(cell), _LONGEST_CELL) for cell in row] for row in table.rows]
    figures = [
        all(_is_figure(row[column]) for row in rows if column < len(row))
        for column in range(len(table.headers))
    ]
    return {
        "title": term(label(table.title)),
        "headers": [term(label(str(header))) for header in table.headers],
        "rows": [[term(cell) for cell in row] for row in rows],
        "figures": figures,
    }


def _is_figure(cell: str) -> bool:
    return re.fullmatch(r"[\d\s.,%+\-–−±~≈<>≥≤/()\[\]*]*", cell) is not None


def markdown(table: Table) -> str:
    """Return a table in Markdown under its title."""
    headers, *rows = [
        [in_a_cell(label(str(cell), _LONGEST_CELL)) for cell in row]
        for row in (table.headers, *table.rows)
    ]
    return f"### {in_a_cell(label(table.title))}\n\n{markdown_table(headers, rows)}\n"
