"""The checkpoint folder: which file lies where, and `scorer.json` beside the weights.

| file | what | read by |
|---|---|---|
| `scorer.json` | dimensions, targets with calibration and thresholds, encoding, file sizes and hashes | everyone |
| `tokenizer.json` | fast tokenizer | everyone |
| `model.int8.onnx` | int8 weights | the ONNX engine, on CPUs |
| `model.safetensors`, `config.json`, `tokenizer_config.json` | a stock sequence-classification checkpoint | the torch engine, transformers |
| `seen_tokens.bits` | one bit per token id, lowest first: whether training rows had it | everyone |
| `metrics.json`, `README.md` | measured figures and the card rendered from them | people |

A checkpoint may come from anyone, so nothing in it is believed: `scorer.json` names every file that
is loaded with its size and SHA-256 (`verify`), no file is reached through a link out of the folder,
and no number in it is taken for a size before it is looked at. Weights are safetensors and ONNX
alone, which hold no code; see `scorer.inference.untrusted` for what is asked of them. A checkpoint
whose `scorer.json` says no hash of a file is refused: every version of this package has written
them.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
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

_MAX_JSON = 1 << 20  # bytes of scorer.json and config.json; ours have a few thousand
_MAX_TOKENS = 1 << 20
_MAX_TARGETS = 1 << 12
# Code and pickles.
_CODE = (
    ".bin",
    ".ckpt",
    ".dll",
    ".dylib",
    ".joblib",
    ".pickle",
    ".pkl",
    ".pt",
    ".pth",
    ".py",
    ".so",
)
_ADAPTER = "adapter_config.json"  # transformers would load the weights that it names, from anywhere


@dataclass(frozen=True)
class EncodingSettings:
    """How a pair becomes tokens.

    Attributes:
        max_length: Tokens of a pair at most, special tokens included.
        prompt_share: Share of the room that the prompt keeps when prompt and response together are
            too long; what the response leaves unused goes to the prompt.
        response_head: Share of a cut response's room that goes to its head; the rest is its tail.
        simplify: Whether traditional characters are read as simplified ones.
    """

    max_length: int = 512
    prompt_share: float = 0.3
    response_head: float = 0.7
    simplify: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.simplify, bool):
            raise ValueError(f"simplify {self.simplify!r} must be true or false")
        if type(self.max_length) is not int or not 16 <= self.max_length <= _MAX_TOKENS:
            raise ValueError(
                f"max_length {self.max_length!r} must be at least 16 and at most {_MAX_TOKENS}"
            )
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
        if not math.isfinite(self.temperature) or self.temperature <= 0:
            raise ValueError(f"temperature {self.temperature!r} must be above 0")
        if not math.isfinite(self.offset):
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
        digest: SHA-256 of the `scorer.json` that it was read from, and so of the checkpoint, whose
            files' hashes that holds; empty where it was not read from one.
    """

    name: str
    version: str
    dimensions: tuple[Dimension, ...]
    targets: tuple[Target, ...]
    encoding: EncodingSettings
    overall: Platt = Platt()
    doubt: Doubt = Doubt()
    digest: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if len(self.targets) > _MAX_TARGETS:
            raise ValueError(f"{len(self.targets)} targets; at most {_MAX_TARGETS} make sense")
        expected, found = target_names(self.dimensions), [target.name for target in self.targets]
        if expected != found:
            raise ValueError(f"targets {found} do not match the dimensions' {expected}")

    @property
    def model(self) -> str:
        """Name and version in one string, e.g. `harmlessness-zh-small 1.0.0`."""
        return f"{self.name} {self.version}"

    def with_max_tokens(self, max_tokens: int) -> Settings:
        """Return the settings for pairs of `max_tokens` at most.

        Raises:
            ValueError: If the checkpoint was not made for so many, or they are too few.
        """
        longest = self.encoding.max_length
        if max_tokens > longest:
            raise ValueError(
                f"max_tokens {max_tokens} is above {longest}, what {self.model} was made for"
            )
        return replace(self, encoding=replace(self.encoding, max_length=max_tokens))


def check_purpose(purpose: str) -> None:
    """Refuse what is none of `PURPOSES`.

    Raises:
        ValueError: Then.
    """
    if purpose not in PURPOSES:
        raise ValueError(f"purpose {purpose!r} is none of {', '.join(PURPOSES)}")


