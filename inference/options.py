"""How a file is read and written."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from scorer.data.jsonl import MAX_LINE

KEY = "harmlessness"
"""Key that a scored row carries its score under, unless another is asked for."""


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a file, of about the same size, that follow each other.

    A part of JSONL is the lines that begin within its share of the bytes, so nothing before it need
    be read; of a compressed file, within its share of the bytes unpacked; of Parquet, its share of
    the rows. The parts' outputs, one after the other, are the output of the whole.

    Attributes:
        index: 1-based.
        count: Parts of the file.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise ValueError(
                f"shard {self} must lie between 1/{self.count} and {self.count}/{self.count}"
            )

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that `i/n` names.

        Raises:
            ValueError: If it names none.
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if found is None:
            raise ValueError(f"shard {text!r} must be i/n, such as 1/8")
        return cls(int(found[1]), int(found[2]))

    def bounds(self, size: int) -> tuple[int, int]:
        """Return where the part begins and where the next one does."""
        return size * (self.index - 1) // self.count, size * self.index // self.count

    def path(self, path: Path) -> Path:
        """Return the name of the part's output: `out.jsonl.gz` becomes `out.2-of-8.jsonl.gz`.

        Numbers are padded, so that a shell's `out.*-of-128.jsonl` is in order.
        """
        stem, dot, suffixes = path.name.lstrip(".").partition(".")
        hidden = path.name[: len(path.name) - len(path.name.lstrip("."))]
        number = f"{self.index:0{len(str(self.count))}}-of-{self.count}"
        return path.with_name(f"{hidden}{stem}.{number}{dot}{suffixes}")


@dataclass(frozen=True)
class Options:
    """How a file is read and written.

    Attributes:
        prompt_field: Field of the prompt; None finds it in the first good row.
        response_field: Field of the response; None finds it in the first good row.
        key: Key that the score goes under.
        overwrite_key: Replace a value that a row has under `key` already; else the row is rejected.
        rejected: Where rejected lines go; None for `OUT.rejected.jsonl` beside a file and nowhere
            where the output is standard output.
        max_line: Bytes of a line at most; a longer one is rejected.
        shard: Which part of the file to score, into an output that is named after the part; None
            for the whole.
        resume: Keep what is done when the run ends early, and go on with what such a run left.
    """

    prompt_field: str | None = None
    response_field: str | None = None
    key: str = KEY
    overwrite_key: bool = False
    rejected: str | Path | None = None
    max_line: int = MAX_LINE
    shard: Shard | None = None
    resume: bool = False
