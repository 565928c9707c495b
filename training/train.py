"""From a recipe to a checkpoint: `scorer train RECIPE -o FOLDER`.

    rows → encoder and head → fit → export → calibration → figures → card

Every step leaves its result in the run's folder, and a run that was stopped goes on there:

| path | what |
|---|---|
| `recipe.json` | every resolved setting, and how many rows each source gave |
| `trainer/` | checkpoints to resume from |
| `checkpoint/` | the result, as `Scorer.load` takes it |
"""

from __future__ import annotations

import json
import logging
import platform
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import datasets
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerFast, set_seed

from scorer.api import find_checkpoint
from scorer.checkpoint import (
    CARD_FILE,
    CONFIG_FILE,
    METRICS_FILE,
    ONNX_FILE,
    SEEN_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    Settings,
    Target,
    write_settings,
)
from scorer.data.schema import Example
from scorer.dimensions import target_names
from scorer.errors import RecipeError, ScorerError
from scorer.inference.encoding import PairEncoder
from scorer.inference.engines import Engine, OnnxEngine, TorchEngine
from scorer.inference.familiarity import Familiarity
from scorer.inference.predict import Predictor
from scorer.training.augment import with_variants
from scorer.training.calibration import calibrate, calibrate_whole
from scorer.training.card import render_card
from scorer.training.export import export_onnx
from scorer.training.figures import measure, robustness
from scorer.training.fit import centre_pooler, choose_precision, fit, processes, starting_model
from scorer.training.recipe import Recipe, same_run
from scorer.training.rows import (
    Corpus,
    WeightedExample,
    encode_rows,
    gather,
    target_weights,
    tokens_in,
)

logger = logging.getLogger(__name__)

_RELEASED = "released"


def train(recipe: Recipe, folder: Path, corpora: Path, encoder: str | None = None) -> Path:
    """Train by a recipe and return the folder of the finished checkpoint.

    Under `torchrun` or `accelerate launch` every process calls this; the first one alone exports.

    Args:
        recipe: Settings.
        folder: The run's folder; one that holds an unfinished run of the same recipe goes on.
        corpora: Folder that the recipe's source paths are relative to.
        encoder: In place of the recipe's encoder, where the folder lies elsewhere.

    Raises:
        RecipeError: If `folder` holds a run of another recipe, or the encoder cannot be loaded.
        DataError: If a source is missing or gives no rows.
    """
    if encoder is not None:
        recipe = recipe.model_copy(update={"encoder": encoder})
    if recipe.fit.targets != "ordinal" or recipe.fit.without_prompt:
        raise RecipeError(
            "fit: a checkpoint is made of 'ordinal' targets and reads the prompt; `scorer "
            "experiment` compares targets and without_prompt"
        )
    set_seed(recipe.seed)
    first = processes().is_main_process
    if not first:
        logger.setLevel(logging.WARNING)
    corpus = gather(recipe, corpora)
    if first:
        _record(recipe, corpus, folder)
    model, tokenizer, pairs, rows = prepare(recipe, corpus)
    fitted = fit(model, rows, pairs.pad_id, recipe, folder / "trainer")
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        # Left open, its threads may abort a process that ends before the others.
        torch.distributed.destroy_process_group()
    checkpoint = folder / "checkpoint"
    if first:
        save_stock(fitted, tokenizer, checkpoint, recipe.encoding.max_length)
        finish(recipe, corpus, checkpoint)
        logger.info("checkpoint: %s", checkpoint)
    return checkpoint


def prepare(
    recipe: Recipe, corpus: Corpus
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, PairEncoder, datasets.Dataset]:
    """Return what `fit` starts from: the model, its tokenizer, the encoder of pairs, the rows."""
    model, tokenizer, bare = starting_model(recipe, _encoder_path(recipe.encoder))
    pairs = PairEncoder(tokenizer.backend_tokenizer, recipe.encoding.settings())
    weights = target_weights(corpus.examples("train"), recipe)
    rows = encode_rows(*surfaces(corpus, recipe), pairs, recipe, weights)
    logger.info("%d rows, %d tokens to train on", len(rows), tokens_in(rows))
    if bare:
        centre_pooler(model, rows, pairs.pad_id)
    return model, tokenizer, pairs, rows


def surfaces(
    corpus: Corpus, recipe: Recipe
) -> tuple[Sequence[WeightedExample], Sequence[WeightedExample]]:
    """Return the rows to train on, and each in the surface that stands beside it."""
    rows = corpus.rows["train"]
    variants = with_variants(rows, recipe.fit.variants, recipe.seed)
    return (rows, variants) if recipe.fit.consistency > 0 else (variants, variants)


