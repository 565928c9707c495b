"""python benchmarks/endurance.py kills|lines|memory: what `scorer score` withstands, with a tiny encoder.

kills   a run is killed (-9) at random moments and resumed each time; the result is compared, byte for
        byte, with that of a run that nothing stopped
lines   fuzzed and mutated JSONL: every valid row must be scored, every other one reported
memory  peak memory for few rows and for many

The encoder has random weights and two layers: this is about lines, not about scores. Needs the
`train` extra and pytest. The outcome is printed as JSON, or written with -o.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

ROOT = Path(__file__).resolve().parents[1]
THREADS = "2"  # batches side by side, as they are run


def tiny_checkpoint(folder: Path) -> Path:
    """Return the folder of a tiny checkpoint, the one that the tests use."""
    spec = importlib.util.spec_from_file_location("conftest", ROOT / "tests/conftest.py")
    assert spec is not None
    assert spec.loader is not None
    conftest = importlib.util.module_from_spec(spec)
    sys.modules["conftest"] = conftest
    spec.loader.exec_module(conftest)
    encoder, checkpoint = folder / "encoder", folder / "checkpoint"
    checkpoint.mkdir()
    conftest.make_tiny_encoder(encoder)
    conftest.make_tiny_checkpoint(encoder, checkpoint)
    return checkpoint


def scorer(source: Path, target: Path, checkpoint: Path, *options: str) -> list[str]:
    """Return the command line of a run."""
    command = [sys.executable, "-m", "scorer", "score", str(source), "-o", str(target), "-q"]
    return [*command, "--model", str(checkpoint), "--device", "cpu", "--threads", THREADS, *options]


def texts(rng: random.Random) -> dict[str, object]:
    """Return a row of random text."""
    signs = '女男学不好，对吧？天生逻辑差别\n"\\abc 😀</s>'
    return {
        "prompt": "".join(rng.choices(signs, k=rng.randrange(30))),
        "response": "".join(rng.choices(signs, k=rng.randrange(120))),
    }


def write_rows(path: Path, rows: int, seed: int, broken: float = 0.01) -> None:
    """Write random rows, a share of them broken."""
    rng = random.Random(seed)
    with path.open("wb") as stream:
        for i in range(rows):
            line = json.dumps({"id": i, **texts(rng)}, ensure_ascii=False).encode()
            stream.write((line[:-9] if rng.random() < broken else line) + b"\n")


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kills(folder: Path, checkpoint: Path, rows: int, count: int, suffix: str) -> dict[str, Any]:
    """Kill a run `count` times, resume it each time, and compare what comes out."""
    source = folder / "in.jsonl"
    write_rows(source, rows, seed=1)
    whole, target = folder / f"whole.jsonl{suffix}", folder / f"out.jsonl{suffix}"
    started = time.monotonic()
    subprocess.run(scorer(source, whole, checkpoint), check=False)
    took = time.monotonic() - started
    rng = random.Random(2)
    killed, early, stood = 0, 0, []
    command = scorer(source, target, checkpoint, "--resume")
    journal = target.with_name(f"{target.name}.resume.json")
    while killed < count:
        process = subprocess.Popen(command)
        try:
            process.wait(rng.uniform(0.3, 1.1) * took)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            killed += 1
            early += not journal.exists()
            if journal.exists():
                stood.append(json.loads(journal.read_bytes())["state"]["tally"]["rows"])
        else:  # it came to its end before the kill: compare, and begin anew
            same(target, whole)
            for path in folder.glob(f"{target.name}*"):
                path.unlink()
    subprocess.run(command, check=False)
    same(target, whole)
    left = sorted(path.name for path in folder.iterdir() if ".part" in path.name)
    assert not left, left
    return {
        "rows": rows,
        "suffix": suffix,
        "kills": killed,
        "kills before the first commit": early,
        "rows that stood after each kill": stood,
        "seconds of a whole run": round(took, 2),
        "identical": True,
        "sha256": digest(target),
    }


def same(target: Path, whole: Path) -> None:
    """Compare output and rejected lines of two runs."""
    for one, other in (
        (target, whole),
        *((Path(f"{path}.rejected.jsonl") for path in (target, whole)),),
    ):
        assert digest(one) == digest(other), (one, other)


def mutated(line: bytes, rng: random.Random) -> bytes:
    """Return the line with a few bytes changed, cut, doubled or put in."""
    data = bytearray(line)
    for _ in range(rng.choice((1, 1, 1, 2, 5, 20))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(6)
        if kind == 0:
            data[at : at + 1] = bytes([rng.randrange(256)])
        elif kind == 1:
            del data[at : at + rng.randrange(1, 9)]
        elif kind == 2:
            data[at:at] = rng.choice(_TOKENS)
        elif kind == 3:
            data[at:at] = data[at : at + rng.randrange(1, 30)]
        elif kind == 4 and data:
            data[at - 1] ^= 1 << rng.randrange(8)
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 5))
    return bytes(data).replace(b"\n", b" ")


_TOKENS = [
    *(
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b"\x00",
        b"\r",
        b"\xef\xbb\xbf",
        b"\xc0\xaf",
    ),
    *(b"NaN", b"1e999", b"-0", b"null", b"true", b"\\ud800", b"\\u0000", b"9" * 5000, b"[" * 2000),
    *(b'"prompt": "x",', b'"harmlessness": 1,', b'{"a":' * 150, "\u2028".encode(), b"\xed\xa0\x80"),
]


def fuzzed(rows: int, seed: int) -> Iterator[bytes]:
    """Yield lines: whole ones, mutated ones and noise."""
    rng = random.Random(seed)
    for i in range(rows):
        line = json.dumps({"id": i, **texts(rng)}, ensure_ascii=rng.random() < 0.3).encode()
        kind = rng.random()
        if kind < 0.05:
            yield rng.randbytes(rng.randrange(200)).replace(b"\n", b"")
        elif kind < 0.0501:
            yield b'{"prompt": "' + b"x" * rng.randrange(1 << 20, 1 << 21) + b'", "response": ""}'
        else:
            yield mutated(line, rng) if kind < 0.6 else line


def is_row(line: bytes) -> bool:
    """Tell by the standard library alone whether a line can be scored."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(items)) < len(items):
            raise ValueError("a key given twice")
        return dict(items)

    def number(text: str) -> float:
        if abs(float(text)) == float("inf"):
            raise ValueError("too large")
        return float(text)

    def constant(text: str) -> float:
        raise ValueError(text)

    if len(line) > MAX_LINE:
        return False
    try:
        row = json.loads(
            line.removeprefix(b"\xef\xbb\xbf").decode("utf-8"),
            object_pairs_hook=pairs,
            parse_float=number,
            parse_constant=constant,
            parse_int=lambda text: int(text) if len(text) <= 4000 else constant(text),
        )
    except (ValueError, RecursionError):
        return False
    deep = deepness(row) > 100
    texts_there = isinstance(row, dict) and all(
        isinstance(row.get(name), str) for name in ("prompt", "response")
    )
    return texts_there and not deep and "harmlessness" not in row


