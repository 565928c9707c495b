from __future__ import annotations

import base64
import io
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.errors import DataError, RowError
from scorer.inference.lines import Line, LongLine, Rejects, read_lines, remove_member, splice

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.text(), JSON, min_size=1, max_size=5)


def read(data: bytes, max_line: int = 100) -> list[tuple[int, bytes]]:
    return [
        (line.number, line.raw if isinstance(line, Line) else b"".join(line.pieces))
        for line in read_lines(io.BytesIO(data), "file", max_line)
    ]


def test_blank_lines_are_counted_and_left_out() -> None:
    assert read(b"\xef\xbb\xbf\r\n\n  \na\r\n\nb") == [(4, b"a\r\n"), (6, b"b")]


@given(st.lists(st.text("a \r\x00é", max_size=30).filter(str.strip).map(str.encode)))
def test_lines_come_whole_whatever_their_length(lines: list[bytes]) -> None:
    assert read(b"\n".join(lines), max_line=8) == [
        (number, line + b"\n" * (number < len(lines))) for number, line in enumerate(lines, 1)
    ]


def test_only_lines_beyond_the_limit_are_long() -> None:
    data = b"1" * 100 + b"\n" + b"2" * 101 + b"\n" + b"3" * 100
    kinds = [type(line) for line in read_lines(io.BytesIO(data), "file", 100)]
    assert kinds == [Line, LongLine, Line]


def test_what_is_left_of_a_long_line_is_skipped() -> None:
    data = b"x" * 1_000_000 + b"\nnext\n"
    numbers = [(line.number, type(line)) for line in read_lines(io.BytesIO(data), "file", 10)]
    assert numbers == [(1, LongLine), (2, Line)]


def test_an_unreadable_stream_is_an_error_of_its_file() -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise EOFError("cut short")

    with pytest.raises(DataError, match=r"rows\.gz: cannot be read on: cut short"):
        list(read_lines(Broken(), "rows.gz"))


@given(OBJECTS, st.text(), JSON)
def test_splice_adds_one_member(row: dict[str, object], key: str, value: object) -> None:
    row.pop(key, None)
    if row:
        raw = json.dumps(row).encode() + b"\r\n"
        spliced = splice(raw, key, value)
        assert spliced.startswith(raw.strip()[:-1])
        assert spliced.endswith(b"}\n")
        assert json.loads(spliced) == {**row, key: value}


def test_splice_keeps_numbers_escapes_and_space_as_they_are() -> None:
    raw = b'\xef\xbb\xbf { "a" : 1.10, "b":1E2,"c":"\\u4f60\\/" ,"d":12345678901234567890 } \r\n'
    expected = b'{ "a" : 1.10, "b":1E2,"c":"\\u4f60\\/" ,"d":12345678901234567890, "k": 1}\n'
    assert splice(raw, "k", 1) == expected


@given(OBJECTS, st.sampled_from(["", " ", "\t \r"]), st.data())
def test_remove_member_leaves_the_others(
    row: dict[str, object], space: str, data: st.DataObject
) -> None:
    key = data.draw(st.sampled_from(sorted(row)))
    text = json.dumps(row, separators=(space + "," + space, space + ":" + space))
    removed = remove_member(text.encode() + b"\n", key)
    del row[key]
    assert json.loads(removed) == row


def test_remove_member_keeps_text_and_takes_escaped_names() -> None:
    raw = b'{"a":1.10 , "\\u006b" : {"k":[2]}, "c":"\\u4f60"}'
    assert remove_member(raw, "k") == b'{"a":1.10, "c":"\\u4f60"}'


def test_rejects_keep_text_and_bytes(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    with Rejects(path) as rejects:
        rejects.add(Line(3, "坏\n".encode()), RowError("bad", field="prompt"))
        rejects.add(Line(5, b"\xff\xfe\r\n"), RowError("not UTF-8"))
    assert rejects.count == 2
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] == [
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


def test_a_long_line_is_kept_without_being_held(tmp_path: Path) -> None:
    source, path = tmp_path / "long", tmp_path / "rejected.jsonl"
    source.write_bytes(b"\xe5" * 20_000_000 + b"\n")
    tracemalloc.start()
    with source.open("rb") as stream, Rejects(path) as rejects:
        for line in read_lines(stream, "long", 1000):
            assert isinstance(line, LongLine)
            rejects.add_long(line, RowError("long"))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4_000_000
    row = json.loads(path.read_text(encoding="ascii"))
    assert base64.b64decode(row["raw_base64"]) == source.read_bytes()


def test_rejects_without_rejects_remove_an_older_file(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    path.write_text("old")
    with Rejects(path):
        pass
    assert not path.exists()


def test_after_an_error_the_older_file_stands(tmp_path: Path) -> None:
    path = tmp_path / "rejected.jsonl"
    path.write_text("old")

    def interrupted() -> None:
        with Rejects(path) as rejects:
            rejects.add(Line(1, b"x"), RowError("bad"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
