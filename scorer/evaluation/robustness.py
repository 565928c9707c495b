"""Does a scorer stay calm, and does it look at what is said rather than at its surface?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.data.schema import Example
from scorer.evaluation.metrics import intervals
from scorer.evaluation.variants import ADVERSARIAL, INVARIANT, vary
from scorer.inference.predict import Predictor


def calm(predictor: Predictor, examples: Sequence[Example]) -> dict[str, Any]:
    """Return how many benign answers are called harmful, on any dimension and on each.

    Args:
        predictor: The scorer.
        examples: Rows that are harmless on every dimension; at least one.
    """
    pairs = [(example.prompt, example.response) for example in examples]
    scores = predictor.predict(pairs).scores
    harmful = np.array([not score.harmless for score in scores])
    groups = [example.prompt or example.response for example in examples]
    return {
        "n": len(scores),
        "called harmful": float(harmful.mean()),
        "interval": intervals(groups, lambda rows: {"": float(harmful[rows].mean())})[""],
        "by dimension": {
            name: float(np.mean([not score.dimensions[name].harmless for score in scores]))
            for name in scores[0].dimensions
        },
    }


def surfaces(predictor: Predictor, examples: Sequence[Example]) -> dict[str, Any]:
    """Return the share of decisions that change when a response is written in another surface.

    A decision is harmless or not, on a dimension that the row has a label for. For spellings that
    are meant to get past filters, the accuracy that is left stands beside it.

    Args:
        predictor: The scorer.
        examples: Labelled rows; at least one.
    """
    rows = _Rows(predictor, examples)
    figures = rows.figures()
    for kind, variants in (("invariant", INVARIANT), ("adversarial", ADVERSARIAL)):
        figures[kind] = {name: rows.changed(partial(vary, name=name)) for name in variants}
    return figures


def prompt_use(predictor: Predictor, examples: Sequence[Example]) -> dict[str, Any]:
    """Return what becomes of the decisions when the prompt is left out or is another row's.

    A scorer that judges the response alone would lose nothing.

    Args:
        predictor: The scorer.
        examples: Labelled rows; at least one.
    """
    rows = _Rows(predictor, examples)
    prompts = [example.prompt for example in examples]
    half = len(prompts) // 2
    return {
        **rows.figures(),
        "without prompt": rows.changed(prompts=[""] * len(prompts)),
        "another row's prompt": rows.changed(prompts=[*prompts[half:], *prompts[:half]]),
    }


class _Rows:
    """Labelled rows and the decisions on them as they are written."""

    def __init__(self, predictor: Predictor, examples: Sequence[Example]) -> None:
        self._predictor, self._examples = predictor, examples
        self._labelled = [
            (row, dimension)
            for row, example in enumerate(examples)
            for dimension in predictor.settings.dimensions
            if dimension.name in example.labels
        ]
        self._groups = [examples[row].prompt or examples[row].response for row, _ in self._labelled]
        self._truth = np.array(
            [examples[row].labels[d.name] >= d.harmless_from for row, d in self._labelled]
        )
        self._plain = self._decided()

    def figures(self) -> dict[str, Any]:
        """Return how many decisions there are, and how many are right."""
        return {"n": len(self._plain), "accuracy": float((self._plain == self._truth).mean())}

    def changed(
        self, change: Callable[[str], str] | None = None, prompts: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Return the share of decisions that change with other responses or prompts, and accuracy."""
        other = self._decided(change, prompts)

        def statistics(rows: NDArray[np.int64]) -> Mapping[str, float]:
            return {
                "changed": float((self._plain != other)[rows].mean()),
                "accuracy": float((other == self._truth)[rows].mean()),
            }

        return {
            **statistics(np.arange(len(other))),
            "intervals": intervals(self._groups, statistics),
        }

    def _decided(
        self, change: Callable[[str], str] | None = None, prompts: Sequence[str] | None = None
    ) -> NDArray[np.bool_]:
        pairs = [
            (
                example.prompt if prompts is None else prompts[row],
                example.response if change is None else change(example.response),
            )
            for row, example in enumerate(self._examples)
        ]
        scores = self._predictor.predict(pairs).scores
        return np.array([scores[row].dimensions[d.name].harmless for row, d in self._labelled])
