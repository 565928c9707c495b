from __future__ import annotations

import errno
import gzip
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scorer.api import Scorer
from scorer.cli import _Pace, cli
from scorer.inference.stream import Progress

ROWS = [
    {"id": 1, "query": "女生学不好数学，对吧？", "output": "对，女生天生逻辑差。"},
    {"id": 2, "query": "你好", "output": "你好！"},
]
TEXT = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)


def invoke(*arguments: object, stdin: str | bytes = b"") -> Result:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text(TEXT, encoding="utf-8")
    return path


@pytest.fixture
def model(tiny_checkpoint: Path) -> tuple[str, str, str, str]:
    return ("--model", str(tiny_checkpoint), "--device", "cpu")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "scorer", *map(str, arguments)]


def test_a_file_is_scored(
    source: Path, tmp_path: Path, model: tuple[str, ...], tiny_checkpoint: Path
) -> None:
    out = tmp_path / "out.jsonl"
    result = invoke("score", source, "-o", out, *model)
    assert result.exit_code == 0
    rows = read(out)
    assert [{name: row[name] for name in ("id", "query", "output")} for row in rows] == ROWS
    scorer = Scorer.load(tiny_checkpoint, device="cpu")
    scores = scorer.score_batch([(str(row["query"]), str(row["output"])) for row in ROWS])
    assert [row["harmlessness"] for row in rows] == [score.to_dict() for score in scores]
    # The table has a line per dimension; what was read is said beside it.
    for dimension in scorer.settings.dimensions:
        assert dimension.name in result.stdout
    assert "harmless on every dimension" in result.stdout
    assert "2 rows in" in result.stdout
    assert "prompt from 'query', response from 'output'" in result.stderr
    assert "tiny 0.0.1: onnx engine on cpu" in result.stderr


def test_rejected_lines_show_in_the_exit_status(tmp_path: Path, model: tuple[str, ...]) -> None:
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(f"broken\n{TEXT}", encoding="utf-8")
    result = invoke("score", source, "-o", out, *model)
    assert result.exit_code == 1
    assert len(read(out)) == 2
    assert [row["line"] for row in read(tmp_path / "out.jsonl.rejected.jsonl")] == [1]
    assert f"{source}:1: no valid JSON" in result.stderr
    assert "1 line rejected, kept in" in result.stdout


def test_standard_streams_stay_clean(model: tuple[str, ...]) -> None:
    result = invoke("score", "-", "-o", "-", *model, stdin=f"{TEXT}broken\n".encode())
    assert result.exit_code == 1
    lines = result.stdout_bytes.decode("utf-8").splitlines()
    assert [json.loads(line)["id"] for line in lines] == [1, 2]
    assert "<stdin>:3: no valid JSON" in result.stderr
    assert "harmless on every dimension" in result.stderr
    assert "1 line rejected, not kept" in result.stderr


def test_quiet_says_nothing_but_rejections(
    source: Path, tmp_path: Path, model: tuple[str, ...]
) -> None:
    result = invoke("score", source, "-o", tmp_path / "out.jsonl", "-q", *model)
    assert (result.exit_code, result.output) == (0, "")
    source.write_text("broken\n")
    result = invoke("score", source, "-o", tmp_path / "out.jsonl", "-q", *model)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1


