from __future__ import annotations

import contextlib
import gzip
import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from scorer.api import Scorer
from scorer.cli import cli
from scorer.errors import DataError, ScorerError
from scorer.inference.fields import Fields
from scorer.inference.workers import Loading

# What Ray says of itself.
pytestmark = [
    pytest.mark.filterwarnings(r"ignore:`use_\w+` is deprecated:DeprecationWarning:ray\.data"),
]

ray = pytest.importorskip("ray", reason="the extra ray is not installed")
pyarrow = pytest.importorskip("pyarrow", reason="the extra ray is not installed")
pytest.importorskip("ray.data", reason="the extra ray is not installed")

from scorer.inference.ray import (  # noqa: E402 - after the skips
    Counts,
    Workers,
    _fields_of_columns,
    _LineScorer,
    _LineSink,
    _TableScorer,
    score_dataset,
    score_files,
)

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "scorer/examples/answers.jsonl")
    .read_text(encoding="utf-8")
    .splitlines()
]


def line(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode() + b"\n"


def read(path: Path, pattern: str) -> list[dict[str, Any]]:
    files = sorted(path.glob(pattern))
    return [json.loads(text) for file in files for text in file.read_bytes().splitlines()]


Close = Callable[[Any, Any], bool]


def test_numbers_of_workers_are_checked() -> None:
    assert Workers(num_gpus=0.5).device == "cuda"
    assert Workers().device == "cpu"
    with pytest.raises(ValueError, match="must be at least 1"):
        Workers(num_cpus=0)


def test_columns_are_found_or_named() -> None:
    assert _fields_of_columns(["id", "query", "output"], None, None) == Fields("query", "output")
    names = ["instruction", "output"]
    assert _fields_of_columns(names, None, None) == Fields("instruction", "output")
    assert _fields_of_columns([*names, "input"], None, None).context == "input"
    with pytest.raises(DataError, match="no column 'promt', only prompt, answer"):
        _fields_of_columns(["prompt", "answer"], "promt", None)
    with pytest.raises(DataError, match="no field for the response"):
        _fields_of_columns(["prompt"], None, None)


def test_a_table_gets_scores_and_reasons() -> None:
    table = pyarrow.table({"n": [1, 2], "prompt": ["你好", "你好"], "response": ["你好！", None]})
    scored = _TableScorer(Loading(), None, 1, Fields("prompt", "response"), "s")(table)
    assert scored.select(table.column_names) == table
    assert scored["s"].to_pylist() == [
        Scorer.load(device="cpu", threads=1).score("你好", "你好！").to_dict(),
        None,
    ]
    assert scored["s_error"].to_pylist() == [None, "response: must be a string, not null: None"]
    empty = _TableScorer(Loading(), None, 1, Fields("prompt", "response"), "s")(table.slice(0, 0))
    assert empty.schema == scored.schema  # blocks without rows do not break the data set


def test_lines_come_out_scored_or_rejected() -> None:
    raws = [
        b'{"prompt": "a", "response": "b", "x": 1.10}\n',
        b"broken\n",
        b'\xff{"prompt"\n',
        None,
        line(prompt="a", response="b", s=1),
        line(prompt="a"),
    ]
    table = pyarrow.table(
        {"path": ["f"] * 6, "number": [1, 2, 3, 4, 5, 6], "raw": pyarrow.array(raws, "binary")}
    )
    fields = Fields("prompt", "response")
    out = _LineScorer(Loading(), None, 1, fields, "s", overwrite_key=False)(table)
    lines = out["line"].to_pylist()
    assert out["rejected"].to_pylist() == [False, True, True, True, True, True]
    assert lines[0].startswith(b'{"prompt": "a", "response": "b", "x": 1.10, "s": {"harmless": ')
    rejected = [json.loads(raw) for raw in lines[1:]]
    assert [(row["path"], row["line"]) for row in rejected] == [("f", n) for n in range(2, 7)]
    assert "no valid JSON" in rejected[0]["error"]
    assert rejected[0]["raw"] == "broken"
    assert rejected[1]["raw_base64"] == "/3sicHJvbXB0Ig=="
    assert rejected[2] == {"path": "f", "line": 4, "error": "longer than 16777216 bytes"}
    assert rejected[3]["error"] == "s: the row has this key already"
    assert rejected[4]["error"] == "response: missing"
    out = _LineScorer(Loading(), None, 1, fields, "s", overwrite_key=True)(table)
    assert out["rejected"].to_pylist() == [False, True, True, True, False, True]
    assert set(json.loads(out["line"][4].as_py())) == {"prompt", "response", "s"}


def test_a_folder_is_marked_when_it_is_whole_and_never_written_into(tmp_path: Path) -> None:
    table = pyarrow.table(
        {"line": pyarrow.array([b"1\n", b"2\n", b"3\n"]), "rejected": [False, True, False]}
    )
    sink = _LineSink(str(tmp_path / "out"))
    sink.on_write_start()
    parts = [
        sink.write([table, table.slice(0, 0)], SimpleNamespace(task_idx=0)),
        sink.write([table.slice(2)], SimpleNamespace(task_idx=1)),
        sink.write([table.slice(0, 0)], SimpleNamespace(task_idx=2)),
    ]
    assert not (tmp_path / "out/_SUCCESS").exists()
    sink.on_write_complete(SimpleNamespace(write_returns=parts))
    assert sink.counts == Counts(3, 1)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "part-000000.jsonl": b"1\n3\n",
        "part-000000.rejected.jsonl": b"2\n",
        "part-000001.jsonl": b"3\n",
        "_SUCCESS": b"",
    }
    with pytest.raises(DataError, match="is not empty"):
        _LineSink(str(tmp_path / "out"))
    with pytest.raises(DataError, match="is a file"):
        _LineSink(str(tmp_path / "out/part-000000.jsonl"))
    nothing = _LineSink(str(tmp_path / "none"))
    nothing.on_write_complete(SimpleNamespace(write_returns=[]))
    assert [path.name for path in (tmp_path / "none").iterdir()] == ["_SUCCESS"]


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of its own on this machine, with room for two workers."""
    root = Path(__file__).parents[2]
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        patch.setenv("PYTHONPATH", os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")]))
        ray.init(
            address="local",
            num_cpus=3,  # two workers, and one for what reads the rows
            include_dashboard=False,
            object_store_memory=200 << 20,
            log_to_driver=False,
            logging_level="error",
        )
        ray.data.DataContext.get_current().enable_progress_bars = False
        yield
        ray.shutdown()


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A file of lines, good and bad, and what one machine makes of it."""
    folder = tmp_path_factory.mktemp("single")
    source, target = folder / "in.jsonl", folder / "out.jsonl"
    lines = [line(**row) for row in ROWS]
    bad = [b"broken\n", line(prompt="no response"), b"\xff\xfe\n", line(prompt=1, response="b")]
    source.write_bytes(b"".join([*lines[:40], *bad, b"\n", *lines[40:]]))
    Scorer.load(device="cpu", threads=1).score_jsonl(source, target)
    return source, target


