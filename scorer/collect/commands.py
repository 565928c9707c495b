"""`scorer collect`: ask a model a benchmark's prompts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scorer.cli import show_messages
from scorer.collect.endpoint import MAX_TOKENS_FIELDS, Endpoint
from scorer.collect.local import DTYPES, LocalModel
from scorer.collect.pacing import RetryPolicy
from scorer.collect.prompts import BENCHMARKS, Prompts, read_benchmark, read_rows
from scorer.collect.run import Collected, Model, Progress, Sampling
from scorer.collect.run import collect as run
from scorer.data.sources import SOURCES
from scorer.errors import ScorerError

if TYPE_CHECKING:
    from rich.console import Console

_OPENAI = "https://api.openai.com/v1"
_POLICY = RetryPolicy()
_ENDPOINT_ONLY = (
    *("base_url", "api_key_env", "no_api_key", "concurrency", "timeout", "retries", "max_wait"),
    "max_tokens_field",
)
_LOCAL_ONLY = ("adapter", "device", "dtype", "batch_size")


def _or_default(number: Any) -> Callable[[click.Context, click.Parameter, str], Any]:
    """Return a callback that reads a number, or `default` as None: what the model does by itself."""
    return lambda ctx, param, value: (
        None if value == "default" else number.convert(value, param, ctx)
    )


def _json_object(ctx: click.Context, param: click.Parameter, value: str | None) -> dict[str, Any]:
    try:
        parsed = json.loads(value or "{}")
    except ValueError as error:
        raise click.BadParameter(f"no JSON: {error}") from error
    if not isinstance(parsed, dict):
        raise click.BadParameter("must be a JSON object, e.g. '{\"top_k\": 20}'")
    return parsed


@click.command()
@click.option("--benchmark", type=click.Choice(BENCHMARKS), help="Whose prompts PROMPTS holds.")
@click.option(
    "--prompts",
    type=click.Path(path_type=Path),
    required=True,
    help="The benchmark's published file or a folder with it; else rows as JSONL, JSON or CSV. "
    "`scorer data sources` says where to get the benchmarks'.",
)
@click.option("--prompt-field", help="Field of the prompt; found in the first row if not given.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="JSONL file; one that an earlier call began is gone on with.",
)
@click.option("--model", help="The model's name at the endpoint; with --local, how to call it.")
@click.option(
    "--base-url",
    envvar="OPENAI_BASE_URL",
    default=_OPENAI,
    show_default=True,
    help="OpenAI-compatible endpoint, without /chat/completions; also from OPENAI_BASE_URL.",
)
@click.option(
    "--api-key-env",
    metavar="NAME",
    default="OPENAI_API_KEY",
    show_default=True,
    help="Environment variable that holds the key.",
)
@click.option("--no-api-key", is_flag=True, help="The server needs no key.")
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=8,
    show_default=True,
    help="Requests at once.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for one attempt.",
)
@click.option(
    "--retries",
    type=click.IntRange(min=0),
    default=_POLICY.retries,
    show_default=True,
    help="Further attempts after a passing failure, with exponential back-off.",
)
@click.option(
    "--max-wait",
    type=click.FloatRange(min=0),
    default=_POLICY.max_wait,
    show_default=True,
    help="Seconds that a prompt waits for rate limits at most.",
)
@click.option(
    "--max-tokens-field",
    type=click.Choice(MAX_TOKENS_FIELDS),
    default=MAX_TOKENS_FIELDS[0],
    show_default=True,
    help="Newer models of OpenAI want the second.",
)
@click.option("--local", metavar="PATH", help="A transformers model here, in place of an endpoint.")
@click.option("--adapter", metavar="PATH", help="LoRA adapter for the local model.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps.")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default="auto",
    show_default=True,
    help="auto is fp32 on CPUs, half precision on GPUs.",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=8, show_default=True)
@click.option("--system-prompt", help="Message before every prompt.")
@click.option(
    "--temperature",
    metavar="NUMBER",
    callback=_or_default(click.FloatRange(min=0)),
    default="0",
    show_default=True,
    help="Or `default`: the model's own.",
)
@click.option(
    "--top-p", type=click.FloatRange(0, 1, min_open=True), help="The model's own if not given."
)
@click.option("--seed", type=int, help="Of the sampling, as far as the model heeds it.")
@click.option(
    "--max-tokens",
    metavar="NUMBER",
    callback=_or_default(click.IntRange(min=1)),
    default="2048",
    show_default=True,
    help="Of an answer; or `default`: the server's own.",
)
@click.option(
    "--extra",
    metavar="JSON",
    callback=_json_object,
    help="Further fields of a request, or with --local variables of the chat template. "
    "They are recorded: no secrets here.",
)
@click.option("--retry-failed", is_flag=True, help="Ask prompts again that have a failure.")
@click.option(
    "--accept-cut-off",
    is_flag=True,
    help="Take answers that reached --max-tokens as they are, earlier ones too.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary.")
@click.pass_context
def collect(
    ctx: click.Context,
    /,
    benchmark: str | None,
    prompts: Path,
    prompt_field: str | None,
    output: Path,
    retry_failed: bool,
    accept_cut_off: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Collect a model's answers to PROMPTS, from an endpoint or a local model.

    Stopped at any moment, the same command goes on where it was. Settings are recorded in
    OUTPUT.meta.json, and a call with others is refused. A prompt without an answer has a row with
    "response": null and the reason under "error". The exit status is 0 when every prompt has an
    answer, 1 when some failed, 2 when the work could not be done.
    """
    from rich.console import Console

    stderr = Console(stderr=True)
    _refuse_meaningless(ctx, local=options["local"] is not None)
    with show_messages(stderr, logging.ERROR if quiet else logging.INFO):
        asked = _prompts(benchmark, prompts, prompt_field)
        try:
            model = _model(options)
        except ValueError as error:
            raise click.UsageError(str(error)) from error
        with _bar(stderr, hidden=quiet) as on_progress:
            done = run(
                asked,
                model,
                output,
                retry_failed=retry_failed,
                accept_cut_off=accept_cut_off,
                on_progress=on_progress,
            )
    if not quiet:
        click.echo(_summary(done))
    ctx.exit(1 if done.failed else 0)


