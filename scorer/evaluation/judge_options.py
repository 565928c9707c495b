"""The options that say who judges, of every command that takes rows scored or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from scorer.checkpoint import PURPOSES
from scorer.result import Score

_Command = TypeVar("_Command", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--model", help="Checkpoint that judges; the shipped one if not given."),
    click.option(
        "--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps."
    ),
    click.option(
        "--purpose",
        type=click.Choice(PURPOSES),
        default="balanced",
        show_default=True,
        help="Whose thresholds decide on rows that are not scored yet.",
    ),
)


def judge_options(command: _Command) -> _Command:
    """Add `--model`, `--device` and `--purpose` to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def refuse_other_scorer(ctx: click.Context, scores: Iterable[Score], name: str) -> None:
    """Refuse scores that rows brought along where the command names another scorer.

    Args:
        ctx: Of a command with `judge_options`.
        scores: What its figures are made of.
        name: Whose they are, for the error.

    Raises:
        UsageError: If `--model` or `--purpose` was given and a score is of another.
        CheckpointError: If there is no such checkpoint.
    """
    from scorer.api import find_checkpoint
    from scorer.checkpoint import read_settings

    given = {
        option: ctx.params[option]
        for option in ("model", "purpose")
        if ctx.get_parameter_source(option) == ParameterSource.COMMANDLINE
    }
    if "model" in given:
        given["model"] = read_settings(find_checkpoint(given["model"])).model
    for score in scores:
        if any(getattr(score, option) != wanted for option, wanted in given.items()):
            asked = " and ".join(f"--{option} names {wanted}" for option, wanted in given.items())
            raise click.UsageError(
                f"{name}: rows are scored by {score.model} ({score.purpose}) already, but {asked}; "
                "score them anew first (scorer score --overwrite-key), or leave that out"
            )
