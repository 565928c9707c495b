"""The recipe of a training run: a YAML file in which an unknown setting is an error."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from scorer.checkpoint import EncodingSettings
from scorer.dimensions import DEFAULT_DIMENSIONS, Dimension, nearest
from scorer.errors import RecipeError
from scorer.training.targets import Annotators, Form


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceSettings(_Settings):
    """One file of rows.

    Attributes:
        path: JSONL file in the project's schema, looked up in the corpora folder; or `native`, the
            annotated set that ships with the package.
        rows: Train rows taken at most, chosen by a hash of their prompt so that a larger number
            contains a smaller one; None takes all. Rows that `every_other` moves come on top.
        eval_rows: Likewise, of dev and of test rows.
        weight: Factor on the loss of its rows.
        only: Keep rows whose `meta` has these values, e.g. `{cipher: [baseline]}`; null is
            for rows that lack the key.
        every_other: What becomes of every other dev and test row, by a hash of its response: `keep`
            it, `drop` it, or move it to `train`, so that the prompts of the rest are known while
            their responses are new. Figures of a run with `train` are no figures for new prompts.
    """

    path: str
    rows: int | None = Field(None, ge=0)
    eval_rows: int | None = Field(None, ge=0)
    weight: float = Field(1.0, gt=0)
    only: dict[str, list[str | int | None]] = {}
    every_other: Literal["keep", "drop", "train"] = "keep"


class VocabularySettings(_Settings):
    """Cut a multilingual Unigram vocabulary to Chinese and English.

    Attributes:
        ascii_pieces: Most frequent pieces of two or more ASCII letters to keep.
    """

    ascii_pieces: int = Field(6000, ge=0)


class LoraSettings(_Settings):
    """Train low-rank adapters instead of all weights; they are merged into the released weights.

    Attributes:
        r: Rank.
        alpha: Scale; the update is multiplied by alpha / r.
        dropout: Dropout on the adapters' input.
        target_modules: Module names that get an adapter; None takes peft's choice for the model.
    """

    r: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    target_modules: list[str] | None = None


class FitSettings(_Settings):
    """How the weights are fitted.

    Attributes:
        epochs: Passes over the training rows.
        learning_rate: Peak, after a linear warm-up and before a linear decay to 0.
        batch_size: Rows per step and device; with `consistency` some of them come in two surfaces.
        gradient_accumulation: Steps whose gradients are added up before an update.
        warmup: Share of the steps in which the learning rate rises.
        weight_decay: AdamW's.
        dropout: Hidden dropout of the encoder.
        attention_dropout: Costs half the speed on a CPU.
        freeze_embeddings: Leave word embeddings as they are: half the parameters of a small
            encoder, and what words outside the annotated rows mean stays intact.
        freeze_layers: Leave this many of the lowest layers as they are, and all embeddings with
            them, so that no gradient runs that far down: a faster step.
        targets: What a dimension's logits mean (`scorer.training.targets.reached_logits`). The
            others are there to be compared; a checkpoint is made of `ordinal` alone.
        without_prompt: Judge responses by themselves, to see what the prompt is worth.
        annotators: `all` trains on the mean of the labels that a row got, and so fills in dimensions
            that only the second annotator labelled; `first` on its `labels` alone.
        variants: Share of the responses that are trained on in another surface
            (`scorer.training.augment`).
        consistency: Above 0, those responses are trained on in both surfaces side by side, each with
            half the row's weight, and what the model says of one may differ from what it says of
            the other only at this price (`scorer.training.targets.MaskedLoss`).
        style_bound: Rows are weighed so that length, layout and punctuation of a response predict its
            level less, by a factor of at most this (`scorer.training.baselines.style_weights`); 1
            leaves them as they are.
        label_smoothing: Moves every target this far from 0 or 1.
        length_multiple: Batches are padded to a multiple of this; few shapes are faster than many.
        save_steps: Steps between checkpoints to resume from.
    """

    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(1e-4, gt=0)
    batch_size: int = Field(32, gt=0)
    gradient_accumulation: int = Field(1, gt=0)
    warmup: float = Field(0.06, ge=0, lt=1)
    weight_decay: float = Field(0.01, ge=0)
    dropout: float = Field(0.1, ge=0, lt=1)
    attention_dropout: float = Field(0.0, ge=0, lt=1)
    freeze_embeddings: bool = True
    freeze_layers: int = Field(0, ge=0)
    targets: Form = "ordinal"
    without_prompt: bool = False
    annotators: Annotators = "all"
    variants: float = Field(0.0, ge=0, le=1)
    consistency: float = Field(0.0, ge=0)
    style_bound: float = Field(1.0, ge=1)
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)
    length_multiple: int = Field(32, gt=0)
    save_steps: int = Field(50, gt=0)


class ExportSettings(_Settings):
    """What is made of the fitted weights.

    Attributes:
        onnx: Write the int8 ONNX file for CPUs; without it a checkpoint runs on torch alone.
        tolerance: Share of decisions (harmless or not, by dimension) on dev rows in which int8 may
            differ from fp32.
    """

    onnx: bool = True
    tolerance: float = Field(0.02, ge=0, lt=1)


class EncodingRecipe(_Settings):
    """See `scorer.checkpoint.EncodingSettings`."""

    max_length: int = 512
    prompt_share: float = 0.3
    response_head: float = 0.7
    simplify: bool = False

    def settings(self) -> EncodingSettings:
        """Return what goes into the checkpoint."""
        return EncodingSettings(**self.model_dump())


class DimensionRecipe(_Settings):
    """See `scorer.dimensions.Dimension`."""

    name: str
    levels: list[int]
    harmless_from: int

    def dimension(self) -> Dimension:
        """Return the dimension itself."""
        return Dimension(self.name, tuple(self.levels), self.harmless_from)


class Recipe(_Settings):
    """Everything that decides what a training run yields.

    Attributes:
        name: Checkpoint name.
        version: Checkpoint version.
        encoder: Folder or hub id of the model to start from; `released` starts from the checkpoint
            that ships with the package.
        base_model: Hub id of what the encoder derives from, for the card.
        sources: Files of rows.
        dimensions: Dimensions to learn; default Flames' five and responsibility.
        encoding: How a pair becomes tokens.
        vocabulary: Cut the vocabulary first; None leaves it.
        fit: How the weights are fitted.
        lora: Low-rank adapters; None trains all weights.
        export: What is made of the fitted weights.
        seed: Of initialisation, order and dropout.
    """

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    version: str = Field(pattern=r"^\d+\.\d+\.\d+([.-][A-Za-z0-9.-]+)?$")
    encoder: str
    base_model: str | None = None
    sources: list[SourceSettings] = Field(min_length=1)
    dimensions: list[DimensionRecipe] = [
        DimensionRecipe(name=d.name, levels=list(d.levels), harmless_from=d.harmless_from)
        for d in DEFAULT_DIMENSIONS
    ]
    encoding: EncodingRecipe = EncodingRecipe()
    vocabulary: VocabularySettings | None = None
    fit: FitSettings = FitSettings()
    lora: LoraSettings | None = None
    export: ExportSettings = ExportSettings()
    seed: int = Field(17, ge=0)

    @model_validator(mode="after")
    def _check(self) -> Recipe:
        names = [dimension.name for dimension in self.dimensions]
        if len(set(names)) != len(names):
            raise ValueError(f"dimensions {names} are not distinct")
        for dimension in self.dimensions:
            dimension.dimension()
        self.encoding.settings()
        return self

    def resolved_dimensions(self) -> tuple[Dimension, ...]:
        """Return the dimensions in the order of the model's outputs."""
        return tuple(dimension.dimension() for dimension in self.dimensions)


