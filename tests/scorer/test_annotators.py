from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from scorer.cli import cli
from scorer.errors import DataError, RowError
from scorer.evaluation import annotators
from scorer.evaluation.dawid_skene import dawid_skene

# Fleiss 1971, 'Measuring nominal scale agreement among many raters', Psychological Bulletin 76,
# table 1: diagnoses of 30 patients by 6 psychiatrists each (depression, personality disorder,
# schizophrenia, neurosis, other).
FLEISS = """
00060 03003 01401 00006 03030 20400 00402 20310 20040 00006
10050 11040 03300 10050 02031 00501 30012 51000 02040 10203
00006 01050 02013 20040 10041 05010 40002 02040 10500 00006
"""

# Krippendorff 2011, 'Computing Krippendorff's Alpha-Reliability', section C: 4 observers, 12 units.
KRIPPENDORFF = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]

# Dawid and Skene 1979, table 1: 45 patients' fitness for anaesthesia; observer 1 saw each three
# times, observers 2 to 5 once.
ANAESTHESIA = """
1111111 3334334 1122122 2223121 2223222 2223322 1222111 3333433 2222223 2322223
4444444 2223343 1111111 2223212 1211111 1112111 1111111 1111111 2222221 2221322
2222222 2222221 2223222 2212222 1111111 1111111 2322222 1111111 1111111 1121121
1111111 3333233 1111111 2222222 2223232 4334333 2212232 2323233 3333432 1111111
1111111 1212111 2322222 1211111 2222222
"""


def test_fleiss_kappa_of_the_psychiatric_diagnoses() -> None:
    counts = np.array([[int(c) for c in row] for row in FLEISS.split()])
    assert counts.shape == (30, 5)
    assert set(counts.sum(axis=1)) == {6}
    assert annotators.fleiss_kappa(counts) == pytest.approx(0.430, abs=5e-4)


def test_cohen_kappa_of_a_textbook_table() -> None:
    # Fleiss, Levin and Paik 2003, Statistical Methods for Rates and Proportions, table 18.1: 0.68
    table = np.array([[75, 1, 4], [5, 4, 1], [0, 0, 10]])
    assert annotators.cohen_kappa(table) == pytest.approx(0.68, abs=5e-3)
    assert annotators.cohen_kappa(np.array([[5, 0], [0, 0]])) is None


@pytest.mark.parametrize(("scale", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])  # fmt: skip
def test_krippendorff_alpha_of_his_example(scale: Any, alpha: float) -> None:
    labels = [[np.nan if c == "." else int(c) for c in row] for row in KRIPPENDORFF]
    found = annotators.krippendorff_alpha(np.array(labels).T, scale)
    assert found == pytest.approx(alpha, abs=5e-4)


def test_dawid_and_skene_on_their_anaesthetists() -> None:
    rows = ANAESTHESIA.split()
    counts = np.zeros((45, 5, 4), np.int64)
    for item, row in enumerate(rows):
        for place, label in enumerate(row):
            counts[item, max(0, place - 2), int(label) - 1] += 1
    fit = dawid_skene(counts)
    assert fit.converged
    # their table 2: the classes' shares
    assert fit.marginals == pytest.approx([0.40, 0.42, 0.11, 0.07], abs=5e-3)
    # Counted by hand: patients 2, 11 and 36 are of class 4, and observer 1 said 333, 444 and 433.
    assert (np.flatnonzero(fit.posterior[:, 3] > 0.99) + 1).tolist() == [2, 11, 36]
    assert fit.error_rates[0, 3] == pytest.approx([0, 0, 5 / 9, 4 / 9], abs=5e-3)
    # a fixed point of their equation 2.5, written out as a product
    for item in range(45):
        said = (fit.error_rates ** counts[item][:, None, :]).prod(axis=(0, 2)) * fit.marginals
        assert fit.posterior[item] == pytest.approx(said / said.sum(), abs=1e-6)
    assert fit.error_rates.sum(axis=2) == pytest.approx(1)
    assert fit.posterior.sum(axis=1) == pytest.approx(1)


def _counts(rows: list[list[int | None]], classes: int = 2) -> np.ndarray:
    """Return (items, annotators, classes) of rows with one label, or None, by each annotator."""
    identity = np.eye(classes, dtype=np.int64)
    nothing = np.zeros(classes, np.int64)
    return np.array([[nothing if x is None else identity[x] for x in row] for row in rows])


