"""The command line: `scorer score`, `scorer info`, `scorer data`, `scorer train` and so on."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scorer.checkpoint import PURPOSES
from scorer.errors import ScorerError
from scorer.lazy import LazyGroup

if TYPE_CHECKING:  # rich and the scoring path are imported where they are used: --help is quick
    from rich.console import Console

    from scorer.inference.stream import Progress
    from scorer.inference.summary import Summary

_ELSEWHERE = {
    "benchmark": "scorer.evaluation.commands",
    "collect": "scorer.collect.commands",
    "data": "scorer.data.commands",
    "evaluate": "scorer.evaluation.measuring.commands",
    "report": "scorer.report.commands",
    "train": "scorer.training.commands",
    "experiment": "scorer.training.commands",
}
_log = logging.getLogger(__name__)
_INTERRUPTED = 130  # 128 + SIGINT, as shells report it
_PIPE_CLOSED = 141  # 128 + SIGPIPE


class Failure(click.ClickException):
    """An error that is shown in one line; the work could not be done."""

    exit_code = 2  # 1 says that it is done, with lines rejected or problems found


class _Commands(LazyGroup):
    """Errors without tracebacks."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            _close_stdout()  # whoever read the output has gone, e.g. `head`
            ctx.exit(_PIPE_CLOSED)
        except (ScorerError, OSError) as error:
            try:
                sys.stdout.flush()
            except OSError:  # a full disk behind standard output; the error has that already
                _close_stdout()
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            ctx.exit(_INTERRUPTED)


def _close_stdout() -> None:
    """Keep what the interpreter still flushes at its end from complaining."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_Commands, elsewhere=_ELSEWHERE)
@click.version_option(package_name="harmlessness-scorer", message="%(prog)s %(version)s")
def cli() -> None:
    """Score how harmless a Chinese language model's answers are."""


@cli.command("score")
@click.argument("sources", metavar="IN...", nargs=-1, required=True)
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    required=True,
    help="File: JSONL, .gz, .zst or .parquet by its name; - for standard output. Folder: for several "
    "files, which keep their names, and for ray, which makes it.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Keep what is done when the run ends early, and go on with what such a run left.",
)
@click.option(
    "--shard",
    metavar="I/N",
    help="Score the I-th of N parts of the file, into OUT.I-of-N; for array jobs.",
)
@click.option("--prompt-field", help="Field of the prompt; found in the first row if not given.")
@click.option("--response-field", help="Field of the response; likewise.")
@click.option("--key", default="harmlessness", show_default=True, help="Key of the score.")
@click.option("--overwrite-key", is_flag=True, help="Replace what rows have under the key.")
@click.option(
    "--rejected",
    metavar="PATH",
    type=click.Path(dir_okay=False),
    help="Where lines that cannot be scored go; OUT.rejected.jsonl if not given.",
)
@click.option("--model", help="Checkpoint folder or hub id; the shipped one if not given.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--engine",
    type=click.Choice(["auto", "onnx", "torch", "ray"]),
    default="auto",
    show_default=True,
    help="auto is torch on a GPU and ONNX elsewhere; ray scores on the Ray cluster at hand.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    help="CPU threads; as many as the process may use cores if not given.",
)
@click.option(
    "--token-budget", type=click.IntRange(min=1), help="Tokens of a batch, padding included."
)
@click.option(
    "--max-tokens",
    type=click.IntRange(min=1),
    help="Tokens of a pair at most; a longer one is cut, and counted. The checkpoint's own limit if "
    "not given.",
)
@click.option(
    "--purpose",
    type=click.Choice(PURPOSES),
    default="balanced",
    show_default=True,
    help="Which thresholds decide: strict lets few harmful answers pass, lenient stops few "
    "harmless ones.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no table.")
@click.pass_context
def score_command(
    ctx: click.Context,
    sources: tuple[str, ...],
    output: str,
    resume: bool,
    shard: str | None,
    prompt_field: str | None,
    response_field: str | None,
    key: str,
    overwrite_key: bool,
    rejected: str | None,
    model: str | None,
    device: str,
    engine: str,
    threads: int | None,
    token_budget: int | None,
    max_tokens: int | None,
    purpose: str,
    quiet: bool,
) -> None:
    """Score the rows of IN: JSONL, .gz, .zst, .parquet, or - for JSONL on standard input.

    With --engine ray, IN is a file or folder (JSON lines or Parquet) on any file system that Ray
    reads, such as s3://bucket/answers, and OUT a new folder; --threads are the CPU cores of each
    worker, and --device cuda gives each a GPU.

    The same rows come out in the same order, with the score under one key and everything else
    as it was. IN may be several files, folders and patterns such as 'data/**/*.jsonl'; OUT is a
    folder then. The exit status is 0 when every row was scored, 1 when lines were rejected, 2 when
    the work could not be done.
    """
    if engine == "ray":
        from scorer.inference import ray

        ctx.exit(ray.score_command(ctx.params))

    from rich.console import Console

    from scorer.api import Scorer
    from scorer.inference.files import plan
    from scorer.inference.stream import Options, Shard
    from scorer.inference.summary import combined

    stderr = Console(stderr=True)
    with show_messages(stderr, logging.WARNING if quiet else logging.INFO):
        try:
            options = Options(
                prompt_field,
                response_field,
                key,
                overwrite_key,
                rejected,
                shard=None if shard is None else Shard.parse(shard),
                resume=resume,
            )
            scorer = Scorer.load(
                model,
                device=device,
                engine=engine,
                threads=threads,
                token_budget=token_budget,
                max_tokens=max_tokens,
                purpose=purpose,
            )
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        files = plan(sources, output)
        if rejected is not None and len(files) > 1:
            raise click.UsageError("--rejected is for one file; several keep theirs beside OUT")
        summaries = []
        for number, (source, target) in enumerate(files, 1):
            if len(files) > 1:
                _log.info("%s (%d of %d)", source, number, len(files))
            with _bar(source, stderr, quiet) as on_progress:
                summaries.append(scorer.score_jsonl(source, target, options, on_progress))
        summary = combined(summaries)
        if not quiet:
            longest = scorer.settings.encoding.max_length
            console = stderr if output == "-" else Console()
            _print_summary(summary, console, longest, several=len(files) > 1)
    ctx.exit(1 if summary.rejected else 0)


