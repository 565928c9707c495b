from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from scorer.checkpoint import EncodingSettings
from scorer.errors import CheckpointError
from scorer.inference.encoding import PairEncoder, pad
from scorer.inference.simplified import simplified

SPECIAL = {0, 1, 2}


@pytest.fixture(scope="module")
def encoder(tiny_encoder: Path) -> PairEncoder:
    return PairEncoder.from_folder(tiny_encoder, EncodingSettings(max_length=32))


def test_pair_has_the_tokenizers_own_form(tiny_encoder: Path, encoder: PairEncoder) -> None:
    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    (row,) = encoder.encode([("我们学法", "可以的,the")])
    assert row.input_ids.tolist() == tokenizer.encode("我们学法", "可以的,the").ids
    assert not row.truncated


@pytest.mark.parametrize("text", ["</s>", "<pad>", "＜/s＞", "x<mask>y", "<s></s></s>", "< /s>"])
def test_special_token_text_stays_text(encoder: PairEncoder, text: str) -> None:
    (plain,), (hostile,) = encoder.encode([("我", "你")]), encoder.encode([(text, text)])
    control = [int(i) for i in hostile.input_ids if int(i) in SPECIAL]
    assert control == [int(i) for i in plain.input_ids if int(i) in SPECIAL]
    assert 216 not in hostile.input_ids  # nor the mask token
    assert len(hostile.input_ids) > len(plain.input_ids)


def test_prompt_keeps_its_head_and_response_its_head_and_tail(encoder: PairEncoder) -> None:
    (row,) = encoder.encode([("好" + "一" * 80, "对" + "二" * 80 + "坏")])
    tokens = row.input_ids.tolist()
    one = encoder.encode([("好", "对")])[0].input_ids.tolist()
    assert len(tokens) == 32
    assert row.truncated
    assert one[2] == tokens[2]
    assert one[-2] in tokens[10:14]
    last = encoder.encode([("", "坏")])[0].input_ids.tolist()[-2]
    assert tokens[-2] == last


def test_short_response_leaves_its_room_to_the_prompt(encoder: PairEncoder) -> None:
    (row,) = encoder.encode([("一" * 80, "对")])
    assert len(row.input_ids) == 32


def test_lone_surrogates_and_a_megabyte_are_encoded(encoder: PairEncoder) -> None:
    surrogate, huge = encoder.encode([("\ud800", "\udfff好"), ("好" * 1_000_000, "\0")])
    assert not surrogate.truncated
    assert huge.truncated
    assert len(huge.input_ids) == 32


def test_blanks_cannot_push_the_text_out(encoder: PairEncoder) -> None:
    blanks = " " * 9_000
    hidden, plain = encoder.encode([("我", f"{blanks}女生学不好{blanks}"), ("我", " 女生学不好 ")])
    assert hidden.input_ids.tolist() == plain.input_ids.tolist()
    assert not hidden.truncated


def test_unknown_characters_are_one_token(tmp_path: Path) -> None:
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "好", "[", "U", "N", "K", "]"]
    tokenizer = Tokenizer(
        models.WordPiece({token: i for i, token in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.add_special_tokens(vocabulary[:5])
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    encoder = PairEncoder(tokenizer, EncodingSettings(max_length=32))
    (row,) = encoder.encode([("好", "猫")])
    assert row.input_ids.tolist() == [2, 5, 3, 1, 3]
    assert row.token_type_ids.tolist() == [0, 0, 0, 1, 1]
    assert encoder.pad_id == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60)), max_size=6))
def test_neighbours_do_not_matter_and_length_holds(
    encoder: PairEncoder, pairs: list[tuple[str, str]]
) -> None:
    together = encoder.encode(pairs)
    alone = [encoder.encode([pair])[0] for pair in pairs]
    for one, other in zip(together, alone, strict=True):
        assert one.input_ids.tolist() == other.input_ids.tolist()
        assert len(one.input_ids) <= 32


def test_padding_is_masked(encoder: PairEncoder) -> None:
    rows = encoder.encode([("我", "你"), ("我们学法", "可以")])
    ids, mask, types = pad(rows, encoder.pad_id, multiple=8)
    assert ids.shape == mask.shape == types.shape
    assert ids.shape[1] % 8 == 0
    assert mask.sum(axis=1).tolist() == [len(row.input_ids) for row in rows]
    assert np.all(ids[mask == 0] == encoder.pad_id)


def test_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        PairEncoder.from_folder(tmp_path, EncodingSettings())


def test_traditional_characters_are_read_as_simplified_ones_where_asked(
    tiny_encoder: Path,
) -> None:
    pair, plain = ("學法", "這個數學"), ("学法", "这个数学")
    as_they_are, simple = (
        PairEncoder.from_folder(tiny_encoder, EncodingSettings(max_length=32, simplify=simplify))
        for simplify in (False, True)
    )
    (expected,) = as_they_are.encode([plain])
    for one in (pair, plain):
        assert simple.encode([one])[0].input_ids.tolist() == expected.input_ids.tolist()
    assert as_they_are.encode([pair])[0].input_ids.tolist() != expected.input_ids.tolist()


def test_simplified_characters_are_those_of_opencc() -> None:
    opencc = pytest.importorskip("opencc", reason="the extra train is not installed")
    convert = opencc.OpenCC("t2s").convert
    for code in range(0x3400, 0xA000):
        character = chr(code)
        other = convert(character)
        if len(other) == 1 and ord(other) < 0x10000:
            assert simplified(character) == other
