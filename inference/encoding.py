"""From (prompt, response) to token ids, the same in training and in scoring."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from scorer.checkpoint import TOKENIZER_FILE, EncodingSettings
from scorer.errors import CheckpointError
from scorer.inference.simplified import simplified

_CHARACTERS_PER_TOKEN = 16  # no piece of a Chinese vocabulary is longer
_PAIRS_AT_ONCE = 128  # before they are cut: long texts of many pairs would take much memory
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Encoded:
    """Tokens of one pair.

    Attributes:
        input_ids: Shape (L,), special tokens included.
        token_type_ids: Shape (L,).
        truncated: Whether text was cut.
    """

    input_ids: NDArray[np.int64]
    token_type_ids: NDArray[np.int64]
    truncated: bool


class PairEncoder:
    """Joins prompt and response as a sentence pair within a fixed number of tokens.

    When the two are too long together the prompt keeps its head, the response its head and tail:
    answers open with their stance and close with their caveats.

    Text cannot reach the model as control tokens. It is not enough to tell the tokenizer so: a
    Unigram vocabulary holds `</s>` as a piece like any other, and normalisation turns ＜/s＞ into
    it. So special ids that turn up inside a text are spelt out, character by character.

    Args:
        tokenizer: A fast tokenizer whose post-processor defines the form of a pair.
        settings: Length and shares.
    """

    def __init__(self, tokenizer: Tokenizer, settings: EncodingSettings) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        pair = tokenizer.encode("一", "二")
        sequence = list(pair.sequence_ids)
        first, second = sequence.index(0), sequence.index(1)
        end_of_first = len(sequence) - sequence[::-1].index(0)
        end_of_second = len(sequence) - sequence[::-1].index(1)
        ids, types = list(pair.ids), list(pair.type_ids)
        self._prefix = (ids[:first], types[:first])
        self._middle = (ids[end_of_first:second], types[end_of_first:second])
        self._suffix = (ids[end_of_second:], types[end_of_second:])
        self._types = (types[first], types[second])
        if not self._middle[0]:
            # A language model's tokenizer has no form for pairs; its end-of-text token parts them.
            end = [tokenizer.token_to_id(token) for token in ("<|endoftext|>", "<eos>", "</s>")]
            separators = [token for token in end if token is not None][:1]
            self._middle = (separators, [self._types[0]] * len(separators))

        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self.vocabulary = tokenizer.get_vocab_size()
        self.settings = settings
        self.room = settings.max_length - sum(
            len(part[0]) for part in (self._prefix, self._middle, self._suffix)
        )
        added = tokenizer.get_added_tokens_decoder()
        special = {i: token.content for i, token in added.items() if token.special}
        self.special_ids = frozenset(special)
        unknown = [i for i, content in special.items() if _bare(content) == "unk"]
        self.unknown_id = unknown[0] if unknown else None
        self._spelling = {
            i: [
                piece
                for character in content
                if (piece := tokenizer.token_to_id(character)) is not None and piece not in special
            ]
            for i, content in special.items()
            if _bare(content) != "unk"  # it stands for characters that the vocabulary lacks
        }
        pads = [i for i, content in special.items() if _bare(content) == "pad"]
        # Language models have no padding token of their own; what parts the texts serves as one.
        self.pad_id = (pads or self._middle[0] or [0])[0]

    @classmethod
    def from_folder(cls, folder: Path, settings: EncodingSettings) -> PairEncoder:
        """Return the encoder of a checkpoint folder.

        Raises:
            CheckpointError: If `tokenizer.json` is missing or unusable.
        """
        path = folder / TOKENIZER_FILE
        try:
            return cls(Tokenizer.from_file(str(path)), settings)
        except Exception as error:  # tokenizers raises bare Exception for every kind of bad file
            raise CheckpointError(f"{path}: not a usable fast tokenizer: {error}") from error

    def encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        """Return the tokens of each (prompt, response)."""
        return [
            row
            for start in range(0, len(pairs), _PAIRS_AT_ONCE)
            for row in self._encode(pairs[start : start + _PAIRS_AT_ONCE])
        ]

    def _encode(self, pairs: Sequence[tuple[str, str]]) -> list[Encoded]:
        clipped = [self._clip(text) for pair in pairs for text in pair]
        encodings = self._tokenizer.encode_batch_fast(
            [text for text, _ in clipped], add_special_tokens=False
        )
        ids = [self._spelt_out(encoding.ids) for encoding in encodings]
        return [
            self._join(ids[i], ids[i + 1], clipped[i][1] or clipped[i + 1][1])
            for i in range(0, len(ids), 2)
        ]

    def _clip(self, text: str) -> tuple[str, bool]:
        """Return a text as the tokenizer takes it, and whether it was cut.

        What is far beyond the model's length is cut before a megabyte of it is tokenised.
        """
        # JSON can carry half a surrogate pair; no tokenizer takes it.
        text = _SURROGATES.sub("\ufffd", text)
        if self.settings.simplify:
            text = simplified(text)
        reach = self.settings.max_length * _CHARACTERS_PER_TOKEN
        if len(text) > 2 * reach and self._tokenizer.normalizer is not None:
            # What normalisation removes, such as runs of spaces, must not push the rest out.
            text = self._tokenizer.normalizer.normalize_str(text)
        if len(text) <= 2 * reach:
            return text, False
        return text[:reach] + text[-reach:], True

    def _spelt_out(self, ids: list[int]) -> list[int]:
        if self._spelling.keys().isdisjoint(ids):
            return ids
        return [piece for i in ids for piece in self._spelling.get(i, (i,))]

    def _join(self, prompt: list[int], response: list[int], clipped: bool) -> Encoded:
        truncated = clipped or len(prompt) + len(response) > self.room
        if len(prompt) + len(response) > self.room:
            share = int(self.room * self.settings.prompt_share)
            prompt = prompt[: max(share, self.room - len(response))]
            keep = self.room - len(prompt)
            if len(response) > keep:
                head = round(keep * self.settings.response_head)
                response = response[:head] + response[len(response) - (keep - head) :]
        ids = [*self._prefix[0], *prompt, *self._middle[0], *response, *self._suffix[0]]
        types = [
            *self._prefix[1],
            *([self._types[0]] * len(prompt)),
            *self._middle[1],
            *([self._types[1]] * len(response)),
            *self._suffix[1],
        ]
        return Encoded(np.array(ids, np.int64), np.array(types, np.int64), truncated)


def _bare(token: str) -> str:
    return token.strip("<>[]|").lower()


def pad(
    rows: Sequence[Encoded], pad_id: int, multiple: int = 1
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return (input_ids, attention_mask, token_type_ids), each (B, L), padded on the right.

    Args:
        rows: The batch.
        pad_id: Id that fills the padding.
        multiple: L is rounded up to a multiple of this; few shapes are faster than many.
    """
    longest = max(len(row.input_ids) for row in rows)
    length = -(-longest // multiple) * multiple
    ids = np.full((len(rows), length), pad_id, np.int64)
    mask = np.zeros((len(rows), length), np.int64)
    types = np.zeros((len(rows), length), np.int64)
    for i, row in enumerate(rows):
        ids[i, : len(row.input_ids)] = row.input_ids
        mask[i, : len(row.input_ids)] = 1
        types[i, : len(row.input_ids)] = row.token_type_ids
    return ids, mask, types
