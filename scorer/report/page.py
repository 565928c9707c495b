"""The report as one HTML page and as files for a paper."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from scorer.data.jsonl import atomic_writer
from scorer.errors import MissingExtraError
from scorer.evaluation.markdown import Table
from scorer.report import texts
from scorer.report.answers import ScoredAnswers
from scorer.report.embedding import embedded_answers
from scorer.report.texts import Text, fill, term
from scorer.report.visible import label

_PNG_DPI = 220


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
    from scorer.report.tables import shown_table, summaries, tiles

    embedder = Embedder()
    figures = [(plot, embedder.embed(plot)) for plot in plots(models, slices)]
    style = _asset("report.css") + embedder.css
    script = _asset("report.js")
    heading = texts.TITLE if title is None else _plain(title)
    data, embedded = embedded_answers(models)
    page = environment.get_template("report.html.jinja").render(
        t=texts,
        heading=heading,
        byline=_byline(models),
        tiles=tiles(models),
        tables=[shown_table(table) for table in (*summaries(models), *tables)],
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
    from scorer.report.tables import markdown, summaries

    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    paths = []
    for plot in plots(models, slices):
        for form in ("png", "svg"):
            paths.append(place / f"{plot.name}.{form}")
            _write(paths[-1], written(plot, form, dpi=_PNG_DPI))
    parts = [markdown(table) for table in (*summaries(models), *tables)]
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
