from __future__ import annotations

import base64
import gzip
import io
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from scorer.data.jsonl import Line, LongLine, read_lines, split_lines
from scorer.errors import DataError, RowError
from scorer.inference.outputs import Direct, Output, Part, Rejects, is_file_to_be, locked


@pytest.fixture
def part(tmp_path: Path) -> Callable[..., Part]:
    def make(name: str = "out.jsonl", keep: int | None = None) -> Part:
        return Part(tmp_path / name, tmp_path / f"{name}.part", keep)

    return make


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_file_cut_at_the_end_of_a_frame_can_be_written_on(
    suffix: str, part: Callable[..., Part], tmp_path: Path
) -> None:
    name = f"out.jsonl{suffix}"
    whole = part(name)
    for text in (b"one\n" * 1000, b"two\n" * 1000):
        whole.output.write(text)
        whole.output.end_frame()
    whole.finish()
    expected = (tmp_path / name).read_bytes()

    cut = part(name)
    cut.output.write(b"one\n" * 1000)
    end = cut.output.end_frame()
    cut.output.write(b"lost\n" * 100_000)
    cut.close()
    on = part(name, keep=end)
    on.output.write(b"two\n" * 1000)
    on.finish()
    assert (tmp_path / name).read_bytes() == expected
    assert [raw for _, raw in read_lines(tmp_path / name)] == [b"one\n"] * 1000 + [b"two\n"] * 1000
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_frames_are_what_other_tools_read() -> None:
    for suffix, unpack in (
        (".gz", gzip.decompress),
        (".zst", lambda data: zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()),
    ):  # fmt: skip
        stream = io.BytesIO()
        output = Output(stream, f"x{suffix}")
        for text in (b"a" * 10, b"b" * 10):
            output.write(text)
            assert output.end_frame() == len(stream.getvalue())
        output.end_frame()  # nothing more: no empty frame
        assert unpack(stream.getvalue()) == b"a" * 10 + b"b" * 10


def test_a_discarded_part_leaves_nothing(part: Callable[..., Part], tmp_path: Path) -> None:
    (tmp_path / "out.jsonl").write_bytes(b"older")
    new = part()
    new.output.write(b"x")
    new.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_bytes() == b"older"


def test_a_vanished_folder_is_named(part: Callable[..., Part], tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    new = part("sub/out.jsonl")
    new.output.write(b"x")
    new.temporary.unlink()
    (tmp_path / "sub").rmdir()
    with pytest.raises(DataError, match=r"sub/out\.jsonl: cannot be written: No such file"):
        new.finish()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("size", [10, 1 << 20])
def test_a_full_disk_is_named(size: int) -> None:
    full = Direct("/dev/full")

    def write() -> None:
        full.output.write(b"x" * size)
        full.output.end_frame()

    with pytest.raises(DataError, match="/dev/full: cannot be written: No space left"):
        write()
    full.discard()


def test_what_becomes_a_file(tmp_path: Path) -> None:
    assert is_file_to_be(tmp_path / "new")
    (tmp_path / "old").touch()
    assert is_file_to_be(tmp_path / "old")
    assert not is_file_to_be("-")
    assert not is_file_to_be(os.devnull)
    assert not is_file_to_be(tmp_path)


def test_a_lock_keeps_others_out_and_goes_with_its_process(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    program = (
        "import sys, time; from pathlib import Path; from scorer.inference.outputs import locked\n"
        "with locked(Path(sys.argv[1])): print('mine', flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(DataError, match="another process is writing it"), locked(path):
            pass
        other.kill()
        other.wait()
        assert (tmp_path / ".out.jsonl.lock").exists()
        with locked(path):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_lock_whose_file_was_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    path, name = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.lock"
    opened: list[int] = []

    def flock(descriptor: int, how: int) -> None:
        opened.append(descriptor)
        if len(opened) == 1:
            name.unlink()  # by the process that had the lock until now

    monkeypatch.setattr(fcntl, "flock", flock)
    with locked(path):
        assert len(opened) == 2
        assert name.exists()


def test_rejects_keep_text_and_bytes(part: Callable[..., Part], tmp_path: Path) -> None:
    rejects = Rejects(part)
    rejects.add(Line(3, "坏\n".encode()), RowError("bad", field="prompt"))
    rejects.add(Line(5, b"\xff\xfe\r\n"), RowError("not UTF-8"))
    assert rejects.count == 2
    assert rejects.part is not None
    rejects.part.finish()
    rows = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in rows] == [
        {"line": 3, "error": "prompt: bad", "raw": "坏"},
        {"line": 5, "error": "not UTF-8", "raw_base64": base64.b64encode(b"\xff\xfe").decode()},
    ]


@given(st.lists(st.binary(max_size=7), max_size=6))
def test_pieces_of_a_long_line_join(pieces: list[bytes]) -> None:
    rejects = Rejects(None)
    written: list[bytes] = []
    rejects._write = written.append  # type: ignore[method-assign]
    rejects.add_long(LongLine(1, iter(pieces)), RowError("long"))
    row = json.loads(b"".join(written))
    assert base64.b64decode(row["raw_base64"], validate=True) == b"".join(pieces)


def test_a_line_of_50_megabytes_is_kept_without_being_held(
    part: Callable[..., Part], tmp_path: Path
) -> None:
    source = tmp_path / "long"
    source.write_bytes(b"\xe5" * 50_000_000 + b"\n")
    rejects = Rejects(part)
    tracemalloc.start()
    with source.open("rb") as stream:
        for line in split_lines(stream, "long", 1000):
            assert isinstance(line, LongLine)
            rejects.add_long(line, RowError("long"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    assert rejects.part is not None
    rejects.part.finish()
    row = json.loads((tmp_path / "out.jsonl").read_text(encoding="ascii"))
    assert base64.b64decode(row["raw_base64"]) == source.read_bytes()


def test_rejects_that_go_nowhere_are_counted() -> None:
    rejects = Rejects(None)
    rejects.add(Line(1, b"x"), RowError("bad"))
    assert (rejects.count, rejects.part, rejects.end_frame()) == (1, None, 0)
