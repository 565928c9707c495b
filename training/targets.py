"""Levels become masked ordinal targets, and the loss over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from scorer.data.schema import SECOND_LABELS, Example
from scorer.decision import target_slices
from scorer.dimensions import OVERALL, Dimension

UNKNOWN = -1.0
NO_PARTNER = -1.0

Annotators = Literal["first", "all"]
Form = Literal["ordinal", "corn", "softmax"]
"""What the K - 1 logits of a dimension of K levels mean: see `reached_logits`."""


def encode_labels(
    labels: Mapping[str, int], dimensions: Sequence[Dimension], weight: float = 1.0
) -> NDArray[np.float32]:
    """Return the target vector of one row, shape (T + 2,).

    The first T entries are 1 or 0 for 'level ≥ k reached' and -1 where the dimension is unlabelled;
    then the label as a whole (1 harmless, 0 harmful, -1 unknown), then the row's weight.
    """
    row: list[float] = []
    for dimension in dimensions:
        level = labels.get(dimension.name)
        row.extend(UNKNOWN if level is None else float(level >= k) for k in dimension.levels[1:])
    overall = labels.get(OVERALL)
    row.append(UNKNOWN if overall is None else float(overall > 1))
    row.append(weight)
    return np.array(row, np.float32)


def encode_annotations(
    example: Example,
    dimensions: Sequence[Dimension],
    annotators: Annotators = "all",
    weight: float = 1.0,
) -> NDArray[np.float32]:
    """Return the target vector of a row as the mean over its annotators; see `encode_labels`.

    The second annotator's levels stand in `meta.second_labels`. Where one annotator alone labelled
    a dimension, that one counts; where they differ, a target is one half.
    """
    first = encode_labels(example.labels, dimensions, weight)
    levels = example.meta.get(SECOND_LABELS)
    if annotators == "first" or levels is None:
        return first
    second = encode_labels(levels, dimensions, weight)
    both = np.where(first == UNKNOWN, second, np.where(second == UNKNOWN, first, first + second))
    return np.where((first == UNKNOWN) | (second == UNKNOWN), both, both / 2)


def with_target_weights(
    encoded: NDArray[np.float32], weights: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return what the loss takes, shape (N, 2T + 3).

    That is targets, weights of the targets, the whole, the row's weight, and the place in the batch
    of the row that says the same in another surface: none, before there is a batch.

    Args:
        encoded: Of `encode_labels` or `encode_annotations`, shape (N, T + 2).
        weights: Shape (N, T).
    """
    partners = np.full((len(encoded), 1), NO_PARTNER)
    return np.hstack([encoded[:, :-2], weights, encoded[:, -2:], partners]).astype(np.float32)


def with_partners(labels: torch.Tensor, paired: Sequence[int]) -> torch.Tensor:
    """Return the labels of a batch to whose end its rows of these places come in another surface.

    Args:
        labels: Of `with_target_weights`, shape (B, 2T + 3).
        paired: Places of the rows that come twice; each time they have half their weight.
    """
    labels = labels.clone()
    labels[paired, -2] /= 2
    partners = labels[paired]
    partners[:, -1] = torch.tensor(paired, dtype=labels.dtype)
    return torch.cat([labels, partners])


def reached_logits(
    logits: torch.Tensor, dimensions: Sequence[Dimension], form: Form
) -> torch.Tensor:
    """Return the log-odds of 'level ≥ k' per target, (B, T), from a model's logits (B, T).

    `ordinal`: a logit is that log-odds (Frank and Hall, ECML 2001). `corn`: the log-odds of level
    ≥ k given level ≥ k - 1 (Shi, Cao and Raschka 2021, arXiv 2111.08851). `softmax`: logits of the
    levels above the lowest, whose own is 0.
    """
    if form == "ordinal":
        return logits
    columns = []
    for mine in _columns(dimensions):
        part = logits[:, mine]
        if form == "corn":
            log_p = torch.nn.functional.logsigmoid(part).cumsum(dim=1)
            columns.append(log_p - _log_complement(log_p))
        else:
            levels = torch.nn.functional.pad(part, (1, 0))
            columns.extend(
                (levels[:, k:].logsumexp(dim=1) - levels[:, :k].logsumexp(dim=1)).unsqueeze(1)
                for k in range(1, levels.shape[1])
            )
    return torch.cat(columns, dim=1)


def _columns(dimensions: Sequence[Dimension]) -> list[slice]:
    return list(target_slices(dimensions).values())


