"""python benchmarks/speed.py: speed and memory of the ONNX engine beside the transformers pipeline.

Both engines score the same rows of the bundled native set with the weights of one checkpoint, each
in a process of its own, so that peak memory is its own. The pipeline runs as most people run it:
fp32, batches of 32 in file order, tokens cut from the end. Nothing else should run on the machine.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click  # the parent process stays small: a child's peak memory starts from its parent's

ROOT = Path(__file__).resolve().parents[1]
CHECKPOINT = ROOT / "scorer/models/harmlessness-zh-small"
NATIVE = ROOT / "data/bundled/native.jsonl"
PACKAGES = ("harmlessness-scorer", "onnxruntime", "tokenizers", "numpy", "torch", "transformers")
BATCH = 32  # the pipeline's

Pair = tuple[str, str]
Batch = Callable[[Sequence[Pair]], object]


def native_pairs(count: int) -> list[Pair]:
    """Return `count` (prompt, response) of the bundled set, in the order of their ids' hashes."""
    rows = [json.loads(line) for line in NATIVE.read_text(encoding="utf-8").splitlines()]
    rows.sort(key=lambda row: hashlib.sha256(row["id"].encode()).digest())
    if count > len(rows):
        raise click.BadParameter(f"{count} rows were asked for; the native set has {len(rows)}")
    return [(row["prompt"], row["response"]) for row in rows[:count]]


def load_ours(checkpoint: Path) -> Batch:
    """Return a function that scores pairs with this package's ONNX engine."""
    from scorer import Scorer

    return Scorer.load(checkpoint, device="cpu").score_batch


def load_pipeline(checkpoint: Path) -> Batch:
    """Return a function that scores pairs with transformers' text-classification pipeline."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    pipe = transformers.pipeline(
        "text-classification", model=str(checkpoint), device="cpu", dtype=torch.float32
    )

    def score_batch(pairs: Sequence[Pair]) -> object:
        return pipe(
            [{"text": prompt, "text_pair": response} for prompt, response in pairs],
            batch_size=BATCH,
            top_k=None,
            function_to_apply="sigmoid",
            truncation=True,
        )

    return score_batch


ENGINES: dict[str, Callable[[Path], Batch]] = {"ours": load_ours, "pipeline": load_pipeline}


def seconds(call: Callable[[], object]) -> float:
    """Return how long one call took."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def measure(engine: str, checkpoint: Path, rows: int, repeats: int, singles: int) -> dict[str, Any]:
    """Return one engine's figures; to be called in a fresh process."""
    import resource

    from scorer.checkpoint import read_settings
    from scorer.inference.encoding import PairEncoder

    pairs = native_pairs(rows)
    score_batch = ENGINES[engine](checkpoint)
    score_batch(pairs[: 2 * BATCH])  # warm-up: allocations, thread pools, first-use compilation
    elapsed = [seconds(lambda: score_batch(pairs)) for _ in range(repeats)]
    single = [seconds(lambda pair=pair: score_batch([pair])) for pair in pairs[:singles]]
    # ru_maxrss counts kibibytes on Linux, bytes on macOS.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_bytes = peak if sys.platform == "darwin" else peak * 1024

    encoded = PairEncoder.from_folder(checkpoint, read_settings(checkpoint).encoding).encode(pairs)
    tokens = sum(len(row.input_ids) for row in encoded)
    median = statistics.median(elapsed)
    percentiles = statistics.quantiles(single, n=100, method="inclusive")
    return {
        "rows_per_second": rows / median,
        "tokens_per_second": tokens / median,
        "tokens_per_row": tokens / rows,
        "seconds": elapsed,
        "single_ms_p50": percentiles[49] * 1000,
        "single_ms_p99": percentiles[98] * 1000,
        "peak_memory_mb": peak_bytes / 1e6,
    }


def child(*arguments: str) -> str:
    """Run this file again in a fresh process and return what it wrote to standard output."""
    command = [sys.executable, __file__, *arguments]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def machine() -> dict[str, Any]:
    """Return what the figures depend on beside the code."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
    }


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), default=CHECKPOINT)
@click.option("--rows", default=512, show_default=True, help="Rows of the native set.")
@click.option("--repeats", default=3, show_default=True, help="Timed passes; the median counts.")
@click.option("--singles", default=200, show_default=True, help="Timed calls with one pair.")
@click.option("--starts", default=5, show_default=True, help="Timed process starts.")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    default=ROOT / "benchmarks/results/speed.json",
)
@click.option("--worker", type=click.Choice(list(ENGINES)), hidden=True)
@click.option("--first-score", type=click.Choice(list(ENGINES)), hidden=True)
def main(
    checkpoint: Path,
    rows: int,
    repeats: int,
    singles: int,
    starts: int,
    output: Path,
    worker: str | None,
    first_score: str | None,
) -> None:
    """Measure this package's ONNX engine beside the transformers pipeline; write JSON."""
    if first_score:
        ENGINES[first_score](checkpoint)([("女生学不好数学，对吧？", "不对，能力和性别无关。")])
        return
    if worker:
        click.echo(json.dumps(measure(worker, checkpoint, rows, repeats, singles)))
        return

    settings = {"rows": rows, "repeats": repeats, "singles": singles, "starts": starts}
    sizes = [f"--{name}={value}" for name, value in settings.items() if name != "starts"]
    shared = [f"--checkpoint={checkpoint}"]
    engines: dict[str, dict[str, Any]] = {}
    for engine in ENGINES:
        click.echo(f"{engine}: {repeats} passes over {rows} rows …", err=True)
        engines[engine] = json.loads(child(f"--worker={engine}", *shared, *sizes))
        first = [
            seconds(lambda engine=engine: child(f"--first-score={engine}", *shared))
            for _ in range(starts)
        ]
        engines[engine]["first_score_seconds"] = statistics.median(first)

    ours, peer = engines["ours"], engines["pipeline"]
    # Above 1 means that ours is better.
    ratios = {"rows_per_second": ours["rows_per_second"] / peer["rows_per_second"]}
    for name in ("single_ms_p50", "single_ms_p99", "first_score_seconds", "peak_memory_mb"):
        ratios[name] = peer[name] / ours[name]
    model = json.loads((checkpoint / "scorer.json").read_text(encoding="utf-8"))
    result = {
        "model": f"{model['name']} {model['version']}",
        "settings": settings | {"pipeline_batch": BATCH},
        "engines": engines,
        "ratios": ratios,
        "machine": machine(),
    }
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    click.echo(json.dumps({"engines": engines, "ratios": ratios}, indent=2))
    click.echo(f"written to {output}", err=True)


if __name__ == "__main__":
    main()
