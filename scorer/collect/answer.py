"""What came back for one prompt: an answer, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from scorer.data.schema import shown

ROW_FIELDS = ("response", "error", "finish_reason", "reasoning", "partial")
"""Fields that collecting adds to a row."""

CONTENT_FILTER = "content filter"
CUT_OFF = "cut off"
BROKEN_OFF = "broken off"
EMPTY = "empty answer"
MALFORMED = "malformed reply"

_CUT_OFF_REASONS = ("length", "max_tokens")
_FILTER_REASONS = ("content_filter", "sensitive")
# What servers call a whole answer. Others come with the text as far as it got, such as DeepSeek's
# insufficient_system_resource, GLM's network_error and vLLM's abort.
_WHOLE_REASONS = (
    *("", "stop", "eos", "eos_token", "end_turn", "stop_sequence"),
    *("tool_calls", "function_call"),
)
_THOUGHT = "</think>"


@dataclass(frozen=True)
class Answer:
    """An answer, or the reason why there is none.

    Attributes:
        response: The text; None where there is no whole answer.
        error: `KIND: detail`, where there is none.
        finish_reason: Why the model stopped, as the server says it; None if it did not say.
        reasoning: What a reasoning model thought before it answered; no part of the response.
        partial: The text of an answer that was cut off by its length.
        tokens: Tokens of prompt and completion, as far as they are known.
        model: Name that the server gives the model, if any.
    """

    response: str | None
    error: str | None = None
    finish_reason: str | None = None
    reasoning: str | None = None
    partial: str | None = None
    tokens: tuple[int, int] = (0, 0)
    model: str | None = None

    @property
    def kind(self) -> str | None:
        """Kind of the failure, e.g. `cut off`; None for an answer."""
        return error_kind(self.error)

    def row(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a prompt's row with this answer; fields without content are left out."""
        added = {name: getattr(self, name) for name in ROW_FIELDS[1:]}
        return {
            **row,
            "response": self.response,
            **{name: value for name, value in added.items() if value is not None},
        }


def failed(kind: str, detail: str = "", **fields: Any) -> Answer:
    """Return the failure of a kind."""
    return Answer(None, error=f"{kind}: {detail}" if detail else kind, **fields)


def error_kind(error: str | None) -> str | None:
    """Return the kind of failure that a row's `error` begins with; None for an answer."""
    return None if error is None else error.partition(":")[0]


def finished(
    text: str,
    finish_reason: str | None,
    reasoning: str | None,
    *,
    thinking: bool = False,
    **fields: Any,
) -> Answer:
    """Return what a model's text is: an answer, or a failure if it is empty or not whole.

    Text up to `</think>`, as reasoning models write it, is split off as `reasoning`.

    Args:
        text: Everything that the model wrote.
        finish_reason: `stop`, `length`, `content_filter` and so on; None if unknown.
        reasoning: What the server gave beside the text, if it did.
        thinking: Whether the prompt ended in `<think>`, so that the text begins as a thought.
        fields: Further fields of the `Answer`.
    """
    thought, answer = split_reasoning(text, thinking)
    fields |= {"finish_reason": finish_reason, "reasoning": reasoning or thought}
    reason = (finish_reason or "").casefold()
    if reason in _FILTER_REASONS:
        return failed(CONTENT_FILTER, "the server stopped the answer", **fields)
    partial = answer if answer.strip() else None
    if reason in _CUT_OFF_REASONS:
        return failed(CUT_OFF, "the answer reached the limit of tokens", partial=partial, **fields)
    if reason not in _WHOLE_REASONS:
        detail = f"the server gave {shown(finish_reason)} as its reason to end the answer"
        return failed(BROKEN_OFF, detail, partial=partial, **fields)
    if not answer.strip():
        return failed(EMPTY, **fields)
    return Answer(answer, **fields)


def split_reasoning(text: str, thinking: bool = False) -> tuple[str | None, str]:
    """Return (reasoning, answer) of a text.

    Some chat templates write the opening `<think>` themselves, so that only the closing tag is in
    the text. A thought that never ends has no answer.

    Args:
        text: What the model wrote.
        thinking: Whether the chat template wrote the opening tag.
    """
    thought, closing, answer = text.partition(_THOUGHT)
    begun = thinking or thought.lstrip().startswith("<think>")
    if not closing and not begun:
        return None, text
    thought = thought.strip().removeprefix("<think>").strip()
    return thought or None, answer.lstrip() if closing else ""