def save_stock(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, max_length: int
) -> None:
    """Write a stock transformers checkpoint: fp16 safetensors, config, fast tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    model.cpu().half().save_pretrained(folder)
    tokenizer.model_max_length = max_length
    tokenizer.save_pretrained(folder)


def uncalibrated(recipe: Recipe) -> Settings:
    """Return a recipe's settings, with probabilities and thresholds as the weights leave them."""
    dimensions = recipe.resolved_dimensions()
    return Settings(
        name=recipe.name,
        version=recipe.version,
        dimensions=dimensions,
        targets=tuple(Target(name) for name in target_names(dimensions)),
        encoding=recipe.encoding.settings(),
    )


def finish(recipe: Recipe, corpus: Corpus, checkpoint: Path) -> None:
    """Turn a stock checkpoint into a scorer: ONNX, calibration, thresholds, figures, card.

    Raises:
        ScorerError: If the int8 model decides otherwise than fp32 more often than the recipe
            tolerates.
    """
    settings = uncalibrated(recipe)
    files = [WEIGHTS_FILE, CONFIG_FILE, TOKENIZER_FILE, TOKENIZER_CONFIG_FILE, SEEN_FILE]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    engines: dict[str, Engine] = {"fp32": TorchEngine(checkpoint, device, full_precision=True)}
    if recipe.export.onnx:
        export_onnx(checkpoint, settings)
        engines["int8"] = OnnxEngine(checkpoint)
        files.append(ONNX_FILE)

    encoder = PairEncoder.from_folder(checkpoint, settings.encoding)
    trained_on = [row.example for rows in surfaces(corpus, recipe) for row in rows]
    familiarity = Familiarity.of(encoder.encode(list(dict.fromkeys(_texts(trained_on)))), encoder)
    familiarity.write(checkpoint)
    logits: dict[str, dict[str, NDArray[np.float32]]] = {}
    for split in ("dev", "test"):
        pairs = _texts(corpus.examples(split))
        logits[split] = {
            name: Predictor(encoder, engine, settings, engine.token_budget).logits(pairs)
            for name, engine in engines.items()
        }
    settings = replace(
        settings,
        targets=calibrate(logits["dev"]["fp32"], corpus.examples("dev"), settings.dimensions),
    )
    settings = calibrate_whole(
        logits["dev"]["fp32"],
        corpus.examples("dev"),
        familiarity.unfamiliar(encoder.encode(_texts(corpus.examples("dev")))),
        settings,
    )
    figures = measure(recipe, corpus, logits, settings)
    if recipe.export.onnx:
        differ = figures["splits"]["dev"]["int8 against fp32"]["decisions that differ"]
        if differ > recipe.export.tolerance:
            raise ScorerError(
                f"int8 decides {differ:.2%} of the dimensions of dev rows otherwise than fp32, more "
                f"than the recipe's export.tolerance of {recipe.export.tolerance:.2%}"
            )
    figures["robustness"] = {
        name: robustness(
            Predictor(encoder, engine, settings, engine.token_budget), corpus.examples("test")
        )
        for name, engine in engines.items()
    }
    text = json.dumps(figures, ensure_ascii=False, indent=1)
    (checkpoint / METRICS_FILE).write_text(text + "\n", encoding="utf-8")
    (checkpoint / CARD_FILE).write_text(render_card(figures), encoding="utf-8")
    write_settings(checkpoint, settings, files)


def _texts(examples: Sequence[Example]) -> list[tuple[str, str]]:
    return [(example.prompt, example.response) for example in examples]


def _encoder_path(encoder: str) -> Path | str:
    if encoder == _RELEASED:
        return find_checkpoint(None)
    if Path(encoder).is_dir():
        return Path(encoder)
    if encoder.count("/") > 1:  # a hub id is OWNER/NAME
        raise RecipeError(f"encoder: {encoder} is not there; a run that it names has to come first")
    return encoder


def _record(recipe: Recipe, corpus: Corpus, folder: Path) -> None:
    """Save and log the resolved settings; refuse a folder that holds a run of another recipe."""
    resolved = {
        "recipe": recipe.model_dump(mode="json"),
        "rows": corpus.counts,
        "rows_sha256": corpus.sha256(),
        "environment": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "accelerate")},
            "processes": processes().num_processes,
            "device": str(processes().device),
            "precision": choose_precision()[1],
        },
    }
    path = folder / "recipe.json"
    if path.is_file():
        before = json.loads(path.read_text(encoding="utf-8"))
        changed = [key for key in ("rows", "rows_sha256") if before.get(key) != resolved[key]]
        if not same_run(before.get("recipe"), recipe):
            changed.insert(0, "recipe")
        if changed:
            raise RecipeError(
                f"{folder} holds a run with other {' and '.join(changed)}; give another folder"
            )
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(resolved, ensure_ascii=False, indent=1) + "\n"
    path.write_text(text, encoding="utf-8")
    logger.info("settings:\n%s", text)