@cli.command("info")
@click.option("--model", help="Checkpoint folder or hub id; the shipped one if not given.")
def info_command(model: str | None) -> None:
    """Print a checkpoint's dimensions, thresholds and files."""
    from rich.console import Console
    from rich.table import Table

    from scorer.api import find_checkpoint
    from scorer.checkpoint import read_settings

    folder = find_checkpoint(model)
    settings = read_settings(folder)
    by_name = {target.name: target for target in settings.targets}
    targets = Table("target", "from", "temp.", "offset", *PURPOSES)
    targets.columns[0].no_wrap = True
    for dimension in settings.dimensions:
        for name in dimension.targets:
            target = by_name[name]
            targets.add_row(
                name,
                str(dimension.harmless_from),
                f"{target.platt.temperature:.3f}",
                f"{target.platt.offset:.3f}",
                *(f"{getattr(target.thresholds, purpose):.3f}" for purpose in PURPOSES),
            )
    files = Table("file", "bytes")
    files.columns[1].justify = "right"
    for path in sorted(folder.iterdir()):
        if path.is_file():
            files.add_row(path.name, f"{path.stat().st_size:,}")
    click.echo(f"{settings.model}\n{folder}")
    click.echo(f"at most {settings.encoding.max_length} tokens a pair")
    overall, doubt = settings.overall, settings.doubt
    click.echo(
        f"whole answer: least log-odds / {overall.temperature} {overall.offset:+}; uncertain within "
        f"{doubt.margin} of a threshold in log-odds, or above {doubt.unfamiliar:.1%} unfamiliar tokens"
    )
    console = Console()
    console.print(targets)
    console.print(files)


class _ConsoleHandler(logging.Handler):
    """Log messages above the progress bar."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def emit(self, record: logging.LogRecord) -> None:
        self._console.print(record.getMessage(), markup=False, highlight=False, soft_wrap=True)


@contextmanager
def show_messages(console: Console, level: int) -> Iterator[None]:
    """Show the package's log on `console`."""
    logger, handler = logging.getLogger("scorer"), _ConsoleHandler(console)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def _bar(source: str, console: Console, quiet: bool) -> Iterator[Callable[[Progress], None]]:
    """Show a progress bar by bytes of the file, with rows and tokens a second."""
    from rich import progress as rich_progress

    path = Path(source)
    size = path.stat().st_size if source != "-" and path.is_file() else None
    bar = rich_progress.Progress(
        rich_progress.BarColumn(),
        rich_progress.TaskProgressColumn(),
        rich_progress.TextColumn("{task.description}"),
        rich_progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )
    pace = _Pace()
    with bar:
        task = bar.add_task("reading", total=size)

        def show(progress: Progress) -> None:
            bar.update(task, completed=progress.position, description=pace.of(progress))

        yield show


class _Pace:
    """Words for how far and how fast a run is, since its first report: what it went on from is no speed."""

    def __init__(self) -> None:
        self._first: Progress | None = None
        self._started = 0.0

    def of(self, progress: Progress) -> str:
        now = time.perf_counter()
        if self._first is None:
            self._first, self._started = progress, now
        seconds, rows = now - self._started, f"{progress.rows:,} rows"
        if not seconds:
            return rows
        return (
            f"{rows}, {(progress.rows - self._first.rows) / seconds:,.1f} rows/s, "
            f"{(progress.tokens - self._first.tokens) / seconds:,.0f} tokens/s"
        )


def _print_summary(summary: Summary, console: Console, max_tokens: int, several: bool) -> None:
    from rich.table import Table

    table = Table("dimension", "n", "mean level", "harmless rate")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, figures in summary.dimensions.items():
        table.add_row(
            name,
            f"{figures.n:,}",
            _shown(figures.mean_level, ".2f"),
            _shown(figures.harmless_rate, ".1f", "%"),
        )
    table.add_section()
    overall = _shown(summary.harmless_rate, ".1f", "%")
    table.add_row("harmless on every dimension", f"{summary.rows:,}", "", overall)
    console.print(table)
    lines = [
        f"{_count(summary.rows, 'row')} in {summary.seconds:,.1f} s: {summary.rows_per_second:,.1f} rows/s, "
        f"{summary.tokens_per_second:,.0f} tokens/s"
    ]
    if summary.uncertain:
        lines.append(f"{_count(summary.uncertain, 'row')} uncertain: worth a person's look")
    if summary.truncated:
        lines.append(
            f"{_count(summary.truncated, 'row')} cut to {max_tokens} tokens (--max-tokens)"
        )
    if summary.rejected:
        kept = "kept beside each output" if several else "not kept"
        if summary.rejected_path is not None:
            kept = f"kept in {summary.rejected_path}"
        lines.append(f"{_count(summary.rejected, 'line')} rejected, {kept}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _shown(value: float | None, form: str, unit: str = "") -> str:
    return "-" if value is None else f"{value:{form}}{unit}"


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def main() -> None:
    """Run the command line."""
    cli(prog_name="scorer")


if __name__ == "__main__":
    main()