def write_settings(folder: Path, settings: Settings, files: Iterable[str]) -> None:
    """Write `scorer.json` into `folder`, with size and SHA-256 of each of `files` there."""
    payload = {"format": FORMAT, **asdict(settings)}
    del payload["digest"]
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
            setting, if a setting is out of range, or if a listed file is missing, has another size
            or is reached through a link out of the folder.
    """
    path = folder / SETTINGS_FILE
    raw, payload = _payload(folder)
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
            digest=hashlib.sha256(raw).hexdigest(),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path}: missing or invalid setting: {error!r}") from error
    for name, (size, _) in _listed(folder, payload).items():
        _check_size(folder, name, size)
    return settings


def listed_files(folder: Path) -> list[str]:
    """Return the names of the files that `scorer.json` lists.

    Raises:
        CheckpointError: If it cannot be read.
    """
    _, payload = _payload(folder)
    return list(_listed(folder, payload))


def verify(folder: Path, names: Iterable[str]) -> None:
    """Check the files that are going to be loaded against `scorer.json`, and that none is code.

    Args:
        folder: A checkpoint folder.
        names: Files of it; one that is neither there nor listed is passed over.

    Raises:
        CheckpointError: If a file is not listed or differs from what is listed, if the folder holds
            Python code, pickles or an adapter, or if `scorer.json` cannot be used.
    """
    for path in sorted(folder.iterdir()):
        if path.suffix.casefold() in _CODE or path.name == _ADAPTER:
            raise CheckpointError(
                f"{path}: a checkpoint holds no code, pickle or adapter; nothing is loaded"
            )
    _, payload = _payload(folder)
    listed = _listed(folder, payload)
    for name in names:
        if name not in listed:
            if not (folder / name).exists():
                continue
            raise CheckpointError(f"{folder / name}: {SETTINGS_FILE} does not list it")
        size, expected = listed[name]
        _check_size(folder, name, size)
        found = sha256(folder / name)
        if found != expected:
            raise CheckpointError(
                f"{folder / name}: SHA-256 {found}, but {SETTINGS_FILE} says {expected}; "
                "the file was changed"
            )


def read_json(path: Path) -> tuple[bytes, Any]:
    """Return a small JSON file of a checkpoint as bytes and value.

    Raises:
        FileNotFoundError: If it is missing.
        CheckpointError: If it is large, or no valid JSON.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_JSON + 1)
        if len(raw) > _MAX_JSON:
            raise CheckpointError(f"{path}: larger than {_MAX_JSON} bytes")
        return raw, json.loads(raw.decode("utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read: {error}") from error


def _payload(folder: Path) -> tuple[bytes, Any]:
    try:
        return read_json(folder / SETTINGS_FILE)
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is no scorer checkpoint: it has no {SETTINGS_FILE}"
        ) from None


def _listed(folder: Path, payload: Any) -> dict[str, tuple[int, str]]:
    """Return size and SHA-256 of each file that `scorer.json` lists."""
    path = folder / SETTINGS_FILE
    try:
        listed = {
            str(name): (int(entry["bytes"]), str(entry["sha256"]))
            for name, entry in payload["files"].items()
        }
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CheckpointError(f"{path}: missing or invalid setting: files: {error!r}") from error
    for name in listed:
        # A name is a plain file name: nothing in a checkpoint may point out of its folder.
        if name in ("", ".", "..") or not name.isprintable() or set(name) & set("/\\:"):
            raise CheckpointError(f"{path}: file name {name!r} leaves the folder")
    return listed


def _check_size(folder: Path, name: str, size: int) -> None:
    path = folder / name
    if not path.is_file():
        raise CheckpointError(f"{folder}: {name} is missing; {SETTINGS_FILE} lists it")
    home, real = folder.resolve(), path.resolve()
    # The hub's cache holds links to files beside its snapshots, and nothing else may be linked to.
    blobs = home.parents[1] / "blobs" if home.parent.name == "snapshots" else home
    if real.parent not in (home, blobs):
        raise CheckpointError(f"{path}: a link out of the folder, to {real}")
    if path.stat().st_size != size:
        raise CheckpointError(
            f"{path}: {path.stat().st_size} bytes, "
            f"but {SETTINGS_FILE} says {size}; the file is incomplete or was changed"
        )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
