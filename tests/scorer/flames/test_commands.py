from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scorer.cli import cli
from scorer.data.jsonl import read_jsonl
from scorer.evaluation.flames.formulas import DIMENSIONS
from scorer.result import Score


def run(*arguments: object) -> Result:
    options = ["benchmark", "flames", "--resamples", "100", *map(str, arguments)]
    return CliRunner().invoke(cli, options)


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def answers(tmp_path: Path, score_with: Callable[..., Score]) -> Callable[..., Path]:
    def make(name: str, harmless: int, **about: str) -> Path:
        rows = [
            {
                "prompt": f"{dimension}{i}",
                "response": "答",
                "meta": {"dimension": dimension},
                "harmlessness": score_with(
                    {dimension: 3 if i < harmless else 1}, **about
                ).to_dict(),
            }
            for dimension in DIMENSIONS
            for i in range(20)
        ]
        return written(tmp_path / f"{name}.jsonl", rows)

    return make


def test_two_models(answers: Callable[..., Path], tmp_path: Path) -> None:
    out, text, page = (tmp_path / name for name in ("figures.json", "tables.md", "page.html"))
    files = (answers("good", 18), answers("bad", 5))
    result = run(*files, "-o", out, "--markdown", text, "--report", page, "--save-dir", tmp_path)
    assert result.exit_code == 0, result.output
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["models"]["good"]["overall"]["harmless_rate"] == pytest.approx(90.0)
    assert found["models"]["bad"]["overall"]["harmless_score"] == pytest.approx(50.0)
    assert found["comparisons"][0]["overall"]["difference"] == pytest.approx(65.0)
    assert found["comparisons"][0]["overall"]["p"] < 0.05
    # the shipped checkpoint did not judge them
    assert found["correction"]["source"].startswith(
        "none, since answers were judged by judge 1.0.0"
    )
    assert "| good |" in text.read_text(encoding="utf-8")
    assert "good - bad" in result.output
    shown = page.read_text(encoding="utf-8")
    assert "good - bad" in shown, "the tables of the benchmark are on the page"
    assert list(tmp_path.glob("*.png"))


def test_problems_are_reported_and_change_the_exit_status(tmp_path: Path) -> None:
    prompts = [
        {"prompt": f"问{i}", "dimension": name, "subcomponent": "x"}
        for i, name in enumerate(DIMENSIONS)
    ]
    rows: list[dict[str, Any]] = [{"prompt": "问0", "response": None, "error": "HTTP 500"}]
    rows += [{"prompt": "问1", "response": None}, {"prompt": "另外", "response": "好"}]
    path = written(tmp_path / "m.jsonl", rows)
    result = run(path, "--prompts", written(tmp_path / "p.jsonl", prompts))
    assert result.exit_code == 2
    assert "m: no answer to judge, 2 failed" in result.output


def test_scoring_labels_and_saving(tmp_path: Path, tiny_checkpoint: Path) -> None:
    prompts = [
        {"prompt": f"问{i}", "dimension": DIMENSIONS[i % 5], "subcomponent": f"s{i % 5}"}
        for i in range(15)
    ]
    rows: list[dict[str, Any]] = [
        {"prompt": f"问{i}", "response": "我们是老师" * (i + 1), "extra": i} for i in range(12)
    ]
    rows += [{"prompt": "问12", "response": None, "error": "timeout"}, rows[0]]
    labelled = [row | {"labels": dict.fromkeys(DIMENSIONS, 1)} for row in rows[:12]]
    out = tmp_path / "figures.json"
    result = run(
        written(tmp_path / "m.jsonl", rows),
        *("--prompts", written(tmp_path / "p.jsonl", prompts)),
        *("--labelled", written(tmp_path / "l.jsonl", labelled)),
        *("--model", tiny_checkpoint, "--device", "cpu", "-o", out, "--scored", tmp_path / "out"),
    )
    assert result.exit_code == 1, result.output
    for part in (
        "m: 1 failed, not judged (1 × timeout)",
        "m: 2 prompts without an answer: flames-0013, flames-0014",
        "m: 1 prompts with several answers, all of them counted: flames-0000",
        "errors of tiny 0.0.1 on 12 labelled rows",
    ):
        assert part in result.output
    model = json.loads(out.read_text(encoding="utf-8"))["models"]["m"]
    assert (model["scorer"], model["judged"], model["failed"]) == ("tiny 0.0.1", 13, 1)
    saved: list[Any] = [row for _, row in read_jsonl(tmp_path / "out" / "m.jsonl")]
    assert len(saved) == 14
    assert saved[1]["dimension"] == "safety"
    assert saved[1]["extra"] == 1
    assert saved[1]["harmlessness"]["model"] == "tiny 0.0.1"
    assert "harmlessness" not in saved[12]


def test_checkpoint_without_figures_gives_no_correction(
    answers: Callable[..., Path], tiny_checkpoint: Path
) -> None:
    result = run(answers("m", 9, model="tiny 0.0.1"), "--model", tiny_checkpoint)
    assert result.exit_code == 0, result.output
    assert "corrected: none: " in result.output
    assert "measure it with --labelled" in result.output


def test_names(answers: Callable[..., Path]) -> None:
    path = answers("m", 9)
    assert "1 names (--name) for 2 files" in run(path, path, "--name", "a").output
    assert "two files are called 'm'" in run(path, path).output
    assert "slash" in run(path, "--name", "a/b").output
    assert run(path, path, "--name", "a", "--name", "b", "-q").exit_code == 0


def test_rows_without_dimension(tmp_path: Path) -> None:
    result = run(written(tmp_path / "m.jsonl", [{"prompt": "a", "response": "b"}]))
    assert result.exit_code == 2
    assert "m.jsonl:1: dimension: missing" in result.output
