"""What a worker of a cluster needs: a scorer that travels to it, rows in, scores or reasons out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scorer import decision
from scorer.api import Scorer, find_checkpoint
from scorer.checkpoint import (
    SETTINGS_FILE,
    Settings,
    check_purpose,
    listed_files,
    read_settings,
)
from scorer.errors import RowError
from scorer.inference.fields import Fields
from scorer.result import Score


@dataclass(frozen=True)
class Loading:
    """How each worker loads its scorer.

    Attributes:
        device: `cpu`, or `cuda` for a worker with a GPU of its own.
        purpose: Which thresholds decide: one of `PURPOSES`.
        token_budget: Tokens of a batch at most, padding included; None for what suits the device.
        max_tokens: Tokens of a pair at most; None for the checkpoint's.
    """

    device: str = "cpu"
    purpose: str = "balanced"
    token_budget: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_purpose(self.purpose)

    def load(self, files: Mapping[str, bytes] | None, threads: int) -> Scorer:
        """Return the scorer; for a process that does nothing but score.

        Args:
            files: The checkpoint, see `pack`.
            threads: CPU threads of the model and the tokenizer.

        Raises:
            CheckpointError: If the checkpoint is unusable.
            MissingExtraError: If torch is needed and not installed.
            ScorerError: If the device is not there.
        """
        # The tokenizer would take every core of the machine, whatever the worker was given.
        os.environ["RAYON_NUM_THREADS"] = str(threads)
        if files is None:
            return self._load(None, threads)
        with tempfile.TemporaryDirectory(prefix="scorer-") as folder:
            for name, content in files.items():
                (Path(folder) / name).write_bytes(content)
            return self._load(folder, threads)

    def _load(self, folder: str | None, threads: int) -> Scorer:
        return Scorer.load(
            folder,
            device=self.device,
            threads=threads,
            token_budget=self.token_budget,
            max_tokens=self.max_tokens,
            purpose=self.purpose,
        )


def pack(
    model: str | Path | None, max_tokens: int | None = None
) -> tuple[Settings, dict[str, bytes] | None]:
    """Return a checkpoint's settings, and its files for workers that see neither folder nor hub.

    The files are None for the checkpoint that comes with the package: workers have it too.

    Args:
        model: Checkpoint folder or hub id; None for the shipped one.
        max_tokens: Tokens of a pair that the workers are to load it for.

    Raises:
        CheckpointError: If there is no such checkpoint or it is incomplete.
        ValueError: If it was not made for so many tokens.
    """
    folder = find_checkpoint(model)
    settings = read_settings(folder)
    if max_tokens is not None:
        settings = settings.with_max_tokens(max_tokens)
    if model is None:
        return settings, None
    names = (SETTINGS_FILE, *listed_files(folder))  # what else lies there is nobody's business
    return settings, {name: (folder / name).read_bytes() for name in names}


def pair_or_reason(row: Mapping[str, object], fields: Fields) -> tuple[str, str] | RowError:
    """Return (prompt, response) of a row, or why it has none."""
    try:
        return fields.pair(row)
    except RowError as error:
        return error


def score_pairs(
    scorer: Scorer, pairs: Sequence[tuple[str, str] | RowError]
) -> list[Score | RowError]:
    """Return one score per (prompt, response), in order; a `RowError` stays where it is."""
    scores = iter(scorer.score_batch(pair for pair in pairs if not isinstance(pair, RowError)))
    return [pair if isinstance(pair, RowError) else next(scores) for pair in pairs]


def score_type(settings: Settings) -> Any:
    """Return the Arrow type of `Score.to_dict()`: a struct, nested as the JSON is."""
    import pyarrow

    logits = np.zeros((1, len(settings.targets)), np.float32)
    (score,) = decision.scores(logits, [False], settings)
    return pyarrow.infer_type([score.to_dict()])
