import gzip
import io
import json
import os
import stat
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.data.jsonl import (
    atomic_writer,
    encode_row,
    open_binary,
    parse_line,
    read_examples,
    read_jsonl,
    read_lines,
    write_jsonl,
)
from scorer.errors import DataError, RowError

ROWS = [{"prompt": f"问{i}", "response": "答" * i} for i in range(300)]

HOSTILE = {
    "empty": (b"", "Expecting value at character 1"),
    "cut": (b'{"a": "b', "Unterminated string"),
    "single quotes": (b"{'a': 1}", "double quotes"),
    "two values": (b'{"a": 1} {"b": 2}', "Extra data"),
    "trailing comma": (b'{"a": 1,}', "no valid JSON"),
    "comment": (b'{"a": 1} // b', "Extra data"),
    "NaN": (b'{"a": NaN}', "NaN is no JSON value"),
    "infinity": (b'{"a": -Infinity}', "-Infinity is no JSON value"),
    "infinity in digits": (b'{"a": 1e999}', "'1e999' is too large"),
    "key twice": (b'{"a": 1, "b": 2, "a": 3}', "the key 'a' is given twice"),
    "inner key twice": (b'{"m": [{"k": 1, "k": 1}]}', "the key 'k' is given twice"),
    "huge whole number": (b'{"a": ' + b"9" * 5000 + b"}", "5000 digits"),
    "deep": (b"[" * 100_000 + b"]" * 100_000, "nested more than"),
    "rather deep": (b'{"a":' * 101 + b"1" + b"}" * 101, "nested more than"),
    "not UTF-8": (b'{"a": "\xff"}', "not UTF-8: 0xff at byte 8"),
    "surrogate in UTF-8": (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "not UTF-8"),
    "NUL": (b'{"a": "\x00"}', "Invalid control character at character 8"),
    "NUL around": (b'\x00{"a": 1}', "no valid JSON"),
    "tab in a text": (b'{"a": "\t"}', "Invalid control character"),
    "bad escape": (rb'{"a": "\x41"}', "Invalid \\\\escape"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_lines(name: str) -> None:
    raw, problem = HOSTILE[name]
    with pytest.raises(RowError, match=problem) as caught:
        parse_line(raw, "f.jsonl", 3)
    assert str(caught.value).startswith("f.jsonl:3: ")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
        (b'{"a": 1}\r\n', {"a": 1}),
        (b' {"a": 1} \t\n', {"a": 1}),
        (rb'"\ud800 \u0000"', "\ud800 \x00"),
        ('"\u2028\x85"'.encode(), "\u2028\x85"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, None),
        (b'"' + b"x" * 1_000_000 + b'"', "x" * 1_000_000),
        (b'"' + b"[" * 200 + b'"', "[" * 200),
        (b"[" + b"[]," * 200 + b"[]]", [[]] * 201),
        (b"null", None),
    ],
)
def test_unusual_lines_that_are_fine(raw: bytes, value: object) -> None:
    assert parse_line(raw, "f.jsonl", 1) == value or value is None


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_any_bytes_give_a_value_or_a_row_error(raw: bytes) -> None:
    try:
        value = parse_line(raw, "f", 1)
    except RowError:
        return
    assert json.loads(encode_row({"v": value})) == {"v": value}


@settings(deadline=None)
@given(st.text(st.characters(), max_size=20))  # lone surrogates too
def test_texts_survive_writing(text: str) -> None:
    line = encode_row({"text": text})
    assert line.count(b"\n") == 1
    assert parse_line(line, "f", 1) == {"text": text}


def test_lone_surrogates_are_escaped_in_their_line_alone() -> None:
    assert encode_row({"a": "中\ud800"}) == b'{"a": "\\u4e2d\\ud800"}\n'
    assert encode_row({"a": "中"}) == '{"a": "中"}\n'.encode()


