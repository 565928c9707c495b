"""A scorer's figures as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scorer.evaluation.markdown import Table, p_text, with_interval

# Title of a column, and where its figure stands in a block.
_COLUMNS = {
    "levels right": "accuracy",
    "macro F1": "macro_f1",
    "kappa": "quadratic_kappa",
    "harmless or not right": "harmless.accuracy",
    "F1 harmful": "harmless.f1_harmful",
    "F1 harmless": "harmless.f1_harmless",
    "AUROC": "harmless.auroc",
    "AP": "harmless.average_precision",
    "ECE": "harmless.ece",
}
_WITH_INTERVAL = ("accuracy", "harmless.accuracy")  # of all, a terminal is not wide enough


def tables(figures: Mapping[str, Any]) -> list[Table]:
    """Return the tables of `figures.figures`: dimensions, slices, confusions, the comparison."""
    dimensions = figures["dimensions"]
    rows = {**dimensions, "all": figures}
    found = [_blocks(f"{figures['scorer']}, {figures['purpose']}", "dimension", rows)]
    for field, values in figures["slices"].items():
        found.append(_blocks(f"By {field}, all dimensions", field, values))
        if any(len(one["dimensions"]) > 1 for one in values.values()):
            found.append(_blocks(f"By {field} and dimension", field, _by_dimension(values)))
    found.append(_confusions(dimensions))
    if figures.get("comparison"):
        found.append(_comparison(figures["comparison"]))
    return found


def _by_dimension(values: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    return {
        f"{value} · {name}": block
        for value, one in values.items()
        for name, block in one["dimensions"].items()
    }


def _blocks(title: str, what: str, blocks: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        [name, str(block["n"]), *(_figure(block, path) for path in _COLUMNS.values())]
        for name, block in blocks.items()
    ]
    return Table(title, [what, "n", *_COLUMNS], rows)


def _figure(block: Mapping[str, Any], path: str) -> str:
    value: Any = block
    for name in path.split("."):
        value = value[name]
    interval = block.get("intervals", {}).get(path) if path in _WITH_INTERVAL else None
    return with_interval(value, interval, ".3f")


def _confusions(dimensions: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        [name, "; ".join("/".join(map(str, line)) for line in block["confusion"])]
        for name, block in dimensions.items()
    ]
    headers = [
        "dimension",
        "decided lowest/…/highest; of rows labelled with the lowest level first",
    ]
    return Table("Confusion", headers, rows)


def _comparison(comparison: Mapping[str, Any]) -> Table:
    other = comparison["other"]
    rows = [
        [name, path, with_interval(c["difference"], c["interval"], "+.3f"), p_text(c["p"])]
        for name, cells in comparison["dimensions"].items()
        for path, c in cells.items()
    ]
    title = f"Difference to {other['scorer']}, {other['purpose']} (paired by prompt)"
    return Table(title, ["dimension", "metric", "difference", "p"], rows)
