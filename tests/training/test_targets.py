from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from scorer.data.schema import Example
from scorer.dimensions import DEFAULT_DIMENSIONS, Dimension
from scorer.training.targets import (
    Form,
    MaskedLoss,
    encode_annotations,
    encode_labels,
    reached_logits,
    with_partners,
    with_target_weights,
)

FORMS: tuple[Form, ...] = ("ordinal", "corn", "softmax")
TWO = (Dimension("a", (1, 2, 3), harmless_from=3), Dimension("b", (1, 3), harmless_from=3))


def weighted(rows: list[np.ndarray], weights: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(
        with_target_weights(np.stack(rows), np.full((len(rows), 3), weights, np.float32))
    )


def loss(logits: list[list[float]], labels: list[dict[str, int]], weight: float = 1.0) -> float:
    targets = weighted([encode_labels(row, TWO, weight) for row in labels])
    result = MaskedLoss(TWO)(SimpleNamespace(logits=torch.tensor(logits)), targets)
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
    labels = weighted([encode_labels({"a": 3}, TWO)])
    MaskedLoss(TWO)(SimpleNamespace(logits=logits), labels).backward()
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
    labels = weighted([encode_labels({"a": 3}, TWO)] * 2)
    outputs = SimpleNamespace(logits=torch.zeros((2, 3)))
    function = MaskedLoss(TWO)
    whole = function(outputs, labels)
    half = function(outputs, labels, num_items_in_batch=torch.tensor(2 * labels.numel()))
    assert float(half) == pytest.approx(float(whole) / 2)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_fitted_to_the_shares_of_the_levels(form: Form) -> None:
    """The loss is least where the probabilities are the frequencies: it is a proper score."""
    labels = [{"a": 1}] * 2 + [{"a": 2}] * 3 + [{"a": 3, "b": 3}] * 4 + [{"b": 1}] * 4
    rows = [Example("", "", row) for row in labels]
    # Two annotators, one level each: half a row of level 1 and half a row of level 3.
    rows.append(Example("", "", {"a": 1, "b": 3}, meta={"second_labels": {"a": 3, "b": 1}}))
    targets = weighted([encode_annotations(row, TWO) for row in rows])
    logits = torch.zeros((1, 3), requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)
    function = MaskedLoss(TWO, form)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = function(SimpleNamespace(logits=logits.expand(len(rows), 3)), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    reached = reached_logits(logits.detach(), TWO, form).sigmoid()[0]
    assert reached.tolist() == pytest.approx([0.75, 0.45, 0.5], abs=1e-3)


def test_smoothing_keeps_from_certainty() -> None:
    targets = weighted([encode_labels({"a": 3, "b": 1}, TWO)])
    logits = torch.zeros((1, 3), requires_grad=True)
    optimizer = torch.optim.LBFGS([logits], max_iter=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = MaskedLoss(TWO, smoothing=0.1)(SimpleNamespace(logits=logits), targets)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert logits.sigmoid()[0].tolist() == pytest.approx([0.9, 0.9, 0.1], abs=1e-3)


def test_targets_are_the_mean_over_the_annotators() -> None:
    second = {"a": 1, "b": 3}
    row = Example("p", "r", {"a": 2}, meta={"second_labels": second})
    assert encode_annotations(row, TWO).tolist() == [0.5, 0, 1, -1, 1]
    assert encode_annotations(row, TWO, "first").tolist() == [1, 0, -1, -1, 1]
    assert encode_annotations(Example("p", "r", {"a": 2}), TWO).tolist() == [1, 0, -1, -1, 1]


def test_a_target_counts_by_its_weight() -> None:
    encoded = encode_labels({"a": 3, "b": 1}, TWO)
    logits = torch.tensor([[0.3, -0.2, 0.4]])
    plain = [
        MaskedLoss(TWO, form)(SimpleNamespace(logits=logits), weighted([encoded])) for form in FORMS
    ]
    half = [
        MaskedLoss(TWO, form)(SimpleNamespace(logits=logits), weighted([encoded], 0.5))
        for form in FORMS
    ]
    assert [float(value) for value in half] == pytest.approx([float(v) / 2 for v in plain])


def test_partners_pay_for_what_they_say_differently() -> None:
    labels = weighted([encode_labels({"a": 2}, TWO), encode_labels({"b": 1}, TWO, 0.5)])
    batch = with_partners(labels, [1])
    assert batch.shape == (3, labels.shape[1])
    assert batch[:, -2].tolist() == [1, 0.25, 0.25]
    assert batch[:, -1].tolist() == [-1, -1, 1]
    assert torch.equal(batch[2, :-1], batch[1, :-1])
    assert labels[1, -2] == 0.5

    def price(logits: list[list[float]]) -> float:
        outputs = SimpleNamespace(logits=torch.tensor(logits))
        paid, free = (float(MaskedLoss(TWO, consistency=c)(outputs, batch)) for c in (2.0, 0.0))
        return paid - free

    rows = [[3.0, -3.0, 1.0], [0.5, 0.5, 0.5]]
    assert price([*rows, rows[1]]) == pytest.approx(0, abs=1e-6)
    p, q = torch.tensor(0.5).sigmoid(), torch.tensor(-1.5).sigmoid()
    both_ways = p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()
    both_ways += q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()
    moved = [0.5, -1.5, 0.5]
    expected = 2.0 * float(both_ways) / 2 * 0.25 / len(batch)
    assert price([*rows, moved]) == pytest.approx(expected, rel=1e-4)
