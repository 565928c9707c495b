"""The commands of `scorer benchmark cvalues`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from scorer.evaluation.judge_options import judge_options, refuse_other_scorer
from scorer.report.commands import report_options, report_rows

if TYPE_CHECKING:
    from scorer.evaluation.markdown import Table

_FILE = click.Path(path_type=Path, dir_okay=False)
_SOURCE = click.argument("source", metavar="FILE", type=_FILE)
_FIGURES = click.option("-o", "--output", type=_FILE, help="JSON of all figures.")
_SEED = click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)


@click.group()
def cvalues() -> None:
    """CValues: multiple choice between two replies, and free answers."""


@cvalues.command()
@_SOURCE
@click.option("-o", "--output", required=True, type=_FILE, help="JSONL of what a model is asked.")
@_SEED
@click.option(
    "--template", type=_FILE, help="Text file with {question}, {first} and {second} in it."
)
def items(source: Path, output: Path, seed: int, template: Path | None) -> None:
    """Build multiple-choice items from FILE (JSONL).

    FILE has `prompt` with `positive` and `negative` (or `pos_resp` and `neg_resp`): then the seed
    draws which comes first. Or it is the published file, `prompt` and `label`, which keeps its
    order.
    """
    from scorer.data.jsonl import write_jsonl
    from scorer.evaluation.cvalues.items import TEMPLATE, build_items

    try:
        text = TEMPLATE if template is None else template.read_text(encoding="utf-8")
        built = build_items(source, seed, text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--template") from error
    click.echo(f"{write_jsonl(output, built):,} items in {output}")


@cvalues.command()
@_SOURCE
@_FIGURES
@click.option("--sheet", type=_FILE, help="CSV or XLSX for the replies that a person must read.")
@click.option(
    "--checked", type=_FILE, multiple=True, help="That sheet, filled in. May be given repeatedly."
)
@click.option("--parsed", type=_FILE, help="JSONL of what was made of each reply.")
@_SEED
@click.pass_context
def choices(
    ctx: click.Context,
    source: Path,
    output: Path | None,
    sheet: Path | None,
    checked: Sequence[Path],
    parsed: Path | None,
    seed: int,
) -> None:
    """Compute acc and acc* of the replies in FILE (JSONL: prompt, label, response).

    The exit status is 1 where rows failed or replies still need a person's check.
    """
    from scorer.data.jsonl import write_jsonl
    from scorer.evaluation.cvalues import replies, tables
    from scorer.evaluation.cvalues.accuracy import NEED_CHECK

    found = replies.read_replies(source)
    for filled in checked:
        found = replies.with_checks(found, filled)
    figures = replies.choice_figures(found, seed)
    _show(figures, output, tables.choice_table(figures), tables.choice_notes(figures))
    if sheet is not None:
        click.echo(f"replies to check in {sheet}: {replies.write_checks(sheet, found):,}")
    if parsed is not None:
        write_jsonl(parsed, replies.parsed_rows(found))
    ctx.exit(bool(figures["failed"] or figures["overall"]["counts"].get(NEED_CHECK)))


@cvalues.command()
@_SOURCE
@click.option("--model", required=True, help="Folder or hub id of a causal language model.")
@click.option("-o", "--output", required=True, type=_FILE, help="JSONL for `choices`.")
@click.option(
    "--compare",
    type=click.Choice(["labels", "texts"]),
    default="labels",
    show_default=True,
    help="Probability of 回复1 and 回复2 after the item, or of the replies after the question.",
)
@click.option("--normalise", is_flag=True, help="Mean log-probability of a token, not the sum.")
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
def likelihood(
    source: Path,
    model: str,
    output: Path,
    compare: str,
    normalise: bool,
    batch_size: int,
    device: str,
) -> None:
    """Choose by a local model's likelihood for the items in FILE; nothing has to be parsed."""
    from scorer.data.jsonl import read_jsonl, stream_name, write_jsonl
    from scorer.data.schema import shown
    from scorer.errors import RowError
    from scorer.evaluation.cvalues.likelihood import Compare, LikelihoodChooser

    rows: list[Mapping[str, Any]] = []
    for line, row in read_jsonl(source):
        if not isinstance(row, dict):
            problem = f"a row must be a JSON object, not {shown(row)}"
            raise RowError(problem, path=stream_name(source), line=line)
        rows.append(row)
    kind = cast(Compare, compare)
    try:
        chooser = LikelihoodChooser.load(model, device, kind, normalise, batch_size)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--device") from error
    click.echo(f"{write_jsonl(output, chooser.choose(rows)):,} choices in {output}")


@cvalues.command()
@_SOURCE
@_FIGURES
@judge_options
@_SEED
@report_options
@click.pass_context
def answers(
    ctx: click.Context,
    source: Path,
    output: Path | None,
    model: str | None,
    device: str,
    purpose: str,
    seed: int,
    report: Path | None,
    save_dir: Path | None,
) -> None:
    """Compute safety and responsibility of the answers in FILE (JSONL: prompt, response).

    By `domain`, `scenario` and `difficulty_level` where rows have them, also in `meta`. The exit
    status is 1 where answers failed.
    """
    from scorer.api import Scorer
    from scorer.evaluation.cvalues import tables
    from scorer.evaluation.cvalues.free_answers import answer_figures, judge_answers

    load = cache(lambda: Scorer.load(model, device=device, purpose=purpose))
    judged = judge_answers(source, load)
    refuse_other_scorer(ctx, [one.score for one in judged.judged], str(source))
    figures = answer_figures(judged, seed)
    notes = [f"judged by {figures['scorer']} ({figures['purpose']})"]
    if figures["failed"]:
        notes.append(f"{figures['failed']} of {figures['n']} answers failed and count nowhere")
    table = tables.answer_table(figures)
    if judged.judged:
        name = source.name.partition(".")[0]
        answered = ((None, row) for row in judged.rows())
        report_rows({name: answered}, report, save_dir, [table])
    elif report is not None or save_dir is not None:
        notes.append("all answers failed, so that there is no report")
    _show(figures, output, table, notes)
    ctx.exit(bool(figures["failed"]))


def _show(
    figures: Mapping[str, Any], output: Path | None, table: Table, notes: Sequence[str]
) -> None:
    from scorer.data.jsonl import write_json
    from scorer.evaluation.markdown import print_tables

    if output is not None:
        write_json(output, figures)
    print_tables([table], notes)
