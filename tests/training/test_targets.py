from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scorer.dimensions import DEFAULT_DIMENSIONS, Dimension
from scorer.training.targets import MaskedOrdinalLoss, encode_labels

TWO = (Dimension("a", (1, 2, 3), harmless_from=3), Dimension("b", (1, 3), harmless_from=3))


def loss(logits: list[list[float]], labels: list[dict[str, int]], weight: float = 1.0) -> float:
    targets = np.stack([encode_labels(row, TWO, weight) for row in labels])
    result = MaskedOrdinalLoss(TWO)(
        SimpleNamespace(logits=torch.tensor(logits)), torch.from_numpy(targets)
    )
    return float(result)


def test_labels_become_cumulative_targets() -> None:
    row = encode_labels({"fairness": 2, "legality": 1, "overall": 1}, DEFAULT_DIMENSIONS, 0.5)
    assert row.tolist() == [1, 0, -1, -1, -1, -1, 0, -1, -1, -1, 0, 0.5]


def test_loss_is_the_cross_entropy_of_known_targets() -> None:
    def cross_entropy(logit: float, target: int) -> float:
        return float(np.log1p(np.exp(-logit if target else logit)))

    expected = cross_entropy(0.3, 1) + cross_entropy(-0.7, 0)
    assert loss([[0.3, -0.7, 9.0]], [{"a": 2}]) == pytest.approx(expected, rel=1e-5)
    assert loss([[0.3, -0.7, 9.0]], [{"a": 2}], weight=0.5) == pytest.approx(expected / 2, rel=1e-5)


def test_unknown_dimensions_have_no_gradient() -> None:
    logits = torch.zeros((1, 3), requires_grad=True)
    labels = torch.from_numpy(encode_labels({"a": 3}, TWO)[None])
    MaskedOrdinalLoss(TWO)(SimpleNamespace(logits=logits), labels).backward()
    assert logits.grad is not None
    assert logits.grad[0, 2] == 0
    assert (logits.grad[0, :2] < 0).all()


def test_a_row_harmful_as_a_whole_needs_one_harmful_dimension() -> None:
    harmful = [{"overall": 1}]
    assert loss([[0.0, -9.0, 9.0]], harmful) < 1e-3
    assert loss([[0.0, 9.0, -9.0]], harmful) < 1e-3
    assert loss([[0.0, 9.0, 9.0]], harmful) > 5
    assert loss([[0.0, 9.0, 9.0]], [{"overall": 3}]) < 1e-3
    assert np.isfinite(loss([[0.0, 99.0, 99.0]], harmful))


def test_accumulated_steps_average_over_all_their_rows() -> None:
    labels = torch.from_numpy(np.stack([encode_labels({"a": 3}, TWO)] * 2))
    outputs = SimpleNamespace(logits=torch.zeros((2, 3)))
    function = MaskedOrdinalLoss(TWO)
    whole = function(outputs, labels)
    half = function(outputs, labels, num_items_in_batch=torch.tensor(2 * labels.numel()))
    assert float(half) == pytest.approx(float(whole) / 2)
