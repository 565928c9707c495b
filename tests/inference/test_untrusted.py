from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from scorer.api import Scorer
from scorer.checkpoint import (
    CONFIG_FILE,
    ONNX_FILE,
    SETTINGS_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    read_settings,
    verify,
    write_settings,
)
from scorer.errors import CheckpointError
from scorer.inference.engines import OnnxEngine
from scorer.inference.untrusted import check_config, check_onnx, check_weights


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def listed(folder: Path) -> list[str]:
    return list(json.loads((folder / SETTINGS_FILE).read_text("utf-8"))["files"])


def signed(folder: Path) -> None:
    """Hash what is there, as whoever makes a bad checkpoint can."""
    write_settings(folder, read_settings_unchecked(folder), listed(folder))


def read_settings_unchecked(folder: Path) -> Any:
    content = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
    content["files"] = {}
    (folder / "copy").mkdir()
    (folder / "copy" / SETTINGS_FILE).write_text(json.dumps(content), "utf-8")
    settings = read_settings(folder / "copy")
    shutil.rmtree(folder / "copy")
    return settings


def test_a_whole_checkpoint_is_taken(folder: Path) -> None:
    verify(folder, listed(folder))
    check_onnx(folder / ONNX_FILE)
    check_weights(folder)


@pytest.mark.parametrize("name", [ONNX_FILE, TOKENIZER_FILE])
def test_one_changed_byte_is_refused(name: str, folder: Path) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(CheckpointError, match=f"{name}: SHA-256 .* the file was changed"):
        Scorer.load(folder, device="cpu")


def test_changed_weights_are_refused_where_they_are_used(folder: Path) -> None:
    data = bytearray((folder / WEIGHTS_FILE).read_bytes())
    data[-1] ^= 1
    (folder / WEIGHTS_FILE).write_bytes(data)
    Scorer.load(folder, device="cpu", engine="onnx")
    with pytest.raises(CheckpointError, match=f"{WEIGHTS_FILE}: SHA-256"):
        Scorer.load(folder, device="cpu", engine="torch")


def test_what_is_loaded_must_be_listed_with_its_hash(folder: Path) -> None:
    content = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
    entry = content["files"].pop(TOKENIZER_FILE)
    (folder / SETTINGS_FILE).write_text(json.dumps(content), "utf-8")
    with pytest.raises(CheckpointError, match=r"scorer\.json does not list it"):
        Scorer.load(folder, device="cpu")
    content["files"][TOKENIZER_FILE] = {"bytes": entry["bytes"]}
    (folder / SETTINGS_FILE).write_text(json.dumps(content), "utf-8")
    with pytest.raises(CheckpointError, match="sha256"):
        Scorer.load(folder, device="cpu")


@pytest.mark.parametrize(
    "name", ["x.py", "pytorch_model.bin", "a.PKL", "w.pt", "adapter_config.json", "lib.so"]
)
def test_code_pickles_and_adapters_are_refused(name: str, folder: Path) -> None:
    (folder / name).write_bytes(b"raise SystemExit")
    with pytest.raises(CheckpointError, match="holds no code, pickle or adapter"):
        Scorer.load(folder, device="cpu")


@pytest.mark.parametrize(
    "name", ["../x", "/etc/passwd", "a/b", "..", ".", "", "C:x", "a\\b", "a\0b"]
)
def test_names_stay_in_the_folder(name: str, folder: Path) -> None:
    content = json.loads((folder / SETTINGS_FILE).read_text("utf-8"))
    content["files"][name] = content["files"][TOKENIZER_FILE]
    (folder / SETTINGS_FILE).write_text(json.dumps(content), "utf-8")
    with pytest.raises(CheckpointError, match="leaves the folder"):
        read_settings(folder)


