from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from scorer.training.export import export_fp32, quantize

Ids = NDArray[np.int64]


@pytest.fixture(scope="module")
def graphs(
    tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    path = tmp_path_factory.mktemp("onnx") / "fp32.onnx"
    export_fp32(tiny_checkpoint, path, 96)
    return onnx.load(path), quantize(onnx.load(path))


def run(model: onnx.ModelProto, ids: Ids, mask: Ids) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(
        None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": 0 * ids}
    )
    return np.asarray(logits)


@pytest.fixture
def ids() -> Ids:
    return np.random.default_rng(1).integers(4, 200, (3, 40))


def test_int8_is_close_to_fp32_but_not_the_same(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], ids: Ids
) -> None:
    exact, rounded = (run(graph, ids, np.ones_like(ids)) for graph in graphs)
    difference = np.abs(exact - rounded).max()
    assert 0 < difference < 0.05 * np.abs(exact).max()


def test_a_row_does_not_depend_on_its_neighbours_or_padding(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], ids: Ids
) -> None:
    mask = np.ones_like(ids)
    together = run(graphs[1], ids, mask)
    padded = np.concatenate([ids[:1], np.ones((1, 24), np.int64)], axis=1)
    padded_mask = np.concatenate([mask[:1], np.zeros((1, 24), np.int64)], axis=1)
    alone = run(graphs[1], padded, padded_mask)
    assert np.abs(together[0] - alone[0]).max() < 1e-5


def test_every_matrix_is_int8(graphs: tuple[onnx.ModelProto, onnx.ModelProto]) -> None:
    tensors = {tensor.name: tensor for tensor in graphs[1].graph.initializer}
    weights = [tensor for tensor in tensors.values() if len(tensor.dims) == 2]
    large = [t.name for t in weights if t.data_type == onnx.TensorProto.FLOAT and t.dims[1] > 1]
    assert all("pooler" in name or "classifier" in name for name in large), large
    assert sum(t.data_type == onnx.TensorProto.INT8 for t in weights) >= 2 * 6 + 1
    linear = [
        numpy_helper.to_array(tensors[node.input[1]])
        for node in graphs[1].graph.node
        if node.op_type == "MatMulIntegerToFloat"
    ]
    assert len(linear) == 2 * 6
    assert {(weight.dtype.name, int(np.abs(weight).max())) for weight in linear} == {("int8", 127)}
