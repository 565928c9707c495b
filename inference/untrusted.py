"""What weights must be before a library may load them: no code, no other files, no absurd sizes.

Hashes (`scorer.checkpoint.verify`) say that a checkpoint is as its maker left it; this is for the
case that its maker is not to be trusted. What no look beforehand can tell is how much time and memory
a graph takes that is valid: run a stranger's checkpoint under limits of the operating system.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scorer.checkpoint import CONFIG_FILE, WEIGHTS_FILE, read_json
from scorer.errors import CheckpointError

_MAX_DEPTH = 32  # of graphs within nodes, and of config.json
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})

# Field numbers of onnx.proto (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto): where each
# message that matters holds others that do.
_INSIDE: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "function": {7: "node"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {},
}
_FUNCTION_DOMAIN, _NODE_OPERATOR, _NODE_DOMAIN = 10, 4, 7
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14


def check_onnx(path: Path) -> None:
    """Refuse an ONNX file that refers to other files, to operators from elsewhere or to absurd sizes.

    Only the frame of the file is read, not its weights, and without the onnx package, which scoring
    does not need otherwise.

    Raises:
        CheckpointError: If it is such a file, or no ONNX at all.
    """
    try:
        with path.open("rb") as stream:  # the mapping goes when the last view of it does
            mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        _check_messages(memoryview(mapped))
    except (OSError, ValueError) as error:  # mmap refuses an empty file with a ValueError
        raise CheckpointError(f"{path}: not a usable ONNX model: {error}") from None


def _check_messages(model: memoryview) -> None:
    local = {
        str(value, "utf-8", "replace")
        for number, function in _fields(model)
        if number == 25 and not isinstance(function, int)
        for inner, value in _fields(function)
        if inner == _FUNCTION_DOMAIN and not isinstance(value, int)
    }
    stack = [("model", model, 0)]
    while stack:
        kind, message, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise ValueError(f"graphs nested more than {_MAX_DEPTH} deep")
        fields = list(_fields(message))
        if kind == "tensor":
            _check_tensor(fields, len(message))
        elif kind == "node":
            _check_node(fields, _DOMAINS | local)
        inside = _INSIDE[kind]
        stack.extend(
            (inside[number], value, depth + 1)
            for number, value in fields
            if number in inside and not isinstance(value, int)
        )


def _check_tensor(fields: list[tuple[int, int | memoryview]], size: int) -> None:
    elements = 1
    for number, value in fields:
        if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
            raise ValueError("weights in another file")
        if number == _TENSOR_DIMS:
            for dim in [value] if isinstance(value, int) else _varints(value):
                elements *= dim
    if elements > 2 * size:  # four bits are the smallest element there is
        raise ValueError(f"a tensor of {elements} elements in {size} bytes")


def _check_node(fields: list[tuple[int, int | memoryview]], domains: frozenset[str]) -> None:
    texts = {
        number: str(value, "utf-8", "replace")
        for number, value in fields
        if number in (_NODE_OPERATOR, _NODE_DOMAIN) and not isinstance(value, int)
    }
    if (domain := texts.get(_NODE_DOMAIN, "")) not in domains:
        raise ValueError(f"operator {texts.get(_NODE_OPERATOR)!r} of {domain!r}, no known library")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (number, value) of a protobuf message's fields.

    Raises:
        ValueError: If it is none.
    """
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError("no protobuf")
        if length > end - position:
            raise ValueError("cut short")
        yield number, message[position : position + length]
        position += length


def _varints(data: memoryview) -> Iterator[int]:
    position = 0
    while position < len(data):
        value, position = _varint(data, position)
        yield value


def _varint(data: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        if position >= len(data):
            raise ValueError("cut short")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("no protobuf")


# Settings by which transformers would fetch or run something beside the weights.
_FOREIGN = frozenset(
    {
        "_attn_implementation",
        "_attn_implementation_internal",
        "attn_implementation",
        "auto_map",
        "custom_pipelines",
        "kernel_config",
        "quantization_config",
    }
)
_MAX_SIZE = 1 << 24  # of anything that config.json counts: vocabulary, positions, width
_MAX_COUNT = 1 << 12  # of layers, heads, outputs


def check_config(folder: Path) -> None:
    """Refuse a `config.json` that asks for code or for absurd sizes.

    Raises:
        CheckpointError: If it does, or cannot be read.
    """
    path = folder / CONFIG_FILE
    try:
        _, config = read_json(path)
    except FileNotFoundError:
        raise CheckpointError(f"{path} is missing") from None
    if not isinstance(config, dict):
        raise CheckpointError(f"{path}: not a JSON object")
    stack: list[tuple[str, Any, int]] = [("", config, 0)]
    while stack:
        name, value, depth = stack.pop()
        if depth > _MAX_DEPTH:
            raise CheckpointError(f"{path}: nested more than {_MAX_DEPTH} deep")
        if name in _FOREIGN and value is not None:
            raise CheckpointError(f"{path}: {name} is refused: it may fetch or run code")
        if isinstance(value, dict):
            stack.extend((str(key), item, depth + 1) for key, item in value.items())
        elif isinstance(value, list):
            stack.extend((name, item, depth + 1) for item in value)
        elif isinstance(value, int) and not ("theta" in name or "base" in name):
            few = any(word in name for word in ("layers", "heads", "groups", "labels", "experts"))
            if abs(value) > (_MAX_COUNT if few else _MAX_SIZE):
                raise CheckpointError(f"{path}: {name} {value} is out of all proportion")


def check_weights(folder: Path) -> None:
    """Refuse a stock checkpoint whose `config.json` describes far more weights than it has.

    transformers would allocate and fill what is missing before it says so. The model is built on
    torch's `meta` device to be counted, which takes no memory.

    Raises:
        CheckpointError: If it is such a checkpoint, or no usable one.
    """
    import torch
    from safetensors import SafetensorError, safe_open
    from transformers import AutoConfig, AutoModelForSequenceClassification

    check_config(folder)
    path = folder / WEIGHTS_FILE
    try:
        with safe_open(path, "pt") as tensors:
            stored = sum(
                math.prod(tensors.get_slice(name).get_shape())
                for name in tensors.keys()  # noqa: SIM118
            )
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path}: not usable safetensors: {error}") from error
    try:
        config = AutoConfig.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
    except Exception as error:  # unknown architectures, settings that do not fit: any type
        raise CheckpointError(f"{folder}: transformers cannot load it: {error}") from error
    described = sum(parameter.numel() for parameter in model.parameters())
    if described > 2 * stored + _MAX_SIZE:
        raise CheckpointError(
            f"{folder}: {CONFIG_FILE} describes {described:,} weights, {WEIGHTS_FILE} has {stored:,}"
        )
