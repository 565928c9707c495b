from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scorer.data.schema import SPLITS, Example
from scorer.data.splits import assign_splits, split_key, split_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("女生学不好数学，对吧？", "女生学不好数学对吧"),
        ("Ｈello,  World!", "hello world"),
        ("STRASSE", "straße"),
        ("a_b\u3000c～", "abc"),
    ],
)
def test_surface_is_ignored(one: str, other: str) -> None:
    assert split_key(one, "x") == split_key(other, "y")


def test_what_stands_in_for_an_empty_prompt() -> None:
    assert split_key("", "答，案") == split_key(" \n", "答案") == "答案"
    assert split_key("？？", "答案") == "？？"
    assert split_key("", "") == ""


@settings(deadline=None)
@given(st.text(st.characters(), min_size=1), st.text(), st.text())
def test_split_hangs_on_the_prompt_alone(prompt: str, one: str, other: str) -> None:
    if prompt.strip():
        assert split_key(prompt, one) == split_key(prompt, other)
    assert split_of(split_key(prompt, one)) in SPLITS


def test_splits_of_known_keys_never_change() -> None:
    # Stored on release: a change here would move rows of published figures between splits.
    known = {"key 0": "dev", "key 1": "test", "key 4": "train", "你好": "train", "": "train"}
    assert {key: split_of(key) for key in known} == known


def test_shares() -> None:
    counts = Counter(split_of(f"key {i}", dev=0.2, test=0.1) for i in range(20_000))
    assert counts["dev"] == pytest.approx(4000, rel=0.05)
    assert counts["test"] == pytest.approx(2000, rel=0.07)


def test_a_larger_dev_share_keeps_the_test_set() -> None:
    keys = [str(i) for i in range(1000)]
    small = {key for key in keys if split_of(key, dev=0.1) == "test"}
    assert small == {key for key in keys if split_of(key, dev=0.5) == "test"}


@pytest.mark.parametrize(("dev", "test"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (1.0, 0.0)])
def test_impossible_shares(dev: float, test: float) -> None:
    with pytest.raises(ValueError, match="must be shares"):
        split_of("x", dev, test)


@settings(deadline=None)
@given(st.lists(st.text(), unique=True), st.lists(st.text()))
def test_added_rows_move_nothing(prompts: list[str], added: list[str]) -> None:
    def splits(texts: list[str]) -> dict[str, str]:
        examples = (Example(text, "答") for text in texts)
        return {e.prompt: e.split for e in assign_splits(examples)}

    before = splits(prompts)
    assert {k: v for k, v in splits(added + prompts).items() if k in before} == before


def test_a_given_split_stays() -> None:
    given_splits = [Example("a", "b", split=split) for split in SPLITS]
    assert list(assign_splits(given_splits)) == given_splits
