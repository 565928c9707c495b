from __future__ import annotations

from pathlib import Path

import pytest

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
