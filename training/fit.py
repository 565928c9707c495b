"""Fit the weights: transformers' Trainer over accelerate, resumed wherever it stopped."""

from __future__ import annotations

import inspect
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import datasets
import numpy as np
import torch
from accelerate import PartialState
from torch.utils.data import Sampler
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Trainer,
    TrainerState,
    TrainingArguments,
)
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_callback import PrinterCallback, ProgressCallback, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from scorer.dimensions import target_names
from scorer.errors import RecipeError
from scorer.inference.encoding import Encoded, PairEncoder, pad
from scorer.training.recipe import FitSettings, LoraSettings, Recipe
from scorer.training.targets import MaskedLoss, with_partners
from scorer.training.vocabulary import cut_vocabulary

logger = logging.getLogger(__name__)

_BATCHES_SORTED_TOGETHER = 16  # more save padding, fewer mix sources whose lengths differ


def on_cpu() -> bool:
    """Return whether there is no GPU to train on."""
    return not (torch.cuda.is_available() or torch.backends.mps.is_available())


def processes() -> PartialState:
    """Return this process's place among those that `torchrun` or `accelerate launch` started."""
    # On CPUs, accelerate takes each process for the only one unless it is told.
    return PartialState(cpu=on_cpu())


def choose_precision() -> tuple[bool, str]:
    """Return whether to train in bfloat16, and why."""
    if torch.cuda.is_available():
        capable = torch.cuda.is_bf16_supported(including_emulation=False)
        return capable, f"{torch.cuda.get_device_name()} {'has' if capable else 'lacks'} bfloat16"
    if torch.backends.mps.is_available():
        return False, "bfloat16 autocast is slower than float32 on Apple's GPUs"
    capable = bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return capable, f"this CPU {'has' if capable else 'lacks'} bfloat16 instructions"


