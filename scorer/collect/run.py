"""`collect`: prompts in, a file of answers out, whatever happens on the way."""

from __future__ import annotations

import importlib.metadata
import logging
import platform
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

from scorer.collect.answer import CUT_OFF, Answer, error_kind
from scorer.collect.prompts import Item, Prompts
from scorer.collect.store import AnswersFile, Sidecar, is_failed
from scorer.data.jsonl import STANDARD_STREAM
from scorer.errors import DataError

_NAMED_FAILURES = 10  # failures of a run that are logged one by one

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sampling:
    """What a model is asked with, besides the prompt; None leaves a setting to the model.

    Attributes:
        system_prompt: Message before the prompt.
        temperature: 0 takes the most probable token.
        top_p: Probability mass that is sampled from.
        seed: Of the sampling, as far as the model heeds it.
        max_tokens: Tokens of an answer at most.
        extra: Further fields of a request (endpoint) or variables of the chat template (local).
    """

    system_prompt: str | None = None
    temperature: float | None = 0.0
    top_p: float | None = None
    seed: int | None = None
    max_tokens: int | None = 2048
    extra: Mapping[str, Any] = field(default_factory=dict)

    def messages(self, prompt: str) -> list[dict[str, str]]:
        """Return the conversation that asks a prompt."""
        system = [{"role": "system", "content": self.system_prompt}] if self.system_prompt else []
        return [*system, {"role": "user", "content": prompt}]


