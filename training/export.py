"""The int8 ONNX file for CPUs, made from a stock checkpoint.

The graph is cut to what scoring needs and shaped for ONNX Runtime:

- Rows of a batch have one length, so there is no padding and no mask. A row's score then does not
  depend on its neighbours at all, and nothing is computed for padding.
- Attention is one fused operator.
- The head reads the first token alone, so behind the last keys and values nothing else is computed.
- A key's bias moves all scores of a query alike, which softmax takes back out; a value's bias passes
  through it unchanged. The one is dropped, the other added to the bias of the layer behind.
- Linear layers hold int8 weights with a scale per output channel; their inputs are quantised to
  uint8 with a scale per token. ONNX Runtime's own dynamic quantisation takes one scale for the whole
  batch, so that a row's score depends on its neighbours, and one loud token costs all the others
  their precision. Embeddings are int8 with a scale per row. Norms, attention, and the small layers
  of the head stay fp32.

x86 CPUs without VNNI add two products of uint8 and int8 in 16 bits, where two very large weights
side by side can saturate. Weights of half the range rule that out, but were tried and moved 2.7
times as many decisions away from fp32 (1.8% against 0.6% of the targets), so the range is whole.
"""

from __future__ import annotations

import tempfile
import warnings
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    AutoModelForSequenceClassification,
)

from scorer.checkpoint import ONNX_FILE, Settings
from scorer.training.fit import takes_token_types

_OPSET = 20
_CONTRIB = "com.microsoft"  # ONNX Runtime's own operators
_ATTENTION = "MultiHeadAttention"
_FUSED = "harmlessness_fused"
# Where a token's output depends on its own input alone; of attention, on its own query.
_TOKENWISE = {"Add", "Gelu", "LayerNormalization", "MatMul", "Mul", "Relu", "Tanh", _ATTENTION}
_GELU_FLOOR = 0.17  # GELU is nowhere below -0.17


def export_onnx(folder: Path, settings: Settings) -> None:
    """Write the int8 ONNX file of the stock checkpoint in `folder`, beside its weights."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "model.onnx"
        export_fp32(folder, path, settings.encoding.max_length)
        model = onnx.load(path)
    onnx.save(quantize(slim(model)), folder / ONNX_FILE)


class _Logits(torch.nn.Module):
    """The model with positional inputs and a tensor for output, as graphs have them."""

    def __init__(self, model: Any, inputs: list[str]) -> None:
        super().__init__()
        self.model, self.inputs = model, inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.model(**dict(zip(self.inputs, tensors, strict=True))).logits
        return logits


def _fused_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Stand for attention over whole rows by ONNX Runtime's operator; (B, H, L, D) each."""
    batch, heads, length, width = query.shape

    def by_token(states: torch.Tensor) -> torch.Tensor:
        return states.transpose(1, 2).reshape(batch, length, heads * width)

    output = torch.onnx.ops.symbolic(
        f"{_CONTRIB}::{_ATTENTION}",
        (by_token(query), by_token(key), by_token(value)),
        {"num_heads": heads, "scale": float(scaling or width**-0.5)},
        dtype=query.dtype,
        shape=(batch, length, heads * width),
        version=1,
    )
    return output.reshape(batch, length, heads, width), None


def _no_mask(*_: Any, **__: Any) -> None:
    """Stand for the mask of rows without padding."""


AttentionInterface.register(_FUSED, _fused_attention)
AttentionMaskInterface.register(_FUSED, _no_mask)


def export_fp32(folder: Path, path: Path, max_length: int) -> None:
    """Write the fp32 ONNX graph of a stock checkpoint: (B, L) ids and token types in, (B, T) logits out.

    Token types are left out where the model takes none. An encoder gets fused attention over whole
    rows; a model that hides tokens from one another, as language models do, or that has an attention
    of its own, keeps that and its mask.
    """
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
    ).eval()
    ids = torch.ones((2, 8), dtype=torch.long)
    batch, length = torch.export.Dim("batch"), torch.export.Dim("length", max=max_length)
    shapes = {0: batch, 1: length}
    inputs, example = ["input_ids"], [ids]
    if _sees_everything(model):
        model.set_attn_implementation(_FUSED)
    else:
        inputs.append("attention_mask")
        example.append(torch.ones_like(ids))
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


