"""How much of a text is made of tokens that training had."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from scorer.checkpoint import SEEN_FILE
from scorer.errors import CheckpointError
from scorer.inference.encoding import Encoded, PairEncoder


class Familiarity:
    """Which tokens of the vocabulary training had.

    Args:
        seen: By token id; tokens beyond it count as not seen.
        encoder: Whose special tokens do not count; a character that the vocabulary lacks is never
            familiar.
    """

    def __init__(self, seen: NDArray[np.bool_], encoder: PairEncoder) -> None:
        size = max(len(seen), encoder.vocabulary)
        self._seen = np.zeros(size, bool)
        self._seen[: len(seen)] = seen
        self._counts = np.ones(size, bool)
        self._counts[sorted(encoder.special_ids)] = False
        if encoder.unknown_id is not None:
            self._seen[encoder.unknown_id] = False
            self._counts[encoder.unknown_id] = True

    @classmethod
    def of(cls, rows: Iterable[Encoded], encoder: PairEncoder) -> Familiarity:
        """Return which tokens the rows have."""
        seen = np.zeros(encoder.vocabulary, bool)
        for row in rows:
            seen[row.input_ids] = True
        return cls(seen, encoder)

    @classmethod
    def read(cls, folder: Path, encoder: PairEncoder) -> Familiarity | None:
        """Return what a checkpoint says; None where it does not.

        Raises:
            CheckpointError: If the file cannot be read.
        """
        try:
            packed = (folder / SEEN_FILE).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CheckpointError(f"{folder / SEEN_FILE}: cannot be read: {error}") from error
        bits = np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")
        return cls(bits[: encoder.vocabulary].astype(bool), encoder)

    def write(self, folder: Path) -> None:
        """Write the tokens beside a checkpoint's weights, one bit each, lowest id first."""
        packed = np.packbits(self._seen, bitorder="little")
        (folder / SEEN_FILE).write_bytes(packed.tobytes())

    def unfamiliar(self, rows: Sequence[Encoded]) -> list[float]:
        """Return each row's share of tokens that training did not have; 0 for an empty text."""
        shares = []
        for row in rows:
            ids = row.input_ids[self._counts[row.input_ids]]
            shares.append(float(1.0 - self._seen[ids].mean()) if len(ids) else 0.0)
        return shares
