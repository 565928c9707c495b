from __future__ import annotations

import datetime
import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from scorer.errors import DataError
from scorer.inference.options import Options, Shard
from scorer.inference.predict import Predictor
from scorer.inference.stream import Progress, score_jsonl

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

ROWS = 40


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Three row groups of many types, with a row that has no response."""
    table = pa.table(
        {
            "id": pa.array(range(ROWS), pa.int32()),
            "prompt": pa.array([f"问{i}" for i in range(ROWS)]).dictionary_encode(),
            "response": pa.array([None if i == 5 else "答" * i for i in range(ROWS)]),
            "when": pa.array([datetime.datetime(2026, 1, 2, 3, 4)] * ROWS, pa.timestamp("ns")),
            "tags": pa.array([[{"a": i}] for i in range(ROWS)]),
            "blob": pa.array([b"\xff"] * ROWS),
        }
    )
    path = tmp_path / "in.parquet"
    pq.write_table(table, path, row_group_size=15)
    return path


def test_columns_come_through_and_the_score_is_a_struct(
    source: Path, predictor: Predictor, tmp_path: Path
) -> None:
    out = tmp_path / "out.parquet"
    summary = score_jsonl(source, out, predictor)
    assert (summary.rows, summary.rejected) == (ROWS - 1, 1)
    before, after = pq.read_table(source), pq.read_table(out)
    good = [i for i in range(ROWS) if i != 5]
    assert after.drop_columns("harmlessness").equals(before.take(good))
    alone = predictor.predict([(f"问{i}", "答" * i) for i in good]).scores
    for row, score in zip(after["harmlessness"].to_pylist(), alone, strict=True):
        assert row["harmless"] == score.harmless
        assert row["harmless_probability"] == pytest.approx(score.harmless_probability, abs=2e-3)
        assert row["dimensions"]["fairness"]["probabilities"].keys() == {"1", "2", "3"}
    (rejected,) = (tmp_path / "out.parquet.rejected.jsonl").read_text("utf-8").splitlines()
    row = json.loads(rejected)
    assert (row["line"], row["error"]) == (6, "response: must be a string, not null: None")
    assert json.loads(row["raw"])["when"] == "2026-01-02T03:04:00"


def test_parquet_of_jsonl_and_back(source: Path, predictor: Predictor, tmp_path: Path) -> None:
    lines, out = tmp_path / "lines.jsonl", tmp_path / "out.parquet"
    score_jsonl(source, lines, predictor)
    rows = [json.loads(line) for line in lines.read_text("utf-8").splitlines()]
    assert [row["id"] for row in rows] == [i for i in range(ROWS) if i != 5]
    assert (rows[0]["blob"], rows[0]["tags"]) == ("/w==", [{"a": 0}])
    score_jsonl(lines, out, predictor, Options(key="again"))
    table = pq.read_table(out)
    assert table.column_names == ["row", "again"]
    assert [text.encode() for text in table["row"].to_pylist()] == lines.read_bytes().splitlines()


def test_without_rows_there_is_still_a_table(predictor: Predictor, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(
        pa.table({"prompt": pa.array([], "string"), "response": pa.array([], "string")}), source
    )
    score_jsonl(source, tmp_path / "out.parquet", predictor)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.num_rows == 0
    assert table.column_names == ["prompt", "response", "harmlessness"]


def test_a_stopped_run_goes_on_to_the_same_bytes(
    source: Path, predictor: Predictor, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole.parquet", tmp_path / "out.parquet"
    score_jsonl(source, whole, predictor)

    class Stopping:
        calls = 0

        def __getattr__(self, name: str) -> object:
            return getattr(predictor, name)

        def predict(self, *arguments: object) -> object:
            self.calls += 1
            if self.calls > 1:
                raise KeyboardInterrupt
            return predictor.predict(*arguments)  # type: ignore[arg-type]

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            score_jsonl(source, out, Stopping(), Options(resume=True))  # type: ignore[arg-type]
    score_jsonl(source, out, predictor, Options(resume=True))
    assert out.read_bytes() == whole.read_bytes()
    assert score_jsonl(source, out, predictor, Options(resume=True)).rows == ROWS - 1


def test_shards_are_the_whole(source: Path, predictor: Predictor, tmp_path: Path) -> None:
    ids: list[int] = []
    for i in range(1, 8):
        score_jsonl(source, tmp_path / "out.parquet", predictor, Options(shard=Shard(i, 7)))
        ids += pq.read_table(tmp_path / f"out.{i}-of-7.parquet")["id"].to_pylist()
    assert ids == [i for i in range(ROWS) if i != 5]


def test_what_cannot_be_read_is_named(source: Path, predictor: Predictor, tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    for content in (b"", b"PAR1", source.read_bytes()[:-30], b"\xff" * 100):
        broken.write_bytes(content)
        with pytest.raises(DataError, match=r"broken\.parquet: cannot be opened as Parquet"):
            score_jsonl(broken, tmp_path / "out.parquet", predictor)
    data = bytearray(source.read_bytes())
    data[4:400] = bytes(396)
    broken.write_bytes(data)
    with pytest.raises(DataError, match=r"broken\.parquet: cannot be read on"):
        score_jsonl(broken, tmp_path / "out.parquet", predictor)
    with pytest.raises(DataError, match="no column 'ask'; it has id, prompt"):
        score_jsonl(source, tmp_path / "out.parquet", predictor, Options(prompt_field="ask"))
    with pytest.raises(DataError, match="there is a column id already"):
        score_jsonl(source, tmp_path / "out.parquet", predictor, Options(key="id"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.parquet", "in.parquet"]


def test_an_older_score_is_replaced(source: Path, predictor: Predictor, tmp_path: Path) -> None:
    one, two = tmp_path / "one.parquet", tmp_path / "two.parquet"
    score_jsonl(source, one, predictor)
    strict = replace(predictor, purpose="strict")
    score_jsonl(one, two, strict, Options(overwrite_key=True))
    table = pq.read_table(two)
    assert table.column_names == pq.read_table(one).column_names
    assert {row["purpose"] for row in table["harmlessness"].to_pylist()} == {"strict"}


def test_memory_does_not_grow_with_row_groups(instant: Predictor, tmp_path: Path) -> None:
    source, rng = tmp_path / "in.parquet", random.Random(1)
    rows, size = 400, 100_000
    columns = {"prompt": ["a"] * rows, "response": ["b"] * rows}
    table = pa.table({**columns, "blob": [rng.randbytes(size) for _ in range(rows)]})
    pq.write_table(table, source, use_dictionary=False, write_batch_size=8)  # pages of a megabyte
    assert pq.ParquetFile(source).num_row_groups == 1
    del columns, table
    before, held = pa.total_allocated_bytes(), []

    def look(progress: Progress) -> None:
        held.append(pa.total_allocated_bytes() - before)

    score_jsonl(source, tmp_path / "out.parquet", instant, on_progress=look)
    assert len(held) > 3
    assert 0 < max(held) < rows * size / 2


def test_texts_beyond_the_longest_line_are_rejected(instant: Predictor, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"prompt": ["问", "问" * 33], "response": ["答", "ab"]}), source)
    summary = score_jsonl(source, tmp_path / "out.parquet", instant, Options(max_line=100))
    assert (summary.rows, summary.rejected) == (1, 1)
    (row,) = map(json.loads, (tmp_path / "out.parquet.rejected.jsonl").read_text().splitlines())
    assert (row["line"], row["error"]) == (2, "longer than 100 bytes")
    assert score_jsonl(source, tmp_path / "out.parquet", instant, Options(max_line=101)).rows == 2


def test_what_python_has_no_value_for_comes_out_as_text(instant: Predictor, tmp_path: Path) -> None:
    nanoseconds = pa.array([1], pa.timestamp("ns"))
    late = pa.array([300_000_000_000], pa.timestamp("s"))  # in the year 11476
    columns = {
        "prompt": ["a"],
        "response": ["b"],
        "ns": nanoseconds,
        "late": late,
        "day": pa.array([4_000_000], pa.int32()).cast(pa.date32()),
        "list": pa.ListArray.from_arrays([0, 1], late),
        "struct": pa.StructArray.from_arrays([late, nanoseconds], ["late", "ns"]),
        "category": late.dictionary_encode(),
        "broken": pa.ListArray.from_arrays([0, 1], pa.array([b"\xff"]).view(pa.string())),
    }
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table(columns), source, version="2.6")
    out = tmp_path / "out.jsonl"
    assert score_jsonl(source, out, instant).rows == 1
    row = json.loads(out.read_text("utf-8"))
    assert row["ns"].endswith("00:00:00.000000001")
    assert row["struct"]["ns"] == row["ns"]
    assert row["late"] == row["list"][0] == row["struct"]["late"] == row["category"]
    assert "11476" in row["late"]
    assert row["broken"] == ["/w=="]
    assert isinstance(row["day"], str)
    assert score_jsonl(source, tmp_path / "out.parquet", instant).rows == 1


def test_a_score_does_not_take_the_lines_column(instant: Predictor, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"prompt": "a", "response": "b"}')
    with pytest.raises(DataError, match="the column row holds the line"):
        score_jsonl(source, tmp_path / "out.parquet", instant, Options(key="row"))
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_whole_output_of_another_file_is_refused(instant: Predictor, tmp_path: Path) -> None:
    source, out, sizes = tmp_path / "in.parquet", tmp_path / "out.parquet", set()
    for text in ("ab", "cd"):
        pq.write_table(pa.table({"prompt": [text], "response": [text]}), source)
        sizes.add(source.stat().st_size)
        if text == "ab":
            score_jsonl(source, out, instant, Options(resume=True))
    assert len(sizes) == 1
    with pytest.raises(DataError, match=r"in\.parquet: not the same file any more"):
        score_jsonl(source, out, instant, Options(resume=True))