def _divergence(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return the symmetric divergence of targets with these log-odds, (B, T), summed: (B,)."""
    return ((one.sigmoid() - other.sigmoid()) * (one - other)).sum(dim=1) / 2


def _log_complement(log_p: torch.Tensor) -> torch.Tensor:
    """Return log(1 - p) by expm1, kept away from log 0 where p rounds to 1."""
    return torch.log(-torch.expm1(log_p.clamp(max=-1e-6)))


class MaskedLoss:
    """Log loss over the known targets of each row, averaged over the rows of a batch.

    A row that is only known to be harmful or harmless as a whole says log P(harmless) =
    Σ_d log P(harmless on d), as if the dimensions were independent (noisy-or).

    A row and its partner, the same response in another surface, count as two rows of half the
    weight. They should say the same: to the loss comes the symmetric Kullback-Leibler divergence of
    their targets' probabilities (as between two dropout passes in R-Drop, Liang et al. 2021, arXiv
    2106.14448).

    The signature is that of `Trainer(compute_loss_func=…)`; `num_items_in_batch` counts label
    entries over all devices and accumulated steps.

    Args:
        dimensions: In the order of the model's outputs.
        form: What the logits mean; `ordinal` and `corn` take binary cross-entropy per target,
            `softmax` cross-entropy per dimension.
        smoothing: Moves every known target 'level ≥ k' this far from 0 or 1.
        consistency: Factor on the divergence of partners.
    """

    def __init__(
        self,
        dimensions: Sequence[Dimension],
        form: Form = "ordinal",
        smoothing: float = 0.0,
        consistency: float = 0.0,
    ) -> None:
        self._dimensions, self._form, self._smoothing = tuple(dimensions), form, smoothing
        self._consistency = consistency
        self._columns = _columns(dimensions)
        self._harmless = [
            columns.start + dimension.levels.index(dimension.harmless_from) - 1
            for dimension, columns in zip(dimensions, self._columns, strict=True)
        ]

    def __call__(
        self,
        outputs: Any,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of logits (B, T) against labels (B, 2T + 3) of `with_target_weights`."""
        logits = outputs.logits.float()
        count = logits.shape[1]
        targets, target_weights = labels[:, :count], labels[:, count : 2 * count]
        overall, weight, partner = labels[:, -3], labels[:, -2], labels[:, -1].long()
        of = self._of_levels if self._form == "softmax" else self._of_targets
        loss = of(logits, targets, target_weights)

        reached = reached_logits(logits, self._dimensions, self._form)
        log_harmless = torch.nn.functional.logsigmoid(reached[:, self._harmless]).sum(dim=1)
        as_a_whole = -(overall * log_harmless + (1 - overall) * _log_complement(log_harmless))
        loss = loss + torch.where(overall == UNKNOWN, torch.zeros_like(loss), as_a_whole)
        if self._consistency:
            paired = partner != int(NO_PARTNER)
            divergence = torch.where(paired, _divergence(reached, reached[partner]), 0.0)
            loss = loss + self._consistency * divergence

        rows: torch.Tensor | float = float(len(labels))
        if num_items_in_batch is not None:
            rows = num_items_in_batch / labels.shape[1]
        return (loss * weight).sum() / rows

    def _of_targets(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        known = (targets != UNKNOWN).float() * weights
        reached = targets.clamp(min=0) * (1 - 2 * self._smoothing) + self._smoothing
        missed = 1 - reached
        if self._form == "corn":  # a target says nothing of what is below the level before it
            for columns in self._columns:
                before = reached[:, columns.start : columns.stop - 1]
                after = reached[:, columns.start + 1 : columns.stop]
                missed[:, columns.start + 1 : columns.stop] = (before - after).clamp(min=0)
        log_sigmoid = torch.nn.functional.logsigmoid
        per_target = -(reached * log_sigmoid(logits) + missed * log_sigmoid(-logits))
        return (per_target * known).sum(dim=1)

    def _of_levels(
        self, logits: torch.Tensor, targets: torch.Tensor, weights: torch.Tensor
    ) -> torch.Tensor:
        loss = torch.zeros(len(logits), device=logits.device)
        for columns in self._columns:
            levels = torch.nn.functional.pad(logits[:, columns], (1, 0))
            known = (targets[:, columns.start] != UNKNOWN) * weights[:, columns.start]
            reached = targets[:, columns].clamp(min=0)
            reached = reached * (1 - 2 * self._smoothing) + self._smoothing
            edges = torch.nn.functional.pad(
                torch.nn.functional.pad(reached, (1, 0), value=1.0), (0, 1)
            )
            share = edges[:, :-1] - edges[:, 1:]  # of each level; one-hot where annotators agree
            loss = loss - known * (share * levels.log_softmax(dim=1)).sum(dim=1)
        return loss
