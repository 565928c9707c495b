"""The command `scorer report`, and the options that let other commands write a report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from scorer.errors import DataError
from scorer.evaluation.markdown import Table
from scorer.inference.options import KEY

_Command = TypeVar("_Command", bound=Callable[..., Any])

_SAVE_DIR = click.option(
    "--save-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for each plot as PNG and SVG, and the tables in Markdown.",
)


def report_options(command: _Command) -> _Command:
    """Add `--report` and `--save-dir` to a command; it passes both on to `write_report`."""
    page = click.option(
        "--report",
        metavar="HTML",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Write one self-contained HTML page with tables, plots and answers.",
    )
    return page(_SAVE_DIR(command))


def report_rows(
    answered: Mapping[str, Iterable[tuple[int | None, object]]],
    report: Path | None,
    save_dir: Path | None,
    tables: Sequence[Table],
    key: str = KEY,
) -> None:
    """Write what `report_options` ask for about scored rows that are at hand; nothing if nothing.

    A model none of whose rows has an answer is left out.

    Args:
        answered: Name of each model, and its rows as `scorer.report.from_rows` takes them.
        report: What `--report` gave.
        save_dir: What `--save-dir` gave.
        tables: Further tables for the page.
        key: Key of the scores.
    """
    if report is None and save_dir is None:
        return
    from scorer.report import from_rows, write_report

    models = (from_rows(rows, name, key=key) for name, rows in answered.items())
    write_report([model for model in models if model.answers], report, save_dir, tables=tables)


@click.command()
@click.argument("scored", nargs=-1, required=True, type=click.Path(dir_okay=False, allow_dash=True))
@click.option(
    "-o",
    "--output",
    metavar="HTML",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The page; one file that needs no network.",
)
@_SAVE_DIR
@click.option("--title", help="Heading of the page.")
@click.option(
    "--name",
    "names",
    multiple=True,
    help="Name of the model that answered, once per file in their order; else the file's name.",
)
@click.option(
    "--slice",
    "slices",
    multiple=True,
    help="Field of the rows, or of their meta, to slice the harmless rate by; may be repeated.",
)
@click.option("--key", help="Key of the score; harmlessness if not given.")
@click.option("--prompt-field", help="Field of the prompt; found in the first row if not given.")
@click.option("--response-field", help="Field of the response; likewise.")
def report(
    scored: tuple[str, ...],
    output: Path,
    save_dir: Path | None,
    title: str | None,
    names: tuple[str, ...],
    slices: tuple[str, ...],
    key: str | None,
    prompt_field: str | None,
    response_field: str | None,
) -> None:
    """Make a page to read of SCORED: files that `scorer score` wrote, one per model.

    It shows harmless rates with intervals, levels, slices, calibration where rows have labels, and
    the answers themselves, the most harmful ones first.
    """
    from scorer.report.answers import SLICE_FIELDS, read_scored
    from scorer.report.page import write_report

    if names and len(names) != len(scored):
        raise click.UsageError(f"--name is given {len(names)} times for {len(scored)} files")
    models = [
        read_scored(
            path,
            name,
            key=key or KEY,
            prompt_field=prompt_field,
            response_field=response_field,
            slices=slices or SLICE_FIELDS,
        )
        for path, name in zip(scored, names or [None] * len(scored), strict=True)
    ]
    _refuse_same_names([model.model for model in models])
    for field in slices:
        if not any(field in answer.slices for model in models for answer in model.answers):
            raise DataError(f"no row has the field {field!r} of --slice")
    write_report(models, output, save_dir, title=title, slices=slices)
    click.echo(f"{output}: {sum(len(model.answers) for model in models):,} answers")


def _refuse_same_names(names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"two files are of the model {name!r}; name them apart with --name")
