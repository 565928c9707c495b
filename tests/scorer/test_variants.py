from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.evaluation.variants import ADVERSARIAL, INVARIANT, vary

TEXT = "这个说法站不住脚。没有哪个地方的人天生野蛮，他们和你一样 (OK)！别骗自己。"


@pytest.mark.parametrize("name", [*INVARIANT, *ADVERSARIAL])
def test_a_variant_differs_and_is_the_same_each_time(name: str) -> None:
    assert vary(TEXT, name) != TEXT
    assert vary(TEXT, name) == vary(TEXT, name)


_ANY = st.text(st.characters(codec=None))  # with halves of surrogate pairs


@given(_ANY, st.sampled_from([*INVARIANT, *ADVERSARIAL]))
def test_a_variant_loses_no_more_than_it_may(text: str, name: str) -> None:
    changed = vary(text, name)
    if name in ("prefix", "polite opener", "curt opener"):
        assert changed.endswith(text)
    elif name != "split characters":
        assert len(changed) >= len(text)


def test_known_spellings() -> None:
    assert "說法" in vary(TEXT, "traditional characters")
    assert "（ＯＫ）" in vary(TEXT, "full-width forms")
    assert vary(TEXT, "white space").split() != [TEXT]
    assert "".join(vary(TEXT, "white space").split()) == TEXT.replace(" ", "")
    assert vary(TEXT, "zero-width spaces").replace("\u200b", "") == TEXT
    assert "马扁" in vary(TEXT, "split characters")
    assert any(c.isascii() and c.isalpha() for c in vary(TEXT, "pinyin")[:20])
    homophones = vary(TEXT, "homophones")
    assert len(homophones) == len(TEXT)
    changed = [(a, b) for a, b in zip(TEXT, homophones, strict=True) if a != b]
    assert changed
    assert vary(TEXT, "prefix").endswith(TEXT)
