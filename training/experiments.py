"""Settings measured one against the other under one budget: `scorer experiment FILE -o FOLDER`.

A file names a base recipe, what all settings change in it, and what each changes besides:

    base: release.yaml
    common: {fit: {epochs: 1}}
    seeds: [17, 18, 19]
    settings:
      base: {}
      no dropout: {fit: {dropout: 0}}

Every setting is fitted with every seed and judged on dev rows in fp32. `results.json` in the folder
grows by one entry a run; a run of the same recipe, rows and judge that it holds is not made again.
The table shows what the file asks for now.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sklearn.metrics import roc_auc_score
from transformers import set_seed

from scorer import decision
from scorer.checkpoint import Settings
from scorer.data.schema import Example
from scorer.errors import RecipeError
from scorer.evaluation.markdown import markdown_table
from scorer.inference.encoding import PairEncoder
from scorer.inference.engines import TorchEngine
from scorer.inference.predict import Predictor
from scorer.training.baselines import style_weights
from scorer.training.calibration import calibrate
from scorer.training.figures import all_of, by_file, by_source, scorer_figures
from scorer.training.fit import fit
from scorer.training.recipe import Recipe, merged, recipe_from, same_run
from scorer.training.rows import Corpus, gather, input_pair, tokens_in
from scorer.training.targets import reached_logits
from scorer.training.train import prepare, save_stock, uncalibrated

logger = logging.getLogger(__name__)

RESULTS_FILE = "results.json"
TABLE_FILE = "README.md"
# How figures are made; those made otherwise are not to be compared with them.
_FIGURES = "thresholds by accuracy and kappa"
_WITHOUT = "without "
_OF_A_SOURCE = ("harmless AUROC", "harmless accuracy", "quadratic kappa")


class ExperimentFile(BaseModel):
    """What an experiment file says.

    Attributes:
        base: Recipe, relative to the experiment file.
        common: Settings that every run takes instead of the recipe's.
        settings: Name to the settings that it takes besides.
        leave_one_out: Add a setting for each source in which it gives no training rows; its dev rows
            are judged as ever.
        seeds: One run of each setting for each.
        judge: Sources whose dev rows are judged; empty for all.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    base: str
    common: dict[str, Any] = {}
    settings: dict[str, dict[str, Any]] = Field(min_length=1)
    leave_one_out: bool = False
    seeds: list[int] = Field([17], min_length=1)
    judge: list[str] = []


def run_experiments(
    path: Path, folder: Path, corpora: Path, encoder: str | None = None
) -> list[dict[str, Any]]:
    """Run what is still to be run of an experiment file and return all results.

    Args:
        path: The experiment file.
        folder: For `results.json` and the run at work, which goes on where it was stopped.
        corpora: Folder that the recipe's source paths are relative to.
        encoder: In place of the recipe's encoder.

    Raises:
        RecipeError: If the file or a recipe that it leads to is not valid.
    """
    judge, runs = read_experiment(path, encoder)
    results_path = folder / RESULTS_FILE
    results: list[dict[str, Any]] = []
    if results_path.is_file():
        results = json.loads(results_path.read_text(encoding="utf-8"))
    folder.mkdir(parents=True, exist_ok=True)
    current = []
    for name, recipe in runs:
        corpus = gather(recipe, corpora)
        key = {
            "recipe": recipe.model_dump(mode="json"),
            "rows_sha256": corpus.sha256(),
            "judge": judge,
            "figures": _FIGURES,
        }
        done = [result for result in results if _is_of(result, recipe, key)]
        if not done:
            logger.info("%s, seed %d", name, recipe.seed)
            figures = _run(recipe, corpus, folder / "run", judge, key)
            results.append({"setting": name, "seed": recipe.seed, **figures, **key})
            done = results[-1:]
            text = json.dumps(results, ensure_ascii=False, indent=1)
            results_path.write_text(text + "\n", encoding="utf-8")
            shutil.rmtree(folder / "run")
        current.append({**done[0], "setting": name})
    (folder / TABLE_FILE).write_text(render_table(path.stem, current), encoding="utf-8")
    return current