def test_encode_refuses_nan() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_row({"a": float("nan")})


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst", ".GZ"])
def test_files_round_trip(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    assert write_jsonl(path, ROWS) == len(ROWS)
    assert list(read_jsonl(path)) == list(enumerate(ROWS, start=1))
    assert [e.prompt for e in read_examples(path)] == [row["prompt"] for row in ROWS]
    start = path.read_bytes()[:4]
    assert (start[:2] == b"\x1f\x8b") == (suffix.lower() == ".gz")
    assert (start == b"\x28\xb5\x2f\xfd") == (suffix == ".zst")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_appending(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    write_jsonl(path, ROWS)
    with open_binary(path, "ab") as stream:
        stream.write(b'{"more": 1}\n')
    assert len(list(read_jsonl(path))) == len(ROWS) + 1


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_cut_and_foreign_files_are_noticed(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    write_jsonl(path, ROWS)
    whole = path.read_bytes()
    for content in (whole[:-9], whole[:20], b"{}\n"):
        path.write_bytes(content)
        with pytest.raises(DataError, match=rf"rows\.jsonl{suffix}: cannot be read on"):
            list(read_jsonl(path))


def test_zstandard_frames_of_other_tools(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.zst"
    frame = zstandard.ZstdCompressor(level=19).compress(b'{"a": 1}\n' * 100_000)
    path.write_bytes(frame + frame)
    assert sum(1 for _ in read_lines(path)) == 200_000


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'\xef\xbb\xbf\r\n1\r\n\n  \t\n"\xe2\x80\xa8"\n\xef\xbb\xbf2')
    assert list(read_jsonl(path)) == [(2, 1), (5, "\u2028"), (6, 2)]


def test_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"{}\n\n{]\n")
    rows = read_jsonl(path)
    assert next(rows) == (1, {})
    with pytest.raises(RowError, match=rf"{path}:3: no valid JSON"):
        next(rows)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(DataError, match="cannot be opened"):
            list(read_lines(path))
    with pytest.raises(DataError, match="cannot be opened"):
        write_jsonl(tmp_path / "no" / "rows.jsonl", ROWS)


class _Standard:
    def __init__(self, content: bytes = b"") -> None:
        self.buffer = io.BytesIO(content)


def test_standard_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    source, sink = _Standard(b"{}\n{]\n"), _Standard()
    monkeypatch.setattr(sys, "stdin", source)
    monkeypatch.setattr(sys, "stdout", sink)
    with pytest.raises(RowError, match="<stdin>:2: no valid JSON"):
        list(read_jsonl("-"))
    assert write_jsonl("-", [{"a": 1}]) == 1
    assert sink.buffer.getvalue() == b'{"a": 1}\n'
    assert not source.buffer.closed


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_failed_write_leaves_the_old_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows.jsonl{suffix}"
    write_jsonl(path, ROWS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_jsonl(path, [{"a": 1}, {"a": float("inf")}])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_writing_through_a_link_and_to_a_device(tmp_path: Path) -> None:
    path, link = tmp_path / "rows.jsonl", tmp_path / "link.jsonl"
    path.write_bytes(b"old")
    link.symlink_to(path)
    write_jsonl(link, [{"a": 1}])
    assert link.is_symlink()
    assert path.read_bytes() == b'{"a": 1}\n'
    write_jsonl(os.devnull, [{"a": 1}])
    assert stat.S_ISCHR(Path(os.devnull).stat().st_mode)


def test_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for suffix in (".gz", ".zst"):
        first, second = tmp_path / f"a.jsonl{suffix}", tmp_path / f"b.jsonl{suffix}"
        write_jsonl(first, ROWS)
        write_jsonl(second, ROWS)
        assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress((tmp_path / "a.jsonl.gz").read_bytes()).count(b"\n") == len(ROWS)


def test_writer_shows_nothing_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    with atomic_writer(path) as stream:
        stream.write(b"{}\n")
        assert not path.exists()
    assert path.read_bytes() == b"{}\n"
