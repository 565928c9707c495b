"""Token arrays in, logits out: ONNX Runtime on CPUs, torch on GPUs; nothing else differs."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import logging
import math
import os
import platform
import re
import shutil
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from scorer.checkpoint import CONFIG_FILE, ONNX_FILE, WEIGHTS_FILE
from scorer.errors import CheckpointError, MissingExtraError, ScorerError
from scorer.inference.batching import WINDOW_ROWS
from scorer.inference.untrusted import check_onnx, check_weights

_log = logging.getLogger(__name__)

ENGINES = ("auto", "onnx", "torch")

DISABLED_OPTIMIZERS = ("BiasGeluFusion",)
"""Of ONNX Runtime: what it makes is slower than the two operators that it fuses."""

_MEMORY = re.compile(r"OutOfMemory|out of memory|ALLOC_FAILED|not enough memory", re.IGNORECASE)
_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d+)?")
# What stays in the caches is fastest: with a small encoder 4,096 tokens at a time are a tenth slower
# than 1,024, and 16,384 two fifths, with five times the memory.
_CPU_TOKENS = 1024
# Enough to keep a GPU busy; rows of a batch differ more in length, and so waste more on padding,
# the larger a share of the window it is.
_GPU_TOKENS = 32768
_GPU_WINDOW_ROWS = 16384


class Engine(Protocol):
    """A loaded model.

    Attributes:
        device: Where it runs, e.g. `cpu`, `cuda:0`.
        token_budget: Tokens of a batch that suit the device, padding included.
        same_length: Whether batches should hold rows of one length.
        streams: Batches that should run side by side, each called from a thread of its own.
        window_rows: Rows that should be sorted by length together.
    """

    device: str
    token_budget: int
    same_length: bool
    streams: int
    window_rows: int

    def logits(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        token_type_ids: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return the logits of a padded batch: (B, L) each in, (B, T) out."""
        ...


@dataclass(frozen=True)
class Choice:
    """Which engine runs where, and why."""

    engine: str
    device: str
    reason: str

    @property
    def files(self) -> tuple[str, ...]:
        """Files of the checkpoint that the engine loads."""
        return (ONNX_FILE,) if self.engine == "onnx" else (WEIGHTS_FILE, CONFIG_FILE)


def choose_engine(engine: str, device: str, folder: Path) -> Choice:
    """Return the engine and device for a checkpoint folder.

    Without a wish it is torch where a GPU, torch and the safetensors weights are at hand, else ONNX
    on the CPU. torch is imported only where it may be chosen: that alone takes seconds.

    Args:
        engine: `auto`, `onnx` or `torch`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        folder: The checkpoint.

    Raises:
        ValueError: If a name is unknown, or the ONNX engine is asked for on a GPU.
        MissingExtraError: If torch or transformers is needed and not installed.
        CheckpointError: If the checkpoint lacks the file that the engine reads.
        ScorerError: If the device is not there.
    """
    if engine not in ENGINES:
        raise ValueError(f"engine {engine!r} must be one of {', '.join(ENGINES)}")
    _check_name(device)
    on_gpu = device.startswith(("cuda", "mps"))
    if engine == "onnx" and on_gpu:
        raise ValueError(f"the onnx engine runs on the cpu, not on {device}; leave engine at auto")
    choice = _choose(engine, device, on_gpu, folder)
    needed = ONNX_FILE if choice.engine == "onnx" else WEIGHTS_FILE
    if not (folder / needed).is_file():
        raise CheckpointError(f"{folder}: the {choice.engine} engine needs {needed}")
    return choice


def _choose(engine: str, device: str, on_gpu: bool, folder: Path) -> Choice:
    if engine == "onnx":
        return Choice("onnx", "cpu", "the onnx engine was asked for")
    if engine == "torch" or on_gpu:
        _require_torch()
        wish = f"{device} was asked for" if on_gpu else "the torch engine was asked for"
        return Choice("torch", torch_device(device), wish)
    if not (folder / ONNX_FILE).is_file() and (folder / WEIGHTS_FILE).is_file():
        _require_torch()
        return Choice("torch", torch_device(device), f"the checkpoint has no {ONNX_FILE}")
    if device == "cpu":
        return Choice("onnx", "cpu", "the fastest on cpu, which was asked for")
    if not _gpu_in_sight():
        return Choice("onnx", "cpu", "no GPU in sight")
    if missing := _missing_torch():
        return Choice("onnx", "cpu", f"a GPU, but {missing} is not installed")
    if not (folder / WEIGHTS_FILE).is_file():
        return Choice("onnx", "cpu", f"a GPU, but the checkpoint has no {WEIGHTS_FILE}")
    found = torch_device("auto")
    if found == "cpu":
        return Choice("onnx", "cpu", "a GPU, but this torch cannot use it")
    return Choice("torch", found, f"torch sees {found}")


