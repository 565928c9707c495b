"""What a run has done, beside its output, so that another can go on with it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from scorer.data.jsonl import encode_row
from scorer.errors import DataError
from scorer.inference.fields import Fields
from scorer.inference.outputs import naming, rename
from scorer.inference.sources import Place

_FORMAT = 1


@dataclass(frozen=True)
class State:
    """How far a run is.

    Attributes:
        place: Where it goes on reading; None at the beginning.
        output: Bytes of the output that stand.
        rejected: Bytes of the rejected lines that stand.
        rejects: How many lines those are.
        fields: Fields that hold the text, once found.
        tally: What `Tally.state` gave.
        seconds: Wall time so far.
        complete: Whether nothing is left but to give the files their names, if that.
    """

    place: Place | None = None
    output: int = 0
    rejected: int = 0
    rejects: int = 0
    fields: Fields | None = None
    tally: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    complete: bool = False


class Journal:
    """The file `OUT.resume.json`.

    Args:
        path: Where it lies.
        settings: What must be the same when a run goes on, by the name that a person is told.
    """

    def __init__(self, path: Path, settings: Mapping[str, object]) -> None:
        self.path = path
        self._settings = dict(settings)

    def read(self) -> State | None:
        """Return what an earlier run left; None where there was none.

        Raises:
            DataError: If that run had other settings, or the file cannot be read.
        """
        try:
            content = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise DataError(f"{self.path}: cannot be read: {error}") from error
        try:
            if content["format"] != _FORMAT:
                raise DataError(f"{self.path}: written by another version; {_ANEW}")
            self._compare(content["settings"])
            state = dict(content["state"])
            place, fields = state.pop("place"), state.pop("fields")
            return State(
                place=None if place is None else Place(**place),
                fields=None if fields is None else Fields(**fields),
                **state,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{self.path}: no journal of a run: {error!r}; {_ANEW}") from error

    def write(self, state: State) -> None:
        """Put a state on the disk in place of the one before.

        Raises:
            DataError: If it cannot be written; the one before stands.
        """
        content = {"format": _FORMAT, "settings": self._settings, "state": asdict(state)}
        temporary = self.path.with_name(f".{self.path.name}.tmp")
        with naming(self.path), temporary.open("wb") as stream:
            stream.write(encode_row(content, indent=1))
            stream.flush()
            os.fsync(stream.fileno())
        rename(temporary, self.path)

    def _compare(self, before: Mapping[str, object]) -> None:
        for name in {**before, **self._settings}:
            was, now = before.get(name), self._settings.get(name)
            if was != now:
                raise DataError(
                    f"{self.path}: the run to go on with had {name} {was!r}, not {now!r}; {_ANEW}"
                )


_ANEW = "give it what it had, or remove this file to begin anew"
