"""Members put into and taken out of a line of JSON, every other byte as it was."""

from __future__ import annotations

import json
from collections.abc import Mapping

from scorer.data.jsonl import BOM, encode_row
from scorer.errors import RowError
from scorer.inference.fields import Fields


def splice(raw: bytes, key: str, value: object) -> bytes:
    r"""Return the line of a JSON object with one member more at its end.

    What was there stays byte for byte, since a parser would turn 1.10 into 1.1 and "\u4f60" into
    "你". Only a byte order mark and white space around the object go.

    Args:
        raw: A line that parses as an object with at least one member.
        key: Name of the new member, which the object must not have.
        value: JSON-ready value.

    Raises:
        ValueError: If the value holds NaN or an infinity.
    """
    body = raw.removeprefix(BOM).strip()
    member = encode_row({key: value})[1:-2]  # without its braces and line feed
    return body[:-1].rstrip() + b", " + member + b"}\n"


def make_room(
    raw: bytes, row: Mapping[str, object], key: str, fields: Fields, overwrite: bool
) -> bytes:
    """Return the line of a JSON object as one that `splice` can put `key` into.

    Args:
        raw: The line.
        row: The object that it holds.
        key: Key that the score goes under.
        fields: Fields that hold the text.
        overwrite: Whether an older score may go.

    Raises:
        RowError: If the row has the key already and must keep it.
    """
    if key not in row:
        return raw
    if key in fields.names:
        raise RowError("holds the text; the score needs another key", field=key)
    if not overwrite:
        raise RowError("the row has this key already", field=key)
    return remove_member(raw, key)


def remove_member(raw: bytes, key: str) -> bytes:
    """Return the line of a JSON object without the member `key`, the others byte for byte."""
    text = raw.removeprefix(BOM).decode("utf-8").strip()
    decoder = json.JSONDecoder()
    members = []
    position = 0  # of the opening brace, later of the comma before the next member
    while text[position] != "}":
        start = _skip_space(text, position + 1)
        if text[start] == "}":
            break
        name, colon = decoder.raw_decode(text, start)
        colon = _skip_space(text, colon)
        _, end = decoder.raw_decode(text, _skip_space(text, colon + 1))
        if name != key:
            members.append(text[start:end])
        position = _skip_space(text, end)
    return ("{" + ", ".join(members) + "}").encode()


def _skip_space(text: str, position: int) -> int:
    while text[position] in " \t\r\n":
        position += 1
    return position
