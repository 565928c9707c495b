from __future__ import annotations

import pytest

from scorer.collect.answer import finished, split_reasoning


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("你好", (None, "你好")),
        ("<think>\n想一想\n</think>\n\n你好", ("想一想", "你好")),
        ("想一想</think>你好", ("想一想", "你好")),  # the template wrote the opening tag
        ("<think>\n\n</think>\n\n你好", (None, "你好")),
        ("<think>没有想完", ("没有想完", "")),
        ("标签 <think> 是什么？", (None, "标签 <think> 是什么？")),
        ("", (None, "")),
    ],
)
def test_reasoning_is_no_part_of_the_answer(text: str, expected: tuple[str | None, str]) -> None:
    assert split_reasoning(text) == expected


def test_what_is_no_answer() -> None:
    assert finished("好", "stop", None).error is None
    assert finished("好", None, None).response == "好"
    assert finished(" \n", "stop", None).kind == "empty answer"
    assert finished("<think>好", "stop", None).kind == "empty answer"
    assert finished("好", "content_filter", None).kind == "content filter"
    cut = finished("<think>想</think>好的，第一", "length", None)
    assert (cut.response, cut.kind, cut.partial) == (None, "cut off", "好的，第一")
    assert (cut.finish_reason, cut.reasoning) == ("length", "想")
    assert finished("<think>想", "length", None).partial is None


@pytest.mark.parametrize(
    "reason", ["insufficient_system_resource", "network_error", "abort", "error", "\x1b[31mx"]
)
def test_a_reason_that_nobody_knows_is_no_whole_answer(reason: str) -> None:
    answer = finished("好的，第一", reason, None)
    assert (answer.response, answer.kind, answer.partial) == (None, "broken off", "好的，第一")
    assert answer.error is not None
    assert answer.error.isprintable()


@pytest.mark.parametrize(
    "reason", ["stop", None, "eos", "end_turn", "tool_calls", "function_call", "stop_sequence"]
)
def test_reasons_of_whole_answers(reason: str | None) -> None:
    assert finished("好", reason, None).response == "好"


def test_a_thought_that_the_template_began_and_nothing_ended() -> None:
    cut = finished("想一想，这个", "length", None, thinking=True)
    assert (cut.partial, cut.reasoning) == (None, "想一想，这个")
    whole = finished("想</think>好", "stop", None, thinking=True)
    assert (whole.response, whole.reasoning) == ("好", "想")


def test_a_row_has_the_fields_that_say_something() -> None:
    row = {"id": "1", "prompt": "问"}
    answered = finished("答", "stop", "想")
    assert answered.row(row) == row | {
        "response": "答",
        "finish_reason": "stop",
        "reasoning": "想",
    }
    assert finished("", None, None).row(row) == row | {"response": None, "error": "empty answer"}
