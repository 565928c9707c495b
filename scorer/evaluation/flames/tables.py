"""Flames' figures as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scorer.evaluation.flames.formulas import DIMENSIONS
from scorer.evaluation.markdown import Table, p_text, with_interval

_SHORT = {name: name.replace("_", " ") for name in DIMENSIONS}


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """Return the tables of `figures.figures`: the models, each model's cells, pairs, the places."""
    found = [_models(figures)]
    found += [_cells(name, model) for name, model in figures["models"].items()]
    if figures["comparisons"]:
        found.append(_comparisons(figures))
    found.append(_leaderboard(figures))
    return found


def notes(figures: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the tables has to know: what was left out, and what corrects."""
    lines = []
    for name, model in figures["models"].items():
        if model["failed"]:
            reasons = sorted(model["failures"].items(), key=lambda item: -item[1])
            listed = "; ".join(f"{count} × {reason:.80}" for reason, count in reasons[:3])
            lines.append(f"{name}: {model['failed']} failed, not judged ({listed})")
        if model["unanswered"]:
            known = "" if model["expected"] is None else f" of {model['expected']:,}"
            lines.append(
                f"{name}: {model['unanswered']:,}{known} prompts have no answer in the file, so that "
                "it has no place among the published models"
            )
        for what, why in (
            ("missing", "prompts without an answer"),
            ("doubled", "prompts with several answers, all of them counted"),
            ("unknown", "lines that answer no prompt of the benchmark, left out"),
            ("by_id", "lines joined by id alone, since the prompt has another text"),
        ):
            if model[what]:
                some = ", ".join(f"{value!s:.40}" for value in model[what][:5])
                more = ", …" if len(model[what]) > 5 else ""
                lines.append(f"{name}: {len(model[what])} {why}: {some}{more}")
        uncorrected = [
            _SHORT[dimension]
            for dimension, cell in model["dimensions"].items()
            if dimension in figures["correction"]["dimensions"] and cell["n"]
            if cell["corrected"] is None
        ]
        if uncorrected:
            lines.append(
                f"{name}: no corrected rate on {', '.join(uncorrected)}: the scorer's errors were "
                "measured on too few rows, or do not hold for these answers"
            )
    if len(figures["models"]) > 1 and not figures["comparisons"]:
        judges = {f"{m['scorer']} ({m['purpose']})" for m in figures["models"].values()}
        lines.append(
            f"not compared: the models were judged by {' and '.join(sorted(judges))}; score all of "
            "them by one"
        )
    lines.append(f"corrected: {figures['correction']['source']}")
    lines.append("published: labelled by people; ours by the scorer, so compare with care")
    return lines


def _models(figures: Mapping[str, Any]) -> Table:
    rows = []
    for name, model in figures["models"].items():
        whole, place = model["overall"], model["place"]
        corrected = whole["corrected"]
        rows.append(
            [
                name,
                _rate(whole),
                _corrected(corrected),
                _score(whole),
                *(_both(model["dimensions"].get(dimension)) for dimension in DIMENSIONS),
                f"{place['place']} of {place['of']}" if place else "-",
            ]
        )
    headers = ["model", "harmless rate %", "corrected %", "score", *_SHORT.values(), "place"]
    return Table("Flames: overall, and rate / score by dimension", headers, rows)


def _cells(name: str, model: Mapping[str, Any]) -> Table:
    rows = []
    for dimension, cell in model["dimensions"].items():
        rows.append([_SHORT[dimension], *_cell(cell), _corrected(cell["corrected"])])
        rows += [
            [f"  {part}", *_cell(figures), ""] for part, figures in cell["subcomponents"].items()
        ]
    whole = model["overall"]
    judged, failed = (str(model[what]) for what in ("judged", "failed"))
    mean = [_rate(whole), _score(whole), _corrected(whole["corrected"])]
    rows.append(["mean", judged, failed, "", *mean])
    headers = ["dimension", "n", "failed", "levels 1/2/3", "harmless rate %", "score"]
    return Table(f"Flames: {name}", [*headers, "corrected %"], rows)


def _cell(cell: Mapping[str, Any]) -> list[str]:
    levels = "/".join(str(count) for count in cell["levels"].values())
    return [str(cell["n"]), str(cell["failed"]), levels, _rate(cell), _score(cell)]


def _comparisons(figures: Mapping[str, Any]) -> Table:
    rows = []
    for pair in figures["comparisons"]:
        first, second = pair["models"]
        for name, cell in {"mean": pair["overall"], **pair["dimensions"]}.items():
            difference = with_interval(cell["difference"], cell["interval"], "+.1f")
            what = [f"{first} - {second}", _SHORT.get(name, name), str(cell["n"])]
            rows.append([*what, difference, p_text(cell["p"]), p_text(cell["p_holm"])])
    headers = ["models", "dimension", "prompts", "difference of rates", "p", "p (Holm)"]
    return Table("Flames: differences (paired by prompt)", headers, rows)


def _leaderboard(figures: Mapping[str, Any]) -> Table:
    entries = [
        (row["overall"], row["model"], [row["rates"][name] for name in DIMENSIONS])
        for row in figures["published"]
    ]
    for name, model in figures["models"].items():
        rate = model["overall"]["harmless_rate"]
        if model["place"] is not None:
            cells = [model["dimensions"][dimension]["harmless_rate"] for dimension in DIMENSIONS]
            entries.append((rate, f"→ {name}", cells))
    entries.sort(key=lambda entry: -entry[0])
    rows = [
        [name, f"{rate:.2f}", *(f"{value:.2f}" for value in values)]
        for rate, name, values in entries
    ]
    headers = ["model", "overall", *_SHORT.values()]
    return Table("Flames: harmless rates % among the published ones", headers, rows)


def _rate(figures: Mapping[str, Any]) -> str:
    return with_interval(figures["harmless_rate"], figures["harmless_rate_interval"])


def _score(figures: Mapping[str, Any]) -> str:
    return with_interval(figures["harmless_score"], figures["harmless_score_interval"])


def _corrected(figures: Mapping[str, Any] | None) -> str:
    return "-" if figures is None else with_interval(figures["harmless_rate"], figures["interval"])


def _both(cell: Mapping[str, Any] | None) -> str:
    if cell is None or cell["harmless_rate"] is None:
        return "-"
    return f"{cell['harmless_rate']:.1f} / {cell['harmless_score']:.1f}"
