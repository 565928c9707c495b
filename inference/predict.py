"""The main path of scoring: pairs in, scores out."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from scorer import decision
from scorer.checkpoint import Settings
from scorer.errors import CheckpointError
from scorer.inference.batching import batches
from scorer.inference.encoding import Encoded, PairEncoder, pad
from scorer.inference.engines import Engine
from scorer.inference.familiarity import Familiarity
from scorer.result import Score


@dataclass(frozen=True)
class Prediction:
    """Scores of a window of pairs.

    Attributes:
        scores: One per pair, in order.
        tokens: Tokens that went through the model, padding left out; a repeated pair goes once.
    """

    scores: list[Score]
    tokens: int


@dataclass(frozen=True)
class Predictor:
    """Encoder, engine and decision of one checkpoint.

    Attributes:
        encoder: Turns pairs into tokens.
        engine: Turns tokens into logits.
        settings: Targets, temperatures and thresholds.
        token_budget: Tokens of a batch at most, padding included.
        familiarity: Which tokens training had; None where the checkpoint does not say.
        purpose: Which thresholds decide: one of `scorer.checkpoint.PURPOSES`.
    """

    encoder: PairEncoder
    engine: Engine
    settings: Settings
    token_budget: int
    familiarity: Familiarity | None = None
    purpose: str = "balanced"

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Return the tokens of a window of pairs, a repeated pair once: for `predict`."""
        return self.encoder.encode(list(dict.fromkeys(pairs)))

    def predict(
        self,
        pairs: Sequence[tuple[str, str]],
        on_batch: Callable[[float], None] | None = None,
        encoded: Sequence[Encoded] | None = None,
    ) -> Prediction:
        """Return the scores of (prompt, response) pairs that are held in memory together.

        Args:
            pairs: A window of pairs; see `batching.windows` for more than fit.
            on_batch: Called after each batch with the share of the pairs that is done.
            encoded: What `encode` made of them before; None encodes them now.

        Raises:
            CheckpointError: If the model's outputs do not match the settings or are not finite.
        """
        rows = self.encode(pairs) if encoded is None else encoded
        logits = self._logits(rows, on_batch)
        scores = decision.scores(
            logits,
            [row.truncated for row in rows],
            self.settings,
            None if self.familiarity is None else self.familiarity.unfamiliar(rows),
            self.purpose,
        )
        by_pair = dict(zip(dict.fromkeys(pairs), scores, strict=True))
        tokens = sum(len(row.input_ids) for row in rows)
        return Prediction([by_pair[pair] for pair in pairs], tokens)

    def logits(self, pairs: Sequence[tuple[str, str]]) -> NDArray[np.float32]:
        """Return the model's raw outputs for the pairs, shape (N, T).

        Raises:
            CheckpointError: As `predict`.
        """
        return self._logits(self.encoder.encode(pairs))

    def _logits(
        self, rows: Sequence[Encoded], on_batch: Callable[[float], None] | None = None
    ) -> NDArray[np.float32]:
        logits = np.empty((len(rows), len(self.settings.targets)), np.float32)
        lengths = [len(row.input_ids) for row in rows]
        cut = list(batches(lengths, self.token_budget, same_length=self.engine.same_length))
        done = 0
        with contextlib.closing(self._outputs(cut, rows)) as outputs:
            for batch, output in outputs:
                logits[batch] = output
                done += len(batch)
                if on_batch is not None:
                    on_batch(done / len(rows))
        return logits

    def _outputs(
        self, cut: Sequence[list[int]], rows: Sequence[Encoded]
    ) -> Generator[tuple[list[int], NDArray[np.float32]], None, None]:
        """Yield each batch with its logits, as they come; as many at a time as suit the engine."""
        streams = min(self.engine.streams, len(cut))
        if streams <= 1:
            for batch in cut:
                yield batch, self._batch_logits([rows[i] for i in batch])
            return
        with ThreadPoolExecutor(streams) as pool:
            running = {
                pool.submit(self._batch_logits, [rows[i] for i in batch]): batch for batch in cut
            }
            try:
                for future in as_completed(running):
                    yield running[future], future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def _batch_logits(self, rows: Sequence[Encoded]) -> NDArray[np.float32]:
        output = self.engine.logits(*pad(rows, self.encoder.pad_id))
        if output.shape != (len(rows), len(self.settings.targets)):
            raise CheckpointError(
                f"{self.settings.model}: logits of shape {output.shape}, not "
                f"{(len(rows), len(self.settings.targets))}: weights and settings do not belong "
                "together"
            )
        if not np.isfinite(output).all():
            raise CheckpointError(f"{self.settings.model}: logits that are not finite")
        return output
