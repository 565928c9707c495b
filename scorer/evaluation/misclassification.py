"""What a scorer's errors do to a harmless rate, and the rate corrected for them.

Sensitivity is the share of truly harmless answers that the scorer calls harmless, specificity the
share of truly harmful ones that it calls harmful.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scorer.checkpoint import METRICS_FILE, Settings
from scorer.errors import DataError
from scorer.evaluation.bootstrap import RESAMPLES, percentile_interval

FLAMES_PART = "Flames prompts"
"""Rows of a checkpoint's test split that are answers to Flames' prompts."""

BY_PURPOSE = "harmless by purpose"
"""Under this a checkpoint's figures have each purpose's [[harmful called harmful, harmful called
harmless], [harmless called harmful, harmless called harmless]]."""


@dataclass(frozen=True)
class Errors:
    """Counts of a scorer's decisions on labelled rows of one dimension.

    Attributes:
        harmless: Truly harmless rows.
        harmless_right: Those of them that it called harmless.
        harmful: Truly harmful rows.
        harmful_right: Those of them that it called harmful.
    """

    harmless: int
    harmless_right: int
    harmful: int
    harmful_right: int

    @property
    def sensitivity(self) -> float:
        """Share of harmless rows that are called so; needs one."""
        return self.harmless_right / self.harmless

    @property
    def specificity(self) -> float:
        """Share of harmful rows that are called so; needs one."""
        return self.harmful_right / self.harmful

    @classmethod
    def from_confusion(cls, confusion: Sequence[Sequence[int]], first_harmless: int) -> Errors:
        """Return the counts of a confusion matrix, true levels down and decided ones across.

        Args:
            confusion: Shape (K, K), levels ascending.
            first_harmless: Index of the lowest level that counts as harmless.
        """
        counts = np.asarray(confusion)
        harmless, harmful = counts[first_harmless:], counts[:first_harmless]
        return cls(
            harmless=int(harmless.sum()),
            harmless_right=int(harmless[:, first_harmless:].sum()),
            harmful=int(harmful.sum()),
            harmful_right=int(harmful[:, :first_harmless].sum()),
        )


def rogan_gladen(rate: float, errors: Errors) -> float | None:
    """Return the true share of harmless answers, (rate + Sp - 1) / (Se + Sp - 1), within [0, 1].

    Rogan and Gladen 1978 (American Journal of Epidemiology 107), eq. 1. None where the scorer's
    decisions tell nothing (Se + Sp ≤ 1) or a class was never measured.

    Args:
        rate: Share of answers that are called harmless, in [0, 1].
        errors: Measured errors.
    """
    if not errors.harmless or not errors.harmful:
        return None
    informed = errors.sensitivity + errors.specificity - 1
    if informed <= 0:
        return None
    return min(1.0, max(0.0, (rate + errors.specificity - 1) / informed))


def corrected_draws(
    rate: float, n: int, errors: Errors, draws: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64] | None:
    """Return draws of the corrected share, with rate, sensitivity and specificity all uncertain.

    Each of the three shares is drawn from its posterior under Jeffreys' prior, Beta(k + ½,
    n - k + ½), which is sound for small counts and for 0 or n of n, where a bootstrap would see
    no uncertainty (after Flor et al. 2020, BMC Public Health 20:1135). None where `rogan_gladen`
    is, or where at 97.5% it is not even sure that Se + Sp > 1.

    Args:
        rate: Share of answers that are called harmless, in [0, 1].
        n: Independent answers: prompts, where some have several.
        errors: Measured errors.
        draws: How many.
        seed: Of the draws.
    """
    if rogan_gladen(rate, errors) is None:
        return None
    draw = np.random.default_rng(seed)

    def posterior(successes: float, total: int) -> NDArray[np.float64]:
        return draw.beta(successes + 0.5, total - successes + 0.5, draws)

    observed = posterior(rate * n, n)
    sensitivity = posterior(errors.harmless_right, errors.harmless)
    specificity = posterior(errors.harmful_right, errors.harmful)
    informed = sensitivity + specificity - 1
    if np.quantile(informed, 0.025) <= 0:
        return None
    sure = informed > 0
    values = (observed + specificity - 1)[sure] / informed[sure]
    return np.asarray(np.clip(np.resize(values, draws), 0.0, 1.0))


def corrected_figures(
    value: float | None, draws: NDArray[np.float64] | None
) -> dict[str, Any] | None:
    """Return a corrected share and its 95% interval, in percent, the value inside of it."""
    if value is None or draws is None:
        return None
    low, high = percentile_interval(draws)
    low, high = min(low, value), max(high, value)
    return {"harmless_rate": 100 * value, "interval": [100 * low, 100 * high]}


def measured_errors(
    folder: Path, settings: Settings, purpose: str = "balanced", part: str = FLAMES_PART
) -> dict[str, Errors]:
    """Return a checkpoint's errors by dimension on its held-out test rows, as `metrics.json` has them.

    Args:
        folder: The checkpoint.
        settings: Its settings.
        purpose: Whose thresholds decided.
        part: Rows of the test split: a part's name, or `all`.

    Raises:
        DataError: If the file is not there, has no such part or nothing on the purpose.
    """
    path = folder / METRICS_FILE
    try:
        split = json.loads(path.read_text(encoding="utf-8"))["splits"]["test"]
        figures = split.get("int8") or split["fp32"]  # int8 is what CPUs run
    except FileNotFoundError:
        raise DataError(f"{folder}: no {METRICS_FILE}, so its errors are unknown") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: cannot be read for the test rows' figures: {error!r}") from error
    parts = figures.get("parts", {})
    if part != "all" and part not in parts:
        raise DataError(
            f"{path}: no part {part!r} of the test rows; there are all, {', '.join(parts)}"
        )
    measured = (figures if part == "all" else parts[part])["dimensions"]
    return {
        dimension.name: _recorded(
            measured[dimension.name], purpose, dimension.levels.index(dimension.harmless_from), path
        )
        for dimension in settings.dimensions
        if dimension.name in measured
    }


def _recorded(figures: Mapping[str, Any], purpose: str, first_harmless: int, path: Path) -> Errors:
    if BY_PURPOSE in figures:
        return Errors.from_confusion(figures[BY_PURPOSE][purpose], 1)
    if purpose != "balanced":  # figures of releases up to 1.1.0 know this one alone
        raise DataError(
            f"{path}: records the errors of the balanced purpose alone, not of {purpose}"
        )
    return Errors.from_confusion(figures["confusion"], first_harmless)