def starting_model(
    recipe: Recipe, encoder: Path | str
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast, bool]:
    """Return the model to fit, its tokenizer, and whether its pooler is newly made.

    Raises:
        RecipeError: If `encoder` is no checkpoint with a fast tokenizer.
    """
    names = target_names(recipe.resolved_dimensions())
    try:
        config = AutoConfig.from_pretrained(
            encoder,
            num_labels=len(names),
            id2label=dict(enumerate(names)),
            label2id={name: i for i, name in enumerate(names)},
            problem_type="multi_label_classification",
        )
        for setting, value in (
            ("hidden_dropout_prob", recipe.fit.dropout),
            ("attention_probs_dropout_prob", recipe.fit.attention_dropout),
            ("attention_dropout", recipe.fit.attention_dropout),
        ):
            if hasattr(config, setting):
                setattr(config, setting, value)
        tokenizer = AutoTokenizer.from_pretrained(encoder)
        if not isinstance(tokenizer, PreTrainedTokenizerFast):
            raise RecipeError(f"encoder: {encoder} has no fast tokenizer")
        pairs = PairEncoder(tokenizer.backend_tokenizer, recipe.encoding.settings())
        # A language model finds a row's last token by the padding, so both must mean the same id.
        config.pad_token_id = pairs.pad_id
        _check_length(recipe.encoding.max_length, config)
        model, loading = AutoModelForSequenceClassification.from_pretrained(
            encoder,
            config=config,
            dtype=torch.float32,
            # A checkpoint of other targets is a good start too; its head is drawn anew then.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError) as error:
        raise RecipeError(f"encoder: {encoder} cannot be loaded: {error}") from error
    # Encoders for embeddings come without the pooler that a classifier reads.
    bare = any("pooler" in name for name in loading["missing_keys"])
    if recipe.vocabulary is not None:
        cut = cut_vocabulary(model, tokenizer.backend_tokenizer, recipe.vocabulary.ascii_pieces)
        tokenizer = PreTrainedTokenizerFast(tokenizer_object=cut, **tokenizer.special_tokens_map)
    return model, tokenizer, bare


def _check_length(max_length: int, config: PreTrainedConfig) -> None:
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and "roberta" in config.model_type:
        positions -= config.pad_token_id + 1  # they count positions from there
    if positions is not None and max_length > positions:
        raise RecipeError(
            f"encoding.max_length: {max_length} is above {positions}, what the encoder has "
            "positions for"
        )


def centre_pooler(model: PreTrainedModel, rows: datasets.Dataset, pad_id: int) -> None:
    """Start a newly made pooler as tanh((h - mean) / (2 std)) of the first token's state h.

    An embedding model's states differ little from one another beside what they share, and a random
    pooler passes on the latter: from this start a fit needs a fraction of the steps. Mean and the
    one standard deviation are those of an even sample, fewer than 512 of the rows.

    Args:
        model: With a `pooler.dense` that is square.
        rows: As `encode_rows` returns them.
        pad_id: Id that fills the padding.
    """
    base: Any = model.base_model
    dense = base.pooler.dense
    collate = _Collator(pad_id, 1, takes_token_types(model))
    step = max(1, len(rows) // 256)
    sample = rows.select(range(0, len(rows), step))
    states = []
    model.eval()
    with torch.no_grad():
        for start in range(0, len(sample), 16):
            batch = collate([sample[i] for i in range(start, min(start + 16, len(sample)))])
            del batch["labels"]
            states.append(base(**batch).last_hidden_state[:, 0])
        first = torch.cat(states)
        mean = first.mean(dim=0)
        scale = 0.5 / (first - mean).std().clamp(min=1e-6)
        dense.weight.copy_(torch.eye(len(mean)) * scale)
        dense.bias.copy_(-mean * scale)


def with_adapters(model: PreTrainedModel, settings: LoraSettings) -> torch.nn.Module:
    """Return the model with low-rank adapters (arXiv 2106.09685) on frozen weights."""
    from peft import LoraConfig, TaskType, get_peft_model

    config = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=settings.dropout,
        target_modules=settings.target_modules,
    )
    return get_peft_model(model, config)


def fit(
    model: PreTrainedModel, rows: datasets.Dataset, pad_id: int, recipe: Recipe, folder: Path
) -> PreTrainedModel:
    """Return the fitted model; picks up at the last whole checkpoint in `folder`, if there is one.

    Args:
        model: As `starting_model` returns it.
        rows: As `encode_rows` returns them.
        pad_id: Id that fills the padding.
        recipe: Settings.
        folder: For checkpoints to resume from.
    """
    settings = recipe.fit
    fitted: Any = model
    freeze(model, settings)
    if recipe.lora is not None:
        fitted = with_adapters(model, recipe.lora)
    bf16, reason = choose_precision()
    logger.info("precision: %s, because %s", "bfloat16" if bf16 else "float32", reason)
    arguments = TrainingArguments(
        output_dir=str(folder),
        num_train_epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=settings.gradient_accumulation,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        bf16=bf16,
        use_cpu=on_cpu(),
        seed=recipe.seed,
        save_steps=settings.save_steps,
        save_total_limit=2,
        logging_steps=10,
        remove_unused_columns=False,
        report_to="none",
        disable_tqdm=True,  # our own bar, with tokens a second, takes its place
        include_num_input_tokens_seen="non_padding",
        dataloader_pin_memory=torch.cuda.is_available(),
    )
    trainer = _LengthGroupedTrainer(
        model=fitted,
        args=arguments,
        train_dataset=rows,
        lengths=list(rows["length"]),
        data_collator=_Collator(pad_id, settings.length_multiple, takes_token_types(model)),
        compute_loss_func=MaskedLoss(
            recipe.resolved_dimensions(),
            settings.targets,
            settings.label_smoothing,
            settings.consistency,
        ),
        callbacks=[_Progress()],
    )
    with processes().main_process_first():  # what was cut short is removed by one process
        last = last_whole_checkpoint(folder)
    if last is not None:
        logger.info("resuming from %s", last)
    trainer.train(resume_from_checkpoint=last)
    # peft puts its layers inside `model`, which is whole and stock again once they are merged.
    return cast(PreTrainedModel, fitted.merge_and_unload()) if recipe.lora is not None else model


def freeze(model: PreTrainedModel, settings: FitSettings) -> None:
    """Take the embeddings and the lowest layers out of the fit, as the settings say.

    Raises:
        RecipeError: If the encoder has fewer layers than are to be frozen.
    """
    if settings.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    if not settings.freeze_layers:
        return
    base = model.base_model
    stacks = [module for module in base.modules() if isinstance(module, torch.nn.ModuleList)]
    layers: Any = next(
        (stack for stack in stacks if len(stack) == model.config.num_hidden_layers), []
    )
    if settings.freeze_layers > len(layers):
        raise RecipeError(
            f"fit.freeze_layers: {settings.freeze_layers} is above {len(layers)}, the layers of "
            "the encoder"
        )
    if hasattr(base, "embeddings"):  # positions and norm, or gradients run all the way down
        base.embeddings.requires_grad_(False)
    for layer in layers[: settings.freeze_layers]:
        layer.requires_grad_(False)


def takes_token_types(model: PreTrainedModel) -> bool:
    """Return whether the model has inputs that tell prompt from response."""
    return "token_type_ids" in inspect.signature(model.forward).parameters


def last_whole_checkpoint(folder: Path) -> str | None:
    """Return the newest checkpoint that was written to its end; a killed run may leave a part."""
    while folder.is_dir() and (last := get_last_checkpoint(str(folder))) is not None:
        # The Trainer writes its state last; a file cut short is no valid JSON.
        try:
            TrainerState.load_from_json(str(Path(last) / TRAINER_STATE_NAME))
        except (OSError, ValueError, TypeError):
            logger.warning("%s was cut short; removing it", last)
            shutil.rmtree(last)
        else:
            return str(last)
    return None


class _LengthGroupedTrainer(Trainer):
    def __init__(self, *, lengths: list[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        rows_a_step = self.args.train_batch_size * self.args.gradient_accumulation_steps
        self._sampler = _LengthGroupedSampler(
            lengths, rows_a_step * self.args.world_size, self.args.seed
        )
        self.add_callback(_EpochOrder(self._sampler))
        self.remove_callback(PrinterCallback)  # its lines would break up the bar

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        return self._sampler


class _LengthGroupedSampler(Sampler[int]):
    """Batches of like length, in an order that depends on seed and epoch alone.

    The Trainer's own draws from the global generator, so a resumed run would see another order.
    And it hands batches out from the longest to the shortest, fifty at a time: where length goes
    with the source, the model then learns the sources one after the other and forgets each (tried:
    the loss stayed at chance). So the order of the batches is drawn too.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self._lengths = torch.tensor(lengths)
        self._batch_size, self._seed, self._epoch = batch_size, seed, 0

    def set_epoch(self, epoch: int) -> None:
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed * 1_000_003 + self._epoch)
        order = torch.randperm(len(self._lengths), generator=generator)
        batches: list[torch.Tensor] = []
        for group in order.split(_BATCHES_SORTED_TOGETHER * self._batch_size):
            by_length = group[self._lengths[group].argsort(stable=True)]
            batches.extend(by_length.split(self._batch_size))
        # A batch that is not full stays last: the loader cuts the stream into batches anew.
        full = [batch for batch in batches if len(batch) == self._batch_size]
        rest = [batch for batch in batches if len(batch) < self._batch_size]
        for i in torch.randperm(len(full), generator=generator).tolist():
            yield from full[i].tolist()
        for batch in rest:
            yield from batch.tolist()


class _EpochOrder(TrainerCallback):
    """Tells the sampler the epoch; under several processes accelerate's wrappers hide it."""

    def __init__(self, sampler: _LengthGroupedSampler) -> None:
        self._sampler = sampler

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._sampler.set_epoch(int(state.epoch))


class _Collator:
    def __init__(self, pad_id: int, multiple: int, token_types: bool) -> None:
        self._pad_id, self._multiple, self._token_types = pad_id, multiple, token_types

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        encoded = [
            Encoded(np.array(row[ids]), np.array(row[types]), truncated=False)
            for ids, types in (("input_ids", "token_type_ids"), ("partner_ids", "partner_types"))
            for row in rows
            if row[ids]
        ]
        ids, mask, types = pad(encoded, self._pad_id, self._multiple)
        batch = {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy(mask),
            "labels": with_partners(
                torch.tensor([row["labels"] for row in rows], dtype=torch.float32),
                [i for i, row in enumerate(rows) if row["partner_ids"]],
            ),
        }
        if self._token_types:
            batch["token_type_ids"] = torch.from_numpy(types)
        return batch


class _Progress(ProgressCallback):
    """The Trainer's bar, with loss and tokens a second beside it instead of log lines between."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        super().on_train_begin(args, state, control, **kwargs)  # type: ignore[no-untyped-call]
        self._start, self._tokens = time.monotonic(), state.num_input_tokens_seen

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        bar: Any = self.training_bar  # None in all processes but the first
        if bar is None or "loss" not in (logs or {}):
            return
        seconds = time.monotonic() - self._start
        rate = (state.num_input_tokens_seen - self._tokens) / seconds
        bar.set_postfix(
            {
                "epoch": f"{state.epoch:.2f}",
                "loss": f"{logs['loss']:.4f}",
                "tokens/s": f"{rate:.0f}",
            }
        )
