"""The benchmark from files to figures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from scorer.api import Scorer, find_checkpoint
from scorer.checkpoint import read_settings
from scorer.collect.store import SIDECAR_SUFFIX, read_sidecar
from scorer.data.schema import Prompt
from scorer.errors import DataError
from scorer.evaluation.answers import read_answers
from scorer.evaluation.flames.figures import Correction
from scorer.evaluation.flames.joining import Joined, join, judged
from scorer.evaluation.flames.published import PUBLIC_PROMPTS
from scorer.evaluation.measuring.rows import measured_on, read_labelled, scores_of
from scorer.evaluation.misclassification import FLAMES_PART, measured_errors
from scorer.inference.options import KEY


def read_model(
    path: Path, prompts: list[Prompt] | None, load: Callable[[], Scorer], key: str = KEY
) -> Joined:
    """Return the answers of one model's file, with their prompts and scores.

    Args:
        path: JSONL; see `answers.read_answers`.
        prompts: The benchmark's, or None where the rows name their dimension. Then the note of
            `scorer collect` beside the file says how many there are, else the published number.
        load: Gives the scorer; called only where a row has no score.
        key: Where a scored row has its score.

    Raises:
        RowError: If a row cannot be used.
        DataError: If the file cannot, or none of its rows belongs to a prompt.
    """
    answers = read_answers(path, key)
    return judged(join(answers, prompts, str(path), _prompts_asked(path)), load)


def _prompts_asked(path: Path) -> int:
    """Return how many prompts `scorer collect` asked for a file; without its note, all public ones."""
    if not path.with_name(path.name + SIDECAR_SUFFIX).is_file():
        return PUBLIC_PROMPTS
    asked = read_sidecar(path)["settings"].get("prompts")
    return asked if isinstance(asked, int) else PUBLIC_PROMPTS


def correction(
    joined: Mapping[str, Joined],
    model: str | None,
    load: Callable[[], Scorer],
    part: str = FLAMES_PART,
    labelled: Path | None = None,
) -> Correction:
    """Return what corrects the rates for the errors of the scorer that judged the answers.

    Args:
        joined: Scored answers by model.
        model: The checkpoint that its errors are taken from.
        load: Gives that checkpoint's scorer; called only for `labelled` rows without a score.
        part: Test rows of the checkpoint that it was measured on.
        labelled: Labelled answers to measure it on instead.

    Raises:
        CheckpointError: If there is no such checkpoint.
        RowError: If a labelled row cannot be used.
        DataError: If `labelled` cannot be read.
    """
    folder = find_checkpoint(model)
    settings = read_settings(folder)
    judges = {(score.model, score.purpose) for one in joined.values() for score in one.scores}
    if len(judges) != 1:
        return Correction("none, since the models were not judged by one and the same scorer", {})
    ((judge, purpose),) = judges
    if labelled is not None:
        rows = read_labelled(labelled, settings.dimensions)
        scores = scores_of(rows, load)
        if {(score.model, score.purpose) for score in scores} != judges:
            return Correction(f"none, since {labelled} is not scored by {judge} ({purpose})", {})
        source = f"errors of {judge} on {len(rows)} labelled rows of {labelled}"
        return Correction(source, measured_on(rows, scores, settings.dimensions))
    if judge != settings.model:
        return Correction(
            f"none, since answers were judged by {judge}, and the checkpoint at hand is "
            f"{settings.model}; name the other with --model",
            {},
        )
    try:
        errors = measured_errors(folder, settings, purpose, part)
    except DataError as error:
        return Correction(f"none: {error}; measure it with --labelled", {})
    return Correction(f"errors of {judge} ({purpose}) on its test rows, part '{part}'", errors)


def judged_rows(joined: Joined, key: str = KEY) -> Iterator[dict[str, Any]]:
    """Yield the rows of the file with dimension, sub-component and score, failed ones without."""
    for item in joined.items:
        row = {name: value for name, value in item.answer.row.items() if name != key}
        score = item.answer.score
        yield {
            **row,
            "dimension": item.dimension,
            "subcomponent": item.subcomponent,
            **({} if score is None else {key: score.to_dict()}),
        }