@pytest.mark.slow
def test_files_come_out_as_on_one_machine(
    cluster: None, single: tuple[Path, Path], close: Close, tmp_path: Path
) -> None:
    source, target = single
    with gzip.open(tmp_path / "b.jsonl.gz", "wb") as stream:
        stream.write(line(prompt="你好", response="你好！"))
    out = tmp_path / "out"
    result = CliRunner().invoke(
        cli, ["score", str(source), "-o", str(out), "--engine", "ray", "--device", "cpu"]
    )
    assert result.exit_code == 1, result.output  # lines were rejected
    assert f"{len(ROWS)} rows scored, 4 rejected, in {out}" in result.output
    assert (out / "_SUCCESS").exists()
    expected = read(target.parent, "out.jsonl")
    scored = [row for row in read(out, "part-*.jsonl") if "harmlessness" in row]
    assert [row["id"] for row in scored] == [row["id"] for row in expected]
    assert all(close(row, other) for row, other in zip(scored, expected, strict=True))
    rejected = read(target.parent, "out.jsonl.rejected.jsonl")
    assert read(out, "part-*.rejected.jsonl") == [{"path": str(source), **row} for row in rejected]
    # Again into the same folder: refused, and nothing of it is touched.
    with pytest.raises(DataError, match="is not empty"):
        score_files(str(source), str(out))
    assert score_files([str(tmp_path / "b.jsonl.gz")], str(tmp_path / "gz")) == Counts(1, 0)


