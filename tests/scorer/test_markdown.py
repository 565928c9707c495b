from __future__ import annotations

import pytest

from scorer.evaluation.markdown import Table, p_text, print_tables, with_interval


def test_a_cell_cannot_break_its_table() -> None:
    table = Table("Two", ["model", "rate"], [["a|b\nc", "1.0"]])
    assert table.markdown().splitlines() == [
        "**Two**",
        "",
        "| model | rate |",
        "| --- | --- |",
        "| a\\|b c | 1.0 |",
    ]


def test_a_cell_becomes_no_html_and_no_escape() -> None:
    table = Table("<b>", ["<i>", "p"], [["a\\|<script>", "<0.001"]])
    assert table.markdown().splitlines() == [
        "**&lt;b>**",
        "",
        "| &lt;i> | p |",
        "| --- | --- |",
        "| a\\\\\\|&lt;script> | <0.001 |",
    ]


def test_terminals_get_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([Table("T\x1b[31m", ["x\x07"], [["a\x1b[2Jb\u202e"]])], ["n\x1b]0;t\x07"])
    printed = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(printed)
    assert "a[2Jb" in printed


def test_printed_tables_show_markup_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([Table("T", ["x"], [["[red]a[/red]"]])], ["[bold]note"])
    printed = capsys.readouterr().out
    assert "[red]a[/red]" in printed
    assert "[bold]note" in printed


def test_figures_as_text() -> None:
    assert with_interval(45.66, [39.14, 52.4]) == "45.7 [39.1, 52.4]"
    assert with_interval(0.5, None, "+.2f") == "+0.50"
    assert with_interval(None, None) == "-"
    assert [p_text(p) for p in (None, 0.0004, 0.0312)] == ["-", "<0.001", "0.031"]
