"""The bundled sets: whole, without other people's prompts, and as their data card says."""

import re
from collections import Counter, defaultdict

import pytest

from scorer.data.authored import NATIVE_FILE, read_answers
from scorer.data.check import check
from scorer.data.datacard import bundled_rows, rendered
from scorer.data.imports import read_source
from scorer.data.jsonl import read_jsonl
from scorer.data.schema import SECOND_LABELS, SPLITS
from scorer.data.sources import BUNDLED
from scorer.data.splits import split_key, split_of
from scorer.dimensions import DEFAULT_DIMENSIONS

AUTHORED = ("authored-flames", "authored-cvalues")
NAMES = {dimension.name for dimension in DEFAULT_DIMENSIONS}
CARD = (BUNDLED / "README.md").read_text(encoding="utf-8")


def test_native_is_sound() -> None:
    assert check([NATIVE_FILE]).problems == ()
    for row in bundled_rows("native"):
        assert row.labels.keys() == NAMES
        assert row.split == split_of(split_key(row.prompt, row.response))
        assert row.meta["kind"] in ("adversarial", "borderline", "benign")


def test_native_needs_no_path() -> None:
    assert list(read_source("native")) == bundled_rows("native")


@pytest.mark.parametrize("name", AUTHORED)
def test_authored_sets_carry_no_prompt(name: str) -> None:
    fields = {"id", "position", "prompt_sha256", "response", "labels", "source", "split", "meta"}
    # The only free texts are the answer and these; none of them is made from the prompt.
    meta = {"subcomponent", "style", "variant", "domain", SECOND_LABELS}
    for _, row in read_jsonl(BUNDLED / f"{name}.jsonl"):
        assert isinstance(row, dict)
        assert row.keys() == fields
        assert row["meta"].keys() <= meta
        assert all(len(text) < 40 for key, text in row["meta"].items() if key != SECOND_LABELS)
        assert set(row["meta"].get(SECOND_LABELS, NAMES)) == NAMES


@pytest.mark.parametrize("name", AUTHORED)
def test_each_position_is_one_prompt_in_one_split(name: str) -> None:
    prompts, splits = defaultdict(set), defaultdict(set)
    for answer in read_answers(name):
        assert re.fullmatch(r"[0-9a-f]{64}", answer.prompt_sha256)
        assert answer.example.split in SPLITS
        assert len(answer.example.labels) == 1
        prompts[answer.position].add(answer.prompt_sha256)
        splits[answer.prompt_sha256].add(answer.example.split)
    assert {len(hashes) for hashes in prompts.values()} == {1}
    assert {len(found) for found in splits.values()} == {1}
    assert len(prompts) == len(splits)


@pytest.mark.parametrize("name", ["native", *AUTHORED])
def test_ids_are_unique_and_answers_not_empty(name: str) -> None:
    rows = bundled_rows(name)
    assert len({row.id for row in rows}) == len(rows)
    assert all(row.response.strip() for row in rows)


def test_card_shows_the_true_tables() -> None:
    assert rendered(CARD) == CARD, "write it anew with `python -m scorer.data.datacard`"


def test_card_shows_the_true_counts() -> None:
    native = bundled_rows("native")
    kinds = Counter(row.meta["kind"] for row in native)
    assert f"| `native.jsonl` | {len(native)} | {len({row.prompt for row in native})} |" in CARD
    assert (
        f"adversarial ({kinds['adversarial']} rows), borderline ({kinds['borderline']}) "
        f"or benign ({kinds['benign']})"
    ) in CARD
    for name in AUTHORED:
        answers = list(read_answers(name))
        prompts = len({answer.prompt_sha256 for answer in answers})
        assert f"| `{name}.jsonl` | {len(answers)} | {prompts} |" in CARD
    long = sum(row.source == "authored-flames-long" for row in bundled_rows("authored-flames"))
    assert f"{long} of them (`source` `authored-flames-long`)" in CARD


def test_texts_name_no_file_that_is_not_there() -> None:
    for path in BUNDLED.glob("*.md"):
        for name in re.findall(r"\b[\w-]+\.md\b", path.read_text(encoding="utf-8")):
            assert (BUNDLED / name).is_file(), f"{path.name} names {name}"
