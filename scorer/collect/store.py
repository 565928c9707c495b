"""The file of answers and the note of its settings beside it; both outlive a run that is killed."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from scorer.collect.answer import error_kind
from scorer.collect.prompts import Item
from scorer.data.jsonl import atomic_writer, encode_row, parse_line, write_jsonl
from scorer.data.schema import shown
from scorer.errors import DataError, RowError

if sys.platform != "win32":
    import fcntl

SIDECAR_SUFFIX = ".meta.json"

_FORMAT = 1


class AnswersFile:
    """Rows with answers: appended as they come, put into the prompts' order when it is closed.

    Answers come in any order, since several are asked for at once. Writing them in the prompts'
    order would hold finished ones back in memory behind a slow one, and a killed run would lose
    them; so each is appended at once, and at the end the file is replaced in one step by one in
    order. Of two rows of one prompt (a failure that was asked again) the later one holds.

    A context manager: while it is open, no other run can write the file.

    Args:
        path: Plain JSONL file; what it holds already is taken up.
        items: All prompts, in order.

    Raises:
        DataError: On entering, if the file cannot be opened or another run is writing it.
        RowError: On entering, if a row is not one of these prompts' rows.
    """

    def __init__(self, path: Path, items: Sequence[Item]) -> None:
        self._path = path
        self._items = {item.id: item for item in items}
        self._order: list[str] = []  # ids as their rows lie in the file
        self._torn = False
        self.rows: dict[str, dict[str, Any]] = {}

    def __enter__(self) -> AnswersFile:
        try:
            self._stream: BinaryIO = self._path.open("ab+")
        except OSError as error:
            raise DataError(f"{self._path}: cannot be opened: {error.strerror}") from error
        try:
            _lock(self._stream, self._path)
            self._read()
        except BaseException:
            self._stream.close()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        if sys.platform == "win32":  # where an open file cannot be replaced, and there is no lock
            self._stream.close()
        try:
            order = [key for key in self._items if key in self.rows]
            if self._torn or order != self._order:
                write_jsonl(self._path, (self.rows[key] for key in order))
        finally:
            self._stream.close()  # the lock goes with it, so not before the file is replaced

    def add(self, key: str, row: dict[str, Any]) -> None:
        """Append the row of a prompt, named by its id; a process killed later does not lose it."""
        self.rows[key] = row
        self._order.append(key)
        self._torn = True  # until all of it is written: an interrupt may come in between
        self._stream.write(encode_row(row))
        self._stream.flush()
        self._torn = False

    def failures(self) -> Counter[str]:
        """Return how many rows failed, by kind of failure."""
        kinds = (error_kind(row["error"]) for row in self.rows.values() if is_failed(row))
        return Counter(kind for kind in kinds if kind)

    def _read(self) -> None:
        end = 0
        self._stream.seek(0)
        for line, raw in enumerate(self._stream, start=1):
            try:
                value = parse_line(raw, self._path, line)
            except RowError:
                if raw.endswith(b"\n"):
                    raise
                self._stream.truncate(end)  # a run was killed while it wrote this row
                return
            key, row = self._known(value, line)
            self.rows[key] = row
            self._order.append(key)
            end += len(raw)
            if not raw.endswith(b"\n"):
                self._stream.write(b"\n")
                self._stream.flush()

    def _known(self, row: object, line: int) -> tuple[str, dict[str, Any]]:
        """Return (id, row) of a row that is a prompt's with its answer."""

        def error(problem: str, field: str | None = None) -> RowError:
            return RowError(problem, path=str(self._path), line=line, field=field)

        if not isinstance(row, dict):
            raise error(f"a row must be a JSON object, not {shown(row)}")
        item = self._items.get(str(row.get("id")))
        if item is None:
            raise error(f"{shown(row.get('id'))} is the id of no prompt", "id")
        for name, value in item.row.items():
            if name not in row or row[name] != value:
                raise error(f"{shown(row.get(name))} is not the prompt's {shown(value)}", name)
        if not isinstance(row.get("response"), str) and not is_failed(row):
            raise error("neither a response nor an error with null in its place", "response")
        return item.id, row


def is_failed(row: Mapping[str, Any]) -> bool:
    """Tell whether a row holds a failure in place of an answer."""
    return row.get("response") is None and isinstance(row.get("error"), str)


class Sidecar:
    """`ANSWERS.meta.json`: what the answers were collected with, and every run's figures.

    Args:
        answers: The file of answers.

    Attributes:
        path: The note.
    """

    def __init__(self, answers: Path) -> None:
        self._answers = answers
        self.path = answers.with_name(answers.name + SIDECAR_SUFFIX)
        self._content: dict[str, Any] = {}

    def open(self, settings: Mapping[str, Any]) -> None:
        """Take up the note of earlier runs, or begin a new one where there are no answers yet.

        Args:
            settings: JSON-ready; what must not change from one run to the next.

        Raises:
            DataError: If the earlier runs had other settings, each named, or there are answers
                without a usable note.
        """
        fresh: dict[str, Any] = {"format": _FORMAT, "settings": dict(settings), "runs": []}
        if not self._answers.exists() or self._answers.stat().st_size == 0:
            self._content = fresh
            return
        if not self.path.is_file():
            raise DataError(
                f"{self._answers}: exists without {self.path.name}, so that nothing says how it was "
                "made; name another output"
            )
        self._content = read_sidecar(self._answers)
        changed = _differences(self._content["settings"], fresh["settings"])
        if changed:
            raise DataError(
                f"{self._answers}: was collected with other settings: {'; '.join(changed)}. "
                "Take the same, or name another output"
            )

    def begin(self, run: Mapping[str, Any]) -> None:
        """Add a run."""
        self._content["runs"].append(dict(run))
        self._write()

    def end(self, run: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        """Note what the run did and what the file holds now."""
        self._content["runs"][-1] |= run
        self._content["answers"] = dict(state)
        self._write()

    def _write(self) -> None:
        with atomic_writer(self.path) as stream:
            stream.write(encode_row(self._content, indent=2))


def read_sidecar(answers: str | Path) -> dict[str, Any]:
    """Return the note beside a file of answers: `settings`, `runs` and `answers`.

    Raises:
        DataError: If there is none, or it cannot be used.
        RowError: If it is no JSON.
    """
    path = Path(f"{answers}{SIDECAR_SUFFIX}")
    try:
        content = parse_line(path.read_bytes(), path, None)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    if (
        not isinstance(content, dict)
        or content.get("format") != _FORMAT
        or not isinstance(content.get("settings"), dict)
        or not isinstance(content.get("runs"), list)
    ):
        raise DataError(f"{path}: no note of collected answers that this version reads")
    return content


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a sentence per setting that is not what it was."""
    return [
        f"{name} was {shown(before.get(name))} and is {shown(now.get(name))} now"
        for name in {**before, **now}
        if before.get(name) != now.get(name)
    ]


def _lock(stream: BinaryIO, path: Path) -> None:
    """Let no other process write the file while it is open; Windows has no such lock."""
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise DataError(f"{path}: another run is writing it") from error
    except OSError:
        return  # a file system without locks
    if not path.exists() or not os.path.samestat(os.fstat(stream.fileno()), path.stat()):
        raise DataError(f"{path}: another run has just replaced it; try again")
