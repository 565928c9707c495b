from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModel

from scorer.errors import RecipeError
from scorer.training.vocabulary import cut_vocabulary


def test_chinese_keeps_its_pieces_and_vectors(tiny_encoder: Path) -> None:
    model = AutoModel.from_pretrained(tiny_encoder)
    tokenizer = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    before = tokenizer.encode("我们可以，the 😀ing", "吗?")
    vectors = model.get_input_embeddings().weight[before.ids].clone()

    cut = cut_vocabulary(model, tokenizer, ascii_pieces=2)
    after = cut.encode("我们可以，the 😀ing", "吗?")

    assert after.tokens == before.tokens
    assert torch.equal(model.get_input_embeddings().weight[after.ids], vectors)
    assert model.config.vocab_size == cut.get_vocab_size() < tokenizer.get_vocab_size()
    for gone in ("의", "न", "xylo"):
        assert cut.token_to_id(gone) is None
    for kept in ("<s>", "</s>", "<mask>", "▁the", "ing", "x", "😀"):
        assert cut.token_to_id(kept) is not None
    assert cut.encode("의").tokens[1:-1] == ["▁", "의"]  # unknown, yet in its place
    assert model.config.pad_token_id == cut.token_to_id("<pad>")


def test_other_tokenizers_are_refused(tiny_encoder: Path) -> None:
    model = AutoModel.from_pretrained(tiny_encoder)
    with pytest.raises(RecipeError, match="Unigram"):
        cut_vocabulary(model, Tokenizer(models.WordLevel({"a": 0}, unk_token="a")), 10)
