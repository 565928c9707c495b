"""`scorer data`: import published sets, check annotated files, list the sources."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from scorer.cli import Failure
from scorer.data.check import DEFAULT_MAX_CHARACTERS, render
from scorer.data.check import check as check_files
from scorer.data.importers import CIPHERCHAT_MIN_FLUENCY
from scorer.data.imports import import_source
from scorer.data.sources import SOURCES
from scorer.errors import ScorerError


@click.group()
def data() -> None:
    """Import published data sets, check annotated files, list the sources."""


@contextmanager
def _reported() -> Iterator[None]:
    """Turn what a user can cause into a message without a traceback."""
    try:
        yield
    except (ScorerError, ValueError) as error:
        raise Failure(str(error)) from error


@data.command("import")
@click.argument("name", type=click.Choice(list(SOURCES)), metavar="NAME")
@click.argument("path", required=False, type=click.Path(exists=True))
@click.option("-o", "--output", required=True, type=click.Path(dir_okay=False), help="JSONL file.")
@click.option(
    "--min-fluency",
    type=click.IntRange(1, 5),
    help=f"cipherchat: least fluency that is kept; {CIPHERCHAT_MIN_FLUENCY} if not given, 1 keeps all.",
)
def import_command(name: str, path: str | None, output: str, min_fluency: int | None) -> None:
    """Write the data set NAME, which lies at PATH, as JSONL of our schema.

    `scorer data sources` lists the names and says where to get each set. OUTPUT.source.json
    notes origin, licence, label mapping and what was left out.
    """
    with _reported():
        done = import_source(name, path, output, min_fluency=min_fluency)
    click.echo(f"{name}: {done.read:,} rows read, {done.written:,} written to {done.out}")
    for reason, count in done.left_out.items():
        click.echo(f"{count:,} left out: {reason}")
    click.echo(f"Origin and licence: {done.sidecar}")


@data.command("check")
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True))
@click.option(
    "--max-characters",
    type=click.IntRange(min=1),
    default=DEFAULT_MAX_CHARACTERS,
    show_default=True,
    help="Longest prompt or response that is not reported.",
)
@click.option("--strict", is_flag=True, help="Fail on warnings too.")
def check_command(files: tuple[str, ...], max_characters: int, strict: bool) -> None:
    """Check FILES, taken together, and print their dimension × level table.

    The exit status is 1 when there are errors: rows that cannot be read, prompts in more than
    one split, pairs with contradictory labels.
    """
    with _reported():
        report = check_files(files, max_characters=max_characters)
    Console().print(render(report), crop=False)
    if report.failed(strict):
        raise SystemExit(1)


@data.command("sources")
def sources_command() -> None:
    """List the data sets that can be imported, their licences and how to get them."""
    table = Table(show_lines=True)
    table.add_column("name", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("what, how to get it, labels", overflow="fold")
    for source in SOURCES.values():
        about = Text(source.title, style="bold")
        for head, text in (
            ("where", source.repository),
            ("get it", source.how_to_get),
            ("labels", source.label_mapping),
            ("labelled by", source.labelled_by),
        ):
            about.append(f"\n{head}: ", style="not bold dim")
            about.append(text, style="not bold")
        table.add_row(Text(source.name), Text(source.licence), about)
    Console().print(table)