def _gpu_in_sight() -> bool:
    """Tell cheaply whether a GPU may be here, so that torch is imported only where it may be."""
    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return (
        Path("/dev/nvidia0").exists()
        or Path("/dev/kfd").exists()  # AMD's ROCm, which torch calls cuda too
        or shutil.which("nvidia-smi") is not None
    )


def _missing_torch() -> str | None:
    for package in ("torch", "transformers"):
        if importlib.util.find_spec(package) is None:
            return package
    return None


def _require_torch() -> None:
    if missing := _missing_torch():
        raise MissingExtraError("The torch engine", "gpu", missing)


def _check_name(device: str) -> None:
    if not _DEVICE.fullmatch(device):
        raise ValueError(f"device {device!r} must be auto, cpu, cuda, cuda:N or mps")


def torch_device(device: str) -> str:
    """Return the device that torch runs on, after a look at whether it is there.

    Args:
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        ValueError: If the name is unknown.
        ScorerError: If the device is not there.
    """
    _check_name(device)
    import torch

    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    mps = torch.backends.mps.is_available()
    if device == "auto":
        return "cuda:0" if gpus else "mps" if mps else "cpu"
    if device.startswith("cuda"):
        number = int(device.partition(":")[2] or 0)
        if number >= gpus:
            raise ScorerError(f"device {device} was asked for, but torch sees {gpus} CUDA GPUs")
        return f"cuda:{number}"
    if device == "mps" and not mps:
        raise ScorerError("device mps was asked for, but torch cannot use it here")
    return device


def load_engine(choice: Choice, folder: Path, threads: int | None = None) -> Engine:
    """Return the chosen engine, loaded.

    Raises:
        CheckpointError: If the weights cannot be loaded.
    """
    if choice.engine == "onnx":
        return OnnxEngine(folder, threads)
    return TorchEngine(folder, choice.device, threads)


