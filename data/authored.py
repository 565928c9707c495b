"""The annotated sets that come with the package, and the join of two of them with their prompts.

`native.jsonl` is whole. The other two are answers and labels to other people's public prompts:
they name a prompt by its position in the published file and its SHA-256, and whoever has that
file gets whole rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from scorer.data.importers import CVALUES_FILES, FLAMES_FILES, read_cvalues, read_flames
from scorer.data.jsonl import read_examples
from scorer.data.records import Tally, located, read_records
from scorer.data.schema import Example, Prompt, parse_example
from scorer.data.sources import BUNDLED, SOURCES
from scorer.data.splits import text_digest
from scorer.errors import DataError

NATIVE_FILE = BUNDLED / "native.jsonl"
"""Our own prompts and answers, labelled on all six dimensions, with their splits."""


@dataclass(frozen=True)
class Answer:
    """A bundled answer whose prompt is named, not given.

    Attributes:
        example: The row with an empty prompt.
        position: Of the prompt: Flames' row counted from 0, CValues' `id_`.
        prompt_sha256: Of the prompt's UTF-8, in hex.
        line: 1-based line in the bundled file.
    """

    example: Example
    position: int
    prompt_sha256: str
    line: int


def read_native(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield the native set from the file at `path`."""
    tally.files.append(path)
    for example in read_examples(path):
        tally.read += 1
        yield example


def read_answers(name: str) -> Iterator[Answer]:
    """Yield the answers of `authored-flames` or `authored-cvalues`, without their prompts."""
    file = BUNDLED / f"{name}.jsonl"
    for record in read_records(file):
        values = {
            key: value
            for key, value in record.values.items()
            if key not in ("position", "prompt_sha256")
        }
        yield Answer(
            example=parse_example({"prompt": "", **values}, path=str(file), line=record.line),
            position=record.whole("position"),
            prompt_sha256=record.text("prompt_sha256"),
            line=record.number,
        )


def read_authored_flames(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield our answers to Flames' prompts, joined with the user's copy of those."""
    file = located(path, FLAMES_FILES)[0][1]
    return _join("authored-flames", file, read_flames(file, Tally()), tally)


def read_authored_cvalues(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield our answers to CValues' responsibility prompts, joined with the user's copy."""
    file = located(path, CVALUES_FILES)[0][1]
    return _join("authored-cvalues", file, read_cvalues(file, Tally()), tally)


def _join(name: str, file: Path, prompts: Iterator[Prompt], tally: Tally) -> Iterator[Example]:
    tally.files += [BUNDLED / f"{name}.jsonl", file]
    by_position = {int(prompt.id.rsplit("-", 1)[1]): prompt.prompt for prompt in prompts}
    for answer in read_answers(name):
        tally.read += 1
        prompt = by_position.get(answer.position)
        if prompt is None or text_digest(prompt).hex() != answer.prompt_sha256:
            problem = "lacks the prompt" if prompt is None else "has another prompt at the place"
            raise DataError(
                f"{file}: {problem} {answer.position} that row {answer.example.id} answers "
                f"(SHA-256 {answer.prompt_sha256[:12]}…); take the published file unchanged: "
                f"{SOURCES[name].how_to_get}; {SOURCES[name].repository}"
            )
        yield replace(answer.example, prompt=prompt)
