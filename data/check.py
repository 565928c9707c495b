"""What is wrong in annotated files, and how many rows each dimension and level has."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from scorer.data.jsonl import parse_line, read_lines, stream_name
from scorer.data.schema import SPLITS, Example, parse_example
from scorer.data.splits import split_key, split_of
from scorer.dimensions import DEFAULT_DIMENSIONS, OVERALL, OVERALL_LEVELS, Dimension
from scorer.errors import RowError

DEFAULT_MAX_CHARACTERS = 4000
SHOWN_PLACES = 5  # of a kind of problem; the rest is counted


@dataclass(frozen=True)
class Kind:
    """A kind of problem.

    Attributes:
        name: What the report calls it.
        meaning: What it says of the rows.
        error: Whether it makes the data unfit to train and measure on; else a warning.
    """

    name: str
    meaning: str
    error: bool


INVALID = Kind("invalid row", "cannot be read", error=True)
SHARED = Kind("shared prompt", "the same prompt in two splits", error=True)
CONTRADICTION = Kind("contradiction", "the same pair with different levels", error=True)
DUPLICATE = Kind("duplicate", "the same pair again", error=False)
EMPTY = Kind("empty response", "nothing to judge", error=False)
LONG = Kind("over-long text", "prompt or response above the limit of characters", error=False)

KINDS = (INVALID, SHARED, CONTRADICTION, DUPLICATE, EMPTY, LONG)


@dataclass(frozen=True)
class Problem:
    """All problems of one kind.

    Attributes:
        kind: Which.
        count: How many rows have it (of shared prompts: how many prompts).
        places: The first few, each with file, line and what was found.
    """

    kind: Kind
    count: int
    places: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What a check found.

    Attributes:
        rows: Rows that could be read.
        unlabelled: Those of them without any label.
        without_prompt: Those of them with an empty prompt.
        without_split: Those of them without a split; they are counted where their prompt's hash
            puts them, which is what training does.
        prompts: Different prompts (normalised; see `split_key`).
        problems: By kind, only those that occur.
        levels: (dimension, level, split) to number of rows.
        dimensions: Dimensions that the rows were read with.
    """

    rows: int
    unlabelled: int
    without_prompt: int
    without_split: int
    prompts: int
    problems: tuple[Problem, ...]
    levels: Mapping[tuple[str, int, str], int]
    dimensions: tuple[Dimension, ...]

    def failed(self, strict: bool = False) -> bool:
        """Tell whether there is an error, or with `strict` any problem."""
        return any(problem.kind.error or strict for problem in self.problems)


def check(
    paths: Iterable[str | Path],
    dimensions: Sequence[Dimension] = DEFAULT_DIMENSIONS,
    *,
    max_characters: int = DEFAULT_MAX_CHARACTERS,
) -> Report:
    """Return what is wrong in JSONL files, taken together, and their dimension × level table.

    Rows that cannot be read are reported and passed over. Memory grows with the number of
    different pairs (hashes and places), not with their text.

    Args:
        paths: Files of the schema.
        dimensions: Dimensions that may be labelled.
        max_characters: Longest prompt or response that is not reported.

    Raises:
        DataError: If a file cannot be opened.
    """
    checker = _Checker(tuple(dimensions), max_characters)
    for path in paths:
        for line, raw in read_lines(path):
            try:
                row = parse_line(raw, path, line)
                example = parse_example(
                    row, path=stream_name(path), line=line, dimensions=dimensions
                )
            except RowError as error:
                checker.add_problem(INVALID, str(error))
            else:
                checker.add(example, f"{stream_name(path)}:{line}")
    return checker.report()