class OnnxEngine:
    """ONNX Runtime on the CPU.

    Every batch runs on one core, and as many side by side as there are threads: cores that share a
    batch wait for one another at every layer. The graph takes rows without padding, so a row's
    logits are the same in any company.

    Args:
        folder: A checkpoint folder with `model.int8.onnx`.
        threads: CPU threads; None for as many as the process may use.

    Raises:
        CheckpointError: If the file is missing or no usable model.
    """

    def __init__(self, folder: Path, threads: int | None = None) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors; its warnings are about the graph, not for users
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        path = folder / ONNX_FILE
        check_onnx(path)
        try:
            self._session = onnxruntime.InferenceSession(
                str(path),
                options,
                providers=["CPUExecutionProvider"],
                disabled_optimizers=list(DISABLED_OPTIMIZERS),
            )
        except Exception as error:  # its exceptions have no base of their own
            raise CheckpointError(f"{path}: not a usable ONNX model: {error}") from error
        # Models without segments have no token_type_ids.
        self._inputs = [node.name for node in self._session.get_inputs()]
        unknown = set(self._inputs) - {"input_ids", "attention_mask", "token_type_ids"}
        if unknown:
            raise CheckpointError(f"{path}: unknown inputs {sorted(unknown)}")
        self.device = "cpu"
        self.token_budget = _CPU_TOKENS
        self.same_length = True
        self.streams = threads or _usable_cores()
        self.window_rows = WINDOW_ROWS

    def logits(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        token_type_ids: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return the logits of a batch: (B, L) each in, (B, T) out; padding is on the right."""
        lengths = attention_mask.sum(axis=1)
        if "attention_mask" in self._inputs or (lengths == input_ids.shape[1]).all():
            return self._run(input_ids, attention_mask, token_type_ids)
        logits = [
            self._run(
                *(array[[row], :length] for array in (input_ids, attention_mask, token_type_ids))
            )
            for row, length in enumerate(lengths)
        ]
        return np.concatenate(logits)

    def _run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        token_type_ids: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        arrays = {
            "input_ids": input_ids,
            "attention_mask": attention_mask,
            "token_type_ids": token_type_ids,
        }
        try:
            (output,) = self._session.run(None, {name: arrays[name] for name in self._inputs})
        except Exception as error:  # its exceptions have no base of their own
            raise CheckpointError(f"{ONNX_FILE} cannot be run: {error}") from error
        return np.asarray(output, dtype=np.float32)


def _usable_cores(quota: Path = Path("/sys/fs/cgroup/cpu.max")) -> int:
    """Return the cores that this process may use: those it is confined to, within its quota.

    Args:
        quota: Linux control groups' file of a container's CPU time, `MICROSECONDS PERIOD` or `max
            PERIOD`.
    """
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):
        time, period = quota.read_text(encoding="ascii").split()
        cores = min(cores, math.ceil(int(time) / int(period)))
    return max(1, cores)


class TorchEngine:
    """torch on a GPU or the CPU, from the stock transformers checkpoint.

    Args:
        folder: A checkpoint folder with `model.safetensors` and `config.json`.
        device: `cpu`, `mps`, `cuda` or `cuda:N`.
        threads: CPU threads; None leaves torch as it is.
        full_precision: Compute in fp32 wherever it runs; else in what suits the device.

    Raises:
        CheckpointError: If the weights are missing or cannot be loaded.
    """

    def __init__(
        self,
        folder: Path,
        device: str,
        threads: int | None = None,
        *,
        full_precision: bool = False,
    ) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging

        if threads is not None:
            torch.set_num_threads(threads)
        check_weights(folder)
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model: Any
            model, info = AutoModelForSequenceClassification.from_pretrained(
                str(folder),
                dtype="auto",
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
        except Exception as error:  # missing keys, wrong shapes, unknown architectures: any type
            raise CheckpointError(f"{folder}: transformers cannot load it: {error}") from error
        finally:
            if bars:
                logging.enable_progress_bar()
        if info["missing_keys"]:
            # transformers would fill them with random numbers and only warn.
            raise CheckpointError(f"{folder / WEIGHTS_FILE} lacks {sorted(info['missing_keys'])}")
        dtype = torch.float32 if full_precision else compute_dtype(device, model.dtype)
        try:
            self._model = model.to(device=device, dtype=dtype).eval()
        except RuntimeError as error:
            raise ScorerError(f"{device} cannot take the model: {error}") from error
        self._takes_types = "token_type_ids" in inspect.signature(model.forward).parameters
        self._torch = torch
        self.device = device
        self._pins = device.startswith("cuda")
        self.token_budget = _CPU_TOKENS if device == "cpu" else _GPU_TOKENS
        self.same_length = False
        # Of two batches one is made ready and copied while the device works on the other.
        self.streams = 2 if self._pins else 1
        self._running = threading.Semaphore(self.streams)
        self._alone = threading.Lock()
        self.window_rows = WINDOW_ROWS if device == "cpu" else _GPU_WINDOW_ROWS
        self._most_cells: int | None = None  # rows x length that fit; None while all have

    def logits(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        token_type_ids: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        """Return the logits of a padded batch: (B, L) each in, (B, T) out.

        A batch that the device has no memory for beside another is tried again by itself; if it is
        too large even so, it goes in halves, and so does every later one of its size.

        Raises:
            ScorerError: If the device has no memory for a single row.
        """
        rows = len(input_ids)
        if self._most_cells is None or rows == 1 or input_ids.size <= self._most_cells:
            ways: list[contextlib.AbstractContextManager[object]] = [self._running]
            if self.streams > 1:
                ways.append(self._by_itself())
            for room in ways:
                try:
                    with room:
                        return self._run(input_ids, attention_mask, token_type_ids)
                except RuntimeError as error:
                    # torch.OutOfMemoryError is one; others say it in words.
                    if not _MEMORY.search(f"{type(error).__name__} {error}"):
                        raise ScorerError(f"{self.device} failed: {error}") from error
            if rows == 1:
                raise ScorerError(
                    f"{self.device} has no memory for one row of {input_ids.shape[1]} tokens"
                )
            self._most_cells = min(input_ids.size // 2, self._most_cells or input_ids.size)
            _log.warning(
                "%s is out of memory: batches of %d tokens at most from here on",
                self.device,
                self._most_cells,
            )
        halves = (slice(rows // 2), slice(rows // 2, None))
        return np.concatenate(
            [
                self.logits(input_ids[half], attention_mask[half], token_type_ids[half])
                for half in halves
            ]
        )

    @contextlib.contextmanager
    def _by_itself(self) -> Iterator[None]:
        """Wait until no other batch is under way, and keep it so."""
        with self._alone, contextlib.ExitStack() as stack:  # one at a time takes every place
            for _ in range(self.streams):
                stack.enter_context(self._running)
            if self.device.startswith("cuda"):
                self._torch.cuda.empty_cache()
            yield

    def _run(
        self,
        input_ids: NDArray[np.int64],
        attention_mask: NDArray[np.int64],
        token_type_ids: NDArray[np.int64],
    ) -> NDArray[np.float32]:
        arrays = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._takes_types:
            arrays["token_type_ids"] = token_type_ids
        tensors = {name: self._on_device(array) for name, array in arrays.items()}
        with self._torch.inference_mode():
            output = self._model(**tensors).logits.float().cpu().numpy()
        return np.asarray(output, dtype=np.float32)

    def _on_device(self, array: NDArray[np.int64]) -> Any:
        tensor = self._torch.from_numpy(array)
        if self._pins:  # only pinned memory is copied while the program goes on
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def compute_dtype(device: str, stored: Any) -> Any:
    """Return the precision to compute in.

    CPUs compute half precision slowly, so it is fp32 there. On a GPU a half-precision checkpoint
    stays what it is; fp32 weights become bf16 where CUDA has it (fp16 is more exact, but large
    models overflow it), else fp16, and stay fp32 on Apple's.
    """
    import torch

    if device == "cpu":
        return torch.float32
    if stored in (torch.float16, torch.bfloat16) or device == "mps":
        return stored
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
