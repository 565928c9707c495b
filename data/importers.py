"""One reader per published data set: its rows as examples, or as prompts where nobody answered.

A reader takes the file or folder that the user has and a `Tally`, which it fills. Ids are
`<source>-<part>-<row>`; where one row gives two answers, `a` and `b` follow in an order that says
nothing about their labels.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from scorer.data.records import Record, Tally, located
from scorer.data.relabelled import SecondLabels
from scorer.data.schema import SPLITS, Example, Prompt
from scorer.data.splits import text_digest
from scorer.dimensions import OVERALL
from scorer.errors import DataError

CIPHERCHAT_MIN_FLUENCY = 4
"""Fluency (1-5) under which CipherChat's answers are broken text."""

FLAMES_DIMENSIONS = {
    "Fairness": "fairness",
    "Safety": "safety",
    "Morality": "morality",
    "Legality": "legality",
    "Data protection": "data_protection",
}
"""Flames' name of a dimension to ours."""

FLAMES_FILES = {"": ("Flames_1k_Chinese.jsonl",)}
CVALUES_FILES = {
    "": (
        "cvalues_responsibility_prompts.jsonl",
        "dataset/cvalues_responsibility_prompts.jsonl",
    )
}

_EMPTY = "the answer is empty"
_BINARY = {"1": 1, "0": 3}  # a published harm flag to our level


def read_flames(path: Path, tally: Tally) -> Iterator[Prompt]:
    """Yield Flames' prompts; `meta` has `dimension` (our name) and `subcomponent`.

    Ids count from 0, as those of the authored answers do.
    """
    for _, file in located(path, FLAMES_FILES):
        for record in tally.records(file):
            yield Prompt(
                prompt=record.text("prompt"),
                id=f"flames-{record.number - 1:04d}",
                source="flames",
                meta={
                    "dimension": record.one_of("dimension", FLAMES_DIMENSIONS),
                    "subcomponent": record.text("subcomponent"),
                },
            )


def read_cvalues(path: Path, tally: Tally) -> Iterator[Prompt]:
    """Yield CValues' responsibility prompts; `meta` has `domain_en` and `domain_zh`."""
    for _, file in located(path, CVALUES_FILES):
        for record in tally.records(file):
            yield Prompt(
                prompt=record.text("prompt"),
                id=f"cvalues-{record.whole('id_'):04d}",
                source="cvalues",
                meta={name: record.text(name) for name in ("domain_en", "domain_zh")},
            )


def read_cipherchat(
    path: Path, tally: Tally, min_fluency: int = CIPHERCHAT_MIN_FLUENCY
) -> Iterator[Example]:
    """Yield CipherChat's Chinese answers of at least `min_fluency`.

    Some have labels of ours on all six dimensions beside the published one, in `meta`.
    """
    ours = SecondLabels("cipherchat")
    for _, file in located(path, {"": ("zh_gpt4_labels.jsonl",)}):
        for record in tally.records(file):
            level = record.one_of("toxic", {"Yes": 1, "No": 3})
            domain = record.text("domain")
            fluency = record.whole("fluency")
            if fluency < min_fluency:
                tally.leave_out(f"fluency under {min_fluency}")
                continue
            response = _ROLE.sub("", record.text("response"))
            if not response.strip():
                tally.leave_out(_EMPTY)
                continue
            details = ("model", "cipher", "demo")
            example = Example(
                prompt=record.text("prompt"),
                response=response,
                labels={_CIPHERCHAT_DIMENSIONS.get(domain, OVERALL): level},
                id=f"cipherchat-{record.number}",
                source="cipherchat",
                meta={"domain": domain, "fluency": fluency}
                | {name: record.text(name) for name in details},
            )
            yield replace(example, meta={**example.meta, **ours.of(example)})


# What is left of the chat template in front of an answer; it would give the cipher away.
_ROLE = re.compile(r"\A\s*助手(?:：|:|<\|im_sep\|>)\s*")

_CIPHERCHAT_DIMENSIONS = {
    "unfairness-and-discrimination": "fairness",
    "mental-health": "safety",
    "physical-harm": "safety",
    "ethics-and-morality": "morality",
    "crimes-and-illegal-activities": "legality",
    "privacy-and-property": "data_protection",
}


