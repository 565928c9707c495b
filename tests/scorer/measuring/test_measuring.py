from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scorer.cli import cli
from scorer.dimensions import DEFAULT_DIMENSIONS
from scorer.errors import DataError, RowError
from scorer.evaluation.measuring.figures import comparison, figures, lookup
from scorer.evaluation.measuring.rows import (
    LabelledRow,
    measured_on,
    read_labelled,
    scores_from,
    scores_of,
    slices,
)
from scorer.evaluation.measuring.tables import tables
from scorer.evaluation.misclassification import Errors
from scorer.result import Score

# (annotated, decided) on safety; 12 rows, 9 levels right, 10 of harmless or not
PAIRS = [(1, 1), (1, 1), (1, 2), (1, 3), (2, 2), (2, 2), (2, 3), (3, 3), (3, 3), (3, 3), (3, 3)]
PAIRS += [(3, 3)]


@pytest.fixture
def write(tmp_path: Path, score_with: Callable[..., Score]) -> Callable[..., Path]:
    """Function from pairs of levels to a labelled and scored file."""

    def written(pairs: list[tuple[int, int]], name: str = "rows.jsonl", **about: str) -> Path:
        rows = [
            {
                "id": f"r{i}",
                "prompt": f"问{i // 2}",
                "response": "答" * (30 + 40 * i),
                "labels": {"safety": truth},
                "source": "甲" if i % 3 else "乙.jsonl",
                "subcomponent": "x",
                "meta": {"turn": {"n": i % 2}},
                "harmlessness": score_with({"safety": decided}, **about).to_dict(),
            }
            for i, (truth, decided) in enumerate(pairs)
        ]
        rows.append({"prompt": "无", "response": "标注", "labels": {}})
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        return path

    return written


def read(path: Path) -> tuple[list[LabelledRow], list[Score]]:
    rows = read_labelled(path, DEFAULT_DIMENSIONS)

    def no_scorer() -> Any:
        raise AssertionError("every row has a score")

    return rows, scores_of(rows, no_scorer)


def test_figures_by_hand(write: Callable[..., Path]) -> None:
    rows, scores = read(write(PAIRS))
    found = figures(rows, scores, DEFAULT_DIMENSIONS, resamples=50)
    assert (found["rows"], found["scorer"], found["purpose"]) == (12, "judge 1.0.0", "balanced")
    assert list(found["dimensions"]) == ["safety"]
    safety = found["dimensions"]["safety"]
    assert safety["confusion"] == [[2, 1, 1], [0, 2, 1], [0, 0, 5]]
    assert safety["accuracy"] == pytest.approx(9 / 12)
    harmless = safety["harmless"]
    assert harmless["accuracy"] == pytest.approx(10 / 12)
    assert harmless["f1_harmful"] == pytest.approx(2 * 5 / (2 * 5 + 2))
    assert harmless["f1_harmless"] == pytest.approx(2 * 5 / (2 * 5 + 2))
    assert harmless["macro_f1"] == pytest.approx(5 / 6)
    # of 7 harmful rows 5 get 0.1 and 2 get 0.9, as the 5 harmless ones: ties count half
    assert harmless["auroc"] == pytest.approx((5 * 5 + 2 * 5 / 2) / 35)
    assert harmless["average_precision"] == pytest.approx(5 / 7 * 1.0 + 2 / 7 * 7 / 12)
    assert harmless["ece"] == pytest.approx((5 * 0.1 + (7 * 0.9 - 5)) / 12)
    low, high = safety["intervals"]["harmless.accuracy"]
    assert low <= 10 / 12 <= high
    assert found["harmless"] == harmless  # there is one dimension
    assert found["whole"] is None


def test_the_whole_needs_labels_on_every_dimension(score_with: Callable[..., Score]) -> None:
    from scorer.data.schema import Example

    labels = {dimension.name: dimension.levels[-1] for dimension in DEFAULT_DIMENSIONS}
    harmful = score_with({"legality": 1})
    rows = [
        LabelledRow(Example("a", "b", labels), None, {}, 1),
        LabelledRow(Example("c", "d", labels | {"legality": 1}), None, {}, 2),
        LabelledRow(Example("e", "f", {"legality": 1}), None, {}, 3),
    ]
    found = figures(rows, [harmful] * 3, DEFAULT_DIMENSIONS, resamples=0)
    assert (found["whole"]["n"], found["whole"]["accuracy"]) == (2, 0.5)
    assert found["n"] == 13
    assert "intervals" not in found
    assert found["dimensions"]["responsibility"]["harmless"]["accuracy"] == 1.0


