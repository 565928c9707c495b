"""Rows that the benchmarks score: the bundled native set, in an order that hashes decide."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "scorer/models/harmlessness-zh-small"
_NATIVE = ROOT / "data/bundled/native.jsonl"


def native_rows(count: int) -> list[dict[str, str]]:
    """Return `count` rows with id, prompt and response; beyond the set's size they begin anew.

    A row that comes again ends in its number, so that no engine can take it for the same text.
    """
    rows = [json.loads(line) for line in _NATIVE.read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
    found = []
    for i, row in enumerate(itertools.islice(itertools.cycle(rows), count)):
        again = "" if i < len(rows) else f" {i}"
        found.append(
            {
                "id": f"{i}",
                "prompt": row["prompt"],
                "response": row["response"] + again,
            }
        )
    return found


def write_rows(path: Path, count: int) -> None:
    """Write `count` rows as JSON lines."""
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in native_rows(count))
    path.write_text("".join(lines), encoding="utf-8")


def pairs_of(path: Path) -> list[tuple[str, str]]:
    """Return the (prompt, response) of a file of rows."""
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [(row["prompt"], row["response"]) for row in rows]
