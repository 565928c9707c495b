"""Labels out of several annotators who err, by the method of Dawid and Skene (1979)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DawidSkene:
    """What expectation-maximisation found.

    Attributes:
        posterior: P(true class) of each item, shape (items, classes).
        marginals: Share of each class, shape (classes,).
        error_rates: P(annotator says l | true class j), shape (annotators, classes j, classes l).
            A row is NaN where the annotator met no item of the class; while fitting it counts as 0,
            so that a class which the votes rule out for an item never comes back.
        iterations: Until it stood still.
        converged: Whether it did before the limit.
    """

    posterior: NDArray[np.float64]
    marginals: NDArray[np.float64]
    error_rates: NDArray[np.float64]
    iterations: int
    converged: bool


def dawid_skene(
    counts: NDArray[np.int64], limit: int = 1000, tolerance: float = 1e-8
) -> DawidSkene:
    """Return the maximum-likelihood fit of annotators' error rates and the items' true classes.

    A. P. Dawid and A. M. Skene, 'Maximum Likelihood Estimation of Observer Error-Rates Using the
    EM Algorithm', Applied Statistics 28 (1979), 20-28: equations 2.3 and 2.4 from the posterior,
    2.5 back, from the share of votes as a start.

    Args:
        counts: How often an annotator gave an item a class, shape (items, annotators, classes); an
            annotator may have seen an item several times or never.
        limit: Iterations at most.
        tolerance: Largest change of a posterior at which it stands still.

    Raises:
        ValueError: If an item has no label at all.
    """
    votes = counts.sum(axis=1)
    if counts.ndim != 3 or not votes.sum(axis=1).all():
        raise ValueError("every item needs a label by someone")
    posterior = votes / votes.sum(axis=1, keepdims=True)
    change, iteration = np.inf, 0
    while change > tolerance and iteration < limit:
        iteration += 1
        marginals, errors = _maximise(counts, posterior)
        updated = _expect(counts, marginals, errors)
        change = float(np.abs(updated - posterior).max())
        posterior = updated
    marginals, errors = _maximise(counts, posterior)
    return DawidSkene(posterior, marginals, errors, iteration, change <= tolerance)


def _maximise(
    counts: NDArray[np.int64], posterior: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    given = np.einsum("ij,ikl->kjl", posterior, counts)
    totals = given.sum(axis=2, keepdims=True)
    errors = np.divide(given, totals, out=np.full_like(given, np.nan), where=totals > 0)
    return posterior.mean(axis=0), errors


def _expect(
    counts: NDArray[np.int64], marginals: NDArray[np.float64], errors: NDArray[np.float64]
) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):  # log 0 = -inf: impossible classes
        # 0 / 0 is 0: an item is not of a class that one of its annotators never met. Every class
        # that an item may still be of was met by all its annotators, so that one always stays.
        log_prior, log_errors = np.log(marginals), np.log(np.nan_to_num(errors, nan=0.0))
    given = counts[:, :, None, :]
    said = given > 0  # 0 · log 0 is 0: what nobody said does not count
    terms = np.where(said, log_errors[None], 0.0) * given
    log_likelihood = terms.sum(axis=(1, 3)) + log_prior
    log_likelihood -= log_likelihood.max(axis=1, keepdims=True)
    likelihood = np.exp(log_likelihood)
    found: NDArray[np.float64] = likelihood / likelihood.sum(axis=1, keepdims=True)
    return found
