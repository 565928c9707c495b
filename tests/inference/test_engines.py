from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from scorer.checkpoint import CONFIG_FILE, ONNX_FILE, WEIGHTS_FILE
from scorer.errors import CheckpointError, MissingExtraError, ScorerError
from scorer.inference import engines
from scorer.inference.engines import Choice, OnnxEngine, TorchEngine, choose_engine, load_engine


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which torch sees two GPUs."""
    monkeypatch.setattr(engines, "_gpu_in_sight", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_gpu_in_sight", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "_missing_torch", lambda: "torch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / ONNX_FILE).touch()
    (tmp_path / WEIGHTS_FILE).touch()
    return tmp_path


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("engine", "device", "expected"),
    [
        ("auto", "auto", ("onnx", "cpu")),
        ("auto", "cpu", ("onnx", "cpu")),
        ("onnx", "auto", ("onnx", "cpu")),
        ("onnx", "cpu", ("onnx", "cpu")),
        ("torch", "auto", ("torch", "cpu")),
        ("torch", "cpu", ("torch", "cpu")),
    ],
)
def test_choice_without_a_gpu(
    folder: Path, engine: str, device: str, expected: tuple[str, str]
) -> None:
    choice = choose_engine(engine, device, folder)
    assert (choice.engine, choice.device) == expected
    assert choice.reason


@pytest.mark.usefixtures("gpu")
@pytest.mark.parametrize(
    ("engine", "device", "expected"),
    [
        ("auto", "auto", ("torch", "cuda:0")),
        ("auto", "cuda", ("torch", "cuda:0")),
        ("auto", "cuda:1", ("torch", "cuda:1")),
        ("torch", "auto", ("torch", "cuda:0")),
        ("torch", "cpu", ("torch", "cpu")),
        ("auto", "cpu", ("onnx", "cpu")),
        ("onnx", "auto", ("onnx", "cpu")),
    ],
)
def test_choice_with_a_gpu(
    folder: Path, engine: str, device: str, expected: tuple[str, str]
) -> None:
    choice = choose_engine(engine, device, folder)
    assert (choice.engine, choice.device) == expected


@pytest.mark.usefixtures("gpu", "no_torch")
def test_without_torch_a_gpu_is_left_alone_unless_asked_for(folder: Path) -> None:
    assert choose_engine("auto", "auto", folder) == Choice(
        "onnx", "cpu", "a GPU, but torch is not installed"
    )
    for engine, device in (("torch", "auto"), ("auto", "cuda"), ("auto", "mps")):
        with pytest.raises(MissingExtraError, match=r"pip install 'harmlessness-scorer\[gpu\]'"):
            choose_engine(engine, device, folder)


@pytest.mark.usefixtures("gpu")
def test_auto_takes_the_engine_whose_file_is_there(folder: Path) -> None:
    (folder / WEIGHTS_FILE).unlink()
    assert choose_engine("auto", "auto", folder).engine == "onnx"
    with pytest.raises(CheckpointError, match=f"torch engine needs {WEIGHTS_FILE}"):
        choose_engine("auto", "cuda", folder)
    (folder / ONNX_FILE).unlink()
    with pytest.raises(CheckpointError, match=f"onnx engine needs {ONNX_FILE}"):
        choose_engine("auto", "auto", folder)
    (folder / WEIGHTS_FILE).touch()
    choice = choose_engine("auto", "cpu", folder)
    assert (choice.engine, choice.device) == ("torch", "cpu")


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps"])
def test_a_device_that_is_not_there_is_named(folder: Path, device: str) -> None:
    with pytest.raises(ScorerError, match=f"device {device} was asked for"):
        choose_engine("auto", device, folder)


@pytest.mark.parametrize(
    ("engine", "device", "message"),
    [
        ("tf", "auto", "engine 'tf' must be one of auto, onnx, torch"),
        ("auto", "gpu", "device 'gpu' must be"),
        ("auto", "cuda:x", "device 'cuda:x' must be"),
        ("onnx", "cuda", "onnx engine runs on the cpu"),
    ],
)
def test_wrong_names_are_the_callers_mistake(
    folder: Path, engine: str, device: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        choose_engine(engine, device, folder)


def test_precision_by_device(monkeypatch: pytest.MonkeyPatch) -> None:
    fp32, fp16, bf16 = torch.float32, torch.float16, torch.bfloat16
    for stored in (fp32, fp16, bf16):
        assert engines.compute_dtype("cpu", stored) is fp32
    assert engines.compute_dtype("cuda:0", fp16) is fp16
    assert engines.compute_dtype("cuda:0", bf16) is bf16
    assert engines.compute_dtype("mps", fp32) is fp32
    for supported, expected in ((True, bf16), (False, fp16)):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda supported=supported: supported)
        assert engines.compute_dtype("cuda:0", fp32) is expected


@pytest.mark.parametrize("engine", ["onnx", "torch"])
def test_padding_and_its_ids_do_not_matter(tiny_checkpoint: Path, engine: str) -> None:
    model = load_engine(Choice(engine, "cpu", "test"), tiny_checkpoint, threads=1)
    ids = np.array([[0, 5, 6, 2, 2, 7, 2]])
    mask, types = np.ones_like(ids), np.zeros_like(ids)
    padded = [np.pad(array, ((0, 0), (0, 5))) for array in (ids, mask, types)]
    padded[0][:, 7:] = 9
    output = model.logits(ids, mask, types)
    assert output.dtype == np.float32
    assert output.shape == (1, 10)
    np.testing.assert_allclose(model.logits(*padded), output, rtol=0, atol=1e-4)


def test_a_model_without_segments_is_not_given_any(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask")
    ]
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", "length"])
    nodes = [
        helper.make_node("Mul", ["input_ids", "attention_mask"], ["product"]),
        helper.make_node("Cast", ["product"], ["logits"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(nodes, "product", inputs, [logits])
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), tmp_path / ONNX_FILE)
    ids = np.array([[3, 4]])
    output = OnnxEngine(tmp_path).logits(ids, np.array([[1, 0]]), np.zeros_like(ids))
    np.testing.assert_array_equal(output, [[3.0, 0.0]])


def test_a_broken_onnx_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    (tmp_path / ONNX_FILE).write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match=ONNX_FILE):
        OnnxEngine(tmp_path)


def test_weights_that_lack_a_layer_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copy(tiny_checkpoint / CONFIG_FILE, tmp_path)
    tensors = load_file(tiny_checkpoint / WEIGHTS_FILE)
    del tensors["classifier.weight"]
    save_file(tensors, tmp_path / WEIGHTS_FILE, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"lacks \['classifier\.weight'\]"):
        TorchEngine(tmp_path, "cpu")


def test_unreadable_weights_are_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    shutil.copy(tiny_checkpoint / CONFIG_FILE, tmp_path)
    (tmp_path / WEIGHTS_FILE).write_bytes(b"not weights")
    with pytest.raises(CheckpointError, match="not usable safetensors"):
        TorchEngine(tmp_path, "cpu")


def test_loading_leaves_progress_bars_as_they_were(tiny_checkpoint: Path) -> None:
    from transformers.utils import logging

    before = logging.is_progress_bar_enabled()
    logging.enable_progress_bar()
    TorchEngine(tiny_checkpoint, "cpu")
    assert logging.is_progress_bar_enabled()
    if not before:
        logging.disable_progress_bar()


def test_a_batch_beyond_the_memory_goes_in_halves_and_so_do_later_ones(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    engine = TorchEngine(tiny_checkpoint, "cpu")
    ids = np.random.default_rng(1).integers(4, 100, (9, 8))
    batch = (ids, np.ones_like(ids), np.zeros_like(ids))
    expected = engine.logits(*batch)
    run, sizes = engine._run, []

    def small(*arrays: np.ndarray) -> np.ndarray:
        sizes.append(len(arrays[0]))
        if arrays[0].size > 20:
            raise torch.OutOfMemoryError
        return run(*arrays)

    monkeypatch.setattr(engine, "_run", small)
    np.testing.assert_allclose(engine.logits(*batch), expected, rtol=0, atol=1e-5)
    assert sizes[0] == 9
    assert "out of memory: batches of" in caplog.text
    sizes.clear()
    engine.logits(*batch)
    assert max(sizes) <= 2, "what did not fit before is not tried again"
    with pytest.raises(ScorerError, match="no memory for one row of 30 tokens"):
        engine.logits(*(np.ones((1, 30), np.int64),) * 3)


def test_a_batch_that_had_no_room_beside_another_goes_by_itself(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    engine = TorchEngine(tiny_checkpoint, "cpu")
    engine.streams, engine._running = 2, threading.Semaphore(2)
    ids = np.random.default_rng(1).integers(4, 100, (6, 8))
    batch = (ids, np.ones_like(ids), np.zeros_like(ids))
    expected = engine.logits(*batch)
    run, lock, sizes = engine._run, threading.Lock(), []
    under_way = 0

    def no_room_for_two(*arrays: np.ndarray) -> np.ndarray:
        nonlocal under_way
        with lock:
            under_way += 1
            crowded = under_way > 1
        try:
            sizes.append(len(arrays[0]))
            if crowded:
                raise torch.OutOfMemoryError
            time.sleep(0.05)
            return run(*arrays)
        finally:
            with lock:
                under_way -= 1

    monkeypatch.setattr(engine, "_run", no_room_for_two)
    with ThreadPoolExecutor(2) as pool:
        for logits in pool.map(lambda _: engine.logits(*batch), range(8)):
            np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-5)
    assert len(sizes) > 8, "no batch met another"
    assert set(sizes) == {6}
    assert not caplog.text


def test_a_device_that_fails_otherwise_says_so(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = TorchEngine(tiny_checkpoint, "cpu")

    def broken(*arrays: np.ndarray) -> np.ndarray:
        raise RuntimeError("the cable is loose")

    monkeypatch.setattr(engine, "_run", broken)
    with pytest.raises(ScorerError, match="cpu failed: the cable is loose"):
        engine.logits(*(np.ones((2, 3), np.int64),) * 3)


def test_cores_stay_within_a_containers_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    quota = tmp_path / "cpu.max"
    for text, cores in (("150000 100000", 2), ("10000 100000", 1), ("max 100000", 64), ("?", 64)):
        quota.write_text(f"{text}\n", encoding="ascii")
        assert engines._usable_cores(quota) == cores
    assert engines._usable_cores(tmp_path / "none") == 64


def test_onnx_batches_run_side_by_side(tiny_checkpoint: Path) -> None:
    engine = OnnxEngine(tiny_checkpoint, threads=3)
    assert engine.streams == 3
    assert engine.same_length
