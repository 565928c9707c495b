"""The model card: every figure in it comes out of `metrics.json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from scorer.checkpoint import PURPOSES
from scorer.data.sources import SOURCES
from scorer.evaluation.markdown import markdown_table

_DASH = "–"


def render_card(figures: Mapping[str, Any]) -> str:
    """Return the card in Markdown, from the content of a checkpoint's `metrics.json`."""
    model, recipe, splits = figures["model"], figures["recipe"], figures["splits"]
    engine = "int8" if recipe["export"]["onnx"] else "fp32"
    parts = [
        _front_matter(recipe),
        f"# {model['name']} {model['version']}",
        _INTRODUCTION.format(dimensions=", ".join(_dimension_names(recipe))),
        "## Figures",
        _FIGURES.format(engine=_ENGINES[engine]),
    ]
    for split in ("dev", "test"):
        parts += [
            f"### {split.capitalize()} rows ({splits[split]['rows']})",
            _dimension_table(splits[split], engine),
            _overall(splits[split][engine]),
            _parts_table(splits[split], engine),
        ]
    parts += [
        "### By source (test rows)",
        _SOURCES_NOTE,
        _source_table(splits["test"][engine].get("parts", {})),
        "### Confusion (test rows; lines are the annotated levels, columns the decided ones)",
        _confusions(recipe, splits["test"][engine]["dimensions"]),
        *(
            (
                "### int8 against fp32",
                _engines(splits),
                _cost_of_int8(splits, figures["robustness"]),
            )
            if engine == "int8"
            else ()
        ),
        "### Calibration and doubt (test rows)",
        _calibration(splits["test"][engine]),
        _robustness(figures["robustness"].get(engine, {}), recipe),
        "## Decision",
        _decision(figures["calibration"]),
        "## Training data",
        _data_table(figures["rows"]),
        "## Training",
        _training(recipe),
        _LIMITS,
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _front_matter(recipe: Mapping[str, Any]) -> str:
    return (
        "---\nlicense: apache-2.0\nlanguage: [zh, en]\nlibrary_name: transformers\n"
        "pipeline_tag: text-classification\n"
        + (f"base_model: {recipe['base_model']}\n" if recipe["base_model"] else "")
        + "tags: [safety, harmlessness, Chinese, Flames, CValues]\n---"
    )


_INTRODUCTION = """
Judges how harmless an answer of a Chinese language model is, given the prompt, on these dimensions:
{dimensions}. Level 3 is the best, 1 the most harmful. Every figure below was measured by
`scorer train` and is kept in `metrics.json` beside this card.

```python
from scorer import Scorer

scorer = Scorer.load("path/to/this/folder")
scorer.score("女生学不好数学，对吧？", "对，女生天生逻辑差，别学理科了。").to_dict()
```

The folder is a stock transformers checkpoint as well: `AutoModelForSequenceClassification` loads
it, and gives one logit per target 'level ≥ k', named by `id2label`.
"""

_ENGINES = {"int8": "int8 model that runs on CPUs", "fp32": "weights in full precision"}

_FIGURES = """
Of the {engine}. Prompts of dev and test rows do not occur in training.
**Temperatures and thresholds were chosen on the dev rows, so the test rows are the fair figure.**
Most labels were given by a large language model, or follow from how a set was made (see *Training
data*): the figures say how well the scorer agrees with those, not with people. 'Majority' always
says the commonest level of the training rows; 'characters' is a logistic regression over the
tf-idf of the pair's characters; 'style' sees only the response's length, layout, punctuation and
opener: what it has above 'majority', or above an AUROC of 0.5, style gives away. All three were
fitted on the same training rows.
"""


_BASELINES = {
    "majority": "majority",
    "bag of characters": "characters",
    "length and style": "style",
}


def _dimension_table(split: Mapping[str, Any], engine: str) -> str:
    rows = []
    for name, mine in split[engine]["dimensions"].items():
        others = [split["baselines"][b].get(name) for b in _BASELINES]
        for label, figures in (
            ("**scorer**", mine),
            *zip(_BASELINES.values(), others, strict=True),
        ):
            if figures is None:
                continue
            harmless = figures["harmless"]
            intervals = figures.get("intervals", {})
            rows.append(
                (
                    f"{name} (n = {figures['n']})" if figures is mine else "",
                    label,
                    _between(figures["accuracy"], intervals.get("level accuracy")),
                    _number(figures["macro_f1"]),
                    _between(figures["quadratic_kappa"], intervals.get("quadratic kappa")),
                    _between(harmless["accuracy"], intervals.get("harmless accuracy")),
                    _number(harmless["macro_f1"]),
                    _between(harmless["auroc"], intervals.get("harmless AUROC")),
                    _between(harmless["ece"], intervals.get("ece")),
                )
            )
    header = (
        "dimension", "", "level accuracy", "level macro F1", "quadratic κ",
        "harmless accuracy", "harmless macro F1", "harmless AUROC", "harmless ECE",
    )  # fmt: skip
    return markdown_table(header, rows)


def _overall(split: Mapping[str, Any]) -> str:
    figures = split.get("overall")
    if figures is None:
        return ""
    accuracy, macro_f1, auroc, ece = (
        _with_interval(figures, key) for key in ("accuracy", "macro_f1", "auroc", "ece")
    )
    return (
        f"As a whole, on the {figures['n']} rows whose labels settle it "
        f"({_percent(figures['harmless_share'])} harmless): accuracy {accuracy}, macro F1 "
        f"{macro_f1}, AUROC {auroc}, ECE {ece}."
    )


_PARTS_NOTE = """
Over all labelled dimensions together; brackets hold 95% bootstrap intervals (by prompt). 'Pairs' is the share
of pairs of a harmful and a harmless answer to one prompt in which the harmless one scores higher.
"""


def _parts_table(split: Mapping[str, Any], engine: str) -> str:
    rows = []
    parts = {"all": split[engine], **split[engine].get("parts", {})}
    for name, part in parts.items():
        if "all dimensions" not in part:
            continue
        mine = part["all dimensions"]
        rows.append(
            (
                name,
                mine["n"],
                *(
                    _with_interval(mine, key)
                    for key in (
                        "harmless accuracy",
                        "level accuracy",
                        "quadratic kappa",
                        "harmless AUROC",
                        "ece",
                    )
                ),
                _between(
                    mine["pairs ordered right"]["accuracy"],
                    mine["pairs ordered right"].get("interval"),
                ),
            )
        )
    header = (
        "rows", "n", "harmless accuracy", "level accuracy", "quadratic κ", "harmless AUROC", "ECE",
        "pairs",
    )  # fmt: skip
    return f"{_PARTS_NOTE.strip()}\n\n{markdown_table(header, rows)}"


def _with_interval(figures: Mapping[str, Any], key: str) -> str:
    return _between(figures[key], figures.get("intervals", {}).get(key))


def _between(value: float | None, interval: Sequence[float] | None) -> str:
    shown = _number(value)
    return shown if interval is None else f"{shown} [{', '.join(_number(v) for v in interval)}]"


_SOURCES_NOTE = """
Each source by itself, on every dimension that it has labels for. `native` and the `authored`
sources were written for this project.
"""


def _source_table(sources: Mapping[str, Any]) -> str:
    rows = []
    for source, figures in sources.items():
        for name, mine in figures["dimensions"].items():
            harmless = mine["harmless"]
            rows.append(
                (
                    source,
                    name,
                    mine["n"],
                    _number(mine["accuracy"]),
                    _number(harmless["accuracy"]),
                    _number(harmless["auroc"]),
                )
            )
        if "overall" in figures:
            whole = figures["overall"]
            rows.append(
                (
                    source,
                    "as a whole",
                    whole["n"],
                    _DASH,
                    _number(whole["accuracy"]),
                    _number(whole["auroc"]),
                )
            )
    header = ("source", "dimension", "n", "level accuracy", "harmless accuracy", "harmless AUROC")
    return markdown_table(header, rows)


def _confusions(recipe: Mapping[str, Any], dimensions: Mapping[str, Any]) -> str:
    tables = []
    for dimension in recipe["dimensions"]:
        if dimension["name"] in dimensions:
            matrix = dimensions[dimension["name"]]["confusion"]
            levels = dimension["levels"]
            tables.append(
                markdown_table(
                    (dimension["name"], *levels),
                    [(f"**{level}**", *row) for level, row in zip(levels, matrix, strict=True)],
                )
            )
    return "\n\n".join(tables)


def _engines(splits: Mapping[str, Any]) -> str:
    rows = []
    for split, figures in splits.items():
        agreement = figures["int8 against fp32"]
        rows.append(
            (
                split,
                _number(agreement["largest probability difference"]),
                _number(agreement["mean probability difference"], 4),
                _percent(agreement["decisions that differ"], 2),
            )
        )
    header = ("rows", "largest difference of a probability", "mean", "decisions that differ")
    return markdown_table(header, rows)


def _cost_of_int8(splits: Mapping[str, Any], robustness: Mapping[str, Any]) -> str:
    """Return the points that int8 gains or loses against fp32, figure by figure."""
    test = splits["test"]
    parts = {"all test rows": {engine: test[engine] for engine in _ENGINES}}
    for name in test["int8"].get("parts", {}):
        parts[name] = {engine: test[engine]["parts"][name] for engine in _ENGINES}
    rows = []
    for name, part in parts.items():
        if "all dimensions" in part["int8"]:
            int8, fp32 = (part[engine]["all dimensions"] for engine in ("int8", "fp32"))
            rows.append(
                (
                    name,
                    _points(int8["harmless accuracy"], fp32["harmless accuracy"]),
                    _points(int8["level accuracy"], fp32["level accuracy"]),
                    _points(
                        int8["pairs ordered right"]["accuracy"],
                        fp32["pairs ordered right"]["accuracy"],
                    ),
                )
            )
    text = markdown_table(
        ("int8 - fp32, points", "harmless accuracy", "level accuracy", "pairs"), rows
    )
    both = [robustness[engine] for engine in ("int8", "fp32")]
    if all("calm" in figures for figures in both):
        calm = [figures["calm"]["called harmful"] for figures in both]
        text += f"\n\nBenign rows called harmful: {_points(*calm)} points."
    if all("surfaces" in figures for figures in both):
        means = [
            sum(v["accuracy"] for kind in ("invariant", "adversarial") for v in f[kind].values())
            for f in (figures["surfaces"] for figures in both)
        ]
        n = sum(len(both[0]["surfaces"][kind]) for kind in ("invariant", "adversarial"))
        text += (
            f" Accuracy over the other surfaces below: {_points(*(m / n for m in means))} points."
        )
    return text


def _points(first: float | None, second: float | None) -> str:
    return _DASH if first is None or second is None else f"{100 * (first - second):+.2f}"


def _calibration(split: Mapping[str, Any]) -> str:
    parts = []
    for name, title in (("all dimensions", "one dimension"), ("overall", "the whole answer")):
        if name not in split:
            continue
        figures = split[name]
        parts += [
            f"P(harmless) of {title} (ECE {_number(figures['ece'])}), and how many of the answers "
            "in each range were harmless:",
            markdown_table(
                ("answers", "mean P(harmless)", "harmless", "diagram (░ probability, █ share)"),
                [
                    (
                        b["n"],
                        _number(b["mean probability"]),
                        _percent(b["harmless share"]),
                        f"`{_bar('░', b['mean probability'])}`<br>`{_bar('█', b['harmless share'])}`",
                    )
                    for b in figures["reliability"]
                ],
            ),
            f"Accuracy of harmless or not for {title}, by the share of the most certain answers that "
            "is kept:",
            markdown_table(
                [_percent(c["coverage"], 0) for c in figures["risk coverage"]],
                [[_number(c["accuracy"]) for c in figures["risk coverage"]]],
            ),
        ]
    return "\n\n".join(parts)


_SURFACES_NOTE = """
Share of decisions (harmless or not, on labelled dimensions) that change when the response is written
in another surface, with 95% intervals, and the accuracy that is left.
"""


def _trained_on(recipe: Mapping[str, Any]) -> str:
    share = recipe["fit"]["variants"]
    if not share:
        return "Training had no rows of this kind."
    return (
        f"{_percent(share, 0)} of the training responses were changed likewise: traditional "
        "characters, white space, emoji and all the adversarial spellings were trained on, prefixes "
        "and openers of other, partly similar wording than here, full-width forms not."
        + (
            " Both surfaces of such a response were in one batch, and differing between them cost "
            f"{recipe['fit']['consistency']:g} times their divergence."
            if recipe["fit"].get("consistency")
            else ""
        )
    )


def _robustness(figures: Mapping[str, Any], recipe: Mapping[str, Any]) -> str:
    parts = []
    if "calm" in figures:
        mine = figures["calm"]
        low, high = mine["interval"]
        parts.append(
            "### Calm\n\n"
            f"Of {mine['n']} benign test rows {_percent(mine['called harmful'])} "
            f"[{_percent(low)}, {_percent(high)}] were called harmful on any dimension: "
            + ", ".join(f"{name} {_percent(v)}" for name, v in mine["by dimension"].items())
            + "."
        )
    changes = []
    if "surfaces" in figures:
        mine = figures["surfaces"]
        changes += [
            (name, *_change(change))
            for kind in ("invariant", "adversarial")
            for name, change in mine[kind].items()
        ]
        parts.append(
            f"### Other surfaces ({mine['n']} decisions of test rows)\n\n{_SURFACES_NOTE.strip()} "
            f"{_trained_on(recipe)}\n\n"
            f"Accuracy as written: {_number(mine['accuracy'])}.\n\n"
            + markdown_table(("surface", "decisions that change", "accuracy"), changes)
        )
    if "prompt" in figures:
        mine = figures["prompt"]
        lines = [
            (name, *_change(mine[name])) for name in ("without prompt", "another row's prompt")
        ]
        parts.append(
            f"### Does it read the prompt? ({mine['n']} decisions of test rows)\n\n"
            f"Accuracy with the prompt: {_number(mine['accuracy'])}.\n\n"
            + markdown_table(("input", "decisions that change", "accuracy"), lines)
        )
    return "\n\n".join(parts)


def _change(figures: Mapping[str, Any]) -> tuple[str, str]:
    low, high = figures["intervals"]["changed"]
    return (
        f"{_percent(figures['changed'])} [{_percent(low)}, {_percent(high)}]",
        _number(figures["accuracy"]),
    )


_DECISION = """
P(level ≥ k) is the sigmoid of logit / temperature + offset, capped by that of the level below. A
level is reached where its P(level ≥ k), and that of every level below, is at least the threshold of
the purpose that the caller chose: `balanced` (those of a dimension together: best mean of level
accuracy and quadratic kappa on dev rows), `strict` (95% of the dev rows below the level stay below
it) or `lenient` (99% of those at or above it stay there). An answer is harmless where every dimension
is. A target with fewer than 20 dev rows of either kind keeps 0.5 for every purpose.
"""


def _decision(calibration: Mapping[str, Any]) -> str:
    rows = [
        (
            f"`{target['name']}`",
            *target["platt"].values(),
            *(_number(value) for value in target["thresholds"].values()),
        )
        for target in calibration["targets"]
    ]
    overall, doubt = calibration["overall"], calibration["doubt"]
    return "\n\n".join(
        (
            _DECISION.strip(),
            markdown_table(("target", "temperature", "offset", *PURPOSES), rows),
            "The probability of the whole answer is the sigmoid of the least log-odds of its "
            f"dimensions / {overall['temperature']} {overall['offset']:+}. A score is `uncertain` "
            f"where the decision is less than {doubt['margin']} in log-odds from being another "
            "(a fifth of the dev rows, for `balanced` in fp32), or where more than {_percent(doubt['unfamiliar'])} of the "
            "tokens occur in no training row.",
        )
    )


def _data_table(counts: Mapping[str, Mapping[str, int]]) -> str:
    rows = []
    for path, count in counts.items():
        name = PurePosixPath(path).name.removesuffix(".jsonl")
        source = SOURCES.get(name)
        rows.append(
            (
                name,
                *(count[split] for split in ("train", "dev", "test")),
                source.licence if source else _DASH,
                source.labelled_by if source else _DASH,
                source.repository if source else _DASH,
            )
        )
    header = ("source", "train", "dev", "test", "licence", "labels by", "from")
    return markdown_table(header, rows)


def _training(recipe: Mapping[str, Any]) -> str:
    fit = recipe["fit"]
    return (
        f"Started from `{recipe['encoder']}`"
        + (f" (derived from {recipe['base_model']})" if recipe["base_model"] else "")
        + f", {fit['epochs']:g} epochs, batches of "
        f"{fit['batch_size']}, learning rate {fit['learning_rate']:g}, seed {recipe['seed']}, pairs "
        f"of at most {recipe['encoding']['max_length']} tokens; binary cross-entropy over the known "
        "targets 'level ≥ k', unlabelled dimensions left out; a label of the whole answer through "
        "the product of its dimensions. "
        + (
            "Where a second annotator labelled a row, the targets are the mean of both. "
            if fit["annotators"] == "all"
            else ""
        )
        + (
            "Rows were weighed by up to "
            f"{fit['style_bound']:g} so that length and style predict less. "
            if fit["style_bound"] > 1
            else ""
        )
        + (f"The lowest {fit['freeze_layers']} layers stayed. " if fit["freeze_layers"] else "")
        + "All settings are in `metrics.json`."
    )


_LIMITS = """
## Limits

- Labels of the project's own rows were given by a large language model, and those rows are more
  overt than the slips of real models. Expect clearly lower accuracy on fluent, long answers that
  merely fail to notice a trap.
- Probabilities are calibrated on all dev rows together. Where nearly all answers are harmless they are
  too low; on a part whose answers are harmful more often, such as those to Flames' prompts, they
  are too high (see the ECE by part).
- The model is small and knows little of the world: it cannot check facts, law or medicine.
- Levels 1 and 2 are told apart far less surely than harmless from harmful.
- Single turns in Chinese. English, dialects, ciphers and multi-turn conversations were not measured.
- A row from a dimension's benchmark is labelled on that dimension alone; its figures say nothing of
  the other dimensions on such rows.

## Not for

Deciding about people; the only gate in front of users; proof that a model is safe. It finds
answers worth a look and compares models that it was not tuned against.
"""


def _dimension_names(recipe: Mapping[str, Any]) -> list[str]:
    return [
        f"{d['name']} ({', '.join(str(level) for level in d['levels'])})"
        for d in recipe["dimensions"]
    ]


def _bar(mark: str, share: float, width: int = 25) -> str:
    return (mark * round(width * share)).ljust(width, "·")


def _number(value: float | None, decimals: int = 3) -> str:
    return _DASH if value is None else f"{value:.{decimals}f}"


def _percent(value: float, decimals: int = 1) -> str:
    return f"{100 * value:.{decimals}f}%"
