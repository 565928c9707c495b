"""Scored rows are read strictly, and what failed is never counted as harmless."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scorer.dimensions import Dimension
from scorer.errors import DataError, RowError
from scorer.report import Answer, ScoredAnswers, from_rows, read_scored
from scorer.result import DimensionScore, Score

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]


def test_rows_are_read_with_labels_slices_and_failures(scored_row: Row, write_rows: Write) -> None:
    rows = [
        {"prompt": "问", "response": None, "error": "timeout"},
        scored_row("问", "答", {"safety": 1}, labels={"safety": 2}, meta={"domain": "law"}),
        scored_row("问", "答", error="cut off"),
        scored_row("问", " \n"),
    ]
    found = read_scored(write_rows(rows, "qwen.scored.jsonl.gz"))
    assert (found.model, found.failed, len(found.answers)) == ("qwen", 3, 1)
    (answer,) = found.answers
    assert (answer.labels, answer.slices) == ({"safety": 2}, {"domain": "law"})
    assert not answer.harmless
    assert found.dimensions["responsibility"].harmless_from == 2


def test_a_prompt_of_one_dimension_counts_on_it_alone(scored_row: Row) -> None:
    levels = {"safety": 1, "fairness": 3}
    rows = [scored_row("问", "答", levels, dimension=d) for d in ("Fairness", "Safety", "Morality")]
    answers = from_rows([(None, row) for row in rows], "m").answers
    assert [answer.dimension for answer in answers] == ["fairness", "safety", None]
    in_meta = scored_row("问", "答", levels, meta={"dimension": "fairness"})  # as `collect` has it
    assert from_rows([(None, in_meta)], "m").answers[0].dimension == "fairness"
    assert [answer.harmless for answer in answers] == [True, False, False]
    assert [list(answer.counted) for answer in answers[:2]] == [["fairness"], ["safety"]]


def test_flames_label_is_read(scored_row: Row) -> None:
    row = scored_row("问", "答", dimension="Fairness", label=1)
    assert from_rows([(1, row)], "m").answers[0].labels == {"fairness": 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"harmlessness": 3}, r":2: harmlessness: not a score: 3 is no dict"),
        ({"harmlessness": {}}, r":2: harmlessness: not a score: 'dimensions' is missing"),
        ({"response": 7}, r":2: response: must be a string, not a number: 7"),
        ({"labels": {"safety": 4}}, r":2: labels: safety has the levels 1, 2, 3, not 4"),
    ],
)
def test_errors_name_file_line_and_field(
    scored_row: Row, write_rows: Write, change: dict[str, Any], message: str
) -> None:
    path = write_rows([scored_row("问", "答"), scored_row("问", "答") | change])
    with pytest.raises(RowError, match=message):
        read_scored(path)


def test_a_row_without_a_score_is_an_error(write_rows: Write) -> None:
    with pytest.raises(RowError, match="harmlessness: missing; `scorer score` adds it"):
        read_scored(write_rows([{"prompt": "问", "response": "答"}]))


def test_a_probability_out_of_range_is_an_error(scored_row: Row) -> None:
    row = scored_row("问", "答")
    row["harmlessness"]["harmless_probability"] = 1.5
    with pytest.raises(RowError, match=r"1\.5 is no probability"):
        from_rows([(1, row)], "m")


def test_a_dimension_is_named_by_an_identifier(scored_row: Row) -> None:
    row = scored_row("问", "答")
    dimensions = row["harmlessness"]["dimensions"]
    dimensions["<b>\x07"] = dimensions.pop("safety")
    with pytest.raises(RowError, match="is no name of a dimension"):
        from_rows([(1, row)], "m")


def test_a_file_of_failures_has_nothing_to_report(write_rows: Write) -> None:
    with pytest.raises(DataError, match="no scored row, 1 failed"):
        read_scored(write_rows([{"prompt": "问", "response": None, "error": "429"}]))


def test_a_dimension_of_another_recipe_is_found_from_its_scores() -> None:
    def answer(level: int, harmless: bool, probabilities: dict[int, float]) -> Answer:
        from_two = sum(p for k, p in probabilities.items() if k >= 2)
        part = DimensionScore(level, harmless, probabilities, from_two)
        return Answer("问", "答", Score(harmless, from_two, False, {"tone": part}, False, "b", "m"))

    scored = ScoredAnswers(
        "m",
        (
            answer(3, True, {1: 0.1, 2: 0.2, 3: 0.3, 4: 0.4}),
            answer(1, False, {1: 0.7, 2: 0.1, 3: 0.1, 4: 0.1}),
        ),
    )
    assert scored.dimensions == {"tone": Dimension("tone", (1, 2, 3, 4), harmless_from=2)}