def test_dawid_skene_keeps_a_class_at_nought_that_an_annotator_never_met() -> None:
    counts = _counts([[0, 0, None]] * 6 + [[1, 1, None]] * 2 + [[None, None, 1]] * 4)
    fit = dawid_skene(counts)
    assert fit.posterior[:, 1] == pytest.approx([0] * 6 + [1] * 6)
    assert np.isnan(fit.error_rates[2, 0]).all()
    assert fit.marginals == pytest.approx([0.5, 0.5])


def test_dawid_skene_takes_annotators_who_share_no_item_at_their_word() -> None:
    labels = [0, 1, 0, 1, 1, 1]
    rows = [[x, None, None] for x in labels[:2]] + [[None, x, None] for x in labels[2:4]]
    rows += [[None, None, x] for x in labels[4:]]
    fit = dawid_skene(_counts(rows))
    assert fit.posterior.argmax(axis=1).tolist() == labels
    assert fit.posterior.max(axis=1) == pytest.approx(1)


def test_dawid_skene_follows_the_reliable_annotator() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 2, 1000)
    accuracies = (0.95, 0.9, 0.6, 0.6, 0.6)
    said = [np.where(draw.random(1000) < p, truth, 1 - truth) for p in accuracies]
    counts = np.stack([np.eye(2, dtype=np.int64)[column] for column in said], axis=1)
    fit = dawid_skene(counts)
    majority = counts.sum(axis=1).argmax(axis=1)
    assert (fit.posterior.argmax(axis=1) == truth).mean() > (majority == truth).mean() + 0.05
    diagonal = [fit.error_rates[k].trace() / 2 for k in range(5)]
    assert diagonal == pytest.approx(accuracies, abs=0.08)


def test_dawid_skene_refuses_an_item_without_labels() -> None:
    with pytest.raises(ValueError, match="label by someone"):
        dawid_skene(np.zeros((2, 2, 2), np.int64))


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    anna = [{"id": i, "prompt": "=p", "labels": {"safety": v}} for i, v in enumerate([1, 3, 3, 2])]
    ben = [{"id": str(i), "labels": {"safety": v}} for i, v in enumerate([1, 1, 3])]
    cora = tmp_path / "cora.csv"
    cora.write_text("id,safety\n0,1\n1,3\n2,3\n3,\n9,3\n", encoding="utf-8")
    return [write(tmp_path / "anna.jsonl", anna), write(tmp_path / "ben.jsonl", ben), cora]


def test_files_are_merged_by_id(files: list[Path]) -> None:
    read = annotators.read_annotators(files, dimension="safety")
    assert read.annotators == ("anna", "ben", "cora")
    assert dict(zip(read.ids, read.labels, strict=True)) == {
        "0": (1, 1, 1),
        "1": (3, 1, 3),
        "2": (3, 3, 3),
        "3": (2, None, None),
        "9": (None, None, 3),
    }
    assert annotators.majority_labels(read) == [1, 3, 3, 2, 3]
    figures = annotators.agreement_figures(read)
    assert figures["rows"] == 5
    assert figures["labelled_by_all"] == 3
    assert figures["percent"] == pytest.approx(100 * 7 / 9)
    assert figures["pairs"]["anna / cora"]["cohen_kappa"] == pytest.approx(1)
    (row,) = annotators.disagreements(read, annotators.majority_labels(read))
    assert row == {"id": "1", "prompt": "=p", "anna": 3, "ben": 1, "cora": 3, "label": 3}


def test_texts_under_one_id_must_be_the_same(tmp_path: Path) -> None:
    from scorer.evaluation.sheets import write_sheet

    long = "长" * 40_000
    first = write(tmp_path / "a.jsonl", [{"id": "x", "label": 1, "prompt": "问", "response": long}])
    sheet = tmp_path / "b.csv"
    write_sheet(sheet, ["id", "prompt", "response", "label"], [("x", " 问\n", long, 1)])
    assert annotators.read_annotators([first, sheet]).ids == ("x",)  # cut, but the same
    other = write(tmp_path / "c.jsonl", [{"id": "x", "label": 1, "response": "别的"}])
    with pytest.raises(RowError, match=r"c\.jsonl:1: response: '别的' is not '长"):
        annotators.read_annotators([first, other])


@pytest.mark.parametrize("name", ["label", "prompt", "response", "id", "merged"])
def test_an_annotator_does_not_take_a_column_of_ours(tmp_path: Path, name: str) -> None:
    paths = [write(tmp_path / f"{n}.jsonl", [{"id": "x", "label": 1}]) for n in ("a", name)]
    with pytest.raises(DataError, match=f"an annotator called '{name}'"):
        annotators.read_annotators(paths)


