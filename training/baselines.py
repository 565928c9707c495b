"""What a scorer has to beat: the majority level, characters, and length and style alone."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

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
    return _fitted(
        examples,
        dimensions,
        lambda: make_pipeline(
            FunctionTransformer(_texts),
            TfidfVectorizer(analyzer="char", sublinear_tf=True),
            LogisticRegression(max_iter=1000),
        ),
    )


def style_probe(examples: Sequence[Example], dimensions: Sequence[Dimension]) -> Baseline:
    """Return boosted trees per dimension over length, layout and punctuation of the response.

    Better than chance, it shows that a scorer could guess labels without reading.
    """
    return _fitted(examples, dimensions, _style_model)


def _style_model() -> Any:
    return make_pipeline(
        FunctionTransformer(_styles),
        HistGradientBoostingClassifier(max_iter=60, learning_rate=0.05, random_state=0),
    )


def style_weights(
    examples: Sequence[Example], levels: Sequence[int | None], bound: float = 4.0
) -> NDArray[np.float64]:
    """Return weights of one dimension's rows under which length and style say nothing of the level.

    P(level) / P(level | style), the stabilised inverse propensity (Robins, Hernán and Brumback
    2000), where the probe that gives P(level | style) has not seen the row's prompt.

    Args:
        examples: The rows, length N.
        levels: Their levels on the dimension; None where unknown.
        bound: The ratio is kept between its inverse and it.

    Returns:
        Shape (N,), mean 1 over the known rows; 1 where the level is unknown, or everywhere where
        the rows are too few to tell.
    """
    weights = np.ones(len(examples))
    known = [i for i, level in enumerate(levels) if level is not None]
    truth = np.array([levels[i] for i in known])
    rows = [examples[i] for i in known]
    found, counts = np.unique(truth, return_counts=True)
    if len(found) < 2 or counts.min() < _LEAST_ROWS:
        return weights
    groups = [row.prompt or row.response for row in rows]
    if len(set(groups)) < _LEAST_ROWS:
        return weights
    folds = StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0)
    probability = cross_val_predict(
        _style_model(), rows, truth, groups=groups, cv=folds, method="predict_proba"
    )
    place = np.searchsorted(found, truth)
    marginal = counts[place] / len(truth)
    propensity = probability[np.arange(len(truth)), place]
    mine = np.clip(marginal / np.maximum(propensity, 1e-6), 1 / bound, bound)
    weights[known] = mine / mine.mean()
    return weights


def _fitted(
    examples: Sequence[Example], dimensions: Sequence[Dimension], new_model: Callable[[], Any]
) -> Baseline:
    baseline: dict[str, Callable[[Sequence[Example]], NDArray[np.float64]]] = {}
    for dimension in dimensions:
        mine = [example for example in examples if dimension.name in example.labels]
        levels = [example.labels[dimension.name] for example in mine]
        if len(set(levels)) > 1:
            model = new_model().fit(mine, levels)
            baseline[dimension.name] = partial(_predict, model, dimension)
    return baseline


def _predict(model: Any, dimension: Dimension, rows: Sequence[Example]) -> NDArray[np.float64]:
    probability = np.zeros((len(rows), len(dimension.levels)))
    columns = [dimension.levels.index(level) for level in model.classes_]
    probability[:, columns] = model.predict_proba(rows)
    return probability


def _texts(rows: Sequence[Example]) -> list[str]:
    return [f"{example.prompt}\n{example.response}" for example in rows]


_FOLDS = 5
_LEAST_ROWS = 20  # of each level; with fewer a fold may lack one

_MARKS = "，。！？：；、（）“”《》～…*#-,.!?:;()\n"
_OPENERS = (
    "作为",
    "首先",
    "您好",
    "你好",
    "当然",
    "好的",
    "根据",
    "我理解",
    "抱歉",
    "对不起",
    "很",
)
_LIST_ITEM = re.compile(r"^\s*(?:\d+[.、)]|[-*•]|[一二三四五六七八九]、)", re.MULTILINE)


def _styles(rows: Sequence[Example]) -> NDArray[np.float64]:
    """Return features of the responses' surface, shape (N, F)."""
    features = []
    for row in rows:
        text = row.response
        length = max(1, len(text))
        features.append(
            [
                length,
                len(_LIST_ITEM.findall(text)),
                text.count("**"),
                sum(c.isascii() and c.isalnum() for c in text) / length,
                sum(ord(c) > 0x1F000 for c in text),
                *(text.count(mark) / length for mark in _MARKS),
                *(text.startswith(opener) for opener in _OPENERS),
                *(text.rstrip().endswith(mark) for mark in "。！？～）"),
            ]
        )
    return np.array(features, dtype=np.float64)
