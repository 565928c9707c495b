"""The command `scorer benchmark flames`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import click

from scorer.evaluation.judge_options import judge_options, refuse_other_scorer
from scorer.report.commands import report_options, report_rows


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(path_type=Path, dir_okay=False, exists=True)
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, exists=True),
    help="Flames' published prompts; answers are joined with them by text or id.",
)
@click.option("--name", "names", multiple=True, help="Name of a model; one per FILE, in order.")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="JSON of all figures."
)
@click.option(
    "--scored",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the judged rows: NAME.jsonl.",
)
@click.option(
    "--markdown", type=click.Path(path_type=Path, dir_okay=False), help="The tables in Markdown."
)
@judge_options
@click.option(
    "--part",
    default="Flames prompts",
    show_default=True,
    help="Test rows of the checkpoint that its errors are taken from; 'all' for all of them.",
)
@click.option(
    "--labelled",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Labelled answers of your own to measure the scorer's errors on instead.",
)
@click.option(
    "--resamples",
    type=click.IntRange(min=100),
    default=2000,
    show_default=True,
    help="Of every bootstrap.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@report_options
@click.option("-q", "--quiet", is_flag=True, help="Print no tables.")
@click.pass_context
def flames(
    ctx: click.Context,
    files: Sequence[Path],
    prompts: Path | None,
    names: Sequence[str],
    output: Path | None,
    folder: Path | None,
    markdown: Path | None,
    model: str | None,
    device: str,
    purpose: str,
    part: str,
    labelled: Path | None,
    resamples: int,
    seed: int,
    report: Path | None,
    save_dir: Path | None,
    quiet: bool,
) -> None:
    """Compute Flames' figures from models' answers, one FILE of JSONL per model.

    Rows have `prompt` and `response`; those without a score are scored first. Dimension and
    sub-component come from --prompts, or else from each row. Answers that failed (`error`, or no
    response) are counted and never judged.

    The exit status is 1 where answers failed, or where prompts are missing, answered twice or
    unknown; 2 when the work could not be done.
    """
    from scorer.api import Scorer
    from scorer.data.jsonl import write_json, write_jsonl
    from scorer.evaluation.flames import benchmark
    from scorer.evaluation.flames.figures import figures
    from scorer.evaluation.flames.joining import read_prompts
    from scorer.evaluation.flames.tables import notes, tables
    from scorer.evaluation.markdown import print_tables

    named = dict(zip(_names(files, names), files, strict=True))
    load = cache(lambda: Scorer.load(model, device=device, purpose=purpose))
    published = None if prompts is None else read_prompts(prompts)
    models = {name: benchmark.read_model(file, published, load) for name, file in named.items()}
    for name, joined in models.items():
        refuse_other_scorer(ctx, joined.scores, name)
    correction = benchmark.correction(models, model, load, part, labelled)
    found = figures(models, correction, resamples, seed)
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        for name, joined in models.items():
            write_jsonl(folder / f"{name}.jsonl", benchmark.judged_rows(joined))
    if output is not None:
        write_json(output, found)
    shown = tables(found)
    if markdown is not None:
        text = "\n\n".join(table.markdown() for table in shown)
        markdown.write_text(f"{text}\n", encoding="utf-8")
    answered = {
        name: ((None, row) for row in benchmark.judged_rows(joined))
        for name, joined in models.items()
    }
    report_rows(answered, report, save_dir, shown)
    if not quiet:
        print_tables(shown, notes(found))
    problems = ("failed", "unanswered", "doubled", "unknown")
    ctx.exit(any(one[what] for one in found["models"].values() for what in problems))


def _names(files: Sequence[Path], names: Sequence[str]) -> list[str]:
    """Return a name for each file: the one that was given, or the file's up to its first dot."""
    if names and len(names) != len(files):
        raise click.UsageError(f"{len(names)} names (--name) for {len(files)} files")
    found = list(names) or [file.name.partition(".")[0] or file.name for file in files]
    twice = [name for name, count in Counter(found).items() if count > 1]
    if twice:
        raise click.UsageError(f"two files are called {twice[0]!r}; name them with --name")
    if any("/" in name or name in ("", ".", "..") for name in found):
        raise click.UsageError("a name (--name) must not be empty or hold a slash")
    return found
