"""Answers of a local transformers model, batch by batch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scorer.collect.answer import Answer, failed, finished
from scorer.collect.prompts import Item
from scorer.collect.run import Sampling
from scorer.errors import MissingExtraError, ScorerError
from scorer.inference.engines import compute_dtype, torch_device

DTYPES = ("auto", "float32", "bfloat16", "float16")

_SAMPLES = 64  # places of a weights file that its fingerprint reads
_SAMPLE_BYTES = 1 << 16
_WEIGHTS = (".safetensors", ".bin")
_DEFAULT_MAX_TOKENS = 2048
_TAG_TOKENS = 16  # of a prompt's end, in which <think> and a line feed have room


class LocalModel:
    """A causal language model with a chat template, on this machine.

    Args:
        path: Folder or hub id.
        sampling: What it is asked with. `extra` goes to the chat template, e.g.
            `{"enable_thinking": false}`. Without a temperature of 0, the seed gives the same
            answers for the same batches alone, so not after an interruption.
        name: What the model is called; the folder's name if None.
        adapter: Folder or hub id of a LoRA adapter.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        dtype: One of `DTYPES`; `auto` is fp32 on CPUs and half precision on GPUs.
        batch_size: Prompts at once; halved by itself where a GPU's memory does not suffice.

    Raises:
        ValueError: If the device or dtype is unknown.
        ScorerError: If the model cannot be loaded, has no chat template, or the device is missing.
        MissingExtraError: If torch, transformers or peft is not installed.
    """

    def __init__(
        self,
        path: str,
        sampling: Sampling,
        *,
        name: str | None = None,
        adapter: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        batch_size: int = 8,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype {dtype!r} must be one of {', '.join(DTYPES)}")
        try:
            import torch
            import transformers
        except ModuleNotFoundError as error:
            raise MissingExtraError("A local model", "gpu", str(error.name)) from error
        self._torch = torch
        self.sampling = sampling
        self.packages: Sequence[str] = ("torch", "transformers", *(["peft"] if adapter else []))
        self._path, self._adapter = path, adapter
        self._name = name or Path(path).resolve().name
        self._wanted_dtype, self._batch_size = dtype, batch_size
        self._device = torch_device(device)
        try:
            self._tokenizer: Any = transformers.AutoTokenizer.from_pretrained(path)
            model: Any = transformers.AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise ScorerError(f"{path}: transformers cannot load it: {error}") from error
        if self._tokenizer.chat_template is None:
            raise ScorerError(
                f"{path}: has no chat template, so that nothing says how to ask it; "
                "put a chat_template.jinja beside its tokenizer"
            )
        if adapter is not None:
            model = _with_adapter(model, adapter)
        self._dtype = getattr(torch, dtype, None) or compute_dtype(self._device, model.dtype)
        self._model = model.to(device=self._device, dtype=self._dtype).eval()
        self._tokenizer.padding_side = "left"  # so that what is generated follows the prompt
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._end_tokens = _end_tokens(self._model.generation_config, self._tokenizer)
        self._window: int | None = getattr(model.config, "max_position_embeddings", None)

    def settings(self) -> dict[str, Any]:
        """Return the model, its adapter and what identifies the files of both."""
        return {
            "backend": "local",
            "model": self._name,
            "path": self._path,
            "fingerprint": fingerprint(self._path),
            "adapter": self._adapter,
            "adapter_fingerprint": fingerprint(self._adapter) if self._adapter else None,
            "dtype": self._wanted_dtype,
        }

    def run_details(self) -> dict[str, Any]:
        """Return device, precision and batch size."""
        return {
            "device": self._device,
            "dtype": str(self._dtype).removeprefix("torch."),
            "batch_size": self._batch_size,
        }

    def ask(self, items: Sequence[Item], on_answer: Callable[[Item, Answer], None]) -> None:
        """Ask the prompts, a batch after the other, and hand over each answer.

        Raises:
            ScorerError: If the chat template cannot take the messages.
        """
        for start in range(0, len(items), self._batch_size):
            batch = items[start : start + self._batch_size]
            if self.sampling.seed is not None:
                self._torch.manual_seed(self.sampling.seed + start)
            for item, answer in zip(batch, self._answers(batch), strict=True):
                on_answer(item, answer)

    def _answers(self, batch: Sequence[Item]) -> list[Answer]:
        """Return the answers of a batch, halving it where the GPU's memory does not suffice."""
        try:
            return self._generate(batch)
        except self._torch.cuda.OutOfMemoryError:
            if len(batch) == 1:
                return [failed("out of memory", "the prompt alone fills the GPU's memory")]
        self._torch.cuda.empty_cache()
        half = len(batch) // 2
        return self._answers(batch[:half]) + self._answers(batch[half:])

    def _generate(self, batch: Sequence[Item]) -> list[Answer]:
        inputs = self._encode(batch).to(self._device)
        length = inputs["input_ids"].shape[1]
        wanted = self.sampling.max_tokens or _DEFAULT_MAX_TOKENS
        room = wanted if self._window is None else min(wanted, self._window - length)
        if room < 1:
            return self._one_by_one(batch)
        with self._torch.inference_mode():
            sequences = self._model.generate(
                **inputs,
                max_new_tokens=room,
                pad_token_id=self._tokenizer.pad_token_id,
                **self._generation_options(),
            )
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        ends = self._tokenizer.batch_decode(inputs["input_ids"][:, -_TAG_TOKENS:])
        return [
            self._answer(sequence, asked, thinking=end.rstrip().endswith("<think>"))
            for sequence, asked, end in zip(
                sequences[:, length:].tolist(), lengths, ends, strict=True
            )
        ]

    def _one_by_one(self, batch: Sequence[Item]) -> list[Answer]:
        """Return the answers of a batch whose longest prompt leaves no room for an answer."""
        if len(batch) == 1:
            return [failed("too long", f"the prompt fills the model's {self._window} tokens")]
        return [answer for item in batch for answer in self._generate([item])]

    def _encode(self, batch: Sequence[Item]) -> Any:
        try:
            return self._tokenizer.apply_chat_template(
                [self.sampling.messages(item.prompt) for item in batch],
                add_generation_prompt=True,
                padding=True,
                return_dict=True,
                return_tensors="pt",
                # A prompt that contains e.g. <|im_end|> means its text. Versions of transformers
                # without this argument take it for a variable of the template.
                sanitize_control_tokens=True,
                **self.sampling.extra,
            )
        except Exception as error:  # whatever a template raises, e.g. about a system prompt
            raise ScorerError(f"{self._path}: the chat template fails: {error}") from error

    def _generation_options(self) -> Mapping[str, Any]:
        """Return the arguments of sampling; what is left out stays as the model's files say."""
        sampling = self.sampling
        if sampling.temperature == 0:
            # The model's own top_p and the like mean nothing here, and would be warned about.
            return {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        options = {"temperature": sampling.temperature, "top_p": sampling.top_p}
        given = {name: value for name, value in options.items() if value is not None}
        return {"do_sample": True, **given} if given else {}

    def _answer(self, tokens: list[int], asked: int, thinking: bool = False) -> Answer:
        """Return the answer of generated tokens, which are padded after their end."""
        ends = [place for place, token in enumerate(tokens) if token in self._end_tokens]
        written = tokens[: ends[0]] if ends else tokens
        text = self._tokenizer.decode(written, skip_special_tokens=True)
        count = len(written) + bool(ends)
        reason = "stop" if ends else "length"
        return finished(text, reason, None, thinking=thinking, tokens=(asked, count))


def _with_adapter(model: Any, adapter: str) -> Any:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise MissingExtraError("A LoRA adapter", "train", str(error.name)) from error
    try:
        return peft.PeftModel.from_pretrained(model, adapter)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise ScorerError(f"{adapter}: peft cannot load it onto the model: {error}") from error


def _end_tokens(generation_config: Any, tokenizer: Any) -> set[int]:
    ends = generation_config.eos_token_id
    if ends is None:
        ends = tokenizer.eos_token_id
    return set(ends) if isinstance(ends, list) else {ends}


def fingerprint(path: str) -> str | None:
    """Return a digest of a model folder's files, so that other weights under its name are noticed.

    Small files count whole. Weights may be hundreds of gigabytes: of those, size and evenly spaced
    samples count, since training changes nearly every place.

    Returns:
        SHA-256 in hex; None for a hub id, which names its files itself.
    """
    folder = Path(path)
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        if file.suffix in (".json", ".jinja", *_WEIGHTS):
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            for sample in _samples(file):
                digest.update(sample)
    return digest.hexdigest()


def _samples(file: Path) -> list[bytes]:
    size = file.stat().st_size
    if size <= _SAMPLES * _SAMPLE_BYTES or file.suffix not in _WEIGHTS:
        return [file.read_bytes()]
    with file.open("rb") as stream:
        samples = []
        for number in range(_SAMPLES):
            stream.seek(number * (size - _SAMPLE_BYTES) // (_SAMPLES - 1))
            samples.append(stream.read(_SAMPLE_BYTES))
        return samples
