from __future__ import annotations

import random
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from scorer import decision
from scorer.errors import CheckpointError
from scorer.inference.engines import TorchEngine
from scorer.inference.predict import Predictor


def texts(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return pairs of very different lengths."""
    draw = random.Random(seed)
    alphabet = "女生学不好数学对吧天逻辑差别理科了，。abc xyz019"
    sizes = [draw.choice((0, 1, 5, 20, 60, 200)) for _ in range(2 * count)]
    strings = ["".join(draw.choices(alphabet, k=size)) for size in sizes]
    return list(zip(strings[::2], strings[1::2], strict=True))


@pytest.fixture(scope="module")
def torch_predictor(predictor: Predictor, tiny_checkpoint: Path) -> Predictor:
    return replace(predictor, engine=TorchEngine(tiny_checkpoint, "cpu"))


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_neighbours_order_and_budget_leave_logits_alone(
    engine: str, predictor: Predictor, torch_predictor: Predictor
) -> None:
    model, tolerance = {"onnx": (predictor, 1e-3), "torch": (torch_predictor, 1e-5)}[engine]
    pairs = texts(60)

    def logits(order: list[int], budget: int) -> NDArray[np.float32]:
        result = np.empty((len(pairs), 10), np.float32)
        result[order] = replace(model, token_budget=budget).logits([pairs[i] for i in order])
        return result

    in_order = list(range(len(pairs)))
    shuffled = random.Random(1).sample(in_order, len(pairs))
    alone = logits(in_order, 1)
    assert alone.std(axis=0).min() > 0.05  # else any order would do
    for order, budget in ((in_order, 300), (shuffled, 300), (shuffled, 100_000)):
        np.testing.assert_allclose(logits(order, budget), alone, rtol=0, atol=tolerance)


def test_a_gpus_way_of_taking_batches_changes_no_score(
    torch_predictor: Predictor, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As far as it goes without one: two batches under way, out of pinned memory."""
    pinned: list[int] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(len(tensor))
        return tensor

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    engine = TorchEngine(tiny_checkpoint, "cpu")
    engine._pins, engine.streams, engine._running = True, 2, threading.Semaphore(2)
    ours = replace(torch_predictor, engine=engine, token_budget=64)
    plain = replace(torch_predictor, token_budget=64)
    pairs = texts(40)
    assert np.array_equal(ours.logits(pairs), plain.logits(pairs))
    assert len(pinned) > 10


def test_engines_agree(predictor: Predictor, torch_predictor: Predictor) -> None:
    pairs = texts(60)
    onnx, torch = predictor.logits(pairs), torch_predictor.logits(pairs)
    # int8 against fp32. A random model of 32 dimensions is as rough as it gets: released ones are
    # held to their own tolerance at export.
    np.testing.assert_allclose(onnx, torch, rtol=0, atol=0.2)
    assert np.abs(onnx - torch).mean() < 0.1 * torch.std(axis=0).mean()


def test_scores_are_the_decision_on_the_logits(predictor: Predictor) -> None:
    pairs = texts(20, seed=2)
    truncated = [row.truncated for row in predictor.encoder.encode(pairs)]
    assert any(truncated)
    assert not all(truncated)
    expected = decision.scores(predictor.logits(pairs), truncated, predictor.settings)
    found = predictor.predict(pairs).scores
    assert [score.truncated for score in found] == truncated
    for score, other in zip(found, expected, strict=True):
        assert score.harmless_probability == pytest.approx(other.harmless_probability, abs=1e-3)


def test_no_pairs_give_no_scores(predictor: Predictor) -> None:
    assert predictor.predict([]).scores == []


class Counting:
    """An engine that notes how many rows it saw and returns one logit for all."""

    device, token_budget, same_length, streams, window_rows = "cpu", 64, True, 1, 2048

    def __init__(self, targets: int = 10, value: float = 0.0) -> None:
        self.rows, self.targets, self.value = 0, targets, value

    def logits(
        self, input_ids: NDArray[np.int64], attention_mask: object, token_type_ids: object
    ) -> NDArray[np.float32]:
        self.rows += len(input_ids)
        return np.full((len(input_ids), self.targets), self.value, np.float32)


def test_a_repeated_pair_is_scored_once(predictor: Predictor) -> None:
    engine = Counting()
    prediction = replace(predictor, engine=engine).predict([("a", "b"), ("b", "a")] * 5)
    assert len(prediction.scores) == 10
    assert engine.rows == 2
    lengths = [len(row.input_ids) for row in predictor.encoder.encode([("a", "b"), ("b", "a")])]
    assert prediction.tokens == sum(lengths)


def test_progress_ends_at_one(predictor: Predictor) -> None:
    shares: list[float] = []
    replace(predictor, token_budget=100).predict(texts(20), shares.append)
    assert len(shares) > 2
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


class Crooked(Counting):
    """Three batches at a time, of which longer ones take longer; the logits are a row's length."""

    token_budget, streams = 1, 3

    def __init__(self, breaks_at: int | None = None) -> None:
        super().__init__()
        self.breaks_at = breaks_at

    def logits(
        self, input_ids: NDArray[np.int64], attention_mask: object, token_type_ids: object
    ) -> NDArray[np.float32]:
        length = input_ids.shape[1]
        if length == self.breaks_at:
            raise CheckpointError(f"broken at {length}")
        time.sleep(length / 5000)
        return np.full((len(input_ids), self.targets), length, np.float32)


def test_batches_that_end_in_another_order_keep_their_rows(predictor: Predictor) -> None:
    pairs = [("a", "b" * size) for size in (3, 40, 1, 25, 9, 60, 2)]
    model = replace(predictor, engine=Crooked(), token_budget=1)
    lengths = [len(row.input_ids) for row in predictor.encoder.encode(pairs)]
    assert model.logits(pairs)[:, 0].tolist() == lengths


def test_a_broken_batch_among_others_ends_the_window(predictor: Predictor) -> None:
    pairs = [("a", "b" * size) for size in range(1, 40)]
    lengths = sorted(len(row.input_ids) for row in predictor.encoder.encode(pairs))
    broken = replace(predictor, engine=Crooked(breaks_at=lengths[20]), token_budget=1)
    with pytest.raises(CheckpointError, match=f"broken at {lengths[20]}"):
        broken.logits(pairs)


def test_who_stops_at_a_batch_waits_for_those_under_way_alone(predictor: Predictor) -> None:
    done: list[float] = []

    def stop(share: float) -> None:
        done.append(share)
        raise KeyboardInterrupt

    pairs = [("a", "b" * size) for size in range(1, 60)]
    engine, before = Crooked(), threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        replace(predictor, engine=engine, token_budget=1).predict(pairs, stop)
    assert len(done) == 1
    assert threading.active_count() == before, "no batch goes on behind the back of the caller"


@pytest.mark.parametrize(
    ("engine", "message"),
    [(Counting(targets=9), r"shape \(1, 9\)"), (Counting(value=float("nan")), "not finite")],
)
def test_outputs_that_cannot_be_right_are_refused(
    predictor: Predictor, engine: Counting, message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        replace(predictor, engine=engine).predict([("a", "b")])