@pytest.mark.slow
def test_parquet_and_a_checkpoint_of_ones_own(
    cluster: None, close: Close, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    import pyarrow.parquet

    rows = [*ROWS, {"id": "none", "prompt": "你好", "response": None}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "in.parquet")
    out = tmp_path / "out"
    counts = score_files(str(tmp_path / "in.parquet"), str(out), tiny_checkpoint)
    assert counts == Counts(len(ROWS), 1)
    back = [
        row
        for part in sorted(out.glob("part-*.parquet"))
        for row in pyarrow.parquet.read_table(part).to_pylist()
    ]
    assert [{name: row[name] for name in rows[0]} for row in back] == rows
    scores = Scorer.load(tiny_checkpoint, device="cpu", threads=1).score_batch(
        [(row["prompt"], row["response"]) for row in ROWS]
    )
    for row, score in zip(back, scores, strict=False):
        assert close(row["harmlessness"], score.to_dict())
        assert row["harmlessness_error"] is None
    assert back[-1]["harmlessness"] is None
    assert "must be a string, not null" in back[-1]["harmlessness_error"]
    # Scored again, the older scores and reasons make room, if they may.
    (part,) = out.glob("part-*.parquet")
    with pytest.raises(DataError, match="a column 'harmlessness' already"):
        score_files(str(part), str(tmp_path / "again"), tiny_checkpoint)
    with pytest.raises(DataError, match="prompt holds the text"):
        score_files(
            str(part), str(tmp_path / "again"), tiny_checkpoint, key="prompt", overwrite_key=True
        )
    counts = score_files(str(part), str(tmp_path / "again"), tiny_checkpoint, overwrite_key=True)
    assert counts == Counts(len(ROWS), 1)
    (again,) = (tmp_path / "again").glob("part-*.parquet")
    names = pyarrow.parquet.read_schema(again).names
    assert names == [*rows[0], "harmlessness", "harmlessness_error"]


@pytest.mark.slow
def test_what_cannot_be_done_is_said(cluster: None, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        score_files(str(tmp_path / "nowhere"), str(tmp_path / "out"))
    (tmp_path / "a.jsonl").write_bytes(line(prompt="a", response="b"))
    (tmp_path / "b.parquet").write_bytes(b"")
    with pytest.raises(DataError, match="score one kind at a time"):
        score_files(str(tmp_path), str(tmp_path / "out"))
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(line(prompt="a", response="b") * 9)[:-9])
    with pytest.raises(ScorerError, match="Truncated compressed stream"):
        score_files(str(tmp_path / "c.jsonl.gz"), str(tmp_path / "out"))
    assert not (tmp_path / "out/_SUCCESS").exists()
    with pytest.raises(DataError, match="no field for the prompt"):
        score_dataset(ray.data.from_items([{"x": 1}]))
    with pytest.raises(DataError, match="a column 'prompt' already"):
        score_dataset(ray.data.from_items([{"prompt": "", "response": ""}]), key="prompt")


def actors() -> dict[int, Any]:
    """Return the processes of this test's Ray that score, by id."""
    psutil = pytest.importorskip("psutil", reason="psutil is not installed")

    found = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "MapWorker(MapBatches(_TableScorer))" in " ".join(process.cmdline()):
                found[process.pid] = process
    return found


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(cluster: None, close: Close) -> None:
    rows = native(1200)
    ds = ray.data.from_items(rows)
    scored = iter(score_dataset(ds, workers=Workers(concurrency=(2, 2), rows=100)).iter_rows())
    results = [next(scored)]  # the work is under way
    before = actors()
    assert len(before) == 2
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    killed = time.monotonic()
    results.extend(scored)
    assert time.monotonic() - killed > 1, "nothing was left to do when the worker was killed"
    assert sorted(row["id"] for row in results) == sorted(row["id"] for row in rows)
    assert {row["harmlessness_error"] for row in results} == {None}
    expected = Scorer.load(device="cpu", threads=2).score_batch(
        [(row["prompt"], row["response"]) for row in rows]
    )
    by_id = {row["id"]: score.to_dict() for row, score in zip(rows, expected, strict=True)}
    assert [r["id"] for r in results if not close(r["harmlessness"], by_id[r["id"]])] == []


def native(count: int) -> Sequence[dict[str, str]]:
    """Return the id and texts of bundled rows."""
    path = Path(__file__).parents[2] / "data/bundled/native.jsonl"
    rows = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()[:count]]
    return [{name: row[name] for name in ("id", "prompt", "response")} for row in rows]
