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


def asked(path: Path, prompts: int) -> Path:
    """Write the note that `scorer collect` leaves beside a file."""
    note = {"format": 1, "settings": {"prompts": prompts}, "runs": []}
    path.with_name(f"{path.name}.meta.json").write_text(json.dumps(note), encoding="utf-8")
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
        return asked(written(tmp_path / f"{name}.jsonl", rows), len(rows))

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


def test_problems_are_reported_and_change_the_exit_status(
    tmp_path: Path, score_with: Callable[..., Score]
) -> None:
    prompts = [
        {"prompt": f"问{i}", "dimension": name, "subcomponent": "x"}
        for i, name in enumerate(DIMENSIONS)
    ]
    published = written(tmp_path / "p.jsonl", prompts)

    def answer(number: int) -> dict[str, Any]:
        return {
            "prompt": f"问{number}",
            "response": "好",
            "harmlessness": score_with({}).to_dict(),
        }

    rows = [answer(i) for i in range(5)]

    def outcome(rows: list[dict[str, Any]]) -> tuple[int, dict[str, Any], str]:
        path, out = written(tmp_path / "m.jsonl", rows), tmp_path / "figures.json"
        result = run(path, "--prompts", published, "-o", out)
        return result.exit_code, json.loads(out.read_text("utf-8"))["models"]["m"], result.output

    status, found, _ = outcome(rows)
    assert status == 0
    assert found["place"] is not None
    status, found, _ = outcome([*rows, rows[0] | {"prompt": "另外"}])
    assert (status, found["unknown"], found["doubled"], found["missing"]) == (1, [6], [], [])
    status, found, _ = outcome([*rows, rows[2]])
    assert (status, found["unknown"], found["doubled"], found["missing"]) == (
        1,
        [],
        ["flames-0002"],
        [],
    )
    status, found, output = outcome(rows[:4])
    assert (status, found["unknown"], found["doubled"], found["missing"]) == (
        1,
        [],
        [],
        ["flames-0004"],
    )
    assert found["place"] is None
    assert "no place among the published models" in output
    failed = rows[0] | {"response": None, "error": "HTTP 500"}
    status, found, _ = outcome([failed, *rows[1:]])
    assert (status, found["failed"]) == (1, 1)
    result = run(written(tmp_path / "m.jsonl", [failed]), "--prompts", published)
    assert result.exit_code == 2
    assert "m: no answer to judge, 1 failed" in result.output


def test_prompts_that_nobody_named_are_missed_by_their_number(
    answers: Callable[..., Path], tmp_path: Path
) -> None:
    path, out = answers("m", 9), tmp_path / "figures.json"
    for prompts, missing in ((100, 0), (120, 20), (None, 900)):
        if prompts is None:
            path.with_name("m.jsonl.meta.json").unlink()
        else:
            asked(path, prompts)
        result = run(path, "-o", out)
        found = json.loads(out.read_text(encoding="utf-8"))["models"]["m"]
        assert (result.exit_code, found["unanswered"]) == (int(missing > 0), missing)
        assert (found["place"] is None) == (missing > 0)
    assert "900 of 1,000 prompts have no answer in the file" in result.output
    assert "→ m" not in result.output


def test_another_scorer_than_that_of_the_rows_is_refused(
    answers: Callable[..., Path], tiny_checkpoint: Path
) -> None:
    result = run(answers("m", 9), "--model", tiny_checkpoint)
    assert result.exit_code == 2
    assert "rows are scored by judge 1.0.0 (balanced) already" in result.output
    assert "--model names tiny 0.0.1" in result.output


def test_models_judged_by_different_scorers_are_not_compared(
    answers: Callable[..., Path], tmp_path: Path
) -> None:
    out = tmp_path / "figures.json"
    result = run(answers("a", 9), answers("b", 5, purpose="strict"), "-o", out)
    assert result.exit_code == 0, result.output
    assert json.loads(out.read_text(encoding="utf-8"))["comparisons"] == []
    assert "not compared: the models were judged by judge 1.0.0 (balanced) and judge" in (
        result.output
    )


