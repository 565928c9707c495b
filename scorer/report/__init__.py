"""One self-contained HTML page about scored answers."""

from scorer.evaluation.markdown import Table
from scorer.report.answers import Answer, ScoredAnswers, from_rows, read_scored
from scorer.report.page import render, save_figures, write_report

__all__ = [
    "Answer",
    "ScoredAnswers",
    "Table",
    "from_rows",
    "read_scored",
    "render",
    "save_figures",
    "write_report",
]
