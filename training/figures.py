"""Every figure of a release, measured in one place: what `metrics.json` holds and the card shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer import decision
from scorer.checkpoint import Settings
from scorer.data.schema import Example
from scorer.dimensions import OVERALL, Dimension
from scorer.evaluation.metrics import binary_figures, level_figures
from scorer.training.baselines import Baseline, bag_of_characters, majority
from scorer.training.recipe import Recipe
from scorer.training.rows import Corpus

LEAST_ROWS = 100
"""Dev rows from which a release has to beat the baselines on a dimension."""


def measure(
    recipe: Recipe,
    corpus: Corpus,
    logits: dict[str, dict[str, NDArray[np.float32]]],
    settings: Settings,
) -> dict[str, Any]:
    """Return the figures of a checkpoint and its baselines on dev and test rows.

    Args:
        recipe: What it was trained by.
        corpus: What it was trained on.
        logits: Split, then engine (`fp32` and, if exported, `int8`), to logits (N, T) of the split's rows.
        settings: With the temperatures and thresholds that ship.
    """
    splits: dict[str, Any] = {}
    baselines = {
        "majority": majority(corpus.examples("train"), settings.dimensions),
        "bag of characters": bag_of_characters(corpus.examples("train"), settings.dimensions),
    }
    for split, by_engine in logits.items():
        examples = corpus.examples(split)
        splits[split] = {
            "rows": len(examples),
            **{
                engine: scorer_figures(values, examples, settings)
                for engine, values in by_engine.items()
            },
            "baselines": {
                name: baseline_figures(baseline, examples, settings.dimensions)
                for name, baseline in baselines.items()
            },
        }
        if "int8" in by_engine:
            splits[split]["int8 against fp32"] = engine_agreement(
                by_engine["int8"], by_engine["fp32"], settings
            )
    return {
        "model": {"name": settings.name, "version": settings.version},
        "recipe": recipe.model_dump(mode="json"),
        "rows": corpus.counts,
        "targets": [
            {"name": t.name, "temperature": t.temperature, "threshold": t.threshold}
            for t in settings.targets
        ],
        "splits": splits,
    }


def scorer_figures(
    logits: NDArray[np.float32],
    examples: Sequence[Example],
    settings: Settings,
    by_source: bool = True,
) -> dict[str, Any]:
    """Return the figures per dimension, overall, and, if asked for, of each source by itself."""
    by_dimension = decision.decisions(logits, settings)
    figures: dict[str, Any] = {"dimensions": {}}
    for dimension in settings.dimensions:
        truth, labelled = _labels(examples, dimension.name)
        if labelled.any():
            mine = by_dimension[dimension.name]
            figures["dimensions"][dimension.name] = level_figures(
                truth[labelled],
                mine.levels[labelled],
                mine.harmless_probability[labelled],
                dimension.levels,
                dimension.harmless_from,
            )
    whole = [overall_truth(example, settings.dimensions) for example in examples]
    known = np.array([truth is not None for truth in whole], bool)
    if known.any():
        harmless, probability = decision.overall(by_dimension)
        figures["overall"] = binary_figures(
            np.array([bool(truth) for truth in whole])[known],
            harmless[known],
            probability[known],
        )
    if by_source:
        sources = sorted({example.source for example in examples})
        figures["sources"] = {}
        for source in sources:
            rows = [i for i, example in enumerate(examples) if example.source == source]
            figures["sources"][source] = scorer_figures(
                logits[rows], [examples[i] for i in rows], settings, by_source=False
            )
    return figures


def overall_truth(example: Example, dimensions: Sequence[Dimension]) -> bool | None:
    """Return whether a row is harmless as a whole; None where its labels do not say.

    One harmful dimension would settle it too. But rows of a set with one dimension would then count
    where they are harmful and never where they are harmless, and the figure would tell sets apart.
    """
    if OVERALL in example.labels:
        return example.labels[OVERALL] > 1
    if any(dimension.name not in example.labels for dimension in dimensions):
        return None
    return all(example.labels[d.name] >= d.harmless_from for d in dimensions)


def baseline_figures(
    baseline: Baseline, examples: Sequence[Example], dimensions: Sequence[Dimension]
) -> dict[str, Any]:
    """Return the same figures per dimension for a baseline."""
    figures = {}
    for dimension in dimensions:
        truth, labelled = _labels(examples, dimension.name)
        if not labelled.any() or dimension.name not in baseline:
            continue
        rows = [example for example, known in zip(examples, labelled, strict=True) if known]
        probability = baseline[dimension.name](rows)
        figures[dimension.name] = level_figures(
            truth[labelled],
            np.asarray(dimension.levels)[probability.argmax(axis=1)],
            probability[:, dimension.levels.index(dimension.harmless_from) :].sum(axis=1),
            dimension.levels,
            dimension.harmless_from,
        )
    return figures


def engine_agreement(
    int8: NDArray[np.float32], fp32: NDArray[np.float32], settings: Settings
) -> dict[str, float]:
    """Return how far int8 is from fp32: in probability, and in decided targets."""
    probability = [decision.calibrated(logits, settings.targets) for logits in (int8, fp32)]
    thresholds = np.array([target.threshold for target in settings.targets])
    decided = [values >= thresholds for values in probability]
    difference = np.abs(probability[0] - probability[1])
    return {
        "largest probability difference": float(difference.max(initial=0.0)),
        "mean probability difference": float(difference.mean()) if difference.size else 0.0,
        "decisions that differ": float((decided[0] != decided[1]).mean()) if len(int8) else 0.0,
    }


def _labels(
    examples: Sequence[Example], dimension: str
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    levels = [example.labels.get(dimension) for example in examples]
    known = np.array([level is not None for level in levels], bool)
    return np.array([level or 0 for level in levels], np.int64), known
