from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from scorer.checkpoint import read_settings
from scorer.inference.encoding import PairEncoder
from scorer.inference.engines import OnnxEngine
from scorer.inference.predict import Predictor


@pytest.fixture(scope="session")
def predictor(tiny_checkpoint: Path) -> Predictor:
    """The tiny checkpoint on the ONNX engine."""
    settings = read_settings(tiny_checkpoint)
    encoder = PairEncoder.from_folder(tiny_checkpoint, settings.encoding)
    return Predictor(encoder, OnnxEngine(tiny_checkpoint), settings, token_budget=1024)


class Instant:
    """An engine that takes no time, and whose logits depend on the batch that a row is in."""

    device, token_budget, same_length, streams, window_rows = "cpu", 4096, False, 1, 2048

    def logits(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        token_type_ids: object,
    ) -> NDArray[np.float32]:
        sums = (input_ids * attention_mask).sum(axis=1) % 7 - 3 + len(input_ids) / 1000
        return np.tile(sums[:, None], 10).astype(np.float32)


@pytest.fixture(scope="session")
def instant(predictor: Predictor) -> Predictor:
    """The tiny checkpoint's encoder, and an engine that takes no time."""
    return replace(predictor, engine=Instant())


@pytest.fixture(scope="session")
def close() -> Callable[[Any, Any], bool]:
    """Tell whether two scores agree: probabilities within what int8 allows, the rest exactly."""

    def close(value: Any, other: Any) -> bool:
        if isinstance(value, dict):
            return value.keys() == other.keys() and all(close(value[k], other[k]) for k in value)
        if isinstance(value, float):
            return abs(value - other) <= 1e-3
        return bool(value == other)

    return close