def deepness(value: object) -> int:
    """Return how many arrays and objects lie within each other."""
    inner = (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    )
    return 0 if inner is None else 1 + max(map(deepness, inner), default=0)


MAX_LINE = 1 << 20  # the run's, through the API: a line beyond it must be rejected


def lines(folder: Path, checkpoint: Path, rows: int, seed: int) -> dict[str, Any]:
    """Score fuzzed lines and account for every one."""
    from scorer import Scorer
    from scorer.inference.stream import Options

    source, target = folder / "fuzzed.jsonl", folder / "out.jsonl"
    started = time.monotonic()
    with source.open("wb") as stream:
        stream.write(b'{"prompt": "a", "response": "b"}\n')
        stream.writelines(line + b"\n" for line in fuzzed(rows - 1, seed))
    options = Options(max_line=MAX_LINE)
    model = Scorer.load(checkpoint, device="cpu", threads=int(THREADS))
    summary = model.score_jsonl(source, target, options)
    rejects = Path(f"{target}.rejected.jsonl").open("rb")  # noqa: SIM115 - closed at the end
    good = bad = blank = 0
    with source.open("rb") as stream, target.open("rb") as scored, rejects:
        for number, raw in enumerate(stream, 1):
            body = raw.removeprefix(b"\xef\xbb\xbf").strip()
            if not body:
                blank += 1
            elif is_row(raw.removesuffix(b"\n")):
                good += 1
                row = scored.readline()
                assert row.startswith(body[:-1].rstrip()), (number, raw)
                assert set(json.loads(row)["harmlessness"]["dimensions"]) == set(summary.dimensions)
            else:
                bad += 1
                row = json.loads(rejects.readline())
                assert row["line"] == number, (number, raw, row)
                kept = row["raw"].encode() if "raw" in row else base64.b64decode(row["raw_base64"])
                assert kept.rstrip(b"\r\n") == raw.rstrip(b"\r\n"), (number, raw)
        assert scored.readline() == b"" == rejects.readline()
    assert (summary.rows, summary.rejected) == (good, bad)
    return {
        "lines": rows,
        "seed": seed,
        "scored": good,
        "rejected": bad,
        "blank": blank,
        "every line accounted for": True,
        "minutes": round((time.monotonic() - started) / 60, 1),
    }