class _Checker:
    def __init__(self, dimensions: tuple[Dimension, ...], max_characters: int) -> None:
        self._dimensions = dimensions
        self._max_characters = max_characters
        self._counts: Counter[Kind] = Counter()
        self._places: dict[Kind, list[str]] = {kind: [] for kind in KINDS}
        self._totals: Counter[str] = Counter()
        self._levels: Counter[tuple[str, int, str]] = Counter()
        # Key hash to the first place of each split; pair hash to its labels and first place.
        self._splits: dict[bytes, dict[str, str]] = {}
        self._pairs: dict[bytes, tuple[dict[str, int], str]] = {}

    def add_problem(self, kind: Kind, place: str) -> None:
        self._counts[kind] += 1
        if len(self._places[kind]) < SHOWN_PLACES:
            self._places[kind].append(place)

    def add(self, example: Example, place: str) -> None:
        key = split_key(example.prompt, example.response)
        split = example.split or split_of(key)
        self._totals["rows"] += 1
        self._totals["unlabelled"] += not example.labels
        self._totals["without_prompt"] += not example.prompt.strip()
        self._totals["without_split"] += not example.split
        for name, level in example.labels.items():
            self._levels[name, level, split] += 1
        self._check_texts(example, place)
        self._check_split(_digest(key), split, place)
        self._check_pair(_digest(key, example.response.strip()), dict(example.labels), place)

    def _check_texts(self, example: Example, place: str) -> None:
        if not example.response.strip():
            self.add_problem(EMPTY, place)
        for name, text in (("prompt", example.prompt), ("response", example.response)):
            if len(text) > self._max_characters:
                self.add_problem(LONG, f"{place}: {name} of {len(text)} characters")

    def _check_split(self, key: bytes, split: str, place: str) -> None:
        seen = self._splits.setdefault(key, {})
        if split in seen:
            return
        if len(seen) == 1:  # a third split would count the prompt again
            other, first = next(iter(seen.items()))
            self.add_problem(SHARED, f"{place} ({split}) and {first} ({other})")
        seen[split] = place

    def _check_pair(self, pair: bytes, labels: dict[str, int], place: str) -> None:
        if pair not in self._pairs:
            self._pairs[pair] = (labels, place)
            return
        known, first = self._pairs[pair]
        differing = [name for name in labels if known.get(name, labels[name]) != labels[name]]
        for name in differing[:1]:
            found = f"{name} {labels[name]} and {known[name]}"
            self.add_problem(CONTRADICTION, f"{place} and {first}: {found}")
        if not differing:
            self.add_problem(DUPLICATE, f"{place} and {first}")
        self._pairs[pair] = ({**labels, **known}, first)

    def report(self) -> Report:
        return Report(
            rows=self._totals["rows"],
            unlabelled=self._totals["unlabelled"],
            without_prompt=self._totals["without_prompt"],
            without_split=self._totals["without_split"],
            prompts=len(self._splits),
            problems=tuple(
                Problem(kind, self._counts[kind], tuple(self._places[kind]))
                for kind in KINDS
                if self._counts[kind]
            ),
            levels=dict(self._levels),
            dimensions=self._dimensions,
        )


def _digest(*texts: str) -> bytes:
    joined = "\0".join(texts).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(joined, digest_size=16).digest()


def level_rows(report: Report) -> list[tuple[str, int, tuple[int, ...]]]:
    """Return (dimension, level, rows in train, dev and test) for every level that may occur."""
    levels = [(d.name, level) for d in report.dimensions for level in d.levels]
    levels += [(OVERALL, level) for level in OVERALL_LEVELS]
    return [
        (name, level, tuple(report.levels.get((name, level, split), 0) for split in SPLITS))
        for name, level in levels
    ]


def render(report: Report) -> RenderableType:
    """Return the report as tables for a terminal."""
    table = Table(title="Rows by dimension, level and split", title_justify="left")
    for column in ("dimension", "level", *SPLITS, "all"):
        table.add_column(column, justify="left" if column == "dimension" else "right")
    for name, level, counts in level_rows(report):
        if any(counts):
            numbers = (f"{count:,}" for count in (*counts, sum(counts)))
            table.add_row(name, str(level), *numbers)
    summary = Text(f"{report.rows:,} rows, {report.prompts:,} different prompts")
    for count, what in (
        (report.unlabelled, "without labels"),
        (report.without_prompt, "without a prompt"),
        (report.without_split, "without a split (counted by the prompt's hash)"),
    ):
        if count:
            summary.append(f"; {count:,} {what}")
    if not report.problems:
        return Group(table, summary, Text("No problems found.", style="green"))
    # A list, not a table: places are long, and a line per place can be searched and piped.
    found = Text("Problems", style="italic", no_wrap=True, overflow="ignore")
    for problem in report.problems:
        word, style = ("error", "red") if problem.kind.error else ("warning", "yellow")
        found.append("\n")
        found.append(word, style=f"not italic {style}")
        head = f" {problem.count:,} × {problem.kind.name}: {problem.kind.meaning}"
        found.append(head, style="not italic")
        for place in problem.places:
            found.append(f"\n  {place}", style="not italic")
        if problem.count > len(problem.places):
            found.append(f"\n  … and {problem.count - len(problem.places):,} more", style="dim")
    return Group(table, summary, found)
