from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from scorer.data import relabelled
from scorer.data.jsonl import read_jsonl
from scorer.data.relabelled import SecondLabels
from scorer.data.schema import Example
from scorer.data.sources import BUNDLED
from scorer.dimensions import DEFAULT_DIMENSIONS
from scorer.errors import RowError


def write(folder: Path, **row: object) -> None:
    digest = hashlib.sha256("好的".encode()).hexdigest()
    content = {"id": "s-1", "response_sha256": digest, "labels": {"safety": 2}} | row
    (folder / "s-labels.jsonl").write_text(json.dumps(content) + "\n", encoding="utf-8")


def test_labels_belong_to_the_very_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relabelled, "BUNDLED", tmp_path)
    write(tmp_path)
    ours = SecondLabels("s")
    assert ours.of(Example("p", "好的", id="s-1")) == {"second_labels": {"safety": 2}}
    assert ours.of(Example("p", "好的。", id="s-1")) == {}
    assert ours.of(Example("p", "好的", id="s-2")) == {}
    assert SecondLabels("t").of(Example("p", "好的", id="s-1")) == {}


@pytest.mark.parametrize(
    ("row", "message"),
    [({"labels": {"safety": 4}}, "levels 1, 2, 3"), ({"text": "x"}, "needs id")],
)
def test_a_broken_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: dict[str, object], message: str
) -> None:
    monkeypatch.setattr(relabelled, "BUNDLED", tmp_path)
    write(tmp_path, **row)
    with pytest.raises(RowError, match=message):
        SecondLabels("s")


def test_bundled_labels_are_whole_and_carry_no_text() -> None:
    files = list(BUNDLED.glob("*-labels.jsonl"))
    assert files
    names = {dimension.name for dimension in DEFAULT_DIMENSIONS}
    for file in files:
        seen = set()
        for _, row in read_jsonl(file):
            assert isinstance(row, dict)
            assert row["labels"].keys() == names
            assert len(row["response_sha256"]) == 64
            seen.add(row["id"])
        assert SecondLabels(file.name.removesuffix("-labels.jsonl"))._labels.keys() == {
            (row["id"], row["response_sha256"])
            for _, row in read_jsonl(file)  # type: ignore[index]
        }
        assert len(seen) == sum(1 for _ in read_jsonl(file))
