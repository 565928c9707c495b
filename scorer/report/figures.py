"""The plots of a report, drawn once: for the page as SVG, for a paper as PNG and SVG files."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scorer.errors import MissingExtraError
from scorer.evaluation.metrics import expected_calibration_error, reliability
from scorer.report import texts
from scorer.report.answers import Answer, ScoredAnswers, dimension_names
from scorer.report.statistics import (
    LENGTH_NAMES,
    Rate,
    Share,
    by_dimension,
    by_length,
    by_prompt_dimension,
    by_slice,
    labelled,
    level_counts,
    overall,
    pooled,
    slice_values,
)
from scorer.report.texts import Text, dimension_title, fill, term
from scorer.report.visible import label

try:
    from matplotlib import font_manager, rc_context
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.patches import Rectangle
except ImportError as error:
    raise MissingExtraError("A report", "report", "matplotlib") from error

INK, MUTED, GRID, SURFACE = "#1f2430", "#667085", "#e3e6ec", "#ffffff"
HARMFUL, BETWEEN, BEST = "#c8472b", "#e8b23a", "#2f7fb8"
ON_BETWEEN = "#2b2410"  # text on amber, which is light in both themes
ACCENT = "#3b6fb5"
SERIES = ("#3a5fcd", "#b5488f", "#0f8b6d", "#8a6d1d", "#5b6770", "#c2571a")
COLOURS = {
    INK: "ink",
    MUTED: "muted",
    GRID: "line",
    SURFACE: "surface",
    HARMFUL: "harmful",
    BETWEEN: "between",
    BEST: "best",
    ON_BETWEEN: "on-between",
    ACCENT: "accent",
    **{colour: f"series-{number}" for number, colour in enumerate(SERIES, start=1)},
}
"""Colour to the name of the page's variable that stands for it in light and dark."""

