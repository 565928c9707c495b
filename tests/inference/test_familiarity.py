from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scorer.checkpoint import SEEN_FILE, EncodingSettings
from scorer.inference.encoding import PairEncoder
from scorer.inference.familiarity import Familiarity


@pytest.fixture
def encoder(tiny_encoder: Path) -> PairEncoder:
    return PairEncoder.from_folder(tiny_encoder, EncodingSettings(max_length=64))


def shares(familiarity: Familiarity, encoder: PairEncoder, *pairs: tuple[str, str]) -> list[float]:
    return familiarity.unfamiliar(encoder.encode(pairs))


def test_tokens_of_training_are_familiar_and_others_are_not(encoder: PairEncoder) -> None:
    familiarity = Familiarity.of(encoder.encode([("女生", "数学")]), encoder)
    same, swapped, new = shares(
        familiarity, encoder, ("女生", "数学"), ("数学", "女生"), ("法律", "责任")
    )
    assert same == swapped == 0.0
    assert new > 0.4


def test_unknown_characters_are_never_familiar(encoder: PairEncoder) -> None:
    rows = encoder.encode([("女生", "สวัสดี")])
    assert encoder.unknown_id in rows[0].input_ids
    familiarity = Familiarity.of(rows, encoder)
    (share,) = shares(familiarity, encoder, ("", "สวัสดี"))
    assert share >= 0.5


def test_an_empty_text_is_in_no_doubt(encoder: PairEncoder) -> None:
    familiarity = Familiarity(np.zeros(0, bool), encoder)
    assert shares(familiarity, encoder, ("", ""), ("女生", "数学")) == [0.0, 1.0]


def test_what_is_written_is_read(encoder: PairEncoder, tmp_path: Path) -> None:
    assert Familiarity.read(tmp_path, encoder) is None
    rows = encoder.encode([("女生学不好", "数学"), ("法律", "x")])
    Familiarity.of(rows, encoder).write(tmp_path)
    assert (tmp_path / SEEN_FILE).stat().st_size == -(-encoder.vocabulary // 8)
    again = Familiarity.read(tmp_path, encoder)
    assert again is not None
    assert again.unfamiliar(rows) == [0.0, 0.0]
    assert shares(again, encoder, ("责任", "天生"))[0] > 0.4