def _is_of(result: Mapping[str, Any], recipe: Recipe, key: Mapping[str, Any]) -> bool:
    """Return whether a recorded run is the one that a recipe and what goes with it ask for."""
    return same_run(result.get("recipe"), recipe) and all(
        result.get(name) == value for name, value in key.items() if name != "recipe"
    )


def read_experiment(
    path: Path, encoder: str | None = None
) -> tuple[list[str], list[tuple[str, Recipe]]]:
    """Return the sources that are judged, and each run's setting and recipe.

    Raises:
        RecipeError: If the file or a recipe that it leads to is not valid, or two settings are the
            same.
    """
    try:
        file = ExperimentFile.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
        base = yaml.safe_load((path.parent / file.base).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValidationError) as error:
        raise RecipeError(f"{path}: {error}") from error
    if not isinstance(base, dict):
        raise RecipeError(f"{path.parent / file.base}: holds no recipe")
    settings = dict(file.settings)
    if file.leave_one_out:
        settings |= _without_each(merged(base, file.common)["sources"])
    runs: list[tuple[str, Recipe]] = []
    for name, own in settings.items():
        for seed in file.seeds:
            content = merged(merged(merged(base, file.common), own), {"seed": seed})
            if encoder is not None:
                content["encoder"] = encoder
            recipe = recipe_from(content, f"{path}: {name}")
            for other, same in runs:
                if recipe == same:
                    raise RecipeError(f"{path}: {name} is the same as {other}")
            runs.append((name, recipe))
    return file.judge, runs


def _without_each(sources: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return a setting for each source that gives no training rows there."""
    return {
        f"{_WITHOUT}{left_out['path']}": {
            "sources": [
                {**source, "rows": 0} if source is left_out else source for source in sources
            ]
        }
        for left_out in sources
    }


def render_table(name: str, results: Sequence[Mapping[str, Any]]) -> str:
    """Return the experiment's results in Markdown: means over the seeds, ± their deviation."""
    by_setting: dict[str, list[Mapping[str, Any]]] = {}
    for result in results:
        by_setting.setdefault(result["setting"], []).append(result)
    header = ("setting", "seeds", "epochs", "tokens", "minutes", *results[0]["dev"]["mean"])
    lines = []
    for setting, runs in by_setting.items():
        cost = runs[0]["cost"]
        cells = [
            setting,
            len(runs),
            f"{cost['epochs']:g}",
            f"{cost['epochs'] * cost['tokens an epoch']:,.0f}",
            f"{np.mean([run['cost']['seconds'] for run in runs]) / 60:.1f}",
        ]
        for figure in runs[0]["dev"]["mean"]:
            values = [v for run in runs if (v := run["dev"]["mean"].get(figure)) is not None]
            spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3f}{spread}" if values else "–")
        lines.append(cells)
    return (
        f"# Experiment: {name}\n\n"
        "Dev rows; figures are means over the dimensions (pairs: over all pairs of a harmful and a "
        "harmless answer to one prompt). Calibration and thresholds were chosen on the same rows, "
        "for all settings alike. From `results.json`, which `scorer experiment` wrote.\n\n"
        f"{markdown_table(header, lines)}\n{_left_out_table(by_setting)}"
    )


