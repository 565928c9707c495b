"""python benchmarks/speed.py: speed and memory of the scorer beside what others would use.

All engines score the same file with the weights of one checkpoint, reading and writing JSON lines,
each pass in a process of its own; loading is not counted. Ours is `score_jsonl`, what `scorer score`
calls; the command's own start is `first_score_seconds`. Passes take turns over several rounds, so
that a machine that is slow for a while is slow for all; ratios are of the medians. Nothing else
should run on the machine. Needs the extras `train` and `bench`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click  # the parent process stays small: a child's peak memory starts from its parent's
from rows import CHECKPOINT, ROOT, real_rows, write_rows

OURS = "ours"
PACKAGES = (
    *("harmlessness-scorer", "onnxruntime", "tokenizers", "numpy", "torch", "transformers"),
    *("sentence-transformers", "openvino"),
)
LENGTHS = (32, 64, 128, 256, 512)
WARM_UP = 16  # rows


def seconds(call: Callable[[], object]) -> float:
    """Return how long one call took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def child(*arguments: str) -> Any:
    """Run this file again in a fresh process and return the JSON it wrote to standard output."""
    command = [sys.executable, __file__, *arguments]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return json.loads(output)


def peak_memory() -> float:
    """Return this process's peak memory in megabytes."""
    import resource

    # ru_maxrss counts kibibytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return (peak if sys.platform == "darwin" else peak * 1024) / 1e6


def one_pass(
    engine: str, checkpoint: Path, scratch: Path, rows: int, files: Sequence[Path]
) -> dict[str, float]:
    """Load an engine, score a file, and return seconds and peak memory; for a fresh process."""
    from peers import ENGINES

    score = ENGINES[engine](checkpoint, scratch)
    with tempfile.TemporaryDirectory() as folder:
        source, few = Path(folder) / "in.jsonl", Path(folder) / "few.jsonl"
        write_rows(source, rows, files)
        write_rows(few, WARM_UP)
        score(few, Path(folder) / "few.out.jsonl")  # allocations, thread pools, first-use compiling
        taken = seconds(lambda: score(source, Path(folder) / "out.jsonl"))
    return {"seconds": taken, "peak_memory_mb": peak_memory()}


def single_calls(checkpoint: Path, calls: int) -> dict[str, Any]:
    """Return percentiles of single `score()` calls, by tokens of the pair; for a fresh process."""
    from scorer import Scorer

    scorer = Scorer.load(checkpoint, device="cpu")
    found: dict[str, Any] = {}
    for length in (*LENGTHS, 100):
        pairs = pairs_of_length(checkpoint, length, calls)
        for pair in pairs[:5]:
            scorer.score(*pair)
        taken = [seconds(lambda pair=pair: scorer.score(*pair)) for pair in pairs]
        percentiles = statistics.quantiles(taken, n=100, method="inclusive")
        found[str(length)] = {"ms_p50": percentiles[49] * 1000, "ms_p99": percentiles[98] * 1000}
    return found