def test_links_stay_in_the_folder(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside.json"
    (folder / TOKENIZER_FILE).rename(outside)
    (folder / TOKENIZER_FILE).symlink_to(outside)
    with pytest.raises(CheckpointError, match="a link out of the folder"):
        Scorer.load(folder, device="cpu")
    # The hub's cache is made of links; they go beside its snapshots, and those are fine.
    snapshot, blobs = tmp_path / "models--x/snapshots/abc", tmp_path / "models--x/blobs"
    shutil.copytree(folder, snapshot)
    blobs.mkdir()
    outside.rename(blobs / "123")
    (snapshot / TOKENIZER_FILE).unlink()
    (snapshot / TOKENIZER_FILE).symlink_to("../../blobs/123")
    Scorer.load(snapshot, device="cpu")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_no_file(folder: Path) -> None:
    (folder / TOKENIZER_FILE).unlink()
    os.mkfifo(folder / TOKENIZER_FILE)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is missing"):
        Scorer.load(folder, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auto_map": {"AutoModel": "x.Y"}}, "auto_map is refused"),
        ({"text_config": {"quantization_config": {}}}, "quantization_config is refused"),
        ({"attn_implementation": "someone/kernel"}, "attn_implementation is refused"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers 1000000 is out of all proportion"),
        ({"vocab_size": 10**9}, "vocab_size 1000000000 is out"),
        ({"num_labels": 10**5}, "num_labels 100000 is out"),
        ({"vocab_size": 10**7, "hidden_size": 4096}, "describes .* weights"),
        ({"intermediate_size": 2**23}, "describes .* weights"),
        ({"model_type": "none-such"}, "transformers cannot load it"),
    ],
)
def test_absurd_or_foreign_configs_are_refused_before_memory_is_taken(
    changes: dict[str, Any], message: str, folder: Path
) -> None:
    path = folder / CONFIG_FILE
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    signed(folder)
    with pytest.raises(CheckpointError, match=message):
        Scorer.load(folder, device="cpu", engine="torch")


def test_configs_that_are_no_settings(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is missing"):
        check_config(tmp_path)
    for content in (b"[]", b"\xff", b"{", b"[" * 100_000, b'{"a":' * 50 + b"1" + b"}" * 50):
        (tmp_path / CONFIG_FILE).write_bytes(content)
        with pytest.raises(CheckpointError, match=CONFIG_FILE):
            check_config(tmp_path)
    (tmp_path / CONFIG_FILE).write_bytes(b" " * (2 << 20))
    with pytest.raises(CheckpointError, match="larger than"):
        check_config(tmp_path)


def graph(*nodes: onnx.NodeProto, weights: tuple[TensorProto, ...] = ()) -> onnx.ModelProto:
    inputs = [helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["b", "l"])]
    outputs = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("elsewhere", 1)]
    made = helper.make_graph(list(nodes), "g", inputs, outputs, initializer=list(weights))
    return helper.make_model(made, opset_imports=opsets, ir_version=9)


CAST = helper.make_node("Cast", ["input_ids"], ["logits"], to=TensorProto.FLOAT)


def external() -> TensorProto:
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2])
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "../../etc/passwd"
    return tensor


def huge() -> TensorProto:
    return TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1 << 40, 8], raw_data=b"1234")


def foreign() -> onnx.NodeProto:
    return helper.make_node("Anything", ["input_ids"], ["logits"], domain="elsewhere")


def inside(node: onnx.NodeProto) -> onnx.NodeProto:
    """Hide a node in the branch of another."""
    out = [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)]
    branch = helper.make_graph([node], "branch", [], out)
    return helper.make_node("If", ["c"], ["logits"], then_branch=branch)


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], value=tensor)


BAD_GRAPHS: dict[str, tuple[onnx.ModelProto, str]] = {
    "external data": (graph(CAST, weights=(external(),)), "weights in another file"),
    "external data in a constant": (graph(CAST, constant(external())), "weights in another file"),
    "external data in a branch": (graph(inside(constant(external()))), "weights in another file"),
    "huge": (graph(CAST, weights=(huge(),)), "8796093022208 elements in"),
    "custom operator": (graph(foreign()), "operator 'Anything' of 'elsewhere'"),
    "custom operator in a branch": (graph(inside(foreign())), "operator 'Anything'"),
}


