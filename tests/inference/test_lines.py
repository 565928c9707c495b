from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.data.jsonl import Line, LongLine, split_lines
from scorer.errors import DataError
from scorer.inference.lines import remove_member, splice

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
        for line in split_lines(io.BytesIO(data), "file", max_line)
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
    kinds = [type(line) for line in split_lines(io.BytesIO(data), "file", 100)]
    assert kinds == [Line, LongLine, Line]


def test_what_is_left_of_a_long_line_is_skipped() -> None:
    data = b"x" * 1_000_000 + b"\nnext\n"
    numbers = [(line.number, type(line)) for line in split_lines(io.BytesIO(data), "file", 10)]
    assert numbers == [(1, LongLine), (2, Line)]


def test_an_unreadable_stream_is_an_error_of_its_file() -> None:
    class Broken(io.BytesIO):
        def readline(self, size: int | None = -1, /) -> bytes:
            raise EOFError("cut short")

    with pytest.raises(DataError, match=r"rows\.gz: cannot be read on: cut short"):
        list(split_lines(Broken(), "rows.gz"))


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