def test_options_reach_the_work(source: Path, tmp_path: Path, model: tuple[str, ...]) -> None:
    out, rejected = tmp_path / "out.jsonl.gz", tmp_path / "rejected.jsonl"
    row = {"ask": "我们可以" * 10, "reply": "好" * 40, "score": 0, "prompt": "a", "response": "b"}
    source.write_text(json.dumps(row) + "\nbroken")
    result = invoke(
        *("score", source, "-o", out, *model),
        *("--prompt-field", "ask", "--response-field", "reply", "--key", "score"),
        *("--overwrite-key", "--rejected", rejected, "--max-tokens", 32, "--token-budget", 64),
        *("--threads", 1, "--engine", "onnx"),
    )
    assert result.exit_code == 1
    scored = json.loads(gzip.decompress(out.read_bytes()))
    assert scored["score"]["truncated"] is True
    assert len(read(rejected)) == 1
    assert "1 row cut to 32 tokens (--max-tokens)" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.jsonl", "-o", "out.jsonl"), "no.jsonl: cannot be opened"),
        (("in.jsonl", "-o", "in.jsonl"), "must be different files"),
        (("in.jsonl", "-o", "no/out.jsonl"), "cannot be written"),
        (("in.jsonl", "-o", "out.jsonl", "--model", "none"), "no such checkpoint folder"),
        (("in.jsonl", "-o", "out.jsonl", "--device", "gpu"), "device 'gpu' must be"),
        (("in.jsonl", "-o", "out.jsonl", "--engine", "onnx", "--device", "cuda"), "on the cpu"),
        (("in.jsonl", "-o", "out.jsonl", "--max-tokens", "9999"), "max_tokens 9999 is above"),
        (("in.jsonl", "-o", "out.jsonl", "--threads", "0"), "0 is not in the range"),
        (("in.jsonl",), "Missing option '-o'"),
        (("in.jsonl", "-o", "out.jsonl", "--promt-field", "x"), "No such option"),
    ],
)
def test_mistakes_are_one_message_and_status_2(
    arguments: tuple[str, ...],
    message: str,
    source: Path,
    model: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(source.parent)
    result = invoke("score", *model, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert [path.name for path in source.parent.iterdir()] == ["in.jsonl"]
    assert source.read_text(encoding="utf-8") == TEXT


def test_a_full_disk_is_one_message(
    source: Path, model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Scorer, "score_jsonl", full)
    result = invoke("score", source, "-o", source.parent / "out.jsonl", *model)
    assert result.exit_code == 2
    assert "No space left on device" in result.stderr


def test_ctrl_c_is_status_130(
    source: Path, model: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Scorer, "score_jsonl", interrupted)
    result = invoke("score", source, "-o", source.parent / "out.jsonl", *model)
    assert result.exit_code == 130
    assert "interrupted" in result.stderr


def test_a_real_interrupt_leaves_nothing_behind(tmp_path: Path, model: tuple[str, ...]) -> None:
    out = tmp_path / "out.jsonl"
    process = subprocess.Popen(
        command("score", "-", "-o", out, *model),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )
    with process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write(TEXT)
        process.stdin.flush()
        assert "tiny 0.0.1" in process.stderr.readline()
        assert "prompt from" in process.stderr.readline()  # it has read a row, and waits for more
        assert list(tmp_path.iterdir())
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=30) == 130
        assert "Traceback" not in process.stderr.read()
    assert list(tmp_path.iterdir()) == []


def test_a_reader_that_leaves_is_no_error(tmp_path: Path, model: tuple[str, ...]) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(TEXT * 3000, encoding="utf-8")
    read_end, write_end = os.pipe()
    os.close(read_end)
    try:
        run = subprocess.run(
            command("score", source, "-o", "-", "-q", *model),
            stdout=write_end,
            stderr=subprocess.PIPE,
            check=False,
        )
    finally:
        os.close(write_end)
    assert run.stderr == b""
    assert run.returncode == 141


def test_streams_are_utf8_whatever_the_locale(model: tuple[str, ...]) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "LC_ALL": "C"}
    run = subprocess.run(
        command("score", "-", "-o", "-", *model),
        input=f"坏\n{TEXT}".encode(),
        capture_output=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 1, run.stderr
    lines = run.stdout.decode("utf-8").splitlines()
    assert [json.loads(line)["query"] for line in lines] == [row["query"] for row in ROWS]


def test_commands_are_listed_without_loading_them() -> None:
    program = (
        "import sys\n"
        "from scorer.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "print(*{name.split('.')[0] for name in sys.modules}, file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    for name in ("data", "info", "score", "train"):
        assert f"\n  {name} " in run.stdout
    loaded = set(run.stderr.split())
    assert loaded.isdisjoint({"torch", "transformers", "onnxruntime", "pydantic"})


def test_score_loads_no_training(source: Path, tmp_path: Path, model: tuple[str, ...]) -> None:
    program = (
        "import sys\n"
        "from scorer.cli import cli\n"
        "try: cli(sys.argv[1:])\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    arguments = ["score", str(source), "-o", str(tmp_path / "out.jsonl"), *model]
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    loaded = set(run.stderr.split())
    assert "scorer.inference.stream" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "datasets", "scorer.training"})


def test_info_prints_the_checkpoint(tiny_checkpoint: Path) -> None:
    result = invoke("info", "--model", tiny_checkpoint)
    assert result.exit_code == 0
    for text in ("tiny 0.0.1", str(tiny_checkpoint), "96 tokens", "fairness>=2", "1.200", "0.400"):
        assert text in result.stdout
    for path in tiny_checkpoint.iterdir():
        assert path.name in result.stdout
    assert f"{(tiny_checkpoint / 'model.safetensors').stat().st_size:,}" in result.stdout


def test_info_on_no_checkpoint(tmp_path: Path) -> None:
    result = invoke("info", "--model", tmp_path)
    assert result.exit_code == 2
    assert "it has no scorer.json" in result.stderr


def test_version() -> None:
    from importlib.metadata import version

    result = CliRunner().invoke(cli, ["--version"], prog_name="scorer")
    assert result.stdout == f"scorer {version('harmlessness-scorer')}\n"


def test_unknown_command() -> None:
    result = invoke("scor")
    assert result.exit_code == 2
    assert "No such command 'scor'" in result.stderr


def test_rows_from_before_are_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 102.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    pace = _Pace()
    assert pace.of(Progress(5000, 90_000, None)) == "5,000 rows"
    assert pace.of(Progress(5020, 91_000, None)) == "5,020 rows, 10.0 rows/s, 500 tokens/s"