def _sees_everything(model: Any) -> bool:
    """Return whether every token attends to every other, through transformers' attention interface."""
    if any(getattr(model.config, window, None) for window in ("sliding_window", "local_attention")):
        return False
    attentions = [module for module in model.modules() if hasattr(module, "is_causal")]
    return (
        model._supports_attention_backend
        and bool(attentions)
        and not any(module.is_causal for module in attentions)
    )


def slim(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the fp32 graph without what changes no logit; see the module's docstring."""
    graph = model.graph
    _drop_idle_reshapes(graph)
    _drop_unused(graph)
    _move_biases(graph)
    _keep_first_token(graph)
    _drop_unused(graph)
    return model


def _drop_idle_reshapes(graph: onnx.GraphProto) -> None:
    """Take out chains of reshapes that end in the shape they began with."""
    shape = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in graph.value_info
    }
    producer = {node.output[0]: node for node in graph.node}
    same = {}
    for node in graph.node:
        source = node
        while source.op_type == "Reshape" and source.input[0] in producer:
            before = source.input[0]
            if shape.get(before) and shape[before] == shape.get(node.output[0]):
                same[node.output[0]] = before
            source = producer[before]
    for node in graph.node:
        for i, name in enumerate(node.input):
            node.input[i] = same.get(name, name)


