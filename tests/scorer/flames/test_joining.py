from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scorer.data.schema import Prompt
from scorer.errors import DataError, RowError
from scorer.evaluation.answers import read_answers
from scorer.evaluation.flames.joining import join, read_prompts

PUBLISHED = [
    {"dimension": "Fairness", "subcomponent": "Toxic language", "prompt": "甲，好吗？"},
    {"dimension": "Data protection", "subcomponent": "Personal data", "prompt": "乙怎么样"},
    {"dimension": "Safety", "subcomponent": "Mental harm", "prompt": "丙"},
]


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def prompts(tmp_path: Path) -> list[Prompt]:
    return read_prompts(written(tmp_path / "prompts.jsonl", PUBLISHED))


def test_prompts_have_the_importers_ids_and_our_names(prompts: list[Prompt]) -> None:
    assert [prompt.id for prompt in prompts] == ["flames-0000", "flames-0001", "flames-0002"]
    assert [prompt.meta["dimension"] for prompt in prompts] == [
        "fairness",
        "data_protection",
        "safety",
    ]


def test_imported_prompts_are_read_as_well(tmp_path: Path, prompts: list[Prompt]) -> None:
    from scorer.data.imports import import_source

    source = written(tmp_path / "Flames_1k_Chinese.jsonl", PUBLISHED)
    import_source("flames", source, tmp_path / "imported.jsonl")
    assert read_prompts(tmp_path / "imported.jsonl") == prompts
    assert read_prompts(tmp_path) == prompts  # a folder with the published file


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no prompts"),
        ([PUBLISHED[0], PUBLISHED[0]], "the prompt '甲，好吗？' stands there 2 times"),
        ([{"prompt": "x"}], "prompts.jsonl:1: dimension: missing"),
        ([{"prompt": "x", "dimension": "Fairnes"}], "did you mean 'fairness'"),
        ([{"prompt": "x", "dimension": "Safety", "subcomponent": 3}], "subcomponent: must be text"),
    ],
)
def test_broken_prompts(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises((DataError, RowError), match=message.replace("?", r"\?")):
        read_prompts(written(tmp_path / "prompts.jsonl", rows))


def test_join_by_text_then_surface_then_id(tmp_path: Path, prompts: list[Prompt]) -> None:
    path = written(
        tmp_path / "answers.jsonl",
        [
            {"prompt": "乙怎么样", "response": "1", "id": "flames-0000"},  # the text decides
            {"prompt": " 甲,好吗? ", "response": "2"},
            {"prompt": "请回答：丙", "response": "3", "id": "flames-0002"},
            {"prompt": "乙怎么样", "response": None, "error": "timeout"},
            {"prompt": "不在其中", "response": "5"},
        ],
    )
    joined = join(read_answers(path), prompts, str(path))
    assert [(item.prompt, item.dimension, item.subcomponent) for item in joined.items] == [
        ("flames-0001", "data_protection", "Personal data"),
        ("flames-0000", "fairness", "Toxic language"),
        ("flames-0002", "safety", "Mental harm"),
        ("flames-0001", "data_protection", "Personal data"),
    ]
    assert joined.items[3].answer.failure == "timeout"
    assert (joined.missing, joined.doubled, joined.unknown) == ((), ("flames-0001",), (5,))
    assert joined.by_id == (3,)


def test_an_id_does_not_join_another_text(tmp_path: Path, prompts: list[Prompt]) -> None:
    row = {"prompt": "说说天气", "response": "晴", "id": "flames-0002"}
    path = written(tmp_path / "answers.jsonl", [row])
    with pytest.raises(
        RowError, match=r"answers.jsonl:1: id: 'flames-0002' is the id of '丙', but"
    ):
        join(read_answers(path), prompts, str(path))
    path = written(tmp_path / "answers.jsonl", [{"id": "flames-0002", "error": "timeout"}])
    assert join(read_answers(path), prompts, str(path)).by_id == (1,)  # it has no text


def test_missing_prompts_are_named(tmp_path: Path, prompts: list[Prompt]) -> None:
    path = written(tmp_path / "answers.jsonl", [{"prompt": "丙", "response": "好"}])
    assert join(read_answers(path), prompts, "f").missing == ("flames-0000", "flames-0001")
    path = written(tmp_path / "answers.jsonl", [{"prompt": "别的", "response": "好"}])
    with pytest.raises(DataError, match="none of 1 answers belongs to a prompt"):
        join(read_answers(path), prompts, "f")


def test_rows_may_carry_the_dimension(tmp_path: Path) -> None:
    path = written(
        tmp_path / "answers.jsonl",
        [
            {"prompt": "a", "response": "1", "dimension": "Data protection"},
            {"prompt": "b", "response": "1", "dimension": "safety", "subcomponent": "Mental harm"},
            {
                "prompt": "b",
                "response": "2",
                "meta": {"dimension": "Legality", "subcomponent": "x"},
            },
        ],
    )
    joined = join(read_answers(path), None, str(path))
    assert [(item.dimension, item.subcomponent) for item in joined.items] == [
        ("data_protection", ""),
        ("safety", "Mental harm"),
        ("legality", "x"),
    ]
    assert (joined.missing, joined.doubled, joined.unknown) == ((), ("b",), ())
    assert (joined.expected, joined.unanswered) == (1000, 998)
    assert join(read_answers(path), None, str(path), expected=3).unanswered == 1


@pytest.mark.parametrize("dimension", [None, "responsibility", 3])
def test_a_row_without_a_dimension_of_flames(tmp_path: Path, dimension: object) -> None:
    row = {"prompt": "a", "response": "1", "dimension": dimension}
    path = written(tmp_path / "answers.jsonl", [row])
    with pytest.raises(RowError, match=r"answers.jsonl:1: dimension: "):
        join(read_answers(path), None, str(path))
