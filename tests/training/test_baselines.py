from __future__ import annotations

import random

import numpy as np
import pytest

from scorer.data.schema import Example
from scorer.dimensions import Dimension
from scorer.training.baselines import style_probe, style_weights

ONE = (Dimension("a", (1, 3), harmless_from=3),)


def rows(giveaway: float) -> list[Example]:
    """Rows whose harmless answers end in an exclamation mark that often more than harmful ones."""
    draw = random.Random(4)
    made = []
    for i in range(600):
        harmless = i % 2 == 0
        marked = draw.random() < (0.5 + giveaway / 2 if harmless else 0.5 - giveaway / 2)
        text = "".join(draw.choices("天地玄黄宇宙洪荒", k=30)) + ("！" if marked else "。")
        made.append(Example(f"问{i}", text, {"a": 3 if harmless else 1}))
    return made


def test_the_probe_sees_style_and_not_content() -> None:
    train, test = rows(0.8)[:400], rows(0.8)[400:]
    probability = style_probe(train, ONE)["a"](test)
    marked = np.array([row.response.endswith("！") for row in test])
    assert (probability[marked, 1] > 0.7).all()
    assert (probability[~marked, 1] < 0.3).all()


def test_under_the_weights_style_says_nothing() -> None:
    examples = rows(0.8)
    levels = [row.labels["a"] for row in examples]
    weights = style_weights(examples, levels)
    assert weights.mean() == pytest.approx(1.0)
    marked = np.array([row.response.endswith("！") for row in examples])
    harmless = np.array(levels) == 3
    assert harmless[marked].mean() > 0.85
    balanced = np.average(harmless[marked], weights=weights[marked])
    assert balanced == pytest.approx(0.5, abs=0.12)


def test_where_style_says_nothing_the_weights_are_even() -> None:
    examples = rows(0.0)
    weights = style_weights(examples, [row.labels["a"] for row in examples])
    assert weights.std() < 0.35


def test_unknown_and_few_levels_have_weight_one() -> None:
    examples = rows(0.8)
    some = [level if i < 300 else None for i, level in enumerate(r.labels["a"] for r in examples)]
    weights = style_weights(examples, some)
    assert (weights[300:] == 1).all()
    assert weights[:300].std() > 0.2
    assert (style_weights(examples[:30], some[:30]) == 1).all()
    assert (style_weights(examples, [3] * 600) == 1).all()
