"""Tiny random models, made once a session; nothing is downloaded."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything of Hugging Face is imported

import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

if TYPE_CHECKING:
    from scorer.training.recipe import Recipe

TEXT = (
    "的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就分对成会可主发年动同工也能下过"
    "子说产种面而方后多定行学法所民得经十三之进着等部度家电力里如水化高自二理起小物现实加量都两体制"
    "女男好坏对吧天逻辑差别科老师谢你吗请帮忙问题答案安全公平道德法律责任数据隐私他她它，。！？：；“”"
)


def tiny_tokenizer() -> Tokenizer:
    """Return a Unigram tokenizer of the released one's form: XLM-R specials, Metaspace, NFKC."""
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    ascii_characters = "".join(chr(i) for i in range(33, 127))
    singles = dict.fromkeys(TEXT + ascii_characters)
    pieces += [(character, -6.0) for character in singles]
    pieces += [("可以", -5.0), ("我们", -5.0), ("▁the", -5.0), ("ing", -5.5), ("xylo", -9.0)]
    pieces += [("의", -7.0), ("한", -7.0), ("न", -7.0), ("😀", -7.0), ("<mask>", 0.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.add_special_tokens(
        [
            AddedToken(t, normalized=False, special=True)
            for t in ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
        ]
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    return tokenizer


@pytest.fixture
def chat_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A started `ChatServer` (chat_server.py) that answers every prompt until it is told else."""
    name = "chat_server"
    if name not in sys.modules:
        path = Path(__file__).with_name("chat_server.py")
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with sys.modules[name].ChatServer() as server:
        yield server


def make_tiny_encoder(folder: Path) -> None:
    """Write a tiny random BERT without a head, and its Unigram tokenizer."""
    import torch
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    tokenizer = tiny_tokenizer()
    torch.manual_seed(7)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=128,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        cls_token="<s>",
        eos_token="</s>",
        sep_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=128,
    ).save_pretrained(folder)


def make_recipe(encoder: Path, **changes: Any) -> Recipe:
    """Return a small recipe from an encoder's folder, with settings to change."""
    from scorer.training.recipe import Recipe

    content = {
        "name": "tiny",
        "version": "0.0.1",
        "encoder": str(encoder),
        "sources": [{"path": "native"}],
        "encoding": {"max_length": 64},
    }
    return Recipe.model_validate(content | changes)


def make_tiny_checkpoint(encoder: Path, folder: Path) -> None:
    """Write a whole checkpoint of the six dimensions, with random weights and spread logits."""
    import torch

    from scorer.checkpoint import (
        CONFIG_FILE,
        ONNX_FILE,
        TOKENIZER_CONFIG_FILE,
        TOKENIZER_FILE,
        WEIGHTS_FILE,
        Platt,
        Target,
        Thresholds,
        write_settings,
    )
    from scorer.dimensions import DEFAULT_DIMENSIONS, target_names
    from scorer.training.export import export_onnx
    from scorer.training.fit import starting_model
    from scorer.training.train import save_stock, uncalibrated

    recipe = make_recipe(encoder, encoding={"max_length": 96})
    torch.manual_seed(7)
    model, tokenizer, _ = starting_model(recipe, encoder)
    with torch.no_grad():
        # Fresh weights are so small that every text gets nearly the same logits, every probability
        # one half, and a test of order or neighbours could not fail.
        for name, weight in model.named_parameters():
            if weight.ndim == 2 and "embeddings" not in name:
                weight.mul_(20 if name == "classifier.weight" else 10)
    save_stock(model, tokenizer, folder, max_length=96)
    names = target_names(DEFAULT_DIMENSIONS)
    settings = replace(
        uncalibrated(recipe),
        targets=tuple(Target(name, Platt(1.2), Thresholds(0.4, 0.6, 0.3)) for name in names),
    )
    export_onnx(folder, settings)
    files = (WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, ONNX_FILE)
    write_settings(folder, settings, files)


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random BERT without a head, and its Unigram tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-encoder")
    make_tiny_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def new_recipe() -> Callable[..., Recipe]:
    """Function from an encoder's folder, and settings to change, to a small recipe."""
    return make_recipe


@pytest.fixture(scope="session")
def tiny_checkpoint(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a whole checkpoint of the six dimensions, with random weights and spread logits."""
    folder = tmp_path_factory.mktemp("tiny-checkpoint")
    make_tiny_checkpoint(tiny_encoder, folder)
    return folder
