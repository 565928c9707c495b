"""What README says of speed is what the benchmark measured."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SPEED = json.loads((ROOT / "benchmarks/results/speed.json").read_text(encoding="utf-8"))


def test_table_of_speeds_is_the_measured_one() -> None:
    section = README.split("## How fast")[1].split("\n## ")[0]
    cells = re.findall(r"^\| .+ \| ([\d.]+) \| ([\d.]*) ?\|$", section, re.MULTILINE)
    rates = sorted(SPEED["rows_per_second"].values(), reverse=True)
    assert [rate for rate, _ in cells] == [f"{rate:.1f}" for rate in rates]
    times = sorted(SPEED["times_as_fast_as"].values())
    assert [factor for _, factor in cells[1:]] == [f"{factor:.2f}" for factor in times]


def test_sentences_about_speed_are_the_measured_ones() -> None:
    share = SPEED["share_of_peak"]
    by_operator = share["share_of_time_by_operator"]
    memory = max(one["peak_memory_mb"] for one in SPEED["passes"]["ours"])
    for sentence in (
        f"{share['tokens'] / SPEED['settings']['rows']:.0f} tokens on average",
        f"first score comes {SPEED['first_score_seconds']['median']:.2f} s after",
        f"100 tokens takes {SPEED['single_call_by_tokens']['100']['ms_p50']:.1f} ms",
        f"scores a file takes {memory:.0f} MB",
        f"weights take {by_operator['MatMulIntegerToFloat']:.0%} of the time",
        f"attention {by_operator['MultiHeadAttention']:.0%}",
        f"reaches {share['share_of_int8_rate']:.0%} of the int8 rate",
    ):
        assert sentence in README, sentence
