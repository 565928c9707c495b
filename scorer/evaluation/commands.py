"""The commands of `scorer benchmark`."""

from __future__ import annotations

import click

from scorer.lazy import LazyGroup

_ELSEWHERE = {
    "annotators": "scorer.evaluation.annotator_commands",
    "cvalues": "scorer.evaluation.cvalues.commands",
    "flames": "scorer.evaluation.flames.commands",
}


@click.group(cls=LazyGroup, elsewhere=_ELSEWHERE)
def benchmark() -> None:
    """Compute a benchmark's figures from a model's answers."""
