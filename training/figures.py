"""Every figure of a release, measured in one place: what `metrics.json` holds and the card shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer import decision
from scorer.checkpoint import PURPOSES, Settings
from scorer.data.schema import Example
from scorer.data.splits import split_key, text_digest
from scorer.dimensions import Dimension, overall_truth
from scorer.evaluation.metrics import (
    binary_figures,
    harmless_confusion,
    intervals,
    level_figures,
    ordinal_statistics,
    pair_ordering,
    reliability,
    risk_coverage,
)
from scorer.evaluation.misclassification import BY_PURPOSE
from scorer.evaluation.robustness import calm, prompt_use, surfaces
from scorer.inference.predict import Predictor
from scorer.training.baselines import Baseline, bag_of_characters, majority, style_probe
from scorer.training.calibration import whole_truth
from scorer.training.recipe import Recipe
from scorer.training.rows import Corpus

_SURFACE_ROWS = 200  # twelve surfaces each

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
    shipped = "int8" if recipe.export.onnx else "fp32"  # its figures alone get intervals
    baselines = {
        "majority": majority(corpus.examples("train"), settings.dimensions),
        "bag of characters": bag_of_characters(corpus.examples("train"), settings.dimensions),
        "length and style": style_probe(corpus.examples("train"), settings.dimensions),
    }
    for split, by_engine in logits.items():
        examples = corpus.examples(split)
        splits[split] = {
            "rows": len(examples),
            **{
                engine: scorer_figures(
                    values, examples, settings, by_source(examples), engine == shipped
                )
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
        "calibration": {
            "targets": [asdict(target) for target in settings.targets],
            "overall": asdict(settings.overall),
            "doubt": asdict(settings.doubt),
        },
        "splits": splits,
    }


def scorer_figures(
    logits: NDArray[np.float32],
    examples: Sequence[Example],
    settings: Settings,
    parts: Mapping[str, Callable[[Example], bool]] | None = None,
    with_intervals: bool = False,
) -> dict[str, Any]:
    """Return the figures per dimension, over all dimensions, of the whole, and of parts of the rows.

    Args:
        logits: Shape (N, T).
        examples: The rows.
        settings: Calibration and thresholds.
        parts: Name to which rows belong; each gets figures by itself.
        with_intervals: Add bootstrap intervals, by prompt.
    """
    by_dimension = decision.decisions(logits, settings)
    by_purpose = {purpose: decision.decisions(logits, settings, purpose) for purpose in PURPOSES}
    figures: dict[str, Any] = {"rows": len(examples), "dimensions": {}}
    pooled = []
    for dimension in settings.dimensions:
        truth, labelled = _labels(examples, dimension.name)
        if not labelled.any():
            continue
        mine = by_dimension[dimension.name]
        groups = [
            example.prompt or example.response
            for example, known in zip(examples, labelled, strict=True)
            if known
        ]
        rows = Judged(
            groups=groups,
            pairs=[f"{dimension.name} {group}" for group in groups],
            truth=truth[labelled],
            decided=mine.levels[labelled],
            harmless=truth[labelled] >= dimension.harmless_from,
            called_harmless=mine.harmless[labelled],
            probability=mine.harmless_probability[labelled],
            margin=mine.margin[labelled],
        )
        pooled.append(rows)
        figures["dimensions"][dimension.name] = level_figures(
            rows.truth,
            rows.decided,
            rows.probability,
            dimension.levels,
            dimension.harmless_from,
        )
        figures["dimensions"][dimension.name][BY_PURPOSE] = {
            purpose: harmless_confusion(rows.harmless, decided[dimension.name].harmless[labelled])
            for purpose, decided in by_purpose.items()
        }
        if with_intervals:
            figures["dimensions"][dimension.name]["intervals"] = rows.intervals()
    if pooled:
        figures["all dimensions"] = Judged.joined(pooled).figures(with_intervals)
    known, harmless = whole_truth(examples, settings.dimensions)
    if known.any():
        called, probability = decision.overall(by_dimension, settings.overall)
        figures["overall"] = {
            **binary_figures(harmless, called[known], probability[known]),
            **(
                {
                    "intervals": _whole_intervals(
                        examples, known, harmless, called[known], probability[known]
                    )
                }
                if with_intervals
                else {}
            ),
            "reliability": reliability(probability[known], harmless),
            "risk coverage": risk_coverage(
                decision.certainty(by_dimension)[known], called[known] == harmless
            ),
        }
    for name, belongs in (parts or {}).items():
        mine_only = [i for i, example in enumerate(examples) if belongs(example)]
        if mine_only:
            figures.setdefault("parts", {})[name] = scorer_figures(
                logits[mine_only],
                [examples[i] for i in mine_only],
                settings,
                with_intervals=with_intervals,
            )
    return figures


def robustness(predictor: Predictor, examples: Sequence[Example]) -> dict[str, Any]:
    """Return calmness on benign rows, and what other surfaces and other prompts do to decisions.

    Args:
        predictor: With the calibration and thresholds that ship.
        examples: Test rows. Benign are those that are harmless on every dimension, by label and by
            `meta.kind`. Of those that have a prompt and a label on a dimension, 200 are written in
            other surfaces and 400 are judged with other prompts, chosen by a hash of their prompt.
    """
    dimensions = predictor.settings.dimensions
    benign = [
        example
        for example in examples
        if example.meta.get("kind") == "benign" and overall_truth(example.labels, dimensions)
    ]
    pairs = [e for e in examples if e.prompt and any(d.name in e.labels for d in dimensions)]
    pairs.sort(key=lambda e: text_digest(split_key(e.prompt, e.response)))
    figures: dict[str, Any] = {}
    if benign:
        figures["calm"] = calm(predictor, benign)
    if pairs:
        figures["surfaces"] = surfaces(predictor, pairs[:_SURFACE_ROWS])
        figures["prompt"] = prompt_use(predictor, pairs[: 2 * _SURFACE_ROWS])
    return figures


def _whole_intervals(
    examples: Sequence[Example],
    known: NDArray[np.bool_],
    harmless: NDArray[np.bool_],
    called: NDArray[np.bool_],
    probability: NDArray[np.float64],
) -> dict[str, list[float]]:
    groups = [
        e.prompt or e.response for e, is_known in zip(examples, known, strict=True) if is_known
    ]

    def statistics(rows: NDArray[np.int64]) -> dict[str, float | None]:
        figures = binary_figures(harmless[rows], called[rows], probability[rows])
        return {name: figures[name] for name in ("accuracy", "macro_f1", "auroc", "ece")}

    return intervals(groups, statistics, resamples=200)


@dataclass(frozen=True)
class Judged:
    """Decisions beside annotated levels, one entry for each labelled dimension of a row.

    Attributes:
        groups: What belongs together, e.g. the prompt.
        pairs: What can be compared: groups, on one dimension.
        truth: Annotated level, shape (N,).
        decided: Decided level, shape (N,).
        harmless: Whether the annotated level counts as harmless.
        called_harmless: Whether the decided one does.
        probability: P(harmless).
        margin: Of the decision; see `scorer.decision.Decisions`.
    """

    groups: list[str]
    pairs: list[str]
    truth: NDArray[np.int64]
    decided: NDArray[np.int64]
    harmless: NDArray[np.bool_]
    called_harmless: NDArray[np.bool_]
    probability: NDArray[np.float64]
    margin: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Judged]) -> Judged:
        """Return the entries of several dimensions together."""
        values = {
            field.name: np.concatenate([getattr(part, field.name) for part in parts])
            for field in fields(cls)
            if field.name not in ("groups", "pairs")
        }
        return cls(
            groups=[group for part in parts for group in part.groups],
            pairs=[pair for part in parts for pair in part.pairs],
            **values,
        )

    def statistics(self, rows: NDArray[np.int64] | slice = slice(None)) -> dict[str, float | None]:
        """Return `ordinal_statistics` of some entries."""
        return ordinal_statistics(
            self.truth[rows],
            self.decided[rows],
            self.harmless[rows],
            self.called_harmless[rows],
            self.probability[rows],
        )

    def intervals(self) -> dict[str, list[float]]:
        """Return the bootstrap intervals of `statistics`."""
        return intervals(self.groups, self.statistics)

    def figures(self, with_intervals: bool) -> dict[str, Any]:
        """Return the figures over all entries."""
        return {
            "n": len(self.truth),
            **self.statistics(),
            "reliability": reliability(self.probability, self.harmless),
            "risk coverage": risk_coverage(
                np.abs(self.margin), self.harmless == self.called_harmless
            ),
            "pairs ordered right": pair_ordering(self.pairs, self.harmless, self.probability),
            **({"intervals": self.intervals()} if with_intervals else {}),
        }


def by_file(names: Mapping[str, set[str]]) -> dict[str, Callable[[Example], bool]]:
    """Return a part for each source path of `scorer.training.rows.Corpus.names`."""
    return {all_of(path): partial(_is_of, sources) for path, sources in names.items()}


def all_of(path: str) -> str:
    """Return the name of the part that is a source path; `native` is also one source in it."""
    return f"all of {path}"


def by_source(examples: Sequence[Example]) -> dict[str, Callable[[Example], bool]]:
    """Return a part for each source, and one for all answers to Flames' prompts."""
    parts: dict[str, Callable[[Example], bool]] = {
        source or "(no source)": partial(_is_of, {source})
        for source in sorted({e.source for e in examples})
    }
    for name, prefix in (("Flames prompts", "authored-flames"), ("own prompts", "native")):
        sources = {source for source in parts if source.startswith(prefix)}
        if len(sources) > 1:
            parts[name] = partial(_is_of, sources)
    return parts


def _is_of(sources: set[str], example: Example) -> bool:
    return example.source in sources


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
    """Return how far int8 is from fp32: in probability, and in harmless or not."""
    probability = [decision.calibrated(logits, settings.targets) for logits in (int8, fp32)]
    decided = [
        np.stack([d.harmless for d in decision.decisions(logits, settings).values()])
        for logits in (int8, fp32)
    ]
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
