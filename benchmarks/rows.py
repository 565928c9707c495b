"""Rows that the benchmarks score, in an order that hashes decide."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "scorer/models/harmlessness-zh-small"
_NATIVE = ROOT / "data/bundled/native.jsonl"


def real_rows(count: int, files: Sequence[Path] = ()) -> list[dict[str, str]]:
    """Return `count` rows with id, prompt and response; beyond what there is they begin anew.

    A row that comes again ends in its number, so that no engine can take it for the same text.

    Args:
        count: Rows.
        files: JSON lines to take them from, of each as many; the bundled native set if empty.
    """
    each = [_in_order(path) for path in files or [_NATIVE]]
    taken = list(
        itertools.islice(itertools.cycle(zip(*each, strict=False)), -(-count // len(each)))
    )
    rows = [row for together in taken for row in together][:count]
    once = len(each) * min(map(len, each))
    return [
        {
            "id": f"{i}",
            "prompt": row["prompt"],
            "response": row["response"] + (f" {i}" if i >= once else ""),
        }
        for i, row in enumerate(rows)
    ]


def _in_order(path: Path) -> list[dict[str, str]]:
    """Return a file's rows in the order of hashes."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return sorted(
        rows, key=lambda row: hashlib.sha256((row["prompt"] + row["response"]).encode()).digest()
    )


def write_rows(path: Path, count: int, files: Sequence[Path] = ()) -> None:
    """Write `count` rows as JSON lines."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in real_rows(count, files))
    path.write_text("".join(lines), encoding="utf-8")


def pairs_of(path: Path) -> list[tuple[str, str]]:
    """Return the (prompt, response) of a file of rows."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["prompt"], row["response"]) for row in rows]