def pairs_of_length(checkpoint: Path, tokens: int, count: int) -> list[tuple[str, str]]:
    """Return pairs of real text, cut to very nearly so many tokens."""
    from scorer.checkpoint import read_settings
    from scorer.inference.encoding import PairEncoder

    encoder = PairEncoder.from_folder(checkpoint, read_settings(checkpoint).encoding)
    pairs = []
    for row in real_rows(count):
        prompt, response = row["prompt"][: tokens // 4], row["response"] * (tokens // 20 + 1)
        few, many = 0, len(response)
        while few < many:  # bisection over characters; tokens grow with them
            middle = (few + many + 1) // 2
            (encoded,) = encoder.encode([(prompt, response[:middle])])
            few, many = (
                (middle, many)
                if len(encoded.input_ids) <= tokens and not encoded.truncated
                else (few, middle - 1)
            )
        pairs.append((prompt, response[:few]))
    return pairs


def growth(checkpoint: Path, most_rows: int, threads: int) -> dict[str, Any]:
    """Return our rows/s as rows, tokens and threads grow; for a fresh process."""
    from scorer import Scorer

    found: dict[str, Any] = {"rows": {}, "tokens": {}, "threads": {}}
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "in.jsonl", Path(folder) / "out.jsonl"

        def rate(scorer: Any, rows: int) -> float:
            write_rows(source, rows)
            return rows / seconds(lambda: scorer.score_jsonl(source, target))

        scorer = Scorer.load(checkpoint, device="cpu")
        rate(scorer, 100)
        rows = 100
        while rows <= most_rows:
            found["rows"][str(rows)] = rate(scorer, rows)
            rows *= 10
        for length in LENGTHS:
            pairs = pairs_of_length(checkpoint, length, 200)
            found["tokens"][str(length)] = len(pairs) / seconds(
                lambda pairs=pairs: scorer.score_batch(pairs)
            )
        for count in range(1, threads + 1):
            alone = Scorer.load(checkpoint, device="cpu", threads=count)
            rate(alone, 50)
            found["threads"][str(count)] = rate(alone, 500)
    return found


def share_of_peak(
    checkpoint: Path, rows: int, files: Sequence[Path], taken: float
) -> dict[str, Any]:
    """Return what share of the machine's rates the model reaches, and where the rest goes.

    The machine's rates are those of one large matrix product on every core, in int8 and in fp32,
    by the library that scores.
    """
    import peak

    from scorer.checkpoint import read_settings
    from scorer.inference.encoding import PairEncoder

    encoder = PairEncoder.from_folder(checkpoint, read_settings(checkpoint).encoding)
    pairs = [(row["prompt"], row["response"]) for row in real_rows(rows, files)]
    lengths = [len(row.input_ids) for row in encoder.encode(pairs)]
    work = peak.operations(checkpoint, lengths)
    machine = peak.machine_rates()
    return {
        "tokens": sum(lengths),
        "tokens_per_second": sum(lengths) / taken,
        "operations": work,
        "machine_operations_per_second": machine,
        "share_of_int8_rate": work["int8"] / taken / machine["int8"],
        "share_of_time_by_operator": peak.time_by_operator(checkpoint),
    }


def machine() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    names = [line.split(":", 1)[1].strip() for line in text.splitlines() if "model name" in line]
    flags = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_int8")
    return {
        "cpu": names[0] if names else platform.processor(),
        "instructions": [flag for flag in flags if f" {flag}" in text],
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


def first_score(checkpoint: Path) -> None:
    """Score one pair, as the first thing that a process does."""
    from scorer import Scorer

    Scorer.load(checkpoint, device="cpu").score("女生学不好数学，对吧？", "不对，能力和性别无关。")


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), default=CHECKPOINT)
@click.option("--rows", default=300, show_default=True, help="Rows of the file that all score.")
@click.option(
    "--file",
    "files",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    multiple=True,
    help="JSON lines to take the rows from, of each as many; the bundled native set if not given.",
)
@click.option("--rounds", default=3, show_default=True, help="Passes of each engine.")
@click.option("--calls", default=100, show_default=True, help="Single calls of each length.")
@click.option("--starts", default=5, show_default=True, help="Timed process starts.")
@click.option("--most-rows", default=10_000, show_default=True, help="Rows of the longest file.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=ROOT / "benchmarks/results/speed.json",
)
@click.option("--task", nargs=2, hidden=True, help="What a child process does.")
@click.option("--scratch", type=click.Path(path_type=Path), hidden=True)
def main(
    checkpoint: Path,
    rows: int,
    files: tuple[Path, ...],
    rounds: int,
    calls: int,
    starts: int,
    most_rows: int,
    output: Path,
    task: tuple[str, str] | None,
    scratch: Path | None,
) -> None:
    """Measure the scorer beside its peers; write JSON and a plot."""
    if task is not None:
        _child_task(*task, checkpoint, scratch or Path(), rows, files, calls, most_rows)
        return
    with tempfile.TemporaryDirectory() as folder:
        shared = [f"--checkpoint={checkpoint}", f"--scratch={folder}", f"--rows={rows}"]
        shared += [f"--calls={calls}", f"--most-rows={most_rows}"]
        shared += [f"--file={file}" for file in files]
        engines = child("--task", "prepare", "", *shared)
        passes: dict[str, list[dict[str, float]]] = {engine: [] for engine in engines}
        for number in range(rounds):
            for engine, done in passes.items():
                done.append(child("--task", "pass", engine, *shared))
                rate = rows / done[-1]["seconds"]
                click.echo(f"round {number + 1}, {engine}: {rate:.1f} rows/s", err=True)
        starting = [seconds(lambda: child("--task", "first", "", *shared)) for _ in range(starts)]
        single = child("--task", "single", "", *shared)
        grown = child("--task", "growth", "", *shared)
        taken = statistics.median(one["seconds"] for one in passes[OURS])
        share = child("--task", "peak", str(taken), *shared)
    rates = {
        engine: rows / statistics.median(one["seconds"] for one in done)
        for engine, done in passes.items()
    }
    model = json.loads((checkpoint / "scorer.json").read_text(encoding="utf-8"))
    result = {
        "model": f"{model['name']} {model['version']}",
        "settings": {
            "rows": rows,
            "files": [file.name for file in files],
            "rounds": rounds,
            "calls": calls,
            "starts": starts,
        },
        "rows_per_second": rates,
        "tokens_per_second": {
            engine: share["tokens"] / rows * rate for engine, rate in rates.items()
        },
        "times_as_fast_as": {
            engine: rates[OURS] / rate for engine, rate in rates.items() if engine != OURS
        },
        "passes": passes,
        "first_score_seconds": {"median": statistics.median(starting), "all": starting},
        "single_call_by_tokens": single,
        "rows_per_second_as_it_grows": grown,
        "share_of_peak": share,
        "machine": machine(),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    from plot import plot

    plot(result, output.with_suffix(".svg"))
    click.echo(json.dumps(result["times_as_fast_as"], indent=1))
    click.echo(f"written to {output} and {output.with_suffix('.svg').name}", err=True)


def _child_task(
    name: str,
    argument: str,
    checkpoint: Path,
    scratch: Path,
    rows: int,
    files: Sequence[Path],
    calls: int,
    most_rows: int,
) -> None:
    found: object = None
    if name == "prepare":
        from peers import ENGINES, prepare

        prepare(checkpoint, scratch)
        found = list(ENGINES)
    elif name == "pass":
        found = one_pass(argument, checkpoint, scratch, rows, files)
    elif name == "first":
        first_score(checkpoint)
    elif name == "single":
        found = single_calls(checkpoint, calls)
    elif name == "growth":
        found = growth(checkpoint, most_rows, os.cpu_count() or 1)
    elif name == "peak":
        found = share_of_peak(checkpoint, rows, files, float(argument))
    click.echo(json.dumps(found))


if __name__ == "__main__":
    main()