def test_slices(write: Callable[..., Path]) -> None:
    rows, scores = read(write(PAIRS))
    assert slices(rows, "source") == {"乙.jsonl": [0, 3, 6, 9], "甲": [1, 2, 4, 5, 7, 8, 10, 11]}
    assert slices(rows, "length") == {
        "0-49": [0],
        "50-149": [1, 2],
        "150-399": [3, 4, 5, 6, 7, 8, 9],
        "400+": [10, 11],
    }
    assert list(slices(rows, "turn.n")) == list(slices(rows, "meta.turn.n")) == ["0", "1"]
    assert list(slices(rows, "subcomponent")) == ["x"]
    with pytest.raises(DataError, match="no row has the field 'sauce'"):
        slices(rows, "sauce")
    with pytest.raises(RowError, match="a slice needs one value"):
        slices(rows, "turn")
    with pytest.raises(DataError, match="'id' has 101 values"):
        slices(read(write([(1, 1)] * 101))[0], "id")
    found = figures(rows, scores, DEFAULT_DIMENSIONS, ["source"], resamples=10)
    part = found["slices"]["source"]["乙.jsonl"]
    assert (part["rows"], part["accuracy"]) == (4, 0.5)
    assert part["dimensions"]["safety"]["confusion"] == [[1, 0, 1], [0, 0, 1], [0, 0, 1]]


def test_lookup(write: Callable[..., Path]) -> None:
    rows, scores = read(write(PAIRS))
    found = figures(rows, scores, DEFAULT_DIMENSIONS, ["source"], resamples=10)
    assert lookup(found, "harmless.accuracy") == pytest.approx(10 / 12)
    assert lookup(found, "safety.accuracy") == lookup(found, "dimensions.safety.accuracy")
    assert lookup(found, "slices.source.乙.jsonl.accuracy") == 0.5
    for path in ("harmless", "fairness.accuracy", "scorer", "intervals.accuracy"):
        with pytest.raises(KeyError):
            lookup(found, path)


def test_comparison_is_paired(write: Callable[..., Path], score_with: Callable[..., Score]) -> None:
    rows, better = read(write(PAIRS * 10))
    worse = [
        score_with(
            {
                "safety": 2
                if row.example.labels["safety"] == 3 and i % 5 == 0
                else s.dimensions["safety"].level
            },
            model="other 2",
        )
        for i, (row, s) in enumerate(zip(rows, better, strict=True))
    ]
    found = comparison(rows, better, worse, DEFAULT_DIMENSIONS, resamples=200)
    assert found["other"] == {"scorer": "other 2", "purpose": "balanced"}
    cell = found["dimensions"]["safety"]["harmless.accuracy"]
    assert cell["difference"] == pytest.approx(10 / 120)
    assert cell["interval"][0] > 0
    assert cell["p"] < 0.02
    assert found["dimensions"]["all"] == found["dimensions"]["safety"]
    same = comparison(rows, better, better, DEFAULT_DIMENSIONS, resamples=50)
    cell = same["dimensions"]["all"]["accuracy"]
    assert (cell["difference"], cell["p"]) == (0.0, None)  # no prompt tells them apart
    low, high = cell["interval"]
    assert -1 < low < 0 < high < 1


def test_scores_from_another_file(write: Callable[..., Path]) -> None:
    rows, _ = read(write(PAIRS))
    other = write([*PAIRS, (1, 1)], "other.jsonl", model="other 2")
    assert [score.model for score in scores_from(other, rows)] == ["other 2"] * 12
    short = write(PAIRS[:7], "short.jsonl")
    with pytest.raises(DataError, match=r"short.jsonl: 5 of 12 labelled rows .* first is 'r7'"):
        scores_from(short, rows)