def _refuse_meaningless(ctx: click.Context, local: bool) -> None:
    """Refuse options that were given for the other kind of model."""
    for name in _ENDPOINT_ONLY if local else _LOCAL_ONLY:
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            option = name.replace("_", "-")
            raise click.UsageError(
                f"--{option} {'is for an endpoint, not for' if local else 'needs'} --local"
            )


def _prompts(benchmark: str | None, path: Path, prompt_field: str | None) -> Prompts:
    if benchmark is None:
        return read_rows(path, prompt_field)
    if prompt_field is not None:
        raise click.UsageError("--prompt-field is for rows of your own, not for a --benchmark")
    if not path.exists():
        source = SOURCES[benchmark]
        raise ScorerError(
            f"{path}: no such file or folder; {source.repository}: {source.how_to_get}"
        )
    return read_benchmark(benchmark, path)


def _model(options: Mapping[str, Any]) -> Model:
    sampling = Sampling(
        **{
            name: options[name]
            for name in ("system_prompt", "temperature", "top_p", "seed", "max_tokens", "extra")
        }
    )
    if options["local"] is not None:
        return LocalModel(
            options["local"],
            sampling,
            name=options["model"],
            **{name: options[name] for name in _LOCAL_ONLY},
        )
    if options["model"] is None:
        raise click.UsageError("Missing option '--model' (or '--local').")
    return Endpoint(
        options["model"],
        options["base_url"],
        None if options["no_api_key"] else _api_key(options["api_key_env"]),
        sampling,
        policy=RetryPolicy(retries=options["retries"], max_wait=options["max_wait"]),
        **{name: options[name] for name in ("concurrency", "timeout", "max_tokens_field")},
    )


def _api_key(variable: str) -> str:
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ScorerError(
            f"the environment variable {variable}, which should hold the API key, is not set; "
            "name another with --api-key-env, or say --no-api-key for a server that needs none"
        )
    return key


@contextmanager
def _bar(console: Console, hidden: bool) -> Iterator[Callable[[Progress], None]]:
    from rich import progress as rich_progress

    bar = rich_progress.Progress(
        rich_progress.BarColumn(),
        rich_progress.MofNCompleteColumn(),
        rich_progress.TextColumn("{task.description}"),
        rich_progress.TimeElapsedColumn(),
        rich_progress.TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=hidden or not console.is_terminal,
    )
    with bar:
        task = bar.add_task("")

        def show(progress: Progress) -> None:
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                description=f"{progress.failed:,} failed" if progress.failed else "",
            )

        yield show


def _summary(done: Collected) -> str:
    lines = [
        f"{done.path}: {done.answered:,} of {done.prompts:,} prompts answered, {done.failed:,} "
        f"failed; {done.asked:,} asked just now"
    ]
    lines += [f"  {kind}: {count:,}" for kind, count in done.failures.items()]
    if done.failed:
        lines.append("--retry-failed asks for these again; they are never scored")
    lines.append(f"Settings: {done.sidecar}")
    return "\n".join(lines)