def read_recipe(path: Path) -> Recipe:
    """Read and validate a recipe.

    Raises:
        RecipeError: If the file cannot be read, or a setting is unknown or invalid; every fault is
            named, with the nearest known setting.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecipeError(f"{path}: cannot be read: {error}") from error
    return recipe_from(content, str(path))


def recipe_from(content: Any, place: str) -> Recipe:
    """Return the recipe that parsed YAML holds.

    Raises:
        RecipeError: If a setting is unknown or invalid; `place` says where it was found.
    """
    try:
        return Recipe.model_validate(content)
    except ValidationError as error:
        faults = "\n".join(_fault(fault) for fault in error.errors())
        raise RecipeError(f"{place}:\n{faults}") from None


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it; sections are merged, lists replaced."""
    result = dict(base)
    for name, value in changes.items():
        before = result.get(name)
        if isinstance(before, Mapping) and isinstance(value, Mapping):
            value = merged(before, value)
        result[name] = value
    return result


def _fault(fault: Any) -> str:
    place = ".".join(str(part) for part in fault["loc"]) or "recipe"
    if fault["type"] != "extra_forbidden":
        return f"  {place}: {fault['msg']} (found {fault['input']!r:.80})"
    model: type[BaseModel] = Recipe
    for part in fault["loc"][:-1]:
        if isinstance(part, str):
            model = _SECTIONS[part]
    return f"  {place}: unknown setting{nearest(str(fault['loc'][-1]), model.model_fields)}"


_SECTIONS: dict[str, type[BaseModel]] = {
    "sources": SourceSettings,
    "dimensions": DimensionRecipe,
    "encoding": EncodingRecipe,
    "vocabulary": VocabularySettings,
    "fit": FitSettings,
    "lora": LoraSettings,
    "export": ExportSettings,
}


def same_run(before: object, recipe: Recipe) -> bool:
    """Return whether a recipe that a run recorded asks for the same run as this one.

    A setting that recipes did not have then was at its default. What the result is called changes
    nothing of a run.
    """
    try:
        recorded = Recipe.model_validate(before)
    except ValidationError:
        return False
    return recorded.model_copy(update={"name": recipe.name, "version": recipe.version}) == recipe
