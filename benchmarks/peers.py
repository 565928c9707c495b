"""Engines that score a file of rows with one checkpoint's weights: ours, and what others would use.

Each is loaded by a function from (checkpoint, scratch folder) and then called with the path of the
rows and the path of the output: it reads, tokenises, computes and writes, as `scorer score` does.
The scratch folder keeps exported models from one process to the next.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rows import pairs_of

BATCH = 32  # of those that cut by rows, in file order
BUDGET = 1024  # tokens of a batch of those that cut by tokens

Pair = tuple[str, str]
Engine = Callable[[Path, Path], None]
Model = Callable[[dict[str, NDArray[np.int64]]], NDArray[np.float32]]


def ours(checkpoint: Path, scratch: Path) -> Engine:
    """Return what `scorer score` does, once the checkpoint is loaded."""
    from scorer import Scorer

    scorer = Scorer.load(checkpoint, device="cpu")

    def score(source: Path, target: Path) -> None:
        scorer.score_jsonl(source, target)

    return score


def pipeline(checkpoint: Path, scratch: Path) -> Engine:
    """Return transformers' text-classification pipeline: fp32, batches of 32 in file order."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    pipe = transformers.pipeline(
        "text-classification", model=str(checkpoint), device="cpu", dtype=torch.float32
    )

    def score(source: Path, target: Path) -> None:
        rows = [{"text": prompt, "text_pair": response} for prompt, response in pairs_of(source)]
        found = pipe(
            rows, batch_size=BATCH, top_k=None, function_to_apply="sigmoid", truncation=True
        )
        _write(target, found)

    return score


def cross_encoder(checkpoint: Path, scratch: Path) -> Engine:
    """Return sentence-transformers' CrossEncoder with its defaults."""
    import torch
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(checkpoint), device="cpu", model_kwargs={"dtype": torch.float32})

    def score(source: Path, target: Path) -> None:
        found = model.predict(pairs_of(source), batch_size=BATCH, show_progress_bar=False)
        _write(target, np.asarray(found).tolist())

    return score


def onnx_file_order(checkpoint: Path, scratch: Path) -> Engine:
    """Return ONNX Runtime's dynamic int8 in batches of 32, in file order."""
    return _batched(checkpoint, _session(_dynamic_int8(checkpoint, scratch)), by_tokens=False)


def onnx_sorted(checkpoint: Path, scratch: Path) -> Engine:
    """Return ONNX Runtime's dynamic int8, rows sorted by length and cut by tokens."""
    return _batched(checkpoint, _session(_dynamic_int8(checkpoint, scratch)), by_tokens=True)


def openvino_sorted(checkpoint: Path, scratch: Path) -> Engine:
    """Return OpenVINO in its own default precision, rows sorted by length and cut by tokens."""
    import openvino

    compiled = openvino.Core().compile_model(str(_fp32(checkpoint, scratch)), "CPU")
    request = compiled.create_infer_request()
    names = {port.any_name for port in compiled.inputs}

    def run(arrays: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        found = request.infer({name: arrays[name] for name in names})
        return np.asarray(found[0])

    return _batched(checkpoint, run, by_tokens=True)


def torch_int8_sorted(checkpoint: Path, scratch: Path) -> Engine:
    """Return torch's own dynamic int8, rows sorted by length and cut by tokens."""
    import warnings

    import torch
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is called deprecated in favour of another package
        quantised = torch.ao.quantization.quantize_dynamic(
            model.eval(), {torch.nn.Linear}, dtype=torch.qint8
        )

    def run(arrays: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        with torch.inference_mode():
            tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
            return np.asarray(quantised(**tensors).logits.numpy())

    return _batched(checkpoint, run, by_tokens=True)


ENGINES: dict[str, Callable[[Path, Path], Engine]] = {
    "ours": ours,
    "transformers pipeline, batch 32": pipeline,
    "CrossEncoder": cross_encoder,
    "ONNX Runtime int8, file order": onnx_file_order,
    "ONNX Runtime int8, sorted": onnx_sorted,
    "OpenVINO, sorted": openvino_sorted,
    "torch int8, sorted": torch_int8_sorted,
}


def prepare(checkpoint: Path, scratch: Path) -> None:
    """Export what peers read, so that no timed process has to."""
    _dynamic_int8(checkpoint, scratch)


def _fp32(checkpoint: Path, scratch: Path) -> Path:
    """Return the fp32 graph, exported once, with transformers' default attention and a mask."""
    import warnings

    import torch
    from transformers import AutoModelForSequenceClassification

    path = scratch / "fp32.onnx"
    if path.exists():
        return path
    model = AutoModelForSequenceClassification.from_pretrained(checkpoint, dtype=torch.float32)
    names = ["input_ids", "attention_mask", "token_type_ids"]

    class Logits(torch.nn.Module):
        def forward(self, *tensors: torch.Tensor) -> Any:
            return model(**dict(zip(names, tensors, strict=True))).logits

    ids = torch.ones((2, 8), dtype=torch.long)
    shape = {0: torch.export.Dim("batch"), 1: torch.export.Dim("length", max=512)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own insides
        torch.onnx.export(
            Logits().eval(),
            (ids, torch.ones_like(ids), torch.zeros_like(ids)),
            path,
            dynamo=True,
            input_names=names,
            output_names=["logits"],
            dynamic_shapes=((shape,) * 3,),
            external_data=False,
            verbose=False,
        )
    return path


def _dynamic_int8(checkpoint: Path, scratch: Path) -> Path:
    """Return ONNX Runtime's own dynamic quantisation of it, with a scale per channel."""
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    path = scratch / "int8.onnx"
    if path.exists():
        return path
    plain = onnx.load(_fp32(checkpoint, scratch))
    del plain.graph.value_info[:]  # the quantiser stumbles over the exporter's notes on shapes
    quantize_dynamic(plain, path, weight_type=QuantType.QInt8, per_channel=True)
    return path


def _session(path: Path) -> Model:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_inputs()]

    def run(arrays: dict[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        (found,) = session.run(None, {name: arrays[name] for name in names})
        return np.asarray(found)

    return run


def _batched(checkpoint: Path, model: Model, by_tokens: bool) -> Engine:
    """Return an engine that tokenises all rows, cuts them into padded batches and runs a model."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    tokenizer.enable_truncation(512, strategy="longest_first")
    pad_id = tokenizer.token_to_id("<pad>")

    def score(source: Path, target: Path) -> None:
        encoded = tokenizer.encode_batch_fast(pairs_of(source))
        ids = [row.ids for row in encoded]
        outputs: dict[int, list[float]] = {}
        for batch in _cut([len(row) for row in ids], by_tokens):
            shape = len(batch), max(len(ids[i]) for i in batch)
            tokens, mask = np.full(shape, pad_id, np.int64), np.zeros(shape, np.int64)
            for row, i in enumerate(batch):
                tokens[row, : len(ids[i])] = ids[i]
                mask[row, : len(ids[i])] = 1
            arrays = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": 0 * tokens}
            outputs.update(zip(batch, model(arrays).tolist(), strict=True))
        _write(target, [outputs[i] for i in range(len(ids))])

    return score


def _cut(lengths: Sequence[int], by_tokens: bool) -> Iterator[list[int]]:
    if not by_tokens:
        for start in range(0, len(lengths), BATCH):
            yield list(range(start, min(start + BATCH, len(lengths))))
        return
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    while start < len(order):
        stop = start + max(1, BUDGET // lengths[order[start]])
        yield order[start:stop]
        start = stop


def _write(target: Path, rows: Sequence[object]) -> None:
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    target.write_text("".join(lines), encoding="utf-8")