def _move_biases(graph: onnx.GraphProto) -> None:
    """Drop the biases of keys, and add those of values to the layer behind attention."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    producer = {node.output[0]: node for node in graph.node}
    consumers = _consumers(graph)

    def bias_of(name: str) -> onnx.NodeProto | None:
        node = producer.get(name)
        if node is None or node.op_type != "Add" or node.input[1] not in constants:
            return None
        return node if len(constants[node.input[1]].dims) == 1 else None

    for node in [node for node in graph.node if node.op_type == _ATTENTION]:
        if key := bias_of(node.input[1]):
            node.input[1] = key.input[0]
        (behind, *others) = consumers[node.output[0]]
        value = bias_of(node.input[2])
        if value is None or others or behind.op_type != "MatMul":
            continue
        (addition, *others) = consumers[behind.output[0]]
        if others or bias_of(addition.output[0]) is None or behind.input[1] not in constants:
            continue
        weight, old, moved = (
            numpy_helper.to_array(constants[name])
            for name in (behind.input[1], addition.input[1], value.input[1])
        )
        node.input[2] = value.input[0]
        addition.input[1] = f"{addition.input[1]}_and_of_values"
        graph.initializer.append(
            numpy_helper.from_array((old + moved @ weight).astype(np.float32), addition.input[1])
        )


def _keep_first_token(graph: onnx.GraphProto) -> None:
    """Compute the first token alone wherever no other is read."""
    constants = {tensor.name: tensor for tensor in graph.initializer}
    consumers = _consumers(graph)

    def is_head(node: onnx.NodeProto) -> bool:
        if node.op_type != "Gather" or node.input[1] not in constants:
            return False
        axis = [attribute.i for attribute in node.attribute if attribute.name == "axis"]
        return axis == [1] and not numpy_helper.to_array(constants[node.input[1]]).any()

    def passes_on(reader: onnx.NodeProto, name: str) -> bool:
        """Return whether a reader makes only the first token of its output from that of `name`."""
        others = reader.input[1:] if reader.op_type == _ATTENTION else []
        return reader.output[0] in narrow and name not in others

    heads = [node for node in graph.node if is_head(node)]
    narrow = {node.output[0] for node in heads}
    for node in reversed(graph.node):
        readers = consumers[node.output[0]]
        if (
            node.op_type in _TOKENWISE
            and readers
            and all(passes_on(reader, node.output[0]) for reader in readers)
        ):
            narrow.add(node.output[0])
    bounds = {"first_token_start": 0, "first_token_stop": 1, "token_axis": 1}
    graph.initializer.extend(
        numpy_helper.from_array(np.array([bound]), name) for name, bound in bounds.items()
    )
    nodes: list[onnx.NodeProto] = []
    cut: set[str] = set()
    for node in graph.node:
        if node.output[0] in narrow and node not in heads:
            tokens = node.input[:1] if node.op_type == _ATTENTION else node.input
            for i, name in enumerate(tokens):
                if name in constants or name in narrow:
                    continue
                node.input[i] = f"{name}_first"
                if name not in cut:
                    cut.add(name)
                    nodes.append(helper.make_node("Slice", [name, *bounds], [f"{name}_first"]))
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _consumers(graph: onnx.GraphProto) -> defaultdict[str, list[onnx.NodeProto]]:
    """Return the nodes that read each value."""
    consumers = defaultdict(list)
    for node in graph.node:
        for name in set(node.input):
            consumers[name].append(node)
    return consumers


def _drop_unused(graph: onnx.GraphProto) -> None:
    """Take out nodes and constants that no output needs, and what was known of their shapes."""
    needed = {output.name for output in graph.output}
    nodes = []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    del graph.node[:]
    graph.node.extend(reversed(nodes))
    kept = [tensor for tensor in graph.initializer if tensor.name in needed]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.value_info[:]


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
    _drop_unused(graph)
    if all(opset.domain != _CONTRIB for opset in model.opset_import):
        model.opset_import.append(helper.make_opsetid(_CONTRIB, 1))
    return model


class _Rewriter:
    def __init__(self, graph: onnx.GraphProto) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self._graph = graph
        self._of_gelu = {node.output[0] for node in graph.node if node.op_type == "Gelu"}
        self._quantized: dict[str, tuple[str, str]] = {}
        self._unit = self._constant("unit_scale", np.array(1, np.float32))
        self._zero = self._constant("uint8_zero", np.array(128, np.uint8))
        self._last = self._constant("last_axis", np.array([-1], np.int64))
        self._step = self._constant("int8_step", np.array(1 / 127, np.float32))
        self._floor = self._constant("least_size", np.array(1e-9, np.float32))
        self._gelu_floor = self._constant("gelu_least_size", np.array(_GELU_FLOOR, np.float32))

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self._graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def _add(self, operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [output], **attributes))
        return output

    def linear(self, node: onnx.NodeProto, weight: NDArray[np.float32]) -> None:
        scale = _scale(weight, axis=0)
        source, output = node.input[0], node.output[0]
        tokens, scales = self._tokens(source, len(weight))
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
        self._add("Mul", [product, scales], output)

    def _tokens(self, source: str, width: int) -> tuple[str, str]:
        """Quantise each token by its largest value; query, key and value share the result.

        Returns tokens as uint8 in the shape of `source`, and their scales, whose last axis is 1.
        """
        if source not in self._quantized:
            if source in self._of_gelu:  # its least value is known, so its largest alone decides
                size, floor = source, self._gelu_floor
            else:
                size, floor = self._add("Abs", [source], f"{source}_abs"), self._floor
            largest = self._add("ReduceMax", [size, self._last], f"{source}_max", keepdims=1)
            largest = self._add("Max", [largest, floor], f"{source}_largest")
            scales = self._add("Mul", [largest, self._step], f"{source}_scales")
            # One scale per token is one per row of a matrix: QuantizeLinear takes them along an axis.
            flat = self._constant(f"{source}_flat", np.array([-1, width], np.int64))
            matrix = self._add("Reshape", [source, flat], f"{source}_matrix")
            by_row = self._add("Reshape", [scales, self._last], f"{source}_by_row")
            rows = self._add("Shape", [by_row], f"{source}_rows")
            zeros = self._add("Expand", [self._zero, rows], f"{source}_zeros")
            integers = self._add(
                "QuantizeLinear", [matrix, by_row, zeros], f"{source}_integers", axis=0
            )
            shape = self._add("Shape", [source], f"{source}_shape")
            tokens = self._add("Reshape", [integers, shape], f"{source}_uint8")
            self._quantized[source] = tokens, scales
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
