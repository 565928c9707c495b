"""Gather the recipe's rows, keep the splits apart, and encode them for the Trainer."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import datasets
import numpy as np
from numpy.typing import NDArray

from scorer.data.authored import NATIVE_FILE
from scorer.data.jsonl import read_examples
from scorer.data.schema import SECOND_LABELS, SPLITS, Example
from scorer.data.splits import split_key, split_of, text_digest
from scorer.decision import target_slices
from scorer.errors import DataError
from scorer.inference.encoding import Encoded, PairEncoder
from scorer.training.baselines import style_weights
from scorer.training.recipe import Recipe, SourceSettings
from scorer.training.targets import Annotators, encode_annotations, with_target_weights

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
            training) and `filtered` (rows that `only` or
            `every_other` left out).
        names: `source path` to what its rows say their source is.
    """

    rows: dict[str, list[WeightedExample]]
    counts: dict[str, dict[str, int]]
    names: dict[str, set[str]]

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


@dataclass(frozen=True)
class _Found:
    source: SourceSettings
    key: str
    split: str
    example: Example
    moved: bool


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
    found: list[_Found] = []
    held_out: dict[str, set[str]] = {split: set() for split in SPLITS}
    counts: dict[str, Counter[str]] = {}
    names: dict[str, set[str]] = {}
    for source in recipe.sources:
        count = counts.setdefault(source.path, Counter(dict.fromkeys(SPLITS, 0)))
        for example in read_examples(_locate(source.path, corpora), dimensions):
            names.setdefault(source.path, set()).add(example.source)
            key = split_key(example.prompt, example.response)
            split = example.split or split_of(key)
            # What is left out here keeps its prompt out of training all the same.
            for earlier in SPLITS[: SPLITS.index(split)]:
                held_out[earlier].add(key)
            other = split != "train" and source.every_other != "keep" and _odd(example)
            if any(example.meta.get(name) not in values for name, values in source.only.items()):
                count["filtered"] += 1
            elif not example.labels:
                count["unlabelled"] += 1
            elif other and source.every_other == "drop":
                count["filtered"] += 1
            else:
                found.append(_Found(source, key, "train" if other else split, example, other))

    rows: dict[str, list[WeightedExample]] = {split: [] for split in SPLITS}
    for source in recipe.sources:
        for split in SPLITS:
            mine = [row for row in found if row.source is source and row.split == split]
            apart = [row for row in mine if row.moved or row.key not in held_out[split]]
            counts[source.path]["leaked"] += len(mine) - len(apart)
            limit = source.rows if split == "train" else source.eval_rows
            if limit is not None and limit < len(apart):
                apart.sort(key=lambda row: (not row.moved, text_digest(row.key)))
                apart = apart[: limit + sum(row.moved for row in apart)]
            counts[source.path][split] += len(apart)
            rows[split].extend(WeightedExample(row.example, source.weight) for row in apart)
    if not rows["train"]:
        raise DataError("no row is left to train on; the recipe's sources gave " + str(counts))
    return Corpus(rows, {path: dict(count) for path, count in counts.items()}, names)


def _odd(example: Example) -> bool:
    return text_digest(example.response)[0] % 2 == 1


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
    rows: Sequence[WeightedExample],
    variants: Sequence[WeightedExample],
    encoder: PairEncoder,
    recipe: Recipe,
    weights: NDArray[np.float32] | None = None,
) -> datasets.Dataset:
    """Return the rows as a data set for `scorer.training.fit.fit`.

    Its columns are `input_ids`, `token_type_ids`, `labels`, `length`, and `partner_ids` and
    `partner_types` of the row in another surface, empty where there is none.

    Args:
        rows: Training rows.
        variants: Each in another surface, to be trained on beside those whose tokens differ.
        encoder: Turns pairs into tokens.
        recipe: Dimensions, and whose labels count.
        weights: Of the targets, shape (N, T); None for 1.
    """
    dimensions, settings = recipe.resolved_dimensions(), recipe.fit
    encoded = encoder.encode([input_pair(row.example, recipe) for row in rows])
    labels = np.stack(
        [
            encode_annotations(row.example, dimensions, settings.annotators, row.weight)
            for row in rows
        ]
    )
    if weights is None:
        weights = np.ones((len(rows), labels.shape[1] - 2), np.float32)
    nothing = Encoded(np.empty(0, np.int64), np.empty(0, np.int64), truncated=False)
    partners = [nothing] * len(rows)
    changed = [i for i, (row, other) in enumerate(zip(rows, variants, strict=True)) if row != other]
    others = encoder.encode([input_pair(variants[i].example, recipe) for i in changed])
    for i, other in zip(changed, others, strict=True):
        if not np.array_equal(other.input_ids, encoded[i].input_ids):
            partners[i] = other
    return datasets.Dataset.from_dict(
        {
            "input_ids": [item.input_ids for item in encoded],
            "token_type_ids": [item.token_type_ids for item in encoded],
            "labels": list(with_target_weights(labels, weights)),
            "length": [len(item.input_ids) for item in encoded],
            "partner_ids": [item.input_ids for item in partners],
            "partner_types": [item.token_type_ids for item in partners],
        }
    )


def tokens_in(rows: datasets.Dataset) -> int:
    """Return how many tokens one pass over rows of `encode_rows` reads."""
    return int(sum(rows["length"])) + sum(map(len, rows["partner_ids"]))


def input_pair(example: Example, recipe: Recipe) -> tuple[str, str]:
    """Return what the model reads of a row."""
    return ("" if recipe.fit.without_prompt else example.prompt, example.response)


def target_weights(examples: Sequence[Example], recipe: Recipe) -> NDArray[np.float32]:
    """Return the weight of each row's targets, shape (N, T): against style, if so asked."""
    dimensions, settings = recipe.resolved_dimensions(), recipe.fit
    slices = target_slices(dimensions)
    weights = np.ones((len(examples), sum(len(d.targets) for d in dimensions)), np.float32)
    if settings.style_bound > 1:
        for name, columns in slices.items():
            levels = [level_of(example, name, settings.annotators) for example in examples]
            mine = style_weights(examples, levels, settings.style_bound)
            weights[:, columns] = mine[:, None]
    return weights


def level_of(example: Example, dimension: str, annotators: Annotators) -> int | None:
    """Return the row's level, or else, if it counts, the second annotator's; None if unknown."""
    level = example.labels.get(dimension)
    if level is None and annotators == "all":
        level = example.meta.get(SECOND_LABELS, {}).get(dimension)
    return level
