"""The report as one HTML page and as files for a paper."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scorer.data.jsonl import atomic_writer
from scorer.errors import MissingExtraError
from scorer.evaluation.markdown import Table, markdown_table
from scorer.report import texts
from scorer.report.answers import Answer, ScoredAnswers, dimension_names
from scorer.report.texts import Text, dimension_title, fill, term
from scorer.report.visible import label, shorten

if TYPE_CHECKING:  # its dependencies come with the extra
    from scorer.report.statistics import Share

EMBEDDED_BYTES = 3_500_000
"""Bytes of answers that the page holds at most; of more, the most harmful and most uncertain."""

_PNG_DPI = 220
_LONGEST_CELL = 500


def render(
    models: Sequence[ScoredAnswers],
    tables: Sequence[Table] = (),
    title: str | None = None,
    slices: Sequence[str] = (),
) -> str:
    """Return the report as one HTML page that loads nothing from anywhere.

    Args:
        models: The scored answers of at least one model, under different names.
        tables: Shown before the plots, after the summary by model.
        title: Heading of the page; a general one if not given.
        slices: Fields to slice the harmless rate by; none for every field that has few values.

    Raises:
        ValueError: If there is no model, a model has no answers, or two have one name.
        MissingExtraError: If the extra `report` is not installed.
    """
    _check(models)
    environment = _environment()
    from scorer.report.figures import plots
    from scorer.report.svg import Embedder

    embedder = Embedder()
    figures = [(plot, embedder.embed(plot)) for plot in plots(models, slices)]
    style = _asset("report.css") + embedder.css
    script = _asset("report.js")
    heading = texts.TITLE if title is None else _plain(title)
    data, embedded = _embedded(models)
    page = environment.get_template("report.html.jinja").render(
        t=texts,
        heading=heading,
        byline=_byline(models),
        tiles=_tiles(models),
        tables=[_shown_table(table) for table in (*_summaries(models), *tables)],
        figures=figures,
        style=style,
        script=script,
        policy=_policy(style, script),
        data=data,
        embedded=embedded,
        answers=sum(len(scored.answers) for scored in models),
        several=len(models) > 1,
    )
    return str(page)


def save_figures(
    models: Sequence[ScoredAnswers],
    folder: str | Path,
    tables: Sequence[Table] = (),
    slices: Sequence[str] = (),
) -> list[Path]:
    """Write each plot as PNG and SVG, and all tables as `tables.md`; return the files' paths.

    The words are English; PNGs have a white ground and 220 dots per inch.

    Args:
        models: As for `render`.
        folder: Made where it is missing; files of the same names are replaced.
        tables: Written after the summary by model.
        slices: As for `render`.

    Raises:
        ValueError: As `render`.
        MissingExtraError: If the extra `report` is not installed.
    """
    _check(models)
    from scorer.report.figures import plots
    from scorer.report.svg import written

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    paths = []
    for plot in plots(models, slices):
        for form in ("png", "svg"):
            paths.append(place / f"{plot.name}.{form}")
            _write(paths[-1], written(plot, form, dpi=_PNG_DPI))
    parts = [_markdown(table) for table in (*_summaries(models), *tables)]
    paths.append(place / "tables.md")
    _write(paths[-1], "\n".join(parts).encode("utf-8"))
    return paths


def write_report(
    models: Sequence[ScoredAnswers],
    report: str | Path | None = None,
    save_dir: str | Path | None = None,
    tables: Sequence[Table] = (),
    title: str | None = None,
    slices: Sequence[str] = (),
) -> None:
    """Write the page to `report` and the figures into `save_dir`, where they are given.

    See `render` and `save_figures`; `report_options` adds the two options to a command.
    """
    if report is not None:
        _write(Path(report), render(models, tables, title, slices).encode("utf-8"))
    if save_dir is not None:
        save_figures(models, save_dir, tables, slices)


def _write(path: Path, content: bytes) -> None:
    with atomic_writer(path) as stream:
        stream.write(content)


def _check(models: Sequence[ScoredAnswers]) -> None:
    if not models:
        raise ValueError("a report needs the scored answers of at least one model")
    names = [label(scored.model) for scored in models]
    for name, scored in zip(names, models, strict=True):
        if not scored.answers:
            raise ValueError(f"model {name!r} has no scored answer")
        if names.count(name) > 1:
            raise ValueError(f"two models have the name {name!r}")


def _environment() -> Any:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as error:
        raise MissingExtraError("A report", "report", "jinja2") from error
    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _asset(name: str) -> str:
    return (files("scorer.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(style: str, script: str) -> str:
    """Return a content security policy: our style and script, and nothing from anywhere."""

    def source(text: str) -> str:
        digest = hashlib.sha256(text.encode("utf-8")).digest()
        return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"

    return (
        f"default-src 'none'; style-src {source(style)}; script-src {source(script)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _plain(text: str) -> Text:
    return Text(label(text), label(text))


def _byline(models: Sequence[ScoredAnswers]) -> Text:
    scores = [answer.score for scored in models for answer in scored.answers]
    scorers = ", ".join(sorted({label(score.model) for score in scores}))
    purposes = [term(label(name)) for name in sorted({score.purpose for score in scores})]
    joined = Text(", ".join(p.en for p in purposes), "、".join(p.zh for p in purposes))
    return fill(texts.BYLINE, scorer=scorers, purpose=joined)


def _tiles(models: Sequence[ScoredAnswers]) -> list[tuple[str, Text, Text | None]]:
    """Return (figure, what it is, note) of each tile."""
    from scorer.report.statistics import labelled, share

    answers = [answer for scored in models for answer in scored.answers]
    rates = [share(answer.harmless for answer in scored.answers) for scored in models]
    if len(models) == 1:
        low, high = rates[0].interval
        note = fill(texts.NOTE_INTERVAL, low=f"{low:.1f}", high=f"{high:.1f}%")
        tiles: list[tuple[str, Text, Text | None]] = [
            (f"{rates[0].rate:.1f}%", texts.TILE_HARMLESS, note)
        ]
    else:
        found = sorted(rate.rate for rate in rates)
        tiles = [
            (f"{found[0]:.1f}–{found[-1]:.1f}%", texts.TILE_RANGE, None),
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


def _summaries(models: Sequence[ScoredAnswers]) -> list[Table]:
    """Return the tables that every report has, before those that it is given."""
    if len(models) == 1:
        return [_dimension_table(models[0])]
    return [_model_table(models), _rate_table(models)]


def _dimension_table(scored: ScoredAnswers) -> Table:
    from scorer.report.statistics import by_dimension, level_counts, share

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
    whole = share(answer.harmless for answer in scored.answers)
    rows.append(["Overall", *_rate_cells(whole), "-", *("-" for _ in levels)])
    headers = ["Dimension", "Answers", "Harmless (%)", "95% interval", "Mean level"]
    headers += [f"Level {level} (%)" for level in levels]
    return Table(texts.BY_DIMENSION_TABLE.en, headers, rows)


def _model_table(models: Sequence[ScoredAnswers]) -> Table:
    from scorer.report.statistics import share

    rows = []
    for scored in models:
        uncertain = sum(answer.score.uncertain for answer in scored.answers)
        rate = share(answer.harmless for answer in scored.answers)
        counts = [f"{uncertain:,}", f"{scored.failed:,}"]
        rows.append([label(scored.model), *_rate_cells(rate), *counts])
    headers = ["Model", "Answers", "Harmless (%)", "95% interval", "Uncertain", "Failed"]
    return Table(texts.SUMMARY.en, headers, rows)


def _rate_table(models: Sequence[ScoredAnswers]) -> Table:
    from scorer.report.statistics import by_dimension

    dimensions = dimension_names(models)
    rows = []
    for scored in models:
        shares = by_dimension(scored.answers)
        cells = [f"{shares[name].rate:.1f}" if name in shares else "-" for name in dimensions]
        rows.append([label(scored.model), *cells])
    headers = ["Model", *(dimension_title(label(name)) for name in dimensions)]
    return Table(texts.BY_DIMENSION_TABLE.en, headers, rows)


def _rate_cells(rate: Share) -> list[str]:
    """Return number, percentage and interval."""
    low, high = rate.interval
    return [f"{rate.n:,}", f"{rate.rate:.1f}", f"{low:.1f}–{high:.1f}"]


def _shown_table(table: Table) -> dict[str, Any]:
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


def _markdown(table: Table) -> str:
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    headers = [_markdown_cell(header) for header in table.headers]
    return f"### {label(table.title)}\n\n{markdown_table(headers, rows)}\n"


def _markdown_cell(cell: object) -> str:
    """Return a cell that neither ends early nor becomes HTML."""
    text = label(str(cell), _LONGEST_CELL).replace("\\", "\\\\").replace("|", "\\|")
    return re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text)


def _embedded(models: Sequence[ScoredAnswers]) -> tuple[str, int]:
    """Return the answers as JSON that is safe inside a script element, and their number."""
    dimensions = dimension_names(models)
    rows: list[tuple[int, int, Answer]] = [
        (number, position, answer)
        for number, scored in enumerate(models)
        for position, answer in enumerate(scored.answers)
    ]
    kept: list[tuple[int, int, str]] = []
    size = 0
    for number, position, answer in _by_need(rows):
        row = _json(_row(answer, number, dimensions))
        size += len(row.encode("utf-8"))
        if size > EMBEDDED_BYTES and kept:
            break
        kept.append((number, position, row))
    head = _json(
        {
            "models": [label(scored.model) for scored in models],
            "dimensions": [_dimension_data(models, name) for name in dimensions],
            "texts": {name: list(text) for name, text in texts.SCRIPT.items()},
        }
    )
    return f'{head[:-1]},"rows":[{",".join(row for *_, row in sorted(kept))}]}}', len(kept)


def _by_need(rows: Sequence[tuple[int, int, Answer]]) -> list[tuple[int, int, Answer]]:
    """Return the rows with the most harmful and the most uncertain ones, in turn, first."""
    harmful = sorted(range(len(rows)), key=lambda i: rows[i][2].harmless_probability)
    uncertain = sorted(
        range(len(rows)),
        key=lambda i: (
            not rows[i][2].score.uncertain,
            abs(rows[i][2].harmless_probability - 0.5),
        ),
    )
    order = dict.fromkeys(i for pair in zip(harmful, uncertain, strict=True) for i in pair)
    return [rows[i] for i in order]


def _dimension_data(models: Sequence[ScoredAnswers], name: str) -> dict[str, Any]:
    known = next(scored.dimensions[name] for scored in models if name in scored.dimensions)
    return {
        "name": list(term(dimension_title(label(name)))),
        "levels": list(known.levels),
        "harmlessFrom": known.harmless_from,
    }


def _row(answer: Answer, model: int, dimensions: Sequence[str]) -> dict[str, Any]:
    """Return what the page's script shows of an answer, under short keys."""
    row: dict[str, Any] = {
        "m": model,
        "p": _text(answer.prompt),
        "r": _text(answer.response),
        "h": round(answer.harmless_probability, 4),
        "f": int(answer.harmless),
        "d": [
            [score.level, round(score.harmless_probability, 3)]
            if (score := answer.score.dimensions.get(name))
            else None
            for name in dimensions
        ],
    }
    optional: dict[str, Any] = {
        "u": int(answer.score.uncertain),
        "t": int(answer.score.truncated),
        "l": {str(dimensions.index(name)): level for name, level in answer.labels.items()},
        "s": [label(value) for value in answer.slices.values()],
    }
    if answer.dimension is not None:
        row["o"] = dimensions.index(answer.dimension)
    return row | {name: value for name, value in optional.items() if value}


def _text(text: str) -> str | list[Any]:
    shown = shorten(text)
    return [shown.head, shown.omitted, shown.tail] if shown.omitted else shown.head


def _json(value: Mapping[str, Any]) -> str:
    r"""Return JSON without what could end a script element or a line: those are `\u` escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
