from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from scorer.inference.engines import TorchEngine
from scorer.training.export import export_fp32, quantize, slim

Ids = NDArray[np.int64]


@pytest.fixture(scope="module")
def exported(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "fp32.onnx"
    export_fp32(tiny_checkpoint, path, 96)
    return path


@pytest.fixture(scope="module")
def slimmed(exported: Path) -> onnx.ModelProto:
    return slim(onnx.load(exported))


@pytest.fixture(scope="module")
def graphs(exported: Path) -> tuple[onnx.ModelProto, onnx.ModelProto]:
    return onnx.load(exported), quantize(slim(onnx.load(exported)))


def run(model: onnx.ModelProto, ids: Ids) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (logits,) = session.run(None, {"input_ids": ids, "token_type_ids": 0 * ids})
    return np.asarray(logits)


@pytest.fixture
def ids() -> Ids:
    return np.random.default_rng(1).integers(4, 200, (3, 40))


def test_fp32_graph_is_the_model(exported: Path, ids: Ids, tiny_checkpoint: Path) -> None:
    model = TorchEngine(tiny_checkpoint, "cpu")
    expected = model.logits(ids, np.ones_like(ids), np.zeros_like(ids))
    np.testing.assert_allclose(run(onnx.load(exported), ids), expected, rtol=0, atol=1e-4)


def test_slimming_changes_no_logit(exported: Path, slimmed: onnx.ModelProto, ids: Ids) -> None:
    np.testing.assert_allclose(run(slimmed, ids), run(onnx.load(exported), ids), rtol=0, atol=1e-5)


def test_slimming_leaves_reshapes_and_idle_biases_out(
    exported: Path, slimmed: onnx.ModelProto
) -> None:
    before, after = (
        Counter(node.op_type for node in model.graph.node)
        for model in (onnx.load(exported), slimmed)
    )
    assert after["MultiHeadAttention"] == before["MultiHeadAttention"] == 2
    assert before["Reshape"] == 2 * 8
    assert after["Reshape"] == 0
    assert after["Add"] == before["Add"] - 2 * 2  # the biases of keys and values


def test_behind_the_last_keys_and_values_only_the_first_token_is_computed(
    slimmed: onnx.ModelProto, ids: Ids
) -> None:
    last = [node for node in slimmed.graph.node if node.op_type == "MultiHeadAttention"][-1]
    behind = [node for node in slimmed.graph.node if node.op_type == "Gelu"][-1]
    model = onnx.ModelProto()
    model.CopyFrom(slimmed)
    for name in (last.input[0], last.input[1], behind.output[0]):
        model.graph.output.append(helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    _, query, key, hidden = session.run(None, {"input_ids": ids, "token_type_ids": 0 * ids})
    assert (query.shape[1], key.shape[1], hidden.shape[1]) == (1, 40, 1)


def test_int8_is_close_to_fp32_but_not_the_same(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], ids: Ids
) -> None:
    exact, rounded = (run(graph, ids) for graph in graphs)
    difference = np.abs(exact - rounded).max()
    assert 0 < difference < 0.05 * np.abs(exact).max()


def test_a_row_does_not_depend_on_its_neighbours(
    graphs: tuple[onnx.ModelProto, onnx.ModelProto], ids: Ids
) -> None:
    np.testing.assert_array_equal(run(graphs[1], ids)[:1], run(graphs[1], ids[:1]))


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