@pytest.mark.parametrize("prompt", [["a"], None, {"a": 1}])
def test_a_prompt_that_is_no_text_is_named(
    write: Callable[..., Path], tmp_path: Path, prompt: object
) -> None:
    path = write(PAIRS)
    row = json.loads(path.read_text(encoding="utf-8").splitlines()[0]) | {"prompt": prompt}
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(RowError, match=r"other.jsonl:1: prompt: must be a string"):
        scores_from(other, read(path)[0])


def test_another_scorer_than_that_of_the_rows_is_refused(
    write: Callable[..., Path], tiny_checkpoint: Path
) -> None:
    path = write(PAIRS)
    for option, value in (("--model", tiny_checkpoint), ("--purpose", "strict")):
        result = run(path, option, value)
        assert result.exit_code == 2
        assert "rows are scored by judge 1.0.0 (balanced) already" in result.output
        assert f"{option} names" in result.output
    assert run(path, "-q", "--purpose", "balanced").exit_code == 0


def test_errors_measured_on_labelled_rows(write: Callable[..., Path]) -> None:
    rows, scores = read(write(PAIRS))
    errors = measured_on(rows, scores, DEFAULT_DIMENSIONS)
    assert errors["safety"] == Errors(harmless=5, harmless_right=5, harmful=7, harmful_right=5)
    assert errors["fairness"] == Errors(0, 0, 0, 0)


def test_unlabelled_and_broken_files(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no row has a label on"):
        read_labelled(write([]), DEFAULT_DIMENSIONS)
    path = tmp_path / "bad.jsonl"
    path.write_text(
        '{"prompt": "a", "response": "b", "labels": {"safety": 1}, "harmlessness": 1}\n'
    )
    with pytest.raises(RowError, match=r"bad.jsonl:1: harmlessness: not a score"):
        read_labelled(path, DEFAULT_DIMENSIONS)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", "--resamples", "20", *map(str, arguments)])


def test_command(write: Callable[..., Path], tmp_path: Path) -> None:
    out, other = tmp_path / "figures.json", write(PAIRS[::-1], "other.jsonl", model="other 2")
    # rows are matched by id, prompt and response; those of the other file have other levels
    result = run(
        *(write(PAIRS), "--by", "source", "--by", "length", "--compare", other, "--json", out),
        *("--report", tmp_path / "page.html"),
    )
    assert result.exit_code == 0, result.output
    for part in ("By source", "By length", "Confusion", "2/1/1; 0/2/1; 0/0/5", "other 2"):
        assert part in result.output
    found = json.loads(out.read_text(encoding="utf-8"))
    assert found["comparison"]["dimensions"]["safety"]["accuracy"]["difference"] > 0
    for table in tables(found):
        assert all(len(row) == len(table.headers) for row in table.rows)
    assert "By source" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_fail_under(write: Callable[..., Path]) -> None:
    path = write(PAIRS)
    assert run(path, "-q", "--fail-under", "harmless.accuracy=0.83").exit_code == 0
    result = run(path, "-q", "--fail-under", "safety.accuracy=0.8", "--fail-under", "n=1")
    assert result.exit_code == 1
    assert result.output == "safety.accuracy is 0.7500, below 0.8\n"
    result = run(path, "-q", "--fail-under", "harmless.acuracy=0.8")
    assert result.exit_code == 2
    assert "no figure 'harmless.acuracy'; did you mean 'harmless.accuracy'?" in result.output
    assert run(path, "--fail-under", "harmless.accuracy").exit_code == 2


def test_wrong_use(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write(PAIRS)
    assert run(path, "--compare", path, "--compare-model", "x").exit_code == 2
    assert run(path, "--compare", path, "--resamples", "0").exit_code == 2
    assert run(tmp_path / "none.jsonl").exit_code == 2


def test_rows_without_scores_are_scored(tmp_path: Path, tiny_checkpoint: Path) -> None:
    path, out = tmp_path / "rows.jsonl", tmp_path / "figures.json"
    rows = [
        {"prompt": f"问{i}", "response": "我们是老师" * (i + 1), "labels": {"fairness": 1 + i % 3}}
        for i in range(6)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    options = ["--model", tiny_checkpoint, "--device", "cpu", "--json", out]
    assert run(path, *options, "--compare-model", tiny_checkpoint).exit_code == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert (found["scorer"], found["n"]) == ("tiny 0.0.1", 6)
    assert found["comparison"]["dimensions"]["all"]["accuracy"]["difference"] == 0.0
