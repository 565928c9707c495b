"""The command `scorer evaluate`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import click

from scorer.evaluation.judge_options import judge_options, refuse_other_scorer
from scorer.report.commands import report_options, report_rows


def _floors(
    ctx: click.Context, param: click.Parameter, values: Sequence[str]
) -> list[tuple[str, float]]:
    """Return the path and the least value of each `harmless.accuracy=0.85`."""
    floors = []
    for value in values:
        path, _, least = value.rpartition("=")
        try:
            floors.append((path, float(least)))
        except ValueError:
            path = ""
        if not path:
            raise click.BadParameter(f"{value!r} is not of the form harmless.accuracy=0.85")
    return floors


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option(
    "--by",
    multiple=True,
    metavar="FIELD",
    help="Slice by source, subcomponent, length (of the response) or any dotted field; repeatable.",
)
@click.option(
    "--fail-under",
    "floors",
    multiple=True,
    metavar="PATH=VALUE",
    callback=_floors,
    help="Exit with 1 where a figure of the JSON is less, e.g. harmless.accuracy=0.85 or "
    "fairness.macro_f1=0.7; repeatable.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="OTHER",
    help="The same rows scored by another scorer.",
)
@click.option("--compare-model", metavar="OTHER", help="Checkpoint that scores the rows as well.")
@click.option(
    "--json", "output", type=click.Path(path_type=Path, dir_okay=False), help="All figures."
)
@judge_options
@click.option("--key", default="harmlessness", show_default=True, help="Key of a row's score.")
@click.option(
    "--resamples",
    type=click.IntRange(min=0),
    default=300,
    show_default=True,
    help="Of every bootstrap; 0 for no intervals.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@report_options
@click.option("-q", "--quiet", is_flag=True, help="Print no tables.")
@click.pass_context
def evaluate(
    ctx: click.Context,
    file: Path,
    by: Sequence[str],
    floors: Sequence[tuple[str, float]],
    compare: Path | None,
    compare_model: str | None,
    output: Path | None,
    model: str | None,
    device: str,
    purpose: str,
    key: str,
    resamples: int,
    seed: int,
    report: Path | None,
    save_dir: Path | None,
    quiet: bool,
) -> None:
    """Measure a scorer on the labelled rows of FILE (JSONL with `labels`).

    A score that a row has under `harmlessness` is taken; other rows are scored first. The exit
    status is 1 where a figure is below its --fail-under; 2 when the work could not be done.
    """
    from scorer.api import Scorer, find_checkpoint
    from scorer.checkpoint import read_settings
    from scorer.data.jsonl import write_json
    from scorer.evaluation.markdown import print_tables
    from scorer.evaluation.measuring.figures import comparison, figures
    from scorer.evaluation.measuring.rows import read_labelled, scores_from, scores_of
    from scorer.evaluation.measuring.tables import tables

    if compare is not None and compare_model is not None:
        raise click.UsageError("--compare names a file and --compare-model a checkpoint: not both")
    if not resamples and (compare or compare_model):
        raise click.UsageError("a comparison needs --resamples above 0")
    dimensions = read_settings(find_checkpoint(model)).dimensions
    rows = read_labelled(file, dimensions, key)
    others = None if compare is None else scores_from(compare, rows, key)
    load = cache(lambda: Scorer.load(model, device=device, purpose=purpose))
    scores = scores_of(rows, load)
    refuse_other_scorer(ctx, scores, str(file))
    found = figures(rows, scores, dimensions, by, resamples, seed)
    if compare_model is not None:
        other = Scorer.load(compare_model, device=device, purpose=purpose)
        others = other.score_batch([(r.example.prompt, r.example.response) for r in rows])
    if others is not None:
        found["comparison"] = comparison(rows, scores, others, dimensions, resamples, seed)
    if output is not None:
        write_json(output, found)
    shown = tables(found)
    answered = (
        (row.line, {**row.row, key: score.to_dict()})
        for row, score in zip(rows, scores, strict=True)
    )
    name = file.name.partition(".")[0] or "-"
    report_rows({name: answered}, report, save_dir, shown, key)
    if not quiet:
        print_tables(shown)
    ctx.exit(_below(found, floors))


def _below(found: Mapping[str, Any], floors: Sequence[tuple[str, float]]) -> bool:
    """Say which figures are below their floor, and return whether any is."""
    from scorer.cli import Failure
    from scorer.dimensions import nearest
    from scorer.evaluation.measuring.figures import lookup

    failed = False
    for path, least in floors:
        try:
            value = lookup(found, path)
        except KeyError as error:
            raise Failure(
                f"--fail-under: no figure {path!r}{nearest(path, error.args[0])}"
            ) from None
        if value < least:
            click.echo(f"{path} is {value:.4f}, below {least:g}", err=True)
            failed = True
    return failed
