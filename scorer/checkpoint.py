"""The checkpoint folder: which file lies where, and `scorer.json` beside the weights.

| file | what | read by |
|---|---|---|
| `scorer.json` | dimensions, targets with calibration and thresholds, encoding, file sizes and hashes | everyone |
| `tokenizer.json` | fast tokenizer | everyone |
| `model.int8.onnx` | int8 weights | the ONNX engine, on CPUs |
| `model.safetensors`, `config.json`, `tokenizer_config.json` | a stock sequence-classification checkpoint | the torch engine, transformers |
| `seen_tokens.bits` | one bit per token id, lowest first: whether training rows had it | everyone |
| `metrics.json`, `README.md` | measured figures and the card rendered from them | people |
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scorer.dimensions import Dimension, target_names
from scorer.errors import CheckpointError

FORMAT = 2
SETTINGS_FILE = "scorer.json"
TOKENIZER_FILE = "tokenizer.json"
ONNX_FILE = "model.int8.onnx"
WEIGHTS_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"
METRICS_FILE = "metrics.json"
CARD_FILE = "README.md"
SEEN_FILE = "seen_tokens.bits"

PURPOSES = ("balanced", "strict", "lenient")


@dataclass(frozen=True)
class EncodingSettings:
    """How a pair becomes tokens.

    Attributes:
        max_length: Tokens of a pair at most, special tokens included.
        prompt_share: Share of the room that the prompt keeps when prompt and response together are
            too long; what the response leaves unused goes to the prompt.
        response_head: Share of a cut response's room that goes to its head; the rest is its tail.
    """

    max_length: int = 512
    prompt_share: float = 0.3
    response_head: float = 0.7

    def __post_init__(self) -> None:
        if self.max_length < 16:
            raise ValueError(f"max_length {self.max_length} must be at least 16")
        for name in ("prompt_share", "response_head"):
            if not 0.0 < getattr(self, name) < 1.0:
                raise ValueError(f"{name} {getattr(self, name)} must lie between 0 and 1")


@dataclass(frozen=True)
class Thresholds:
    """Least calibrated probability at which a level counts as reached, for each purpose.

    Attributes:
        balanced: Weighs harmful and harmless answers alike.
        strict: Lets few harmful answers pass, and stops more harmless ones.
        lenient: Stops few harmless answers, and lets more harmful ones pass.
    """

    balanced: float = 0.5
    strict: float = 0.5
    lenient: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.lenient <= self.balanced <= self.strict <= 1:
            raise ValueError(f"{self} must rise from lenient over balanced to strict in [0, 1]")


@dataclass(frozen=True)
class Platt:
    """P = sigmoid(logit / temperature + offset), after Platt (1999).

    Attributes:
        temperature: Divides the logit.
        offset: Is added then.
    """

    temperature: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature {self.temperature!r} must be above 0")
        if not -math.inf < self.offset < math.inf:
            raise ValueError(f"offset {self.offset!r} must be finite")


@dataclass(frozen=True)
class Target:
    """One output of the model.

    Attributes:
        name: e.g. `fairness>=2`.
        platt: From its logit to P(level ≥ k).
        thresholds: Least P(level ≥ k) at which the level counts as reached.
    """

    name: str
    platt: Platt = Platt()
    thresholds: Thresholds = Thresholds()


@dataclass(frozen=True)
class Doubt:
    """When a score is flagged as uncertain.

    Attributes:
        margin: Distance from the threshold, in log-odds, below which a decision is in doubt.
        unfamiliar: Share of tokens that no training row had, above which a row is.
    """

    margin: float = 0.0
    unfamiliar: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.margin < math.inf or not 0 <= self.unfamiliar <= 1:
            raise ValueError(f"{self}: margin must be 0 or more, unfamiliar lie in [0, 1]")


@dataclass(frozen=True)
class Settings:
    """What `scorer.json` says of a checkpoint.

    Attributes:
        name: Checkpoint name.
        version: Checkpoint version.
        dimensions: In the order of the model's outputs.
        targets: The model's outputs.
        encoding: How a pair becomes tokens.
        overall: From the least harmless of the dimensions to the answer as a whole.
        doubt: When a score is flagged as uncertain.
    """

    name: str
    version: str
    dimensions: tuple[Dimension, ...]
    targets: tuple[Target, ...]
    encoding: EncodingSettings
    overall: Platt = Platt()
    doubt: Doubt = Doubt()

    def __post_init__(self) -> None:
        expected, found = target_names(self.dimensions), [target.name for target in self.targets]
        if expected != found:
            raise ValueError(f"targets {found} do not match the dimensions' {expected}")

    @property
    def model(self) -> str:
        """Name and version in one string, e.g. `harmlessness-zh-small 1.0.0`."""
        return f"{self.name} {self.version}"


def write_settings(folder: Path, settings: Settings, files: Iterable[str]) -> None:
    """Write `scorer.json` into `folder`, with size and SHA-256 of each of `files` there."""
    payload = {"format": FORMAT, **asdict(settings)}
    payload["files"] = {
        name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)}
        for name in sorted(files)
    }
    text = json.dumps(payload, ensure_ascii=False, indent=2)
    (folder / SETTINGS_FILE).write_text(text + "\n", encoding="utf-8")


def read_settings(folder: Path) -> Settings:
    """Read `scorer.json` of a checkpoint folder.

    Raises:
        CheckpointError: If the file is missing, is no valid JSON, has another format or lacks a
            setting, or if a listed file is missing or has another size.
    """
    path = folder / SETTINGS_FILE
    try:
        payload: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is no scorer checkpoint: it has no {SETTINGS_FILE}"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error
    try:
        if payload["format"] != FORMAT:
            raise CheckpointError(
                f"{path}: format {payload['format']!r} is not {FORMAT}, the one this version reads"
            )
        settings = Settings(
            name=str(payload["name"]),
            version=str(payload["version"]),
            dimensions=tuple(
                Dimension(str(item["name"]), tuple(item["levels"]), item["harmless_from"])
                for item in payload["dimensions"]
            ),
            targets=tuple(
                Target(
                    name=str(item["name"]),
                    platt=Platt(**item["platt"]),
                    thresholds=Thresholds(**item["thresholds"]),
                )
                for item in payload["targets"]
            ),
            encoding=EncodingSettings(**payload["encoding"]),
            overall=Platt(**payload["overall"]),
            doubt=Doubt(**payload["doubt"]),
        )
        sizes = {str(name): int(entry["bytes"]) for name, entry in payload["files"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: missing or invalid setting: {error!r}") from error
    for name, size in sizes.items():
        # A name is a plain file name: nothing in a checkpoint may point out of its folder.
        if Path(name).name != name:
            raise CheckpointError(f"{path}: file name {name!r} leaves the folder")
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder}: {name} is missing; {SETTINGS_FILE} lists it")
        if (folder / name).stat().st_size != size:
            raise CheckpointError(
                f"{folder / name}: {(folder / name).stat().st_size} bytes, "
                f"but {SETTINGS_FILE} says {size}; the file is incomplete or was changed"
            )
    return settings


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
