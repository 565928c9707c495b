"""The command `scorer train`."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from scorer.errors import MissingExtraError

_CORPORA = click.option(
    "--corpora",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("corpora"),
    show_default=True,
    help="Folder that the recipe's source paths are relative to.",
)
_ENCODER = click.option("--encoder", help="Folder or hub id in place of the recipe's encoder.")


@click.command()
@click.argument("recipe", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the run; one that holds an unfinished run of this recipe goes on.",
)
@_CORPORA
@_ENCODER
def train(recipe: Path, output: Path, corpora: Path, encoder: str | None) -> None:
    """Train a scorer by RECIPE, a YAML file; its checkpoint goes to OUTPUT/checkpoint.

    Stopped at any moment, the same command goes on where it was. On several GPUs:
    torchrun --nproc-per-node 4 -m scorer train RECIPE -o OUTPUT
    """
    try:
        from scorer.training.recipe import read_recipe
        from scorer.training.train import train as run
    except ModuleNotFoundError as error:
        raise MissingExtraError("Training", "train", str(error.name)) from error
    _show_log()
    run(read_recipe(recipe), output, corpora, encoder)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of results.json; runs that it holds already are not run again.",
)
@_CORPORA
@_ENCODER
def experiment(file: Path, output: Path, corpora: Path, encoder: str | None) -> None:
    """Compare settings of a recipe under one budget, by FILE; see experiments/."""
    try:
        from scorer.training.experiments import run_experiments
    except ModuleNotFoundError as error:
        raise MissingExtraError("Training", "train", str(error.name)) from error
    _show_log()
    run_experiments(file, output, corpora, encoder)


def _show_log() -> None:
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("scorer").setLevel(logging.INFO)
