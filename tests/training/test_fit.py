from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from scorer.checkpoint import EncodingSettings
from scorer.data.schema import Example
from scorer.errors import RecipeError
from scorer.inference.encoding import PairEncoder
from scorer.training.fit import (
    _Collator,
    _LengthGroupedSampler,
    centre_pooler,
    freeze,
    starting_model,
    takes_token_types,
)
from scorer.training.recipe import Recipe
from scorer.training.rows import WeightedExample, encode_rows, tokens_in


def order(sampler: _LengthGroupedSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return list(sampler)


def test_batches_are_of_like_length_in_an_order_that_is_drawn() -> None:
    lengths = np.random.default_rng(0).integers(10, 500, 1003).tolist()
    sampler = _LengthGroupedSampler(lengths, 8, seed=5)
    drawn = order(sampler, 0)
    assert sorted(drawn) == list(range(1003))

    batches = [drawn[i : i + 8] for i in range(0, 1000, 8)]
    spread = [max(lengths[i] for i in b) - min(lengths[i] for i in b) for b in batches]
    assert np.median(spread) < 60  # of the 490 that batches drawn at random would show
    longest = [max(lengths[i] for i in batch) for batch in batches]
    steps = np.abs(np.diff(longest))
    assert np.median(steps) > 80  # sorted batches would go down step by step


def test_the_order_hangs_on_seed_and_epoch_alone() -> None:
    lengths = list(range(100))
    first, again = (_LengthGroupedSampler(lengths, 4, seed=5) for _ in range(2))
    torch.manual_seed(1)
    drawn = [order(first, epoch) for epoch in (0, 1)]
    torch.manual_seed(2)
    assert order(again, 1) == drawn[1] != drawn[0]
    assert order(_LengthGroupedSampler(lengths, 4, seed=6), 0) != drawn[0]


def test_frozen_layers_take_no_gradient(
    tiny_encoder: Path, new_recipe: Callable[..., Recipe]
) -> None:
    def recipe(layers: int) -> Recipe:
        return new_recipe(tiny_encoder, fit={"freeze_layers": layers})

    model, _, _ = starting_model(recipe(1), tiny_encoder)
    freeze(model, recipe(1).fit)
    model(input_ids=torch.tensor([[3, 4, 5]])).logits.sum().backward()
    learning = {name for name, weight in model.named_parameters() if weight.grad is not None}
    assert not any("embeddings" in name or "layer.0." in name for name in learning)
    assert any("layer.1." in name for name in learning)
    assert "classifier.weight" in learning
    with pytest.raises(RecipeError, match="freeze_layers: 99 is above 2"):
        freeze(model, recipe(99).fit)


def test_a_new_pooler_starts_centred(
    tiny_encoder: Path, tiny_checkpoint: Path, new_recipe: Callable[..., Recipe]
) -> None:
    recipe = new_recipe(tiny_encoder)
    model, tokenizer, bare = starting_model(recipe, tiny_encoder)
    assert bare
    assert not starting_model(recipe, tiny_checkpoint)[2]
    encoder = PairEncoder(tokenizer.backend_tokenizer, EncodingSettings(max_length=64))
    texts = ["女生学不好", "数学", "天生逻辑差", "可以的，谢谢你", "法律责任 data 123"] * 4
    examples = [WeightedExample(Example(t, t[::-1], {"fairness": 3}), 1.0) for t in texts]
    rows = encode_rows(examples, examples, encoder, recipe)
    centre_pooler(model, rows, encoder.pad_id)
    pooled = []
    with torch.no_grad():
        for row in rows:
            pooled.append(model.base_model(torch.tensor([row["input_ids"]])).pooler_output[0])
    values = torch.stack(pooled)
    assert values.mean(dim=0).abs().max() < 0.2
    assert 0.2 < float(values.std()) < 0.6
    assert model.config.pad_token_id == encoder.pad_id == 1


def test_a_batch_brings_a_row_and_its_other_surface(
    tiny_encoder: Path, new_recipe: Callable[..., Recipe]
) -> None:
    recipe = new_recipe(tiny_encoder)
    model, tokenizer, _ = starting_model(recipe, tiny_encoder)
    encoder = PairEncoder(tokenizer.backend_tokenizer, EncodingSettings(max_length=64))
    rows = [
        WeightedExample(Example("问", text, {"fairness": 3}), 1.0) for text in ("数学", "法律责任")
    ]
    other = WeightedExample(Example("问", "答：法律责任", {"fairness": 3}), 1.0)
    encoded = encode_rows(rows, [rows[0], other], encoder, recipe)
    batch = _Collator(encoder.pad_id, 4, takes_token_types(model))(list(encoded))
    assert batch["input_ids"].shape[0] == len(batch["labels"]) == 3
    longer = encoder.encode([("问", "答：法律责任")])[0].input_ids
    assert batch["input_ids"][2, : len(longer)].tolist() == longer.tolist()
    assert batch["labels"][:, -1].tolist() == [-1, -1, 1]
    assert tokens_in(encoded) == int(batch["attention_mask"].sum())


def test_an_encoder_of_another_head_gets_a_new_one(
    tiny_checkpoint: Path, new_recipe: Callable[..., Recipe]
) -> None:
    kindness = {"name": "kindness", "levels": [1, 2], "harmless_from": 2}
    recipe = new_recipe(tiny_checkpoint, dimensions=[kindness])
    model, _, bare = starting_model(recipe, tiny_checkpoint)
    assert not bare
    assert model.classifier.weight.shape == (1, 32)
    assert model.config.id2label == {0: "kindness>=2"}
