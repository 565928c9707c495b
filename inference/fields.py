"""Which fields of a row hold prompt and response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from scorer.data.schema import shown
from scorer.errors import RowError

PROMPT_FIELDS = ("prompt", "query", "instruction", "question", "input")
RESPONSE_FIELDS = ("response", "output", "answer", "completion")

_JSON_TYPES = {
    dict: "an object",
    list: "an array",
    bool: "a boolean",
    type(None): "null",
    bytes: "bytes",
}


@dataclass(frozen=True)
class Fields:
    """Names of the fields that a file's rows are read from.

    Attributes:
        prompt: Field of the prompt.
        response: Field of the response.
        context: Field whose text, where a row has any, follows the prompt on a new line: `input`
            beside `instruction`. None where there is no such field.
    """

    prompt: str
    response: str
    context: str | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """The fields that there are."""
        return tuple(name for name in (self.prompt, self.response, self.context) if name)

    def __str__(self) -> str:
        context = f" and {self.context!r}" if self.context else ""
        return f"prompt from {self.prompt!r}{context}, response from {self.response!r}"

    def pair(self, row: Mapping[str, object]) -> tuple[str, str]:
        """Return (prompt, response) of a row.

        Raises:
            RowError: If a field is missing or no string.
        """
        return self.prompt_text(row), _text(row, self.response)

    def prompt_text(self, row: Mapping[str, object]) -> str:
        """Return the prompt of a row, which may lack a response.

        Raises:
            RowError: If a field is missing or no string.
        """
        prompt = _text(row, self.prompt)
        if self.context is not None and row.get(self.context) is not None:
            context = _text(row, self.context)
            prompt = f"{prompt}\n{context}" if context else prompt
        return prompt


def find_fields(
    row: Mapping[str, object], prompt: str | None = None, response: str | None = None
) -> Fields:
    """Return the fields that a row has, in the order of the known names.

    Args:
        row: A row of the file.
        prompt: Field of the prompt where the caller named it: then it is read alone.
        response: Field of the response where the caller named it.

    Raises:
        RowError: If the row has none of the known names.
    """
    found = prompt or _first(row, PROMPT_FIELDS, "prompt")
    return Fields(
        prompt=found,
        response=response or _first(row, RESPONSE_FIELDS, "response"),
        context="input" if prompt is None and found == "instruction" else None,
    )


def _first(row: Mapping[str, object], names: Sequence[str], what: str) -> str:
    for name in names:
        if name in row:
            return name
    raise RowError(
        f"no field for the {what}: the row has {shown(list(row))}, none of {', '.join(names)}; "
        f"name it with --{what}-field"
    )


def _text(row: Mapping[str, object], name: str) -> str:
    try:
        value = row[name]
    except KeyError:
        raise RowError("missing", field=name) from None
    if not isinstance(value, str):
        kind = _JSON_TYPES.get(type(value), "a number")
        raise RowError(f"must be a string, not {kind}: {shown(value)}", field=name)
    return value