def _left_out_table(by_setting: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return what each source's dev rows get from runs that did and did not train on it."""
    without = {
        name.removeprefix(_WITHOUT): runs
        for name, runs in by_setting.items()
        if name.startswith(_WITHOUT)
    }
    with_all = [runs for name, runs in by_setting.items() if not name.startswith(_WITHOUT)]
    if not with_all or not without:
        return ""
    lines = []
    for path, runs in without.items():
        cells: list[object] = [path]
        for figure in _OF_A_SOURCE:
            for tried in (with_all[0], runs):
                parts = (run["dev"]["parts"].get(all_of(path), {}) for run in tried)
                values = [part.get("all dimensions", {}).get(figure) for part in parts]
                known = [value for value in values if value is not None]
                cells.append(f"{np.mean(known):.3f}" if known else "–")
        lines.append(cells)
    header = ["source", *(f"{f}, {h}" for f in _OF_A_SOURCE for h in ("trained on", "left out"))]
    return (
        "\nDev rows of one source alone, over all its dimensions: when training had rows of the "
        f"source, and when it had none.\n\n{markdown_table(header, lines)}\n"
    )


def _run(
    recipe: Recipe, corpus: Corpus, folder: Path, judge: Sequence[str], key: Mapping[str, Any]
) -> dict[str, Any]:
    """Fit one recipe and return its cost and its figures on dev rows.

    Raises:
        RecipeError: If there is nothing to judge.
    """
    dimensions = recipe.resolved_dimensions()
    examples = [e for e in corpus.examples("dev") if not judge or e.source in judge]
    if not any(d.name in example.labels for example in examples for d in dimensions):
        raise RecipeError(f"no dev row of {judge or 'any source'} has a label to judge by")
    set_seed(recipe.seed)
    started = folder / "run.json"
    if folder.is_dir():
        begun = json.loads(started.read_text("utf-8")) if started.is_file() else {}
        if not _is_of(begun, recipe, key):
            shutil.rmtree(folder)
    folder.mkdir(exist_ok=True)
    started.write_text(json.dumps(key), encoding="utf-8")
    model, tokenizer, pairs, rows = prepare(recipe, corpus)
    start = time.monotonic()
    fitted = fit(model, rows, pairs.pad_id, recipe, folder / "trainer")
    seconds = time.monotonic() - start
    save_stock(fitted, tokenizer, folder / "checkpoint", recipe.encoding.max_length)
    settings = uncalibrated(recipe)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    engine = TorchEngine(folder / "checkpoint", device, full_precision=True)
    encoder = PairEncoder.from_folder(folder / "checkpoint", settings.encoding)
    raw = Predictor(encoder, engine, settings, engine.token_budget).logits(
        [input_pair(example, recipe) for example in examples]
    )
    logits = reached_logits(torch.from_numpy(raw), dimensions, recipe.fit.targets).numpy()
    return {
        # of this process: a run that was stopped and resumed took longer
        "cost": {
            "tokens an epoch": tokens_in(rows),
            "epochs": recipe.fit.epochs,
            "seconds": round(seconds),
        },
        "dev": dev_figures(logits, examples, settings, by_source(examples) | by_file(corpus.names)),
    }


def dev_figures(
    logits: NDArray[np.float32],
    examples: Sequence[Example],
    settings: Settings,
    parts: Mapping[str, Callable[[Example], bool]],
) -> dict[str, Any]:
    """Return means over the dimensions, and the figures of `scorer_figures`."""
    settings = replace(settings, targets=calibrate(logits, examples, settings.dimensions))
    figures = scorer_figures(logits, examples, settings, parts)
    by_dimension: Mapping[str, Any] = figures["dimensions"]
    return {
        "mean": {
            "harmless accuracy": _mean(d["harmless"]["accuracy"] for d in by_dimension.values()),
            "harmless AUROC": _mean(d["harmless"]["auroc"] for d in by_dimension.values()),
            "level accuracy": _mean(d["accuracy"] for d in by_dimension.values()),
            "quadratic kappa": _mean(d["quadratic_kappa"] for d in by_dimension.values()),
            "style-balanced AUROC": _mean(_balanced_auroc(logits, examples, settings)),
            "pairs ordered right": figures["all dimensions"]["pairs ordered right"]["accuracy"],
        },
        **figures,
    }


def _balanced_auroc(
    logits: NDArray[np.float32], examples: Sequence[Example], settings: Settings
) -> Iterator[float]:
    """Yield each dimension's AUROC over rows weighted so that length and style do not help."""
    by_dimension = decision.decisions(logits, settings)
    for dimension in settings.dimensions:
        levels = [example.labels.get(dimension.name) for example in examples]
        weights = style_weights(examples, levels)
        rows = [i for i, level in enumerate(levels) if level is not None]
        harmless = [(levels[i] or 0) >= dimension.harmless_from for i in rows]
        if len(set(harmless)) == 2:
            probability = by_dimension[dimension.name].harmless_probability[rows]
            yield float(roc_auc_score(harmless, probability, sample_weight=weights[rows]))


def _mean(values: Iterable[float | None]) -> float:
    return float(np.mean([value for value in values if value is not None]))