def memory(folder: Path, checkpoint: Path, counts: tuple[int, ...]) -> dict[str, Any]:
    """Return the peak memory of a run, by rows."""
    peaks = {}
    for rows in counts:
        source = folder / "in.jsonl"
        write_rows(source, rows, seed=3)
        target = folder / "out.jsonl"
        program = (
            "import resource, runpy, sys\n"
            "sys.argv[0] = 'scorer'\n"
            "try: runpy.run_module('scorer', run_name='__main__')\n"
            "except SystemExit: pass\n"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)"
        )
        command = [sys.executable, "-c", program, *scorer(source, target, checkpoint)[3:]]
        # A child's peak memory starts from its parent's, so a small process starts it.
        shell = ["/bin/sh", "-c", '"$@"; exit $?', "sh", *command]
        started = time.monotonic()
        out = subprocess.run(shell, check=True, stdout=subprocess.PIPE, text=True).stdout
        peaks[f"{rows} rows"] = {
            "peak_mb": round(int(out.split()[-1]) / 1e6, 1),
            "seconds": round(time.monotonic() - started, 1),
        }
    return {"engine": f"tiny encoder, {THREADS} threads", **peaks}


@click.command()
@click.argument("what", type=click.Choice(["kills", "lines", "memory"]))
@click.option("--rows", type=int, help="Rows; 20,000 for kills, else 1,000,000.")
@click.option("--count", default=50, show_default=True, help="Kills.")
@click.option("--suffix", default="", help="Of the output of kills: .gz or .zst.")
@click.option("--seed", default=0, show_default=True, help="Of the fuzzed lines.")
@click.option("-o", "--output", type=click.Path(path_type=Path), help="JSON file.")
def main(
    what: str, rows: int | None, count: int, suffix: str, seed: int, output: Path | None
) -> None:
    """Measure what scoring withstands."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        checkpoint = tiny_checkpoint(folder)
        if what == "kills":
            result = kills(folder, checkpoint, rows or 20_000, count, suffix)
        elif what == "lines":
            result = lines(folder, checkpoint, rows or 1_000_000, seed)
        else:
            result = memory(folder, checkpoint, (10_000, rows or 1_000_000))
    text = json.dumps({what: result}, ensure_ascii=False, indent=1) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
