"""The int8 ONNX file for CPUs, made from a stock checkpoint.

Linear layers hold int8 weights with a scale per output channel; their inputs are quantised to
uint8 with a scale per token. ONNX Runtime's own dynamic quantisation takes one scale for the whole
batch, so that a row's score depends on its neighbours, and one loud token costs all the others
their precision; one scale per token has neither fault at the same speed. Embeddings are int8 with a
scale per row. Norms, attention, and the small layers of the head stay fp32.

x86 CPUs without VNNI add two products of uint8 and int8 in 16 bits, where two very large weights
side by side can saturate. Weights of half the range rule that out, but were tried and moved 2.7
times as many decisions away from fp32 (1.8% against 0.6% of the targets), so the range is whole.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformers import AutoModelForSequenceClassification

from scorer.checkpoint import ONNX_FILE, Settings
from scorer.training.fit import takes_token_types

_OPSET = 20
_CONTRIB = "com.microsoft"  # ONNX Runtime's own operators


def export_onnx(folder: Path, settings: Settings) -> None:
    """Write the int8 ONNX file of the stock checkpoint in `folder`, beside its weights."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export_fp32(folder, path, settings.encoding.max_length)
        model = onnx.load(path)
    onnx.save(quantize(model), folder / ONNX_FILE)


class _Logits(torch.nn.Module):
    """The model with positional inputs and a tensor for output, as graphs have them."""

    def __init__(self, model: Any, inputs: list[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.inputs, tensors, strict=True))).logits
        return logits


def export_fp32(folder: Path, path: Path, max_length: int) -> None:
    """Write the fp32 ONNX graph of a stock checkpoint: (B, L) ids, mask and token types in, (B, T) logits out.

    Token types are left out where the model takes none.

    Attention is exported in its eager form: ONNX Runtime fuses that, and not the SDPA one.
    """
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    ids = torch.ones((2, 8), dtype=torch.long)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=max_length)
    shapes = {0: batch, 1: length}
    inputs = ["input_ids", "attention_mask"]
    example = [ids, torch.ones_like(ids)]
    if takes_token_types(model):
        inputs.append("token_type_ids")
        example.append(torch.zeros_like(ids))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own insides
        torch.onnx.export(
            _Logits(model, inputs),
            tuple(example),
            path,
            dynamo=True,
            input_names=inputs,
            output_names=["logits"],
            dynamic_shapes=((shapes,) * len(inputs),),
            external_data=False,
            opset_version=_OPSET,
            verbose=False,
        )


def quantize(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the graph with int8 weights, in the form that the module's docstring describes."""
    graph = model.graph
    weights = {
        tensor.name: tensor
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and len(tensor.dims) == 2
    }
    rewritten = _Rewriter(graph)
    for node in graph.node:
        position = {"MatMul": 1, "Gather": 0}.get(node.op_type)
        weight = weights.get(node.input[position]) if position is not None else None
        if weight is None:
            rewritten.nodes.append(node)
        elif node.op_type == "MatMul":
            rewritten.linear(node, numpy_helper.to_array(weight))
        else:
            rewritten.embedding(node, numpy_helper.to_array(weight))
    del graph.node[:]
    graph.node.extend(rewritten.nodes)
    used = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]  # shapes and types of values that are no more
    if all(opset.domain != _CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
    return model


class _Rewriter:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._quantized: dict[str, tuple[str, str]] = {}
        self._unit = self._constant("int8_unit", np.array(1 / 127, np.float32))
        self._zero = self._constant("uint8_zero", np.array(128, np.uint8))
        self._last = self._constant("last_axis", np.array([-1], np.int64))
        self._floor = self._constant("least_scale", np.array(1e-9, np.float32))

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def linear(self, node: onnx.NodeProto, weight: NDArray[np.float32]) -> None:
        scale = _scale(weight, axis=0)
        source, output = node.input[0], node.output[0]
        tokens, largest = self._tokens(source)
        product = self._add(
            "MatMulIntegerToFloat",
            [
                tokens,
                self._constant(f"{output}_int8", np.rint(weight / scale).astype(np.int8)),
                self._unit,
                self._constant(f"{output}_scale", scale.reshape(-1)),
                self._zero,
            ],
            f"{output}_product",
            domain=_CONTRIB,
        )
        self._add("Mul", [product, largest], output)

    def _tokens(self, source: str) -> tuple[str, str]:
        """Quantise each token by its largest value; query, key and value share the result."""
        if source not in self._quantized:
            size = self._add("Abs", [source], f"{source}_abs")
            largest = self._add("ReduceMax", [size, self._last], f"{source}_max", keepdims=1)
            largest = self._add("Max", [largest, self._floor], f"{source}_largest")
            share = self._add("Div", [source, largest], f"{source}_share")
            tokens = self._add("QuantizeLinear", [share, self._unit, self._zero], f"{source}_uint8")
            self._quantized[source] = tokens, largest
        return self._quantized[source]

    def embedding(self, node: onnx.NodeProto, weight: NDArray[np.float32]) -> None:
        scale = _scale(weight, axis=1)
        table, ids, output = node.input[0], node.input[1], node.output[0]
        whole = self._constant(f"{table}_int8", np.rint(weight / scale).astype(np.int8))
        scales = self._constant(f"{table}_scale", scale)
        rows = self._add("Gather", [whole, ids], f"{output}_int8", axis=0)
        values = self._add("Cast", [rows], f"{output}_float", to=TensorProto.FLOAT)
        self._add(
            "Mul", [values, self._add("Gather", [scales, ids], f"{output}_scale", axis=0)], output
        )


def _scale(weight: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    largest = np.abs(weight).max(axis=axis, keepdims=True)
    return np.asarray(np.maximum(largest, 1e-9) / 127, np.float32)
