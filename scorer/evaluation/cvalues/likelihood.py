"""Choices by likelihood: which option a local causal language model finds more probable.

Nothing is generated, so nothing has to be parsed.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from scorer.data.schema import shown
from scorer.errors import CheckpointError, MissingExtraError, RowError, ScorerError
from scorer.evaluation.cvalues.choices import FIRST, SECOND
from scorer.inference.engines import torch_device

if TYPE_CHECKING:
    import torch

Compare = Literal["labels", "texts"]

_LABELS = (FIRST, SECOND)


@dataclass(frozen=True)
class _Option:
    """Tokens of one option after its context; `item` and `option` say whose."""

    item: int
    option: int
    context: list[int]
    continuation: list[int]


class LikelihoodChooser:
    """A local causal model that chooses by the probability of the options.

    Args:
        model: A transformers causal language model.
        tokenizer: Its tokenizer; its chat template is used where it has one.
        compare: `labels` compares 回复1 with 回复2 after the item's prompt; `texts` compares the two
            replies themselves after the bare question, so needs items that record `options`.
        normalise: Mean instead of the sum of a continuation's log-probabilities, so that a longer
            option is not less probable for its length alone. Labels differ little in length.
        batch_size: Options in one forward pass.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        compare: Compare = "labels",
        normalise: bool = False,
        batch_size: int = 8,
    ) -> None:
        self._model = model.eval()
        self._tokenizer = tokenizer
        self._compare = compare
        self._normalise = normalise
        self._batch_size = batch_size
        self._takes = inspect.signature(model.forward).parameters

    @classmethod
    def load(
        cls,
        path_or_hub_id: str,
        device: str = "auto",
        compare: Compare = "labels",
        normalise: bool = False,
        batch_size: int = 8,
    ) -> LikelihoodChooser:
        """Return a chooser of a model folder or hub id; weights keep their own precision.

        Raises:
            CheckpointError: If there is no such model.
            ScorerError: If the device is not there.
            ValueError: If the name of the device is unknown.
            MissingExtraError: If transformers or torch is not installed.
        """
        try:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer
        except ImportError as error:
            raise MissingExtraError("Choosing by likelihood", "gpu", str(error.name)) from error
        place = torch_device(device)
        try:
            tokenizer = AutoTokenizer.from_pretrained(path_or_hub_id)
            model = AutoModelForCausalLM.from_pretrained(path_or_hub_id, dtype="auto")
            model.to(torch.device(place))  # type: ignore[arg-type] # a decorated method's stub
        except (OSError, ValueError, RuntimeError) as error:
            reason = str(error).strip().partition("\n")[0]
            raise CheckpointError(f"{path_or_hub_id}: cannot be loaded: {reason}") from error
        return cls(model, tokenizer, compare, normalise, batch_size)

    def choose(
        self,
        items: Sequence[Mapping[str, Any]],
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> list[dict[str, Any]]:
        """Return the items with `response` (回复1 or 回复2) and `log_probabilities` of both.

        Options that are exactly as probable as one another are `Other`, written `两个回复一样好`.

        Args:
            items: Rows of `build_items`.
            on_progress: Called with the number of options done.

        Raises:
            RowError: If an item lacks its prompt or options, or is longer than the model's window.
            ScorerError: If the model gives no probability (NaN), as broken weights do.
        """
        options = [option for i, row in enumerate(items) for option in self._options(i, row)]
        # Options of one length lie together, so that little is padding.
        order = sorted(range(len(options)), key=lambda i: -_length(options[i]))
        values = [[0.0, 0.0] for _ in items]
        for start in range(0, len(order), self._batch_size):
            batch = [options[i] for i in order[start : start + self._batch_size]]
            for option, value in zip(batch, self._log_probabilities(batch), strict=True):
                if math.isnan(value):
                    raise ScorerError(
                        f"items:{option.item + 1}: the model's log-probability of "
                        f"{_LABELS[option.option]} is NaN; are its weights whole, and is its "
                        "precision wide enough?"
                    )
                values[option.item][option.option] = value
            on_progress(start + len(batch))
        return [
            {
                **item,
                "response": "两个回复一样好" if first == second else _LABELS[second > first],
                "error": None,
                "log_probabilities": {FIRST: first, SECOND: second},
            }
            for item, (first, second) in zip(items, values, strict=True)
        ]

    def _options(self, number: int, row: Mapping[str, Any]) -> Iterator[_Option]:
        asked, texts = row.get("prompt"), list(_LABELS)
        if self._compare == "texts":
            asked, given = row.get("question"), row.get("options")
            if not isinstance(given, dict) or set(given) != set(_LABELS):
                raise RowError(
                    f"needed to compare texts; {shown(given)} has no 回复1 and 回复2",
                    path="items", line=number + 1, field="options",
                )  # fmt: skip
            texts = [given[label] for label in _LABELS]
        if not isinstance(asked, str):
            field = "question" if self._compare == "texts" else "prompt"
            raise RowError(
                f"must be a text, not {shown(asked)}", path="items", line=number + 1, field=field
            )
        context = self._context(asked)
        if not context:
            raise RowError("has no tokens", path="items", line=number + 1, field="prompt")
        window = getattr(self._model.config, "max_position_embeddings", None)
        for which, text in enumerate(texts):
            continuation = self._tokenizer(text, add_special_tokens=False)["input_ids"]
            length = len(context) + len(continuation)
            if not continuation:
                raise RowError("an option has no tokens", path="items", line=number + 1)
            if window is not None and length > window:
                raise RowError(
                    f"{length} tokens; the model reads {window}", path="items", line=number + 1
                )
            yield _Option(number, which, context, continuation)

    def _context(self, asked: str) -> list[int]:
        """Return the tokens before the option."""
        if getattr(self._tokenizer, "chat_template", None):
            text = self._tokenizer.apply_chat_template(
                [{"role": "user", "content": asked}], tokenize=False, add_generation_prompt=True
            )
            # the template writes the special tokens itself
            return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])
        ids = list(self._tokenizer(asked, add_special_tokens=False)["input_ids"])
        begin = self._tokenizer.bos_token_id
        return ids if begin is None else [begin, *ids]

    def _log_probabilities(self, batch: Sequence[_Option]) -> list[float]:
        import torch

        longest = max(map(_length, batch))
        kept = max(len(option.continuation) for option in batch) + 1
        # Padded on the left, the continuations end together and few logits are needed.
        padding = [longest - _length(option) for option in batch]
        ids = torch.tensor(
            [[0] * n + o.context + o.continuation for n, o in zip(padding, batch, strict=True)]
        )
        mask = torch.tensor([[0] * n + [1] * (longest - n) for n in padding])
        device = self._model.device
        inputs: dict[str, Any] = {
            "input_ids": ids.to(device),
            "attention_mask": mask.to(device),
        }
        if "position_ids" in self._takes:
            inputs["position_ids"] = (mask.cumsum(1) - 1).clamp(min=0).to(device)
        if "logits_to_keep" in self._takes:
            # the logits of all positions of a large vocabulary take gigabytes
            inputs["logits_to_keep"] = kept
        with torch.inference_mode():
            logits: torch.Tensor = self._model(**inputs).logits[:, -kept:].float()
        log_probs = logits.log_softmax(-1).cpu()
        return [self._total(log_probs[row], option) for row, option in enumerate(batch)]

    def _total(self, log_probs: torch.Tensor, option: _Option) -> float:
        """Return the log-probability of a continuation that ends where `log_probs` ends."""
        import torch

        count = len(option.continuation)
        # the logits at one position are of the next token
        of_tokens = log_probs[-count - 1 : -1].gather(1, torch.tensor(option.continuation)[:, None])
        return float(of_tokens.mean() if self._normalise else of_tokens.sum())


def _length(option: _Option) -> int:
    return len(option.context) + len(option.continuation)
