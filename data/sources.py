"""The data sets that can be imported: licence, where to get them, what their labels become."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from scorer.dimensions import nearest

_LANGUAGE_MODEL = (
    "a large language model that wrote and judged under bundled/ANNOTATION.md, not people"
)


BUNDLED = Path(__file__).parent / "bundled"
"""Folder of the bundled sets, their data card and the annotation guideline."""


@dataclass(frozen=True)
class Source:
    """One data set.

    Attributes:
        name: What `scorer data import` calls it, and the `source` of its rows.
        title: Name and content in one line.
        licence: SPDX identifier of the data's licence.
        repository: Where it is published.
        how_to_get: What to download, and what PATH is.
        label_mapping: What its labels become here.
        labelled_by: Who gave the labels.
    """

    name: str
    title: str
    licence: str
    repository: str
    how_to_get: str
    label_mapping: str
    labelled_by: str


_ALL = (
    Source(
        name="native",
        title="Own Chinese prompts and answers, labelled on all six dimensions",
        licence="Apache-2.0",
        repository="part of this package",
        how_to_get="nothing to get: without PATH the bundled file is read",
        label_mapping="levels as they are; split by prompt hash",
        labelled_by=_LANGUAGE_MODEL,
    ),
    Source(
        name="authored-flames",
        title="Own answers to Flames' 1,000 public prompts",
        licence="Apache-2.0",
        repository="answers: part of this package; prompts: https://github.com/AIFlames/Flames",
        how_to_get="git clone the repository (made with commit 234bcb7); "
        "PATH is Flames_1k_Chinese.jsonl or its folder",
        label_mapping="the level on the prompt's own dimension; the other dimensions are unknown. "
        "Level 2 of Non-anthropomorphism is noisy",
        labelled_by=_LANGUAGE_MODEL,
    ),
    Source(
        name="authored-cvalues",
        title="Own answers to 388 of CValues' public responsibility prompts",
        licence="Apache-2.0",
        repository="answers: part of this package; prompts: https://github.com/X-PLUG/CValues",
        how_to_get="git clone the repository (made with commit 3018d38); "
        "PATH is dataset/cvalues_responsibility_prompts.jsonl or the clone",
        label_mapping="responsibility 1, 2, 3; the other dimensions are unknown",
        labelled_by=_LANGUAGE_MODEL,
    ),
    Source(
        name="flames",
        title="Flames' 1,000 public prompts (a benchmark; no answers)",
        licence="Apache-2.0",
        repository="https://github.com/AIFlames/Flames",
        how_to_get="git clone the repository; PATH is Flames_1k_Chinese.jsonl or its folder",
        label_mapping="no labels; the prompt's dimension and sub-component go into meta",
        labelled_by="nobody: prompts only",
    ),
    Source(
        name="cvalues",
        title="CValues' 664 public responsibility prompts (a benchmark; no answers)",
        licence="Apache-2.0",
        repository="https://github.com/X-PLUG/CValues",
        how_to_get="git clone the repository; "
        "PATH is dataset/cvalues_responsibility_prompts.jsonl or the clone",
        label_mapping="no labels; the domain goes into meta",
        labelled_by="nobody: prompts only",
    ),
    Source(
        name="cipherchat",
        title="Chinese prompts with answers of GPT-3.5, GPT-4 and Claude 2, partly by cipher",
        licence="MIT",
        repository="https://github.com/RobustNLP/CipherChat",
        how_to_get="collect the Chinese rows of experimental_results/**/*.list (pickles: open them "
        "only in a sandbox) as JSONL with prompt, response, toxic, fluency, domain, model, cipher "
        "and demo; PATH is that file (zh_gpt4_labels.jsonl) or its folder",
        label_mapping="toxic Yes → 1, No → 3, on the dimension of the domain "
        "(unfairness-and-discrimination → fairness; mental-health, physical-harm → safety; "
        "ethics-and-morality → morality; crimes-and-illegal-activities → legality; "
        "privacy-and-property → data_protection; others → overall). A leading 助手： is removed. "
        "Rows with fluency under 4 are left out unless asked for",
        labelled_by="GPT-4, with one question per domain",
    ),
    Source(
        name="cmoraleval",
        title="Scenarios with a moral and an immoral choice (actions, not chat answers)",
        licence="MIT",
        repository="https://github.com/tjunlp-lab/CMoralEval",
        how_to_get="git clone the repository; PATH is a cmoraleval_*_party_moral_test_data file of "
        "data/test_data (or c1.jsonl, c2.jsonl, d1.jsonl, d2.jsonl), or the folder",
        label_mapping="the moral choice → morality 3, the immoral one → morality 1, the third is "
        "not used; the prompt is the scenario without the instruction line",
        labelled_by="annotated with AI assistance",
    ),
    Source(
        name="cold",
        title="COLD: Chinese comments, offensive or not (no prompts)",
        licence="Apache-2.0",
        repository="https://github.com/thu-coai/COLDataset",
        how_to_get="git clone the repository; PATH is a CSV file of COLDataset or the clone",
        label_mapping="label 1 (offensive) → fairness 1, 0 → fairness 3; the published files are "
        "the splits (half of dev.csv says 'train' in its split column, but dev.csv is dev)",
        labelled_by="people",
    ),
    Source(
        name="aisafetylab",
        title="Chinese jailbreak answers of AISafetyLab's in-context attack",
        licence="MIT",
        repository="https://github.com/thu-coai/AISafetyLab",
        how_to_get="git clone the repository; PATH is "
        "aisafetylab/attack/attackers/data/icl/data_zh.json (or icl_zh.json), or the clone",
        label_mapping="every answer → overall 1; the attack's own prompt (jb_prompt) is not kept",
        labelled_by="unsafe by construction; some answers are hedged",
    ),
    Source(
        name="jade",
        title="JADE-DB v3: a model's unsafe answer and its safe, useful revision",
        licence="MIT",
        repository="https://github.com/whitzard-ai/jade-db",
        how_to_get="git clone the repository; PATH is jade-db-v3.0/jade_alignment_hard_zh.csv, "
        "jade_alignment_medium_zh.csv, the same as JSONL (alignment_hard_zh.jsonl), or the clone",
        label_mapping="违规回答 → overall 1, 安全有用回答 → overall 3",
        labelled_by="the authors; a model's answer and its revision",
    ),
    Source(
        name="diasafety",
        title="DiaSafety: English dialogue turns with context-dependent harm",
        licence="Apache-2.0",
        repository="https://github.com/thu-coai/DiaSafety",
        how_to_get="git clone the repository; PATH is a JSON file of DiaSafety_dataset or the clone",
        label_mapping="Safe → 3, Unsafe → 1; Offending User, Toxicity Agreement, Biased Opinion → "
        "fairness; Risk Ignorance, Unauthorized Expertise → safety; val is dev",
        labelled_by="people",
    ),
    Source(
        name="hh_rlhf",
        title="Anthropic's harmless preference pairs (English)",
        licence="MIT",
        repository="https://github.com/anthropics/hh-rlhf",
        how_to_get="git clone the repository; PATH is a .jsonl.gz file of harmless-base, or the "
        "clone (its harmless-base/test.jsonl.gz)",
        label_mapping="a preference is no level, so there are no labels: meta.preference says "
        "chosen or rejected, meta.pair which two belong together, meta.context the turns before",
        labelled_by="people (preference)",
    ),
    Source(
        name="gptfuzz",
        title="GPTFuzz: English jailbreak answers, compliance against refusal",
        licence="MIT",
        repository="https://github.com/sherdencooper/GPTFuzz",
        how_to_get="git clone the repository; PATH is a CSV file of datasets/responses_labeled with "
        "question_list.csv (of datasets/questions) in reach, or the clone",
        label_mapping="label 1 (compliance) → overall 1, 0 → overall 3; split by prompt hash",
        labelled_by="people; the authors admit errors",
    ),
)

SOURCES: dict[str, Source] = {source.name: source for source in _ALL}
"""Name to source, in the order in which they are listed."""


def source_named(name: str) -> Source:
    """Return the source called `name`.

    Raises:
        ValueError: If there is none.
    """
    if name not in SOURCES:
        raise ValueError(
            f"unknown data set {name!r}; expected one of {', '.join(SOURCES)}"
            f"{nearest(name, SOURCES)}"
        )
    return SOURCES[name]
