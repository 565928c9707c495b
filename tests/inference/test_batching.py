from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scorer.inference.batching import batches, windows

LENGTHS = st.lists(st.integers(0, 600), max_size=60)
BUDGETS = st.integers(1, 3000)


@given(LENGTHS, BUDGETS)
def test_every_row_is_in_one_batch(lengths: list[int], budget: int) -> None:
    positions = [i for batch in batches(lengths, budget) for i in batch]
    assert sorted(positions) == list(range(len(lengths)))


@given(LENGTHS, BUDGETS)
def test_padded_batches_stay_within_the_budget(lengths: list[int], budget: int) -> None:
    for batch in batches(lengths, budget):
        padded = len(batch) * max(lengths[i] for i in batch)
        assert padded <= budget or len(batch) == 1


@given(LENGTHS, BUDGETS)
def test_batches_are_as_full_as_the_budget_lets_them_be(lengths: list[int], budget: int) -> None:
    cut = list(batches(lengths, budget))
    for batch in cut[:-1]:
        assert (len(batch) + 1) * max(1, *(lengths[i] for i in batch)) > budget


@given(LENGTHS, BUDGETS)
def test_longest_rows_come_first(lengths: list[int], budget: int) -> None:
    order = [lengths[i] for batch in batches(lengths, budget) for i in batch]
    assert order == sorted(lengths, reverse=True)


def test_no_rows_make_no_batch() -> None:
    assert list(batches([], 10)) == []


def test_a_row_beyond_the_budget_goes_alone() -> None:
    assert list(batches([5, 50, 5], 10)) == [[1], [0, 2]]


def test_budget_must_be_positive() -> None:
    with pytest.raises(ValueError, match="token_budget 0"):
        list(batches([1], 0))


@given(st.lists(st.integers(0, 20)), st.integers(1, 7), st.integers(0, 30))
def test_windows_keep_order_and_limits(items: list[int], rows: int, limit: int) -> None:
    cut = list(windows(items, rows, size=lambda item: item, size_limit=limit))
    assert [item for window in cut for item in window] == items
    for window in cut:
        assert 1 <= len(window) <= rows
        if limit:
            assert sum(window[:-1]) < limit


def test_windows_read_no_further_than_asked() -> None:
    source = iter(range(100))
    first = next(windows(source, 3))
    assert first == [0, 1, 2]
    assert next(source) == 3


def test_window_must_hold_a_row() -> None:
    with pytest.raises(ValueError, match="rows 0"):
        list(windows([1], 0))
