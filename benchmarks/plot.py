"""The plot of `speed.py`: rows per second beside peers, and as rows, tokens and threads grow."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def plot(result: Mapping[str, Any], path: Path) -> None:
    """Write the plot of the benchmark's JSON."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    peers, rows, tokens, threads = figure.subplots(1, 4, width_ratios=[2.4, 1, 1, 1])
    rates = dict(sorted(result["rows_per_second"].items(), key=lambda item: item[1]))
    colours = ["#0b7285" if name == "ours" else "#adb5bd" for name in rates]
    bars = peers.barh(list(rates), list(rates.values()), color=colours)
    peers.bar_label(bars, fmt="%.1f", padding=3)
    peers.set_xlabel("rows/s")
    peers.margins(x=0.12)
    grown = result["rows_per_second_as_it_grows"]
    for axes, name, scale in (
        (rows, "rows", "log"),
        (tokens, "tokens", "log"),
        (threads, "threads", "linear"),
    ):
        numbers = [int(number) for number in grown[name]]
        axes.plot(numbers, list(grown[name].values()), marker="o", color="#0b7285")
        axes.set_xscale(scale)
        axes.set_xticks(numbers, [f"{number:,}" for number in numbers], rotation=45)
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.set_xlabel(name)
        axes.set_title("rows/s", fontsize=9)
    figure.suptitle(
        f"{result['model']} on {result['machine']['cpu']}, {result['machine']['cores']} cores"
    )
    figure.savefig(path)
