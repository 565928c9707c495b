"""Gather the recipe's rows, keep the splits apart, and encode them for the Trainer."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets

from scorer.data.authored import NATIVE_FILE
from scorer.data.jsonl import read_examples
from scorer.data.schema import SPLITS, Example
from scorer.data.splits import split_key, split_of
from scorer.dimensions import Dimension
from scorer.errors import DataError
from scorer.inference.encoding import PairEncoder
from scorer.training.recipe import Recipe, SourceSettings
from scorer.training.targets import encode_labels

NATIVE = "native"


@dataclass(frozen=True)
class WeightedExample:
    """A row with the loss weight of its source."""

    example: Example
    weight: float


@dataclass(frozen=True)
class Corpus:
    """Rows by split, and how many each source gave or lost.

    Attributes:
        rows: Split to rows.
        counts: `source path` to counts of `train`, `dev`, `test`, `unlabelled` (rows without a
            usable label), `leaked` (rows left out because their prompt is in a split further from
            training) and `filtered` (rows that `only` left out).
    """

    rows: dict[str, list[WeightedExample]]
    counts: dict[str, dict[str, int]]

    def sha256(self) -> str:
        """Return a hash of every row of every split."""
        digest = hashlib.sha256()
        for split, rows in self.rows.items():
            for row in rows:
                digest.update(repr((split, row)).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def examples(self, split: str) -> list[Example]:
        """Return the rows of a split without their weights."""
        return [row.example for row in self.rows[split]]


def gather(recipe: Recipe, corpora: Path) -> Corpus:
    """Read every source of the recipe and keep train, dev and test apart by prompt.

    A row without a split gets the one that its prompt's hash says. A published split may share
    prompts; a train row whose prompt occurs in dev or test, of whatever source, is left out.

    A dev row whose prompt occurs in test is left out likewise.

    Raises:
        DataError: If a file is missing, or no row is left to train on.
        RowError: If a row cannot be used.
    """
    dimensions = recipe.resolved_dimensions()
    found: list[tuple[SourceSettings, str, str, Example]] = []
    counts: dict[str, Counter[str]] = {}
    for source in recipe.sources:
        count = counts.setdefault(source.path, Counter(dict.fromkeys(SPLITS, 0)))
        for example in read_examples(_locate(source.path, corpora), dimensions):
            if any(example.meta.get(key) not in values for key, values in source.only.items()):
                count["filtered"] += 1
            elif not example.labels:
                count["unlabelled"] += 1
            else:
                key = split_key(example.prompt, example.response)
                found.append((source, key, example.split or split_of(key), example))
    test = {key for _, key, split, _ in found if split == "test"}
    held_out = {
        "train": test | {key for _, key, split, _ in found if split == "dev"},
        "dev": test,
        "test": set[str](),
    }

    rows: dict[str, list[WeightedExample]] = {split: [] for split in SPLITS}
    for source in recipe.sources:
        for split in SPLITS:
            mine = [
                (key, example)
                for origin, key, place, example in found
                if origin is source and place == split
            ]
            apart = [(key, example) for key, example in mine if key not in held_out[split]]
            counts[source.path]["leaked"] += len(mine) - len(apart)
            mine = apart
            limit = source.rows if split == "train" else source.eval_rows
            if limit is not None and limit < len(mine):
                mine.sort(key=lambda item: _rank(item[0]))
                mine = mine[:limit]
            counts[source.path][split] += len(mine)
            rows[split].extend(WeightedExample(example, source.weight) for _, example in mine)
    if not rows["train"]:
        raise DataError("no row is left to train on; the recipe's sources gave " + str(counts))
    return Corpus(rows, {path: dict(count) for path, count in counts.items()})


def _rank(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


def _locate(path: str, corpora: Path) -> Path:
    if path == NATIVE:
        return NATIVE_FILE
    located = corpora / path
    if not located.is_file():
        raise DataError(
            f"{located}: no such file; write it with `scorer data import`, "
            "or name its folder with --corpora"
        )
    return located


def encode_rows(
    rows: Sequence[WeightedExample], encoder: PairEncoder, dimensions: Sequence[Dimension]
) -> datasets.Dataset:
    """Return the rows as a data set with `input_ids`, `token_type_ids`, `labels` and `length`."""
    encoded = encoder.encode([(row.example.prompt, row.example.response) for row in rows])
    return datasets.Dataset.from_dict(
        {
            "input_ids": [item.input_ids for item in encoded],
            "token_type_ids": [item.token_type_ids for item in encoded],
            "labels": [encode_labels(row.example.labels, dimensions, row.weight) for row in rows],
            "length": [len(item.input_ids) for item in encoded],
        }
    )