def test_the_page_shows_the_mean_over_dimensions(
    tmp_path: Path, score_with: Callable[..., Score]
) -> None:
    # Of 40 prompts of fairness all are harmless, of one of each other dimension none.
    rows = [
        {
            "prompt": f"{dimension}{i}",
            "response": "答",
            "meta": {"dimension": dimension},
            "harmlessness": score_with({dimension: 3 if dimension == "fairness" else 1}).to_dict(),
        }
        for dimension in DIMENSIONS
        for i in range(40 if dimension == "fairness" else 1)
    ]
    path, page = asked(written(tmp_path / "m.jsonl", rows), len(rows)), tmp_path / "page.html"
    result = run(path, "--report", page, "-q")
    assert result.exit_code == 0, result.output
    shown = page.read_text(encoding="utf-8")
    assert "<dd>20.0%</dd>" in shown
    assert "harmless, mean over dimensions" in shown
    assert "<td>Overall</td>" not in shown
    result = run(path, written(tmp_path / "o.jsonl", rows), "--report", page, "-q")
    shown = page.read_text(encoding="utf-8")
    assert "<dd>20.0–20.0%</dd>" in shown
    assert "Mean over dimensions of the rates" in shown


def test_from_collected_answers_to_the_table(
    tmp_path: Path, tiny_checkpoint: Path, chat_server: Any
) -> None:
    names = {"Fairness": 2, "Safety": 2, "Morality": 1, "Legality": 1, "Data protection": 1}
    prompts = [
        {"dimension": name, "subcomponent": f"{name} part", "prompt": f"{name}的问题{i}？"}
        for name, count in names.items()
        for i in range(count)
    ]
    published = written(tmp_path / "Flames_1k_Chinese.jsonl", prompts)
    chat_server.plan("Safety的问题1？", chat_server.answer("我不", "network_error"))
    out, figures, page = (tmp_path / name for name in ("a.jsonl", "f.json", "page.html"))
    collected = CliRunner().invoke(
        cli,
        [
            *("collect", "--benchmark", "flames", "--prompts", str(published), "-o", str(out)),
            *("--model", "m", "--base-url", chat_server.url, "--no-api-key"),
        ],
    )
    assert collected.exit_code == 1, collected.output
    assert "6 of 7 prompts answered, 1 failed" in collected.output
    judge = ("--model", tiny_checkpoint, "--device", "cpu", "-o", figures)
    for prompts_given in ((), ("--prompts", published)):
        result = run(out, *judge, *prompts_given, "--report", page, "--scored", tmp_path / "s")
        assert result.exit_code == 1, result.output
        assert "a: 1 failed, not judged (1 × broken off)" in result.output
        found = json.loads(figures.read_text(encoding="utf-8"))["models"]["a"]
        assert (found["judged"], found["failed"], found["unanswered"]) == (6, 1, 0)
        counts = [cell["n"] for cell in found["dimensions"].values()]
        assert counts == [2, 1, 1, 1, 1]
        assert list(found["dimensions"]["fairness"]["subcomponents"]) == ["Fairness part"]
        assert found["place"]["of"] == 18
        rates = [cell["harmless_rate"] for cell in found["dimensions"].values()]
        assert found["overall"]["harmless_rate"] == pytest.approx(sum(rates) / 5)
        assert f"<dd>{sum(rates) / 5:.1f}%</dd>" in page.read_text(encoding="utf-8")
    # the rows of `collect`, scored: the page reads the dimension from their meta
    assert run(out, *judge, "-q").exit_code == 1
    scored = tmp_path / "scored.jsonl"
    CliRunner().invoke(
        cli,
        ["score", str(out), "-o", str(scored), "--model", str(tiny_checkpoint), "--device", "cpu"],
    )
    result = CliRunner().invoke(cli, ["report", str(scored), "-o", str(page)])
    assert result.exit_code == 0, result.output
    assert f"<dd>{sum(rates) / 5:.1f}%</dd>" in page.read_text(encoding="utf-8")


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
        "m: 2 prompts have no answer in the file, so that it has no place",
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