_MARKERS = ("o", "s", "D", "^", "v", "P")  # so that colour alone tells nothing
_WIDTH = 4.2  # inches; 302 points, near what a phone shows
_SIZE = 9.0  # points
_MOST_VALUES = 40  # of a field that is sliced by unasked; more is an id or free text
_FONTS = (
    *("DejaVu Sans", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC"),
    *("PingFang SC", "Hiragino Sans GB", "Microsoft YaHei", "WenQuanYi Micro Hei", "SimHei"),
)


@dataclass(frozen=True)
class Plot:
    """One plot.

    Attributes:
        name: Of its files, and its id in the page.
        title: What it shows.
        note: How to read it.
        alt: What it shows, with the figures, for who cannot see it.
        figure: The drawing; its words are English.
    """

    name: str
    title: Text
    note: Text
    alt: Text
    figure: Figure


def style() -> dict[Any, Any]:
    """Return matplotlib's settings for writing the plots: text stays text."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    return {
        "svg.fonttype": "none",
        "svg.hashsalt": "harmlessness",
        "font.family": [name for name in _FONTS if name in installed],
        "font.size": _SIZE,
        "text.parse_math": False,  # a $ in a name is a $
        "axes.unicode_minus": False,
    }


def plots(models: Sequence[ScoredAnswers], slices: Sequence[str] = ()) -> list[Plot]:
    """Return the plots of a report, in its order.

    Args:
        models: At least one, each with at least one answer.
        slices: Fields to slice by; none for every field that has from 2 to 40 values.
    """
    with rc_context(style()):
        return list(_plots(models, slices))


def _plots(models: Sequence[ScoredAnswers], slices: Sequence[str]) -> Iterator[Plot]:
    series = _series(models)
    if len(models) > 1:
        yield _comparison(models)
    yield _rates(models, series)
    for number, scored in enumerate(models, start=1):
        yield _levels(scored, _numbered("levels", number, models))
    yield from _reliability(models)
    for number, scored in enumerate(models, start=1):
        if labelled(scored):
            yield _confusion(scored, _numbered("confusion", number, models))
    by_lengths = {name: by_length(answers) for name, answers in series.items()}
    yield _dots("length", texts.LENGTH, texts.LENGTH_NOTE, by_lengths, LENGTH_NAMES)
    for field in slices or _sliceable(models):
        yield from _slice(models, series, field)


def _numbered(name: str, number: int, models: Sequence[ScoredAnswers]) -> str:
    return name if len(models) == 1 else f"{name}-{number}"


def _series(models: Sequence[ScoredAnswers]) -> dict[str, Sequence[Answer]]:
    """Return the answers by model; of more models than a plot can tell apart, together."""
    if len(models) <= len(SERIES):
        return {label(scored.model): scored.answers for scored in models}
    return {"all models": [answer for scored in models for answer in scored.answers]}


def _sliceable(models: Sequence[ScoredAnswers]) -> list[str]:
    fields = dict.fromkeys(
        field for scored in models for answer in scored.answers for field in answer.slices
    )
    values = {
        field: {
            answer.slices[field]
            for scored in models
            for answer in scored.answers
            if field in answer.slices
        }
        for field in fields
    }
    return [field for field, found in values.items() if 1 < len(found) <= _MOST_VALUES]


def _comparison(models: Sequence[ScoredAnswers]) -> Plot:
    mean = by_prompt_dimension(models)
    shares = {label(scored.model): overall(scored, mean) for scored in models}
    ordered = dict(sorted(shares.items(), key=lambda item: -item[1].rate))
    note = texts.COMPARISON_MEAN_NOTE if mean else texts.COMPARISON_NOTE
    return _dots("models", texts.COMPARISON, note, {"": ordered}, ordered)


def _rates(models: Sequence[ScoredAnswers], series: Mapping[str, Sequence[Answer]]) -> Plot:
    if len(models) > len(SERIES):
        return _heat(models)
    rates = {
        name: {dimension_title(d): share for d, share in by_dimension(answers).items()}
        for name, answers in series.items()
    }
    order = map(dimension_title, dimension_names(models))
    return _dots("rate", texts.RATE, texts.RATE_NOTE, rates, order)


def _heat(models: Sequence[ScoredAnswers]) -> Plot:
    rates = {label(scored.model): by_dimension(scored.answers) for scored in models}
    columns = [
        name for name in dimension_names(models) if any(name in shares for shares in rates.values())
    ]
    figure, axes = _drawing(0.9 + 0.25 * len(rates))
    for y, shares in enumerate(rates.values()):
        for x, name in enumerate(columns):
            if name in shares:
                _cell(axes, x, y, shares[name].rate / 100, f"{shares[name].rate:.1f}")
    _grid_of_cells(axes, [dimension_title(name) for name in columns], list(rates))
    axes.tick_params(axis="x", rotation=30)
    for mark in axes.get_xticklabels():
        mark.set(ha="right", rotation_mode="anchor")
    alt = [
        (
            Text(name, name),
            [(dimension_title(d), f"{share.rate:.1f}%") for d, share in shares.items()],
        )
        for name, shares in rates.items()
    ]
    return Plot("rate", texts.RATE, texts.HEAT_NOTE, _alt(texts.RATE, alt), figure)


def _levels(scored: ScoredAnswers, name: str) -> Plot:
    counts = level_counts(scored.answers)
    figure, axes = _drawing(0.85 + 0.32 * len(counts))
    alt = []
    for y, (dimension, found) in enumerate(counts.items()):
        levels, total = scored.dimensions[dimension].levels, found.total()
        left = 0.0
        for level in levels:
            width = 100 * found[level] / total
            colour = _level_colour(level, levels)
            axes.barh(y, width, 0.68, left, color=colour, edgecolor=SURFACE, linewidth=1)
            if width >= 7:
                on = ON_BETWEEN if colour == BETWEEN else SURFACE
                axes.text(left + width / 2, y, f"{width:.0f}", color=on, ha="center", va="center")
            left += width
        alt.append(
            (
                term(dimension_title(dimension)),
                [(f"Level {level}", f"{100 * found[level] / total:.1f}%") for level in levels],
            )
        )
    axes.set_xlim(0, 100)
    _categories(axes, [dimension_title(dimension) for dimension in counts])
    axes.set_xlabel("Answers (%)", color=MUTED)
    every = sorted({level for d in counts for level in scored.dimensions[d].levels})
    handles = [Rectangle((0, 0), 1, 1, color=_level_colour(level, every)) for level in every]
    _legend(axes, handles, [f"Level {level}" for level in every])
    title = fill(texts.LEVELS, model=label(scored.model))
    return Plot(name, title, texts.LEVELS_NOTE, _alt(title, alt), figure)


def _reliability(models: Sequence[ScoredAnswers]) -> Iterator[Plot]:
    parts = {label(scored.model): pooled(found) for scored in models if (found := labelled(scored))}
    if not parts:
        return
    figure, axes = _drawing(3.1)
    axes.plot([0, 100], [0, 100], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    alt, errors, marks = [], [], []
    for number, (name, (probability, truth)) in enumerate(parts.items()):
        look = number % len(SERIES)
        bins = reliability(probability, truth)
        shares = [Share(round(b["n"] * b["harmless share"]), int(b["n"])) for b in bins]
        x = [100 * b["mean probability"] for b in bins]
        mark = axes.errorbar(
            x,
            [share.rate for share in shares],
            yerr=_errors(shares),
            color=SERIES[look],
            marker=_MARKERS[look],
            markersize=5,
            linewidth=1.2,
            elinewidth=1,
        )
        marks.append(mark)
        ece = expected_calibration_error(probability, truth)
        errors.append(f"{ece:.3f}" if len(parts) == 1 else f"{name} {ece:.3f}")
        alt.append(
            (
                Text(name, name),
                [(f"{at:.0f}%", f"{share.rate:.0f}%") for at, share in zip(x, shares, strict=True)],
            )
        )
    axes.set(xlim=(-2, 102), ylim=(-2, 102))
    axes.set_xlabel("Mean probability of harmless", color=MUTED)
    axes.set_ylabel("Harmless by annotation (%)", color=MUTED, rotation_mode="anchor")
    axes.grid(color=GRID, linewidth=0.7)
    if len(parts) > 1:
        _legend(axes, marks, list(parts))
    note = fill(texts.RELIABILITY_NOTE, ece=", ".join(errors))
    yield Plot("reliability", texts.RELIABILITY, note, _alt(texts.RELIABILITY, alt), figure)


def _confusion(scored: ScoredAnswers, name: str) -> Plot:
    parts = labelled(scored)
    columns = min(3, len(parts))
    rows = -(-len(parts) // columns)
    figure = _canvas(0.3 + 1.5 * rows)
    alt = []
    for number, (dimension, part) in enumerate(parts.items(), start=1):
        axes = figure.add_subplot(rows, columns, number)
        levels = scored.dimensions[dimension].levels
        cells = []
        for y, truth in enumerate(levels):
            total = max(1, int((part.truth == truth).sum()))
            for x, decided in enumerate(levels):
                count = int(((part.truth == truth) & (part.decided == decided)).sum())
                _cell(axes, x, y, count / total, str(count))
                cells.append((f"{truth} → {decided}", str(count)))
        _grid_of_cells(axes, [str(level) for level in levels], [str(level) for level in levels])
        axes.set_title(dimension_title(dimension), color=INK, fontsize=_SIZE, pad=5)
        axes.set_aspect("equal")
        if number > len(parts) - columns:
            axes.set_xlabel("Decided level", color=MUTED)
        if number % columns == 1 or columns == 1:
            axes.set_ylabel("Annotated level", color=MUTED, rotation_mode="anchor")
        alt.append((term(dimension_title(dimension)), cells))
    title = fill(texts.CONFUSION, model=label(scored.model))
    return Plot(name, title, texts.CONFUSION_NOTE, _alt(title, alt), figure)


def _slice(
    models: Sequence[ScoredAnswers], series: Mapping[str, Sequence[Answer]], field: str
) -> Iterator[Plot]:
    values = slice_values(models, field)
    shares = {name: by_slice(answers, field, values) for name, answers in series.items()}
    if any(shares.values()):
        name = re.sub(r"\W", "-", label(field))
        title = fill(texts.SLICE, field=term(label(field)))
        yield _dots(f"slice-{name}", title, texts.SLICE_NOTE, shares, values)


def _dots(
    name: str,
    title: Text,
    note: Text,
    series: Mapping[str, Mapping[str, Rate]],
    order: Iterable[str],
) -> Plot:
    """Return a plot of rates with intervals: a line per category, a mark per series on it."""
    categories = [c for c in order if any(c in shares for shares in series.values())]
    named = len(series) > 1
    height = 0.29 if not named else 0.17 * len(series) + 0.12
    figure, axes = _drawing(0.62 + 0.25 * named + height * len(categories))
    marks = []
    for number, shares in enumerate(series.values()):
        offset = 0.72 * ((number + 0.5) / len(series) - 0.5)
        found = list(shares.values())
        mark = axes.errorbar(
            [share.rate for share in found],
            [categories.index(category) + offset for category in shares],
            xerr=_errors(found),
            color=SERIES[number],
            marker=_MARKERS[number],
            markersize=5,
            linestyle="none",
            elinewidth=1.6,
        )
        marks.append(mark)
        if not named:
            _write_shares(axes, found)
    axes.set_xlim(*_range([share for shares in series.values() for share in shares.values()]))
    _categories(axes, categories)
    axes.set_xlabel("Harmless (%)", color=MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.7)
    if named:
        _legend(axes, marks, list(series))
    alt = [
        (Text(key, key), [(category, _with_interval(share)) for category, share in shares.items()])
        for key, shares in series.items()
    ]
    return Plot(name, title, note, _alt(title, alt), figure)


def _write_shares(axes: Axes, shares: Sequence[Rate]) -> None:
    """Write rate and number of rows at the right of each line."""
    for y, share in enumerate(shares):
        axes.annotate(
            f"{share.rate:.1f}  (n {share.n:,})",
            (1.02, y),
            xycoords=("axes fraction", "data"),
            color=MUTED,
            va="center",
            fontsize=_SIZE - 1,
        )


def _canvas(height: float) -> Figure:
    return Figure(figsize=(_WIDTH, height), layout="constrained")


def _drawing(height: float) -> tuple[Figure, Axes]:
    figure = _canvas(height)
    axes = figure.add_subplot()
    _clean(axes)
    return figure, axes


def _clean(axes: Axes) -> None:
    """Leave marks and words: no frame, no ticks, no ground."""
    axes.patch.set_visible(False)
    axes.tick_params(length=0, labelcolor=INK, labelsize=_SIZE)
    axes.set_axisbelow(True)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _categories(axes: Axes, names: Sequence[str]) -> None:
    """Write the names down the left side, the first one on top."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="x", labelcolor=MUTED)


def _legend(axes: Axes, handles: Sequence[Any], names: Sequence[str]) -> None:
    axes.figure.legend(
        handles,
        [f" {name}" if name.startswith("_") else name for name in names],  # else it is left out
        loc="outside upper left",
        ncols=min(3, len(names)),
        frameon=False,
        labelcolor=INK,
        handlelength=1.2,
        columnspacing=1.4,
    )


def _cell(axes: Axes, x: int, y: int, shade: float, text: str) -> None:
    axes.add_patch(
        Rectangle((x - 0.48, y - 0.48), 0.96, 0.96, color=ACCENT, alpha=0.06 + 0.5 * shade, lw=0)
    )
    axes.text(x, y, text, color=INK, ha="center", va="center", fontsize=_SIZE - 0.5)


def _grid_of_cells(axes: Axes, columns: Sequence[str], rows: Sequence[str]) -> None:
    _clean(axes)
    axes.set_xticks(range(len(columns)), columns)
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.5, -0.5)


