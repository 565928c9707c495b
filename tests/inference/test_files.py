from __future__ import annotations

from pathlib import Path

import pytest

from scorer.errors import DataError
from scorer.inference.files import plan


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in (
        *("in/a.jsonl", "in/b.jsonl.gz", "in/sub/a.jsonl", "in/sub/c.parquet", "in/notes.txt"),
        *("in/a.jsonl.rejected.jsonl", "in/.hidden/x.jsonl", "other/a.jsonl", "odd[1].jsonl"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_one_file_goes_into_one(folder: Path) -> None:
    assert plan(["in/a.jsonl"], "out.jsonl") == [("in/a.jsonl", "out.jsonl")]
    assert plan(["-"], "-") == [("-", "-")]
    assert plan(["missing.jsonl"], "out.jsonl") == [("missing.jsonl", "out.jsonl")]
    assert plan(["odd[1].jsonl"], "out.jsonl") == [("odd[1].jsonl", "out.jsonl")]
    assert plan(["in/a.jsonl"], "other") == [("in/a.jsonl", "other/a.jsonl")]
    assert plan(["in/a.jsonl"], "new/") == [("in/a.jsonl", "new/a.jsonl")]
    assert (folder / "new").is_dir()


def test_folders_and_patterns_keep_their_names(folder: Path) -> None:
    expected = ["a.jsonl", "b.jsonl.gz", "sub/a.jsonl", "sub/c.parquet"]
    assert plan(["in"], "out") == [(f"in/{name}", f"out/{name}") for name in expected]
    assert (folder / "out/sub").is_dir()
    assert plan(["in/**/a.jsonl"], "out") == [
        ("in/a.jsonl", "out/a.jsonl"),
        ("in/sub/a.jsonl", "out/sub/a.jsonl"),
    ]
    assert plan(["in/b.jsonl.gz", "in/s*"], "out") == [("in/b.jsonl.gz", "out/b.jsonl.gz")]


def test_suffixes_may_be_capitals(folder: Path) -> None:
    (folder / "in/D.JSONL.GZ").touch()
    assert ("in/D.JSONL.GZ", "out/D.JSONL.GZ") in plan(["in"], "out")


def test_outputs_are_no_inputs(folder: Path) -> None:
    before = plan(["in"], "in/scored")
    (folder / "in/scored/a.jsonl").touch()
    assert plan(["in"], "in/scored") == before


@pytest.mark.parametrize(
    ("sources", "output", "message"),
    [
        (["in", "other"], "out", "would both go to out/a.jsonl"),
        (["in/a.jsonl", "in/sub/a.jsonl"], "out", "would both go to out/a.jsonl"),
        (["in"], "odd[1].jsonl", "this is a file"),
        (["in/*.csv"], "out", "nothing to score"),
        (["in"], "-", "go into a folder"),
        (["in/a.jsonl", "-"], "out", "go into a folder"),
    ],
)
def test_what_has_no_place_is_named(
    sources: list[str], output: str, message: str, folder: Path
) -> None:
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        plan(sources, output)
    assert not (folder / "out").exists()