def read_cmoraleval(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield the moral and the immoral choice of each of CMoralEval's scenarios."""
    for part, file in located(path, _CMORALEVAL_FILES):
        for record in tally.records(file):
            choices = _choices(record)
            right, wrong = (
                record.one_of(name, choices) for name in ("correct_answer", "wrong_answer")
            )
            if right == wrong:
                tally.leave_out("the right and the wrong choice are the same")
                continue
            if not right or not wrong:
                tally.leave_out(_EMPTY)
                continue
            example = Example(
                prompt=_INSTRUCTION.sub("", record.text("question")).strip(),
                response="",
                id=f"cmoraleval-{part}-{record.number}",
                source="cmoraleval",
                meta={"category": record.get("category")},
            )
            yield from _pair(example, {right: {"morality": 3}, wrong: {"morality": 1}})


_CMORALEVAL_FILES = {
    part: (
        f"{part}.jsonl",
        f"data/test_data/cmoraleval_{part}_party_moral_test_data",
        f"cmoraleval_{part}_party_moral_test_data",
    )
    for part in ("c1", "c2", "d1", "d2")
}
_INSTRUCTION = re.compile(r"\A请根据以下场景，[^\n]*选项。\n")


def _choices(record: Record) -> dict[str, str]:
    """Return letter to text of a record's choices, which read `A.text`."""
    choices = record.get("choices")
    result = {}
    for choice in choices if isinstance(choices, list) else [choices]:
        match = re.match(r"([A-Z])[.．、](.*)\Z", str(choice), re.DOTALL)
        if not isinstance(choice, str) or match is None:
            raise record.error("each choice must be a text such as 'A.…'", "choices")
        result[match[1]] = match[2].strip()
    return result


def read_cold(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield COLD's comments, with an empty prompt and the published split."""
    parts = {split: (f"{split}.csv", f"COLDataset/{split}.csv") for split in SPLITS}
    for part, file in located(path, parts):
        for record in tally.records(file):
            text = record.text("TEXT")
            if not text.strip():
                tally.leave_out(_EMPTY)
                continue
            meta: dict[str, object] = {"topic": record.text("topic")}
            if "fine-grained-label" in record.values:
                meta["fine_grained_label"] = record.whole("fine-grained-label")
            yield Example(
                prompt="",
                response=text,
                labels={"fairness": record.one_of("label", _BINARY)},
                id=f"cold-{part}-{record.number}",
                source="cold",
                # The file decides: half of the published dev.csv says `train` in this column.
                split=part if part in SPLITS else record.one_of("split", {s: s for s in SPLITS}),
                meta=meta,
            )


def read_aisafetylab(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield AISafetyLab's Chinese jailbreak answers, all of them harmful."""
    places = ("icl_zh.json", "aisafetylab/attack/attackers/data/icl/data_zh.json", "data_zh.json")
    for _, file in located(path, {"": places}):
        for record in tally.records(file):
            response = record.text("unsafe_response")
            if not response.strip():
                tally.leave_out(_EMPTY)
                continue
            yield Example(
                prompt=record.text("query"),
                response=response,
                labels={OVERALL: 1},
                id=f"aisafetylab-{record.number}",
                source="aisafetylab",
            )


def read_jade(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield JADE's unsafe answers and their safe revisions."""
    for part, file in located(path, _JADE_FILES):
        for record in tally.records(file):
            unsafe, safe = record.text("违规回答"), record.text("安全有用回答")
            if not unsafe.strip() or not safe.strip():
                tally.leave_out(_EMPTY)
                continue
            if unsafe == safe:
                tally.leave_out("the unsafe and the safe answer are the same")
                continue
            example = Example(
                prompt=record.text("问题"),
                response="",
                id=f"jade-{part}-{record.number}",
                source="jade",
                meta={"published_id": record.text("ID")},
            )
            yield from _pair(example, {unsafe: {OVERALL: 1}, safe: {OVERALL: 3}})


_JADE_FILES = {
    part: (
        f"alignment_{part}_zh.jsonl",
        f"jade-db-v3.0/jade_alignment_{part}_zh.csv",
        f"jade_alignment_{part}_zh.csv",
    )
    for part in ("hard", "medium")
}


def read_diasafety(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield DiaSafety's replies to the turn before them, with the published split."""
    parts = {
        split: (f"{split}.json", f"DiaSafety_dataset/{split}.json")
        for split in ("train", "val", "test")
    }
    for part, file in located(path, parts):
        for record in tally.records(file):
            category = record.text("category")
            dimension = record.one_of("category", _DIASAFETY_DIMENSIONS)
            level = record.one_of("label", {"Safe": 3, "Unsafe": 1})
            response = record.text("response")
            if not response.strip():
                tally.leave_out(_EMPTY)
                continue
            yield Example(
                prompt=record.text("context"),
                response=response,
                labels={dimension: level},
                id=f"diasafety-{part}-{record.number}",
                source="diasafety",
                split={"train": "train", "val": "dev", "test": "test"}.get(part, ""),
                meta={"category": category},
            )


_DIASAFETY_DIMENSIONS = {
    "Offending User": "fairness",
    "Toxicity Agreement": "fairness",
    "Biased Opinion": "fairness",
    "Risk Ignorance": "safety",
    "Unauthorized Expertise": "safety",
}


def read_hh_rlhf(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield the last replies of Anthropic's harmless pairs, without labels."""
    places = ("test.jsonl.gz", "harmless-base/test.jsonl.gz")
    for part, file in located(path, {"test": places}):
        for record in tally.records(file):
            chosen, rejected = (_last_exchange(record, name) for name in ("chosen", "rejected"))
            if chosen[:2] != rejected[:2]:
                tally.leave_out("the two dialogues differ before the last reply")
                continue
            if not chosen[2] or not rejected[2]:
                tally.leave_out(_EMPTY)
                continue
            if chosen[2] == rejected[2]:
                tally.leave_out("the two replies are the same")
                continue
            context, prompt, _ = chosen
            example = Example(
                prompt=prompt,
                response="",
                id=f"hh_rlhf-{part}-{record.number}",
                source="hh_rlhf",
                meta={"pair": f"{part}-{record.number}", "context": context},
            )
            for answer in _pair(example, {chosen[2]: {}, rejected[2]: {}}):
                preference = "chosen" if answer.response == chosen[2] else "rejected"
                yield replace(answer, meta={"preference": preference, **answer.meta})


def _last_exchange(record: Record, field: str) -> tuple[str, str, str]:
    """Return (turns before, last human turns, last reply) of a transcript.

    One speaker's turns in a row, which occur, are joined by a line feed.
    """
    parts = re.split(r"\n\n(Human|Assistant):", record.text(field))
    speakers, turns = parts[1::2], [turn.strip() for turn in parts[2::2]]
    if parts[0].strip() or not speakers or speakers[-1] != "Assistant":
        raise record.error("must be turns of Human and Assistant that end with Assistant", field)
    reply = len(speakers) - 1
    while reply and speakers[reply - 1] == "Assistant":
        reply -= 1
    asked = reply
    while asked and speakers[asked - 1] == "Human":
        asked -= 1
    if asked == reply:
        raise record.error("no human turn stands before the last reply", field)
    context = "\n\n".join(
        f"{speaker}: {turn}" for speaker, turn in zip(speakers[:asked], turns[:asked], strict=True)
    )
    return context, "\n".join(turns[asked:reply]), "\n".join(turns[reply:]).strip()


def read_gptfuzz(path: Path, tally: Tally) -> Iterator[Example]:
    """Yield GPTFuzz's labelled answers with the question that `question` points to."""
    parts = {
        part: (f"{part}.csv", f"datasets/responses_labeled/{part}.csv")
        for part in ("train", "evaluate")
    }
    files = located(path, parts)
    questions = _gptfuzz_questions(files[0][1], tally)
    for part, file in files:
        for record in tally.records(file):
            level = record.one_of("label", _BINARY)
            response = record.text("Response")
            if not response.strip():
                tally.leave_out(_EMPTY)
                continue
            yield Example(
                prompt=record.one_of("question", questions),
                response=response,
                labels={OVERALL: level},
                id=f"gptfuzz-{part}-{record.number}",
                source="gptfuzz",
                meta={"file": part, "question": record.whole("question")},
            )


def _gptfuzz_questions(beside: Path, tally: Tally) -> dict[str, str]:
    """Return index to text of `question_list.csv`, which lies near the answers."""
    places = [
        beside.parent / "question_list.csv",
        beside.parent.parent / "questions" / "question_list.csv",
    ]
    for place in places:
        if place.is_file():
            counting = Tally()  # questions are no rows of the set, so they are not counted as read
            tally.files.append(place)
            return {
                str(record.whole("index")): record.text("text")
                for record in counting.records(place)
            }
    raise DataError(
        f"{beside}: the questions are missing: neither {places[0]} nor {places[1]} is there"
    )


def _pair(example: Example, labels_of: Mapping[str, Mapping[str, int]]) -> Iterator[Example]:
    """Yield one example per answer, in the order of the answers' hashes.

    In the published order, an `a` or a `b` in the id would be the label.
    """
    order = sorted(
        labels_of,
        key=text_digest,
    )
    for letter, response in zip("ab", order, strict=True):
        yield replace(
            example,
            response=response,
            labels=labels_of[response],
            id=f"{example.id}-{letter}",
        )
