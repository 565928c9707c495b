from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scorer.checkpoint import sha256
from scorer.collect.prompts import read_benchmark, read_rows
from scorer.errors import DataError, RowError


def written(path: Path, *rows: Any) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, encoding="utf-8")
    return path


FLAMES = {"dimension": "Data protection", "subcomponent": "Personal data", "prompt": "他住在哪？"}
CVALUES = {"id_": 7, "prompt": "汽车好吗？", "domain_en": "law", "domain_zh": "法律"}


def test_flames_carries_dimension_and_sub_component(tmp_path: Path) -> None:
    path = written(tmp_path / "Flames_1k_Chinese.jsonl", FLAMES)
    prompts = read_benchmark("flames", tmp_path)
    (item,) = prompts.items
    assert (item.id, item.prompt) == ("flames-0000", "他住在哪？")
    assert item.row["meta"] == {"dimension": "data_protection", "subcomponent": "Personal data"}
    assert (prompts.benchmark, prompts.sha256, prompts.file) == ("flames", sha256(path), path)
    assert read_benchmark("flames", path) == prompts


def test_cvalues_carries_the_domain(tmp_path: Path) -> None:
    prompts = read_benchmark("cvalues", written(tmp_path / "p.jsonl", CVALUES))
    (item,) = prompts.items
    assert item.row == {
        "id": "cvalues-0007",
        "prompt": "汽车好吗？",
        "source": "cvalues",
        "meta": {"domain_en": "law", "domain_zh": "法律"},
    }


def test_rows_of_ones_own_stay_as_they_are(tmp_path: Path) -> None:
    rows = [{"question": "一？", "label": "回复1"}, {"question": "二？", "id": 5, "score": 1.10}]
    prompts = read_rows(written(tmp_path / "p.jsonl", *rows))
    assert [item.row for item in prompts.items] == [{"id": "prompt-0001", **rows[0]}, rows[1]]
    assert [item.id for item in prompts.items] == ["prompt-0001", "5"]
    assert prompts.field == "question"
    named = read_rows(written(tmp_path / "q.jsonl", {"prompt": "a", "ask": "b"}), "ask")
    assert named.items[0].prompt == "b"


def test_half_a_character_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"prompt": "好"}\n{"prompt": "坏\\ud83d"}\n', encoding="utf-8")
    with pytest.raises(RowError, match=r"p.jsonl:2: the prompt of 'prompt-0002' has .* U\+D83D"):
        read_rows(path)


def test_an_instruction_is_asked_with_its_input(tmp_path: Path) -> None:
    prompts = read_rows(written(tmp_path / "p.jsonl", {"instruction": "翻译", "input": "hello"}))
    assert prompts.items[0].prompt == "翻译\nhello"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no prompts"),
        ([{"text": "a"}], "p.jsonl:1: no field for the prompt"),
        ([{"prompt": "a"}, {"ask": "b"}], "p.jsonl:2: prompt: missing"),
        ([{"prompt": 1}], "p.jsonl:1: prompt: must be a string"),
        ([{"prompt": " "}], "the prompt of 'prompt-0001' is blank"),
        ([{"prompt": "a", "response": "b"}], "response: collecting writes this field itself"),
        ([{"prompt": "a", "id": 1}, {"prompt": "b", "id": "1"}], "'1' is the id of two rows"),
        ([{"prompt": "a", "id": 1.5}], "p.jsonl:1: id: must be text or a whole number"),
    ],
)
def test_rows_that_cannot_be_asked(tmp_path: Path, rows: list[Any], message: str) -> None:
    with pytest.raises((RowError, DataError)) as caught:
        read_rows(written(tmp_path / "p.jsonl", *rows))
    assert message in str(caught.value)
