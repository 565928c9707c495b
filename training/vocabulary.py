"""Cut a multilingual Unigram vocabulary to the pieces that Chinese and English text needs."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import torch
from tokenizers import Tokenizer
from transformers import PreTrainedModel

from scorer.errors import RecipeError

_METASPACE = "▁"
# Scripts that Chinese chats mix in; letters, marks and digits of any other script go.
_SCRIPTS = (
    "CJK",
    "IDEOGRAPHIC",
    "LATIN",
    "HIRAGANA",
    "KATAKANA",
    "BOPOMOFO",
    "GREEK",
    "CYRILLIC",
    "DIGIT",
    "VARIATION SELECTOR",
)


def kept_ids(tokenizer: dict[str, Any], ascii_pieces: int) -> list[int]:
    """Return the ids to keep of a `tokenizer.json` with a Unigram model, ascending.

    Kept are special tokens; punctuation, symbols and emoji; single characters and multi-character
    pieces of Han, Latin, kana, Bopomofo, Greek and Cyrillic script; of the pieces of two or more
    ASCII letters the `ascii_pieces` most probable ones.

    Raises:
        RecipeError: If the tokenizer's model is not Unigram.
    """
    if tokenizer["model"]["type"] != "Unigram":
        kind = tokenizer["model"]["type"]
        raise RecipeError(f"vocabulary: only Unigram tokenizers can be cut, not {kind}")
    special = {token["id"] for token in tokenizer["added_tokens"]}
    kept, words = [], []
    for i, (piece, score) in enumerate(tokenizer["model"]["vocab"]):
        text = piece.replace(_METASPACE, "")
        if i in special or all(_wanted(character) for character in text):
            if i not in special and len(text) > 1 and text.isascii() and text.isalpha():
                words.append((-score, i))
            else:
                kept.append(i)
    return sorted(kept + [i for _, i in sorted(words)[:ascii_pieces]])


def _wanted(character: str) -> bool:
    if unicodedata.category(character)[0] not in "LMNC":
        return True
    return unicodedata.name(character, "?").startswith(_SCRIPTS)


def cut_vocabulary(model: PreTrainedModel, tokenizer: Tokenizer, ascii_pieces: int) -> Tokenizer:
    """Cut the model's word embeddings in place and return the tokenizer that fits them.

    Text made of kept pieces keeps its segmentation, and so its meaning for the model.
    """
    content = json.loads(tokenizer.to_str())
    kept = kept_ids(content, ascii_pieces)
    new_id = {old: new for new, old in enumerate(kept)}
    content["model"]["vocab"] = [content["model"]["vocab"][i] for i in kept]
    content["model"]["unk_id"] = new_id[content["model"]["unk_id"]]
    for token in content["added_tokens"]:
        token["id"] = new_id[token["id"]]
    for token in (content["post_processor"] or {}).get("special_tokens", {}).values():
        token["ids"] = [new_id[i] for i in token["ids"]]

    old = model.get_input_embeddings()
    assert isinstance(old, torch.nn.Embedding)
    new = torch.nn.Embedding.from_pretrained(old.weight.detach()[kept].clone(), freeze=False)
    for name in ("pad", "bos", "eos"):
        token_id = getattr(model.config, f"{name}_token_id", None)
        if token_id is not None:
            setattr(model.config, f"{name}_token_id", new_id[token_id])
    new.padding_idx = model.config.pad_token_id if old.padding_idx is not None else None
    model.set_input_embeddings(new)
    model.config.vocab_size = len(kept)
    return Tokenizer.from_str(json.dumps(content, ensure_ascii=False))