def test_a_tie_has_no_majority(tmp_path: Path) -> None:
    a = write(tmp_path / "a.jsonl", [{"id": "x", "label": 1}])
    b = write(tmp_path / "b.jsonl", [{"id": "x", "label": 3}])
    assert annotators.majority_labels(annotators.read_annotators([a, b])) == [None]


def test_the_command_writes_everything(files: list[Path], tmp_path: Path) -> None:
    from scorer.result import DimensionScore, Score

    def score(level: int) -> dict[str, Any]:
        dimension = DimensionScore(level, level == 3, {1: 0.5, 2: 0.2, 3: 0.3}, 0.3)
        return Score(True, 0.5, False, {"safety": dimension}, False, "balanced", "m 1").to_dict()

    scored = write(
        tmp_path / "scored.jsonl",
        [
            *({"id": i, "harmlessness": score(v)} for i, v in enumerate([1, 3, 1, 2])),
            {"id": 9, "error": "timeout"},
            {"id": "other", "harmlessness": score(1)},
        ],
    )
    out, apart = tmp_path / "out.json", tmp_path / "apart.xlsx"
    arguments = [*files, "--dimension", "safety", "-o", out, "--disagreements", apart]
    arguments += ["--scored", scored, "--merge", "dawid-skene", "--labels", tmp_path / "l.jsonl"]
    result = CliRunner().invoke(cli, ["benchmark", "annotators", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["scorer"]["anna"]["n"] == 4
    assert figures["scorer"]["anna"]["percent"] == 75
    assert figures["disagreements"] == 1
    assert "scorer / merged" in result.output
    assert figures["scorer"]["dropped"] == {
        "not annotated": 1,
        "failed": 1,
        "annotated without a score": 1,
    }
    assert "left out of the scorer's agreement: 1 rows failed" in result.output
    wrong = [{"id": 0, "prompt": "other", "harmlessness": score(1)}]
    arguments[arguments.index(scored)] = write(tmp_path / "wrong.jsonl", wrong)
    refused = CliRunner().invoke(cli, ["benchmark", "annotators", *map(str, arguments)])
    assert refused.exit_code == 2
    assert "wrong.jsonl:1: prompt: 'other' is not '=p'" in refused.output
    labels = [json.loads(line) for line in (tmp_path / "l.jsonl").read_text().splitlines()]
    assert [row["id"] for row in labels] == ["0", "1", "2", "3", "9"]
    from scorer.evaluation.sheets import read_sheet

    ((_, row),) = read_sheet(apart)
    assert row["prompt"] == "=p"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"label": 1}], r"b\.jsonl:1: id: must be a text or a number, not None"),
        ([{"id": 1, "label": 1}, {"id": "1", "label": 2}], r"b\.jsonl:2: id: '1' is in line 1 too"),
        ([{"id": 1, "label": 1.5}], r"b\.jsonl:1: label: must be .*, not 1\.5"),
        ([{"id": 1, "label": True}], r"label: must be .*, not True"),
        ([[1]], r"b\.jsonl:1: a row must be a JSON object"),
    ],
)
def test_broken_rows_are_named(tmp_path: Path, rows: list[Any], message: str) -> None:
    good = write(tmp_path / "a.jsonl", [{"id": 1, "label": 1}])
    with pytest.raises(RowError, match=message):
        annotators.read_annotators([good, write(tmp_path / "b.jsonl", rows)])


def test_files_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    good = write(tmp_path / "a.jsonl", [{"id": 1, "label": 1}])
    with pytest.raises(DataError, match="two annotators or more"):
        annotators.read_annotators([good])
    with pytest.raises(DataError, match="same file name"):
        annotators.read_annotators([good, good])
    with pytest.raises(DataError, match="no row has a label under 'label'"):
        annotators.read_annotators([good, write(tmp_path / "b.jsonl", [{"id": 1}])])
    words = write(tmp_path / "c.jsonl", [{"id": 1, "label": "safe"}])
    with pytest.raises(DataError, match="integers in some rows and texts in others"):
        annotators.read_annotators([good, words])
    other = write(tmp_path / "d.jsonl", [{"id": 1, "label": "unsafe"}])
    read = annotators.read_annotators([words, other])
    with pytest.raises(DataError, match="use --scale nominal"):
        annotators.agreement_figures(read)
    assert annotators.agreement_figures(read, "nominal")["percent"] == 0