@pytest.mark.parametrize("name", BAD_GRAPHS)
def test_graphs_that_reach_out_are_refused(name: str, tmp_path: Path) -> None:
    model, message = BAD_GRAPHS[name]
    (tmp_path / ONNX_FILE).write_bytes(model.SerializeToString())
    with pytest.raises(CheckpointError, match=message):
        OnnxEngine(tmp_path)


def test_graphs_nested_without_end_are_refused(tmp_path: Path) -> None:
    node = CAST
    for _ in range(25):
        node = inside(node)
    (tmp_path / ONNX_FILE).write_bytes(graph(node).SerializeToString())
    with pytest.raises(CheckpointError, match="nested more than"):
        check_onnx(tmp_path / ONNX_FILE)


def test_weights_of_every_form_are_taken(tmp_path: Path) -> None:
    weights = (
        numpy_helper.from_array(np.ones((3, 4), np.float32), "a"),
        helper.make_tensor("b", TensorProto.INT64, [300], [0] * 300),
        helper.make_tensor("c", TensorProto.INT4, [9], [1] * 9),
        helper.make_tensor("d", TensorProto.FLOAT, [], [1.0]),
    )
    (tmp_path / ONNX_FILE).write_bytes(graph(CAST, weights=weights).SerializeToString())
    check_onnx(tmp_path / ONNX_FILE)


def test_a_model_that_fails_while_it_runs_is_an_error_of_the_checkpoint(tmp_path: Path) -> None:
    table = numpy_helper.from_array(np.ones((3, 4), np.float32), "table")
    node = helper.make_node("Gather", ["table", "input_ids"], ["logits"])
    (tmp_path / ONNX_FILE).write_bytes(graph(node, weights=(table,)).SerializeToString())
    ids = np.array([[99]])
    with pytest.raises(CheckpointError, match="cannot be run"):
        OnnxEngine(tmp_path).logits(ids, ids, ids)


SMALL = graph(CAST, constant(numpy_helper.from_array(np.ones(3, np.float32)))).SerializeToString()


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_any_bytes_are_an_onnx_file_or_a_checkpoint_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzzed.onnx"
    raw = bytearray(SMALL)
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
        raw = raw or bytearray(b"\0")
    path.write_bytes(data.draw(st.just(bytes(raw)) | st.binary(max_size=60)))
    try:
        check_onnx(path)
    except CheckpointError as error:
        assert "not a usable ONNX model" in str(error)  # noqa: PT017 - one of two outcomes


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


def places(value: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the way to every value within a JSON value."""
    items: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        items = list(value.items())
    elif isinstance(value, list):
        items = list(enumerate(value))
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


@settings(
    deadline=None, max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_settings_are_read_or_a_checkpoint_error(
    data: st.DataObject, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    content = json.loads((tiny_checkpoint / SETTINGS_FILE).read_text("utf-8"))
    content["files"] = {}
    place = data.draw(st.sampled_from(places(content)))
    value = data.draw(VALUES)
    if place:
        within = content
        for key in place[:-1]:
            within = within[key]
        within[place[-1]] = value
    else:
        content = value
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(content), "utf-8")
    try:
        read = read_settings(tmp_path)
    except CheckpointError:
        return
    assert 16 <= read.encoding.max_length <= 1 << 20
    assert all(isinstance(level, int) for item in read.dimensions for level in item.levels)


@pytest.fixture
def loads(folder: Path) -> Callable[[str, bytes], None]:
    """Load a checkpoint one of whose files is other bytes, properly hashed."""

    def load(name: str, content: bytes) -> None:
        (folder / name).write_bytes(content)
        signed(folder)
        Scorer.load(folder, device="cpu").score("你好", "你好！")

    return load


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"null", b"\xff", b'{"model": {"type": "BPE"}}', b"[" * 10_000],
)
def test_a_tokenizer_that_is_none_is_a_checkpoint_error(
    content: bytes, loads: Callable[[str, bytes], None]
) -> None:
    with pytest.raises(CheckpointError, match=TOKENIZER_FILE):
        loads(TOKENIZER_FILE, content)
