from __future__ import annotations

from scorer.data.datacard import agreement_table, level_table
from scorer.data.schema import Example


def row(first: int, second: int | None, split: str = "train") -> Example:
    meta = {} if second is None else {"second_labels": {"safety": second, "legality": 3}}
    return Example("p", "r", {"safety": first}, source="s", split=split, meta=meta)


def test_agreement_counts_what_both_labelled() -> None:
    table = agreement_table([row(3, 3), row(3, 2), row(1, 2), row(1, 1), row(2, None)])
    assert table.splitlines()[2:] == ["| s | safety | 4 | 50.0% | 75.0% | 0.67 |"]


def test_level_table() -> None:
    table = level_table([row(3, None), row(3, None, "dev"), row(1, None, "test")])
    assert table.splitlines()[2:] == [
        "| safety | 1 | 0 | 0 | 1 | 1 |",
        "| safety | 3 | 1 | 1 | 0 | 2 |",
        "| rows |  | 1 | 1 | 1 | 3 |",
    ]
