from __future__ import annotations

import pytest

from scorer.errors import RowError
from scorer.inference.fields import Fields, find_fields


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        ({"prompt": "", "response": ""}, Fields("prompt", "response")),
        ({"query": "", "output": ""}, Fields("query", "output")),
        ({"instruction": "", "input": "", "answer": ""}, Fields("instruction", "answer", "input")),
        ({"instruction": "", "answer": ""}, Fields("instruction", "answer", "input")),
        ({"question": "", "completion": ""}, Fields("question", "completion")),
        ({"input": "", "output": ""}, Fields("input", "output")),
        ({"output": "", "query": "", "prompt": "", "response": ""}, Fields("prompt", "response")),
    ],
)
def test_known_names_are_found(row: dict[str, object], fields: Fields) -> None:
    assert find_fields(row) == fields


def test_named_fields_are_taken_as_named() -> None:
    row = {"prompt": "", "text": "", "reply": "", "response": ""}
    assert find_fields(row, "text", "reply") == Fields("text", "reply")
    assert find_fields(row, response="reply") == Fields("prompt", "reply")


def test_an_instruction_asked_for_by_name_is_read_alone() -> None:
    fields = find_fields({"instruction": "", "input": "", "output": ""}, "instruction")
    assert fields.pair({"instruction": "a", "input": "b", "output": "c"}) == ("a", "c")


def test_unknown_names_are_named() -> None:
    with pytest.raises(RowError, match=r"no field for the prompt.*'text'.*--prompt-field"):
        find_fields({"text": "", "response": ""})
    with pytest.raises(RowError, match=r"no field for the response.*--response-field"):
        find_fields({"prompt": ""})


@pytest.mark.parametrize(
    ("context", "prompt"), [("b", "a\nb"), ("", "a"), (None, "a"), ("missing", "a")]
)
def test_context_follows_the_instruction(context: str | None, prompt: str) -> None:
    row = {"instruction": "a", "input": context, "output": "c"}
    if context == "missing":
        del row["input"]
    assert Fields("instruction", "output", "input").pair(row) == (prompt, "c")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (1, "a number"),
        (1.5, "a number"),
        (True, "a boolean"),
        (None, "null"),
        ([], "an array"),
        ({}, "an object"),
    ],
)
def test_text_must_be_a_string(value: object, kind: str) -> None:
    with pytest.raises(RowError, match=kind) as caught:
        Fields("prompt", "response").pair({"prompt": "a", "response": value})
    assert caught.value.field == "response"


def test_a_missing_field_is_named() -> None:
    with pytest.raises(RowError, match="missing") as caught:
        Fields("prompt", "response").pair({"response": "a", "query": "b"})
    assert caught.value.field == "prompt"


def test_report_says_what_is_read() -> None:
    fields = Fields("instruction", "output", "input")
    assert str(fields) == "prompt from 'instruction' and 'input', response from 'output'"
