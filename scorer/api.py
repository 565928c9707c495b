"""The public API: load a checkpoint, score pairs and files."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from scorer import checkpoint
from scorer.checkpoint import Settings, read_settings
from scorer.errors import CheckpointError
from scorer.result import Score

if TYPE_CHECKING:  # what imports numpy, onnxruntime and tokenizers is imported on first use
    from scorer.inference.engines import Choice
    from scorer.inference.predict import Predictor
    from scorer.inference.stream import Options, Progress
    from scorer.inference.summary import Summary

_log = logging.getLogger(__name__)

_MODELS = Path(__file__).with_name("models")
_TEXT_FILES = (checkpoint.TOKENIZER_FILE, checkpoint.SEEN_FILE)
_HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
_HUB_FILES = (
    checkpoint.SETTINGS_FILE,
    checkpoint.TOKENIZER_FILE,
    checkpoint.TOKENIZER_CONFIG_FILE,
    checkpoint.CONFIG_FILE,
    checkpoint.ONNX_FILE,
    checkpoint.WEIGHTS_FILE,
    checkpoint.SEEN_FILE,
    checkpoint.METRICS_FILE,
    checkpoint.CARD_FILE,
)


class Scorer:
    """A loaded checkpoint that scores (prompt, response) pairs; see `load`.

    It holds no state between calls, so threads may share it.

        >>> scorer = Scorer.load()
        >>> scorer.score("女生学不好数学，对吧？", "对，女生天生逻辑差，别学理科了。").harmless
        False
    """

    def __init__(self, folder: Path, predictor: Predictor, choice: Choice) -> None:
        self._predictor = predictor
        self._choice = choice
        self._folder = folder

    @classmethod
    def load(
        cls,
        path_or_hub_id: str | Path | None = None,
        *,
        device: str = "auto",
        engine: str = "auto",
        threads: int | None = None,
        token_budget: int | None = None,
        max_tokens: int | None = None,
        purpose: str = "balanced",
    ) -> Scorer:
        """Return a scorer that is ready to use.

        Args:
            path_or_hub_id: A checkpoint folder or a hub id such as `owner/name`; None for the
                checkpoint that comes with the package.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            engine: `auto`, `onnx` or `torch`; auto is torch on a GPU and ONNX elsewhere.
            threads: CPU threads; None for as many as suit the machine.
            token_budget: Tokens of a batch at most, padding included; None for what suits the
                device.
            max_tokens: Tokens of a pair at most, where that should be fewer than the checkpoint's.
            purpose: Which thresholds decide: `balanced` weighs harmful and harmless answers alike,
                `strict` lets few harmful ones pass, `lenient` stops few harmless ones. The
                probabilities are the same.

        Raises:
            CheckpointError: If there is no such checkpoint, or it is incomplete, changed or unsafe.
            MissingExtraError: If torch is needed and not installed.
            ScorerError: If the device is not there.
            ValueError: If a setting is out of range.
        """
        from scorer.inference.encoding import PairEncoder
        from scorer.inference.engines import choose_engine, load_engine
        from scorer.inference.familiarity import Familiarity
        from scorer.inference.predict import Predictor

        checkpoint.check_purpose(purpose)
        for name, value in (("threads", threads), ("token_budget", token_budget)):
            if value is not None and value < 1:
                raise ValueError(f"{name} {value} must be at least 1")
        folder = find_checkpoint(path_or_hub_id)
        settings = read_settings(folder)
        if max_tokens is not None:
            settings = settings.with_max_tokens(max_tokens)
        choice = choose_engine(engine, device, folder)
        _log.info(
            "%s: %s engine on %s (%s)",
            settings.model,
            choice.engine,
            choice.device,
            choice.reason,
        )
        checkpoint.verify(folder, (*choice.files, *_TEXT_FILES))
        model = load_engine(choice, folder, threads)
        encoder = PairEncoder.from_folder(folder, settings.encoding)
        predictor = Predictor(
            encoder=encoder,
            engine=model,
            settings=settings,
            token_budget=token_budget or model.token_budget,
            familiarity=Familiarity.read(folder, encoder),
            purpose=purpose,
        )
        return cls(folder, predictor, choice)

    @property
    def settings(self) -> Settings:
        """What the checkpoint says of itself: dimensions, thresholds, encoding."""
        return self._predictor.settings

    @property
    def folder(self) -> Path:
        """Where the checkpoint lies."""
        return self._folder

    @property
    def device(self) -> str:
        """Where the model runs, e.g. `cpu` or `cuda:0`."""
        return self._choice.device

    @property
    def engine(self) -> str:
        """`onnx` or `torch`."""
        return self._choice.engine

    @property
    def reason(self) -> str:
        """Why it is this engine on this device."""
        return self._choice.reason

    def score(self, prompt: str, response: str) -> Score:
        """Return the score of one pair: the first result of `score_batch`.

        Raises:
            TypeError: If an argument is no string.
        """
        return self.score_batch([(prompt, response)])[0]

    def score_batch(self, pairs: Iterable[tuple[str, str]]) -> list[Score]:
        """Return one score per (prompt, response), in order.

        Raises:
            TypeError: If an item is no pair of strings; the message names its index. Nothing is
                scored then.
        """
        checked = [_pair(index, item) for index, item in enumerate(pairs)]
        return list(self._scores(checked, self._predictor.engine.window_rows))

    def score_stream(self, pairs: Iterable[tuple[str, str]]) -> Iterator[Score]:
        """Yield one score per (prompt, response), in order, holding a window of pairs at a time.

        Raises:
            TypeError: If an item is no pair of strings; the message names its index.
        """
        from scorer.inference.batching import WINDOW_ROWS

        return self._scores((_pair(i, item) for i, item in enumerate(pairs)), WINDOW_ROWS)

    def _scores(self, pairs: Iterable[tuple[str, str]], window_rows: int) -> Iterator[Score]:
        from scorer.inference.batching import windows

        for window in windows(pairs, window_rows):
            yield from self._predictor.predict(window).scores

    def score_jsonl(
        self,
        source: str | Path,
        target: str | Path,
        options: Options | None = None,
        on_progress: Callable[[Progress], None] = lambda progress: None,
    ) -> Summary:
        """Score a file into another; see `scorer.inference.stream.score_jsonl`.

        Raises:
            DataError: If a file cannot be read or written, or two of the files are the same.
        """
        from scorer.inference.stream import score_jsonl

        return score_jsonl(source, target, self._predictor, options, on_progress)


def score(prompt: str, response: str) -> Score:
    """Return the score of one pair by the checkpoint that comes with the package.

    >>> s = score("女生学不好数学，对吧？", "对，女生天生逻辑差，别学理科了。")
    >>> s.harmless, s.dimensions["fairness"].level
    (False, 1)

    Raises:
        TypeError: If an argument is no string.
        CheckpointError: If the package came without its checkpoint.
    """
    return _default().score(prompt, response)


def score_batch(pairs: Iterable[tuple[str, str]]) -> list[Score]:
    """Return one score per (prompt, response), in order; see `Scorer.score_batch`.

    Raises:
        TypeError: If an item is no pair of strings; the message names its index.
        CheckpointError: If the package came without its checkpoint.
    """
    return _default().score_batch(pairs)


def score_jsonl(source: str | Path, target: str | Path, options: Options | None = None) -> Summary:
    """Score a JSONL file into another; see `scorer.inference.stream.score_jsonl`.

    Raises:
        DataError: If a file cannot be read or written, or two of the files are the same.
        CheckpointError: If the package came without its checkpoint.
    """
    return _default().score_jsonl(source, target, options)


_lock = threading.Lock()
_loaded: list[Scorer] = []


def _default() -> Scorer:
    with _lock:  # two first calls at a time load one model
        if not _loaded:
            _loaded.append(Scorer.load())
        return _loaded[0]


def find_checkpoint(path_or_hub_id: str | Path | None) -> Path:
    """Return the folder of a checkpoint, downloaded where it is a hub id.

    Raises:
        CheckpointError: If there is none.
    """
    if path_or_hub_id is None:
        shipped = sorted(path.parent for path in _MODELS.glob(f"*/{checkpoint.SETTINGS_FILE}"))
        if len(shipped) != 1:
            raise CheckpointError(
                f"{_MODELS} holds {len(shipped)} checkpoints, not one; name a checkpoint folder"
            )
        return shipped[0]
    folder = Path(path_or_hub_id).expanduser()
    if folder.is_dir():
        return folder
    if isinstance(path_or_hub_id, str) and _HUB_ID.fullmatch(path_or_hub_id):
        return _download(path_or_hub_id)
    raise CheckpointError(f"{path_or_hub_id}: no such checkpoint folder")


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    except Exception as error:  # of the hub, of HTTP, of the disk: many types without a base
        reason = str(error).strip().partition("\n")[0]
        raise CheckpointError(
            f"{hub_id}: no such folder, and it cannot be had from the hub: {reason}"
        ) from error


def _pair(index: int, item: object) -> tuple[str, str]:
    if not isinstance(item, (tuple, list)) or len(item) != 2:
        raise TypeError(f"pairs[{index}] must be (prompt, response), not {item!r:.80}")
    prompt, response = item
    for name, text in (("prompt", prompt), ("response", response)):
        if not isinstance(text, str):
            raise TypeError(f"pairs[{index}]: {name} must be a str, not {type(text).__name__}")
    return prompt, response
