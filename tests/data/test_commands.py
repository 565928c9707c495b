import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scorer.data.commands import data
from scorer.data.jsonl import read_examples, write_jsonl
from scorer.data.sources import SOURCES


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(data, [str(argument) for argument in arguments])


def test_import_native(tmp_path: Path) -> None:
    out = tmp_path / "native.jsonl"
    result = run("import", "native", "-o", out)
    assert result.exit_code == 0, result.output
    rows = len((Path(__file__).parents[2] / "data/bundled/native.jsonl").read_bytes().splitlines())
    assert f"native: {rows:,} rows read, {rows:,} written" in result.output
    assert len(list(read_examples(out))) == rows
    assert json.loads((tmp_path / "native.jsonl.source.json").read_text())["name"] == "native"
    assert run("check", "--strict", out).exit_code == 0


def test_import_says_what_was_left_out(tmp_path: Path) -> None:
    row = {"prompt": "问", "response": "答", "toxic": "No", "domain": "insult", "model": "m"}
    row |= {"cipher": "c", "demo": "d"}
    path = tmp_path / "rows.jsonl"
    write_jsonl(path, [{**row, "fluency": 2}, {**row, "fluency": 4}])
    result = run("import", "cipherchat", path, "-o", tmp_path / "out.jsonl")
    assert "2 rows read, 1 written" in result.output
    assert "1 left out: fluency under 4" in result.output
    result = run("import", "cipherchat", path, "-o", tmp_path / "out.jsonl", "--min-fluency", "1")
    assert "2 rows read, 2 written" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["import", "colt", "-o", "x"], "'colt' is not one of"),
        (["import", "cold", "-o", "x.jsonl"], "cold needs a PATH: git clone"),
        (["import", "native"], "Missing option '-o'"),
        (["import", "native", "-o", "x.jsonl", "--min-fluency", "2"], "is for cipherchat"),
        (["check", "none.jsonl"], "Error: none.jsonl: cannot be opened"),
        (["check"], "Missing argument"),
    ],
)
def test_mistakes_are_explained_without_a_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code != 0
    assert message in result.output
    assert isinstance(result.exception, SystemExit)
    assert list(tmp_path.iterdir()) == []


def test_exit_status_of_check(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row: dict[str, object] = {"prompt": "问", "response": "答", "labels": {"fairness": 1}}
    write_jsonl(path, [row, row])
    assert run("check", path).exit_code == 0
    assert run("check", "--strict", path).exit_code == 1
    write_jsonl(path, [row, {**row, "labels": {"fairness": 3}}])
    result = run("check", path)
    assert result.exit_code == 1
    assert "error 1 × contradiction" in result.output


def test_sources_lists_all() -> None:
    result = run("sources")
    assert result.exit_code == 0
    for source in SOURCES.values():
        assert source.name in result.output
        assert source.licence in result.output


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys, scorer.data.commands; "
        "print(sorted({'torch', 'transformers', 'datasets', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
