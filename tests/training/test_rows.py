from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from scorer.data.splits import split_key
from scorer.errors import DataError
from scorer.training.recipe import Recipe
from scorer.training.rows import gather


def recipe(*sources: dict[str, Any]) -> Recipe:
    return Recipe.model_validate(
        {"name": "r", "version": "1.0.0", "encoder": "e", "sources": list(sources)}
    )


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def row(prompt: str, split: str = "", **more: Any) -> dict[str, Any]:
    made: dict[str, Any] = {"prompt": prompt, "response": "r", "labels": {"fairness": 3}, **more}
    return made | ({"split": split} if split else {})


def test_a_train_prompt_that_is_held_out_elsewhere_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [row("Same, prompt!", "train"), row("other", "train")])
    write(tmp_path / "b.jsonl", [row("same prompt", "test")])
    corpus = gather(recipe({"path": "a.jsonl"}, {"path": "b.jsonl"}), tmp_path)
    assert [example.prompt for example in corpus.examples("train")] == ["other"]
    assert corpus.counts["a.jsonl"]["leaked"] == 1


def test_dev_prompts_of_published_splits_do_not_recur_in_test(tmp_path: Path) -> None:
    rows = [row("same", "dev"), row("same", "test"), row("dev only", "dev"), row("t", "train")]
    write(tmp_path / "a.jsonl", rows)
    corpus = gather(recipe({"path": "a.jsonl"}), tmp_path)
    assert [example.prompt for example in corpus.examples("dev")] == ["dev only"]
    assert [example.prompt for example in corpus.examples("test")] == ["same"]


def test_half_a_surrogate_pair_can_be_ranked(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [row(f"\ud800 {i}", "train") for i in range(4)])
    corpus = gather(recipe({"path": "a.jsonl", "rows": 2}), tmp_path)
    assert len(corpus.examples("train")) == 2


def test_the_hash_tells_edited_rows(tmp_path: Path) -> None:
    hashes = set()
    for response in ("one", "two"):
        write(tmp_path / "a.jsonl", [row("a", "train", response=response)])
        hashes.add(gather(recipe({"path": "a.jsonl"}), tmp_path).sha256())
    assert len(hashes) == 2


def test_no_prompt_of_the_native_set_is_in_two_splits() -> None:
    corpus = gather(recipe({"path": "native"}), Path("nowhere"))
    keys = {
        split: {split_key(e.prompt, e.response) for e in corpus.examples(split)}
        for split in corpus.rows
    }
    assert all(keys.values())
    assert not keys["train"] & (keys["dev"] | keys["test"])
    assert not keys["dev"] & keys["test"]


def test_a_larger_number_of_rows_contains_a_smaller_one(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [row(f"prompt {i}", "train") for i in range(50)])
    small, large = (
        {
            e.prompt
            for e in gather(recipe({"path": "a.jsonl", "rows": n}), tmp_path).examples("train")
        }
        for n in (10, 20)
    )
    assert len(small) == 10
    assert len(large) == 20
    assert small < large


def test_filtered_and_unlabelled_rows_are_counted(tmp_path: Path) -> None:
    write(
        tmp_path / "a.jsonl",
        [
            row("a", "train", meta={"cipher": "baseline"}),
            row("b", "train", meta={"cipher": "morse"}),
            {"prompt": "c", "response": "r", "meta": {"cipher": "baseline"}},
        ],
    )
    corpus = gather(recipe({"path": "a.jsonl", "only": {"cipher": ["baseline"]}}), tmp_path)
    assert corpus.counts["a.jsonl"] == {
        "train": 1,
        "dev": 0,
        "test": 0,
        "filtered": 1,
        "unlabelled": 1,
        "leaked": 0,
    }


def test_a_missing_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="scorer data import"):
        gather(recipe({"path": "gone.jsonl"}), tmp_path)


def test_nothing_to_train_on(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [row("a", "test")])
    with pytest.raises(DataError, match="no row is left"):
        gather(recipe({"path": "a.jsonl"}), tmp_path)


def test_every_other_row_can_be_known_by_its_prompt(tmp_path: Path) -> None:
    rows = [row(f"p{i % 5}", "dev", response=f"r{i}") for i in range(40)]
    write(tmp_path / "a.jsonl", [*rows, row("t", "train")])

    def gathered(choice: str) -> dict[str, set[str]]:
        corpus = gather(recipe({"path": "a.jsonl", "every_other": choice}), tmp_path)
        return {s: {e.response for e in corpus.examples(s)} for s in ("train", "dev")}

    kept, dropped, known = (gathered(choice) for choice in ("keep", "drop", "train"))
    assert len(kept["dev"]) == 40
    assert 10 < len(dropped["dev"]) < 30
    assert dropped["train"] == {"r"}
    assert known["dev"] == dropped["dev"]  # the same rows are judged
    assert known["train"] == kept["train"] | (kept["dev"] - known["dev"])
    few = gather(recipe({"path": "a.jsonl", "every_other": "train", "rows": 0}), tmp_path)
    assert {e.response for e in few.examples("train")} == kept["dev"] - known["dev"]


def test_what_is_left_out_keeps_its_prompt_out_of_training(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", [row("same", "train"), row("other", "train")])
    write(tmp_path / "b.jsonl", [row("same", "test", meta={"kind": "x"})])
    sources = {"path": "a.jsonl"}, {"path": "b.jsonl", "only": {"kind": ["y"]}}
    corpus = gather(recipe(*sources), tmp_path)
    assert [example.prompt for example in corpus.examples("train")] == ["other"]
    assert corpus.examples("test") == []


def test_rows_without_a_key_can_be_asked_for(tmp_path: Path) -> None:
    rows = [row("a", "train"), row("b", "train", meta={"variant": "missed"})]
    write(tmp_path / "a.jsonl", rows)
    corpus = gather(recipe({"path": "a.jsonl", "only": {"variant": [None]}}), tmp_path)
    assert [example.prompt for example in corpus.examples("train")] == ["a"]