def _level_colour(level: int, levels: Sequence[int]) -> str:
    return HARMFUL if level == min(levels) else BEST if level == max(levels) else BETWEEN


def _errors(shares: Sequence[Rate]) -> list[list[float]]:
    """Return the lengths of the error bars below and above each rate."""
    below, above = [], []
    for share in shares:
        low, high = share.interval
        below.append(max(0.0, share.rate - low))
        above.append(max(0.0, high - share.rate))
    return [below, above]


def _range(shares: Sequence[Rate]) -> tuple[float, float]:
    """Return the limits of an axis of percentages: round tens around all intervals."""
    low = min(share.interval[0] for share in shares)
    high = max(share.interval[1] for share in shares)
    return max(0.0, 10 * math.floor(low / 10)) - 1, min(100.0, 10 * math.ceil(high / 10)) + 1


def _with_interval(share: Rate) -> str:
    low, high = share.interval
    return f"{share.rate:.1f}% ({low:.1f}–{high:.1f}, n {share.n})"


def _alt(title: Text, parts: Sequence[tuple[Text, Sequence[tuple[str, str]]]]) -> Text:
    """Return a title with every figure of the plot, group by group."""

    def one(language: Callable[[Text], str]) -> str:
        groups = []
        for name, figures in parts:
            listed = ", ".join(f"{language(term(what))} {value}".strip() for what, value in figures)
            groups.append(f"{language(name)}: {listed}" if language(name) else listed)
        return f"{language(title)}. {'; '.join(groups)}"

    return Text(one(lambda text: text.en), one(lambda text: text.zh))
