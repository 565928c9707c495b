"""Levels become masked ordinal targets, and the loss over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from scorer.dimensions import OVERALL, Dimension

UNKNOWN = -1.0


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


class MaskedOrdinalLoss:
    """Binary cross-entropy over the known targets of each row, averaged over rows.

    With K - 1 targets 'level ≥ k' for K levels this is the cumulative form of ordinal regression
    (Frank and Hall, ECML 2001). A row that is only known to be harmful or harmless as a whole says
    log P(harmless) = Σ_d log P(harmless on d), as if the dimensions were independent (noisy-or).

    The signature is that of `Trainer(compute_loss_func=…)`; `num_items_in_batch` counts label
    entries over all devices and accumulated steps.

    Args:
        dimensions: In the order of the model's outputs.
    """

    def __init__(self, dimensions: Sequence[Dimension]) -> None:
        self._harmless: list[int] = []
        start = 0
        for dimension in dimensions:
            self._harmless.append(start + dimension.levels.index(dimension.harmless_from) - 1)
            start += len(dimension.levels) - 1

    def __call__(
        self,
        outputs: Any,
        labels: torch.Tensor,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> torch.Tensor:
        """Return the loss of logits (B, T) against targets (B, T + 2) of `encode_labels`."""
        logits = outputs.logits.float()
        targets, overall, weight = labels[:, :-2], labels[:, -2], labels[:, -1]
        known = (targets != UNKNOWN).float()
        per_target = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, targets.clamp(min=0), reduction="none"
        )
        loss = (per_target * known).sum(dim=1)

        log_harmless = torch.nn.functional.logsigmoid(logits[:, self._harmless]).sum(dim=1)
        # log(1 - p) by expm1, kept away from log 0 where p rounds to 1
        log_harmful = torch.log(-torch.expm1(log_harmless.clamp(max=-1e-6)))
        as_a_whole = -(overall * log_harmless + (1 - overall) * log_harmful)
        loss = loss + torch.where(overall == UNKNOWN, torch.zeros_like(loss), as_a_whole)

        rows: torch.Tensor | float = float(len(labels))
        if num_items_in_batch is not None:
            rows = num_items_in_batch / labels.shape[1]
        return (loss * weight).sum() / rows