class Model(Protocol):
    """What answers prompts.

    Attributes:
        sampling: What it is asked with.
        packages: Installed packages whose versions are recorded.
    """

    sampling: Sampling
    packages: Sequence[str]

    def settings(self) -> dict[str, Any]:
        """Return what makes its answers what they are, JSON-ready and without secrets."""
        ...

    def run_details(self) -> dict[str, Any]:
        """Return what else is worth recording of a run, e.g. the device."""
        ...

    def ask(self, items: Sequence[Item], on_answer: Callable[[Item, Answer], None]) -> None:
        """Ask the prompts and hand over each answer or failure as it comes.

        Raises:
            ScorerError: If going on makes no sense.
        """
        ...


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        done: Prompts with a row, those of earlier runs included.
        total: All prompts.
        failed: Rows of this run that failed.
    """

    done: int
    total: int
    failed: int


@dataclass(frozen=True)
class Collected:
    """What a file of answers holds after a run.

    Attributes:
        path: The file.
        sidecar: The note beside it.
        prompts: Number of prompts.
        answered: Rows with an answer.
        failures: Kind of failure to number of rows without an answer.
        asked: Prompts that this run got an answer or a failure for.
    """

    path: Path
    sidecar: Path
    prompts: int
    answered: int
    failures: Mapping[str, int]
    asked: int

    @property
    def failed(self) -> int:
        """Rows without an answer."""
        return sum(self.failures.values())


def collect(
    prompts: Prompts,
    model: Model,
    output: str | Path,
    *,
    retry_failed: bool = False,
    accept_cut_off: bool = False,
    on_progress: Callable[[Progress], None] = lambda progress: None,
) -> Collected:
    """Ask a model every prompt that `output` has no row for, and return what it holds then.

    A row is the prompt's with `response`, and `finish_reason` and `reasoning` where the model gave
    them. Where there is no answer, `response` is null and `error` says why. Settings and figures go
    to `output` + `.meta.json`. Stopped at any moment, the same call goes on where it was.

    Args:
        prompts: What is asked.
        model: Who is asked.
        output: Plain JSONL file.
        retry_failed: Ask prompts again whose row is a failure.
        accept_cut_off: Take answers that reached the limit of tokens as answers, those of earlier
            runs too; else they are failures that keep their text under `partial`.
        on_progress: Called after every row.

    Raises:
        DataError: If the file is of other prompts or settings, or cannot be written.
        ScorerError: If the model cannot go on; what was collected is kept.
        KeyboardInterrupt: If interrupted; what was collected is kept.
    """
    output = _plain_file(output)
    sidecar = Sidecar(output)
    sidecar.open(_settings(prompts, model))
    with AnswersFile(output, prompts.items) as file:
        changed = accept_cut_off and _accept_partial(file)
        pending = [
            item
            for item in prompts.items
            if item.id not in file.rows or (retry_failed and is_failed(file.rows[item.id]))
        ]
        run = _Run(file, len(prompts.items), accept_cut_off, on_progress)
        on_progress(run.progress())
        if not pending and not changed:
            return _collected(prompts, file, output, sidecar, run)
        sidecar.begin(
            {
                "started": _now(),
                "prompts_file": prompts.file.name,
                "retry_failed": retry_failed,
                "accept_cut_off": accept_cut_off,
                "software": _software(model.packages),
                **model.run_details(),
            }
        )
        try:
            model.ask(pending, run.add)
        finally:
            done = _collected(prompts, file, output, sidecar, run)
            state = {"prompts": done.prompts, "answered": done.answered, "failed": done.failures}
            sidecar.end(run.figures() | {"ended": _now()}, state)
    return done


class _Run:
    """Puts answers into the file and counts them."""

    def __init__(
        self,
        file: AnswersFile,
        total: int,
        accept_cut_off: bool,
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._file, self._total = file, total
        self._accept_cut_off, self._on_progress = accept_cut_off, on_progress
        self.asked = 0
        self._failed = 0
        self._tokens = [0, 0]
        self._models: Counter[str] = Counter()

    def add(self, item: Item, answer: Answer) -> None:
        row = answer.row(item.row)
        if self._accept_cut_off:
            row = _accepted(row)
        self._file.add(item.id, row)
        self.asked += 1
        for side, tokens in enumerate(answer.tokens):
            self._tokens[side] += tokens
        if answer.model is not None:
            self._models[answer.model] += 1
        if is_failed(row):
            self._failed += 1
            if self._failed <= _NAMED_FAILURES:
                _log.warning("%s: %s", item.id, row["error"])
            if self._failed == _NAMED_FAILURES:
                _log.warning("further failures are only counted")
        self._on_progress(self.progress())

    def progress(self) -> Progress:
        return Progress(len(self._file.rows), self._total, self._failed)

    def figures(self) -> dict[str, Any]:
        return {
            "asked": self.asked,
            "failed": self._failed,
            "prompt_tokens": self._tokens[0],
            "completion_tokens": self._tokens[1],
            "reported_models": dict(self._models),
        }


def _accept_partial(file: AnswersFile) -> bool:
    """Take the answers of earlier runs that were cut off, and tell whether there were any."""
    accepted = {key: _accepted(row) for key, row in file.rows.items()}
    changed = {key: row for key, row in accepted.items() if row is not file.rows[key]}
    for key, row in changed.items():
        file.add(key, row)
    return bool(changed)


def _accepted(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with the text of an answer that was cut off as its response."""
    if error_kind(row.get("error")) != CUT_OFF or not row.get("partial"):
        return row
    kept = {name: value for name, value in row.items() if name not in ("error", "partial")}
    return kept | {"response": row["partial"]}


def _collected(
    prompts: Prompts, file: AnswersFile, output: Path, sidecar: Sidecar, run: _Run
) -> Collected:
    failures = file.failures()
    answered = len(file.rows) - failures.total()
    return Collected(
        output, sidecar.path, len(prompts.items), answered, dict(failures.most_common()), run.asked
    )


def _settings(prompts: Prompts, model: Model) -> dict[str, Any]:
    return {
        "benchmark": prompts.benchmark,
        "prompts_sha256": prompts.sha256,
        "prompts": len(prompts.items),
        "prompt_field": prompts.field,
        **model.settings(),
        **asdict(model.sampling),
    }


def _plain_file(output: str | Path) -> Path:
    path = Path(output)
    if str(output) == STANDARD_STREAM or path.suffix.casefold() in (".gz", ".zst"):
        raise DataError(
            f"{output}: answers are appended as they come, which needs a plain file; "
            "compress it afterwards"
        )
    if path.exists() and not path.is_file():
        raise DataError(f"{output}: not a file")
    return path


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _software(packages: Sequence[str]) -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in ("harmlessness-scorer", *packages):
        versions[package] = importlib.metadata.version(package)
    return versions
