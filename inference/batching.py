"""Cutting work into windows and batches; pure functions over sizes and lengths."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")

WINDOW_ROWS = 2048
"""Rows that are sorted by length together: enough for full batches, few enough to hold."""

ROW_BYTES = 4096
"""Bytes of a row that a window has room for: one of long rows ends earlier."""


def windows(
    items: Iterable[T],
    rows: int = WINDOW_ROWS,
    *,
    size: Callable[[T], int] = lambda _: 0,
    size_limit: int = 0,
) -> Iterator[list[T]]:
    """Yield the items in order, in lists of `rows` at most.

    Args:
        items: Anything, of any number.
        rows: Items of a window at most.
        size: Size of an item, e.g. its bytes.
        size_limit: A window also ends once its sizes add up to this; 0 for no limit.

    Raises:
        ValueError: If `rows` is not positive.
    """
    if rows < 1:
        raise ValueError(f"rows {rows} must be at least 1")
    window: list[T] = []
    total = 0
    for item in items:
        window.append(item)
        total += size(item)
        if len(window) == rows or 0 < size_limit <= total:
            yield window
            window, total = [], 0
    if window:
        yield window


def batches(
    lengths: Sequence[int], token_budget: int, *, same_length: bool = False
) -> Iterator[list[int]]:
    """Yield positions of rows that go through the model together, each position once.

    Rows of like length share a batch, so that little of it is padding, and rows × longest row stays
    within the budget. The longest come first: what does not fit into memory fails at once, not
    after an hour. A row longer than the budget goes alone.

    Args:
        lengths: Tokens per row.
        token_budget: Tokens of a batch at most, padding included.
        same_length: Cut also where the length changes, so that there is no padding.

    Raises:
        ValueError: If the budget is not positive.
    """
    if token_budget < 1:
        raise ValueError(f"token_budget {token_budget} must be at least 1")
    order = sorted(range(len(lengths)), key=lengths.__getitem__, reverse=True)
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        batch = order[start : start + max(1, token_budget // longest)]
        if same_length:
            batch = [row for row in batch if lengths[row] == lengths[batch[0]]]
        yield batch
        start += len(batch)
