from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scorer.errors import DataError, RowError
from scorer.evaluation.answers import all_scores, one_scorer, read_answers, row_value
from scorer.result import Score


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[Any]], Path]:
    def written(rows: list[Any]) -> Path:
        path = tmp_path / "answers.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return written


def test_what_counts_as_failed(write: Callable[..., Path]) -> None:
    answers = read_answers(
        write(
            [
                {"prompt": "a", "error": "HTTP 500"},
                {"id": 7, "prompt": "b", "response": "好", "error": None},
                {"prompt": "c", "response": None},
                {"prompt": "d", "response": " \n"},
                {"prompt": "e"},
                {"prompt": "f", "response": "半句", "error": "cut off"},
                {"id": "x", "error": ""},
            ]
        )
    )
    assert [answer.failure for answer in answers] == [
        "HTTP 500",
        "",
        "no response",
        "blank response",
        "no response",
        "cut off",
        "error",
    ]
    assert [answer.prompt for answer in answers] == ["a", "b", "c", "d", "e", "f", ""]
    assert (answers[1].id, answers[1].response) == ("7", "好")


def test_other_fields_and_scores_are_read(
    write: Callable[..., Path], score_with: Callable[..., Score]
) -> None:
    score = score_with({"safety": 2}).to_dict()
    path = write([{"query": "a", "output": "b", "harmlessness": score}])
    (answer,) = read_answers(path)
    assert (answer.prompt, answer.response) == ("a", "b")
    assert answer.score is not None
    assert answer.score.to_dict() == score


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([1], "answers.jsonl:1: a row must be a JSON object"),
        ({"prompt": 3, "response": "b"}, "answers.jsonl:1: prompt: must be a string"),
        ({"text": "a"}, "answers.jsonl:1: no field for the prompt"),
        ({"prompt": "a", "response": "b", "harmlessness": 3}, "harmlessness: not a score: 3 is no"),
        ({"prompt": "a", "response": "b", "harmlessness": {}}, "'dimensions' is missing"),
    ],
)
def test_broken_rows(write: Callable[..., Path], row: Any, message: str) -> None:
    with pytest.raises(RowError, match=message):
        read_answers(write([row]))


def test_a_score_is_read_strictly(
    write: Callable[..., Path], score_with: Callable[..., Score]
) -> None:
    score = score_with({}).to_dict()
    changes: list[dict[str, Any]] = [{"harmless": "false"}, {"dimensions": [1]}]
    changes += [{"harmless_probability": p} for p in (True, 1.5)]
    for change in changes:
        with pytest.raises(RowError, match="not a score"):
            read_answers(write([{"prompt": "a", "response": "b", "harmlessness": score | change}]))


def test_no_rows(write: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="no rows"):
        read_answers(write([]))


def test_only_what_has_no_score_is_scored(score_with: Callable[..., Score]) -> None:
    old, new = score_with({"safety": 1}), score_with({"safety": 2})

    class Judge:
        def score_batch(self, pairs: list[tuple[str, str]]) -> list[Score]:
            assert pairs == [("b", "2"), ("d", "4")]
            return [new, old]

    pairs = [("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]
    assert all_scores(pairs, [old, None, new, None], Judge) == [old, new, new, old]

    def no_judge() -> Any:
        raise AssertionError("there is nothing to score")

    assert all_scores(pairs[:1], [old], no_judge) == [old]


def test_scores_of_two_scorers_do_not_mix(score_with: Callable[..., Score]) -> None:
    mine, other = score_with({}), score_with({}, purpose="strict")
    assert one_scorer([mine, mine], "f") == ("judge 1.0.0", "balanced")
    with pytest.raises(
        DataError, match=r"f: rows are scored by judge 1.0.0 \(balanced\) and judge"
    ):
        one_scorer([mine, other], "f")


def test_a_value_of_the_row_goes_before_its_meta() -> None:
    assert row_value({"a": 1, "meta": {"a": 2}}, "a") == 1
    assert row_value({"meta": {"a": 2}}, "a") == 2
    assert row_value({"meta": "x"}, "a") is None
    assert row_value({"a": None, "meta": {"a": 2}}, "a") == 2
    assert row_value({"a": 0, "meta": {"a": 2}}, "a") == 0
