"""What a scorer has to beat: the majority level, and a linear model over characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from scorer.data.schema import Example
from scorer.dimensions import Dimension

Baseline = Mapping[str, Callable[[Sequence[Example]], NDArray[np.float64]]]
"""Dimension to a function from rows to level probabilities, shape (N, K)."""


def majority(examples: Sequence[Example], dimensions: Sequence[Dimension]) -> Baseline:
    """Return the baseline that gives every row the levels' shares among the training rows."""
    baseline: dict[str, Callable[[Sequence[Example]], NDArray[np.float64]]] = {}
    for dimension in dimensions:
        counts = Counter(e.labels[dimension.name] for e in examples if dimension.name in e.labels)
        if counts:
            shares = np.array([counts[level] for level in dimension.levels]) / counts.total()
            baseline[dimension.name] = partial(_same_for_all, shares)
    return baseline


def _same_for_all(shares: NDArray[np.float64], rows: Sequence[Example]) -> NDArray[np.float64]:
    return np.tile(shares, (len(rows), 1))


def bag_of_characters(examples: Sequence[Example], dimensions: Sequence[Dimension]) -> Baseline:
    """Return a logistic regression per dimension over the tf-idf of the pair's characters."""
    baseline: dict[str, Callable[[Sequence[Example]], NDArray[np.float64]]] = {}
    for dimension in dimensions:
        mine = [example for example in examples if dimension.name in example.labels]
        levels = [example.labels[dimension.name] for example in mine]
        if len(set(levels)) < 2:
            continue
        model = make_pipeline(
            TfidfVectorizer(analyzer="char", sublinear_tf=True),
            LogisticRegression(max_iter=1000),
        ).fit([_text(example) for example in mine], levels)
        baseline[dimension.name] = partial(_predict, model, dimension)
    return baseline


def _predict(model: Any, dimension: Dimension, rows: Sequence[Example]) -> NDArray[np.float64]:
    probability = np.zeros((len(rows), len(dimension.levels)))
    columns = [dimension.levels.index(level) for level in model.classes_]
    probability[:, columns] = model.predict_proba([_text(example) for example in rows])
    return probability


def _text(example: Example) -> str:
    return f"{example.prompt}\n{example.response}"
