"""Train, dev and test by the prompt alone: a row's split never changes when rows are added."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import replace

from scorer.data.schema import Example

DEV_SHARE = 0.15
TEST_SHARE = 0.15

_NO_WORD = re.compile(r"[\W_]+")


def split_key(prompt: str, response: str) -> str:
    """Return what rows of one split group share: the prompt without its surface.

    Unicode NFKC, case folded, white space, punctuation and symbols removed; so that copies of a
    prompt with other punctuation stay together. The response stands in for an empty prompt, and
    a text of punctuation alone for itself.
    """
    for text in (prompt, response):
        if text.strip():
            plain = unicodedata.normalize("NFKC", text).casefold()
            return _NO_WORD.sub("", plain) or text.strip()
    return ""


def split_of(key: str, dev: float = DEV_SHARE, test: float = TEST_SHARE) -> str:
    """Return `train`, `dev` or `test` for a key, by its SHA-256.

    Args:
        key: From `split_key`.
        dev: Share of the keys that go to dev.
        test: Share of the keys that go to test.

    Raises:
        ValueError: If a share is negative or nothing is left for train.
    """
    if dev < 0 or test < 0 or dev + test >= 1:
        raise ValueError(f"dev {dev} and test {test} must be shares that leave some for train")
    position = int.from_bytes(text_digest(key)[:8], "big") / 2**64
    if position < test:
        return "test"
    return "dev" if position < test + dev else "train"


def text_digest(text: str) -> bytes:
    """Return the SHA-256 of a text: what tells it, sorts it and draws it without a seed."""
    # Lone surrogates cannot be encoded otherwise, and they may stand in a user's text.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


def assign_splits(
    examples: Iterable[Example], dev: float = DEV_SHARE, test: float = TEST_SHARE
) -> Iterator[Example]:
    """Yield the examples with `split` filled where it is empty; one that is given stays.

    Raises:
        ValueError: If the shares are none; see `split_of`.
    """
    for example in examples:
        if not example.split:
            split = split_of(split_key(example.prompt, example.response), dev, test)
            example = replace(example, split=split)
        yield example
