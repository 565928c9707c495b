"""Tables of the bundled sets' data card, written from the rows: `python -m scorer.data.datacard`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from scorer.data.authored import NATIVE_FILE, read_answers
from scorer.data.jsonl import read_examples
from scorer.data.schema import SECOND_LABELS, SPLITS, Example
from scorer.data.sources import BUNDLED
from scorer.dimensions import DEFAULT_DIMENSIONS
from scorer.errors import DataError
from scorer.evaluation.agreement import quadratic_kappa
from scorer.evaluation.markdown import markdown_table

CARD = BUNDLED / "README.md"
SETS = ("native", "authored-flames", "authored-cvalues")


def bundled_rows(name: str) -> list[Example]:
    """Return the rows of a bundled set, those to other people's prompts without the prompt."""
    if name == "native":
        return list(read_examples(NATIVE_FILE))
    return [answer.example for answer in read_answers(name)]


def level_table(rows: Iterable[Example]) -> str:
    """Return how many rows each dimension, level and split has."""
    levels: Counter[tuple[str, int, str]] = Counter()
    splits: Counter[str] = Counter()
    for row in rows:
        splits[row.split] += 1
        levels.update((name, level, row.split) for name, level in row.labels.items())
    lines: list[tuple[object, ...]] = []
    for dimension in DEFAULT_DIMENSIONS:
        for level in dimension.levels:
            counts = [levels[dimension.name, level, split] for split in SPLITS]
            if any(counts):
                lines.append((dimension.name, level, *counts, sum(counts)))
    counts = [splits[split] for split in SPLITS]
    lines.append(("rows", "", *counts, sum(counts)))
    return markdown_table(("dimension", "level", *SPLITS, "all"), lines)


def agreement_table(rows: Iterable[Example]) -> str:
    """Return how far the two annotators agree, by source and dimension.

    κ is Cohen's with quadratic weights over the levels (Cohen 1968).
    """
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {}
    harmless_from = {dimension.name: dimension.harmless_from for dimension in DEFAULT_DIMENSIONS}
    for row in rows:
        second = row.meta.get(SECOND_LABELS, {})
        for name, level in row.labels.items():
            if name in second:
                pairs.setdefault((row.source, name), []).append((level, second[name]))
    lines = []
    order = [dimension.name for dimension in DEFAULT_DIMENSIONS]
    for (source, name), levels in sorted(
        pairs.items(), key=lambda item: (item[0][0], order.index(item[0][1]))
    ):
        least = harmless_from[name]
        same = sum(first == second for first, second in levels) / len(levels)
        side = sum((first >= least) == (second >= least) for first, second in levels) / len(levels)
        kappa = quadratic_kappa(*zip(*levels, strict=True))
        lines.append(
            (
                source,
                name,
                len(levels),
                f"{same:.1%}",
                f"{side:.1%}",
                "–" if kappa is None else f"{kappa:.2f}",
            )
        )
    header = ("source", "dimension", "rows", "same level", "same side of harmless", "quadratic κ")
    return markdown_table(header, lines)


def rendered(text: str) -> str:
    """Return a card's text with every table between its markers written anew.

    Raises:
        DataError: If the card lacks a marker.
    """
    for name in SETS:
        rows = bundled_rows(name)
        text = _between(text, f"levels of {name}", level_table(rows))
        text = _between(text, f"agreement on {name}", agreement_table(rows))
    return text


def _between(text: str, marker: str, table: str) -> str:
    pattern = re.compile(rf"(<!-- {re.escape(marker)} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    if not pattern.search(text):
        raise DataError(f"{CARD}: lacks the marker '<!-- {marker} -->'")
    return pattern.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", text, count=1)


if __name__ == "__main__":
    CARD.write_text(rendered(CARD.read_text(encoding="utf-8")), encoding="utf-8")
