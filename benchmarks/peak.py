"""What the model asks of a machine, and what the machine gives at best."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from scorer.inference.engines import DISABLED_OPTIMIZERS

_SIDE = 2048  # of the matrices of the large product
_REPEATS = 20


def operations(checkpoint: Path, lengths: Sequence[int]) -> dict[str, float]:
    """Return the multiplications and additions that rows of these lengths take.

    `int8` are the products with weights, 2 per weight and token; behind the last keys and values one
    token of a row is computed. `attention` are the products of tokens with tokens, in fp32.
    """
    config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    layers = config["num_hidden_layers"]
    keys_and_values = 2 * hidden * hidden
    layer = 4 * hidden * hidden + 2 * hidden * inner
    tokens, rows = sum(lengths), len(lengths)
    weights = tokens * ((layers - 1) * layer + keys_and_values) + rows * (layer - keys_and_values)
    squares = (layers - 1) * sum(length**2 for length in lengths) + tokens
    return {"int8": 2.0 * weights, "attention": 4.0 * hidden * squares}


def machine_rates() -> dict[str, float]:
    """Return operations per second of a large matrix product on all cores, by type."""
    rng = np.random.default_rng(0)
    numbers = rng.standard_normal((_SIDE, _SIDE)).astype(np.float32)
    integers = rng.integers(0, 255, (_SIDE, _SIDE), dtype=np.uint8)
    weights = rng.integers(-127, 127, (_SIDE, _SIDE)).astype(np.int8)
    return {
        "fp32": _rate("MatMul", numbers, numbers, TensorProto.FLOAT),
        "int8": _rate("MatMulInteger", integers, weights, TensorProto.INT32),
    }


def _rate(operator: str, left: Any, right: Any, output: int) -> float:
    inputs = [
        helper.make_tensor_value_info("a", helper.np_dtype_to_tensor_dtype(left.dtype), left.shape)
    ]
    graph = helper.make_graph(
        [helper.make_node(operator, ["a", "b"], ["c"])],
        "product",
        inputs,
        [helper.make_tensor_value_info("c", output, None)],
        [numpy_helper.from_array(right, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    session.run(None, {"a": left})
    best = float("inf")
    for _ in range(_REPEATS):
        start = time.perf_counter()
        session.run(None, {"a": left})
        best = min(best, time.perf_counter() - start)
    return float(2 * _SIDE**3 / best)


def time_by_operator(checkpoint: Path) -> dict[str, float]:
    """Return the share of the model's time that each kind of operator takes, on a typical batch."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        str(checkpoint / "model.int8.onnx"),
        options,
        providers=["CPUExecutionProvider"],
        disabled_optimizers=list(DISABLED_OPTIMIZERS),
    )
    ids = np.random.default_rng(0).integers(5, 20_000, (5, 160))
    arrays = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": 0 * ids}
    names = [node.name for node in session.get_inputs()]
    for _ in range(_REPEATS):
        session.run(None, {name: arrays[name] for name in names})
    profile = Path(session.end_profiling())
    events = json.loads(profile.read_text(encoding="utf-8"))
    profile.unlink()
    taken: Counter[str] = Counter()
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            taken[event["args"]["op_name"]] += event["dur"]
    whole = taken.total()
    return {name: round(time / whole, 4) for name, time in taken.most_common(12)}
