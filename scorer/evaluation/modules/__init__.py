"""Metrics in the form of Hugging Face's `evaluate`, which loads a module from its folder.

>>> import evaluate
>>> from scorer.evaluation import modules
>>> flames = evaluate.load(modules.path("flames_harmlessness"))
"""

from __future__ import annotations

from pathlib import Path

from scorer.dimensions import nearest

NAMES = ("cvalues_multiple_choice", "flames_harmlessness")


def path(name: str) -> str:
    """Return the folder of a metric, to be given to `evaluate.load`; nothing is downloaded then.

    Args:
        name: One of `NAMES`.

    Raises:
        ValueError: If there is no such metric.
    """
    if name not in NAMES:
        raise ValueError(f"metric {name!r} is none of {', '.join(NAMES)}{nearest(name, NAMES)}")
    return str(Path(__file__).with_name(name))
