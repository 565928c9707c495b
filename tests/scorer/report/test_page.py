"""What the page holds, without a browser: figures, escaping, size, files for a paper, errors."""

from __future__ import annotations

import json
import re
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from scorer.cli import cli
from scorer.errors import MissingExtraError
from scorer.report import (
    ScoredAnswers,
    Table,
    embedding,
    from_rows,
    render,
    save_figures,
    write_report,
)
from scorer.report.commands import report_options

Row = Callable[..., dict[str, Any]]
Write = Callable[..., Path]

MIXED = ({"safety": 1}, {}, {"fairness": 2}, {"responsibility": 2}, {})


def model(scored_row: Row, name: str = "m", n: int = 20, **fields: Any) -> ScoredAnswers:
    rows = [
        scored_row(f"问题{i}", f"回答{i}" * (1 + 40 * i), MIXED[i % 5], i % 4 == 0, **fields)
        for i in range(n)
    ]
    return from_rows([(None, row) for row in rows], name)


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_tables_and_plots_show_the_figures(scored_row: Row) -> None:
    page = render([model(scored_row)], title="Run 7")
    assert "<title>Run 7</title>" in page
    # 4 of 20 harmful on safety, 4 on fairness: 12 harmless as a whole
    assert ">60.0%</dd>" in page
    assert "Safety 80.0% (58.4–91.9, n 20)" in page  # the plot's text for who cannot see it
    assert "安全 80.0% (58.4–91.9, n 20)" in page
    assert '<span class="en">Overall</span><span class="zh" lang="zh">总体</span>' in page


def test_wilson_interval_is_the_published_one(scored_row: Row) -> None:
    # Newcombe 1998 (Statistics in Medicine 17, table I), method 3: 81 of 263
    from scorer.report.statistics import Share

    low, high = Share(81, 263).interval
    assert (round(low / 100, 4), round(high / 100, 4)) == (0.2553, 0.3662)


def test_order_is_the_scorers_and_by_length_whatever_rows_come_first(scored_row: Row) -> None:
    def answers(name: str, rows: list[tuple[str, int]]) -> ScoredAnswers:
        made = [scored_row("问", "答" * n, dimension=d) for d, n in rows]
        return from_rows([(None, row) for row in made], name)

    one = answers("one", [("legality", 900), ("safety", 20)])
    two = answers("two", [("safety", 500), ("fairness", 60)])
    page = render([one, two])

    def shown(plot: str) -> list[str]:
        figure = page.partition(f'id="plot-{plot}"')[2].partition("</figure>")[0]
        return re.findall(r"<text[^>]*>([^<]*)</text>", figure)

    titles = [text for text in shown("rate") if text in ("Fairness", "Safety", "Legality")]
    assert titles == ["Fairness", "Safety", "Legality"]
    assert "Responsibility</span>" not in page.partition('<section id="plots"')[0]
    lengths = [text for text in shown("length") if "–" in text or "≥" in text]
    assert lengths == ["0–49", "50–99", "400–799", "≥ 800"]


def test_labels_bring_reliability_and_confusion(scored_row: Row) -> None:
    without = render([model(scored_row)])
    page = render([model(scored_row, labels={"safety": 3})])
    for name in ("plot-reliability", "plot-confusion"):
        assert name not in without
        assert name in page
    # 4 rows decided 1, 16 decided 3, all annotated 3
    assert "3 → 1 4, 3 → 2 0, 3 → 3 16" in page


def test_several_models_are_compared(scored_row: Row) -> None:
    page = render([model(scored_row, "甲"), model(scored_row, "乙", n=10)])
    assert 'id="plot-models"' in page
    assert {row["m"] for row in embedded(page)["rows"]} == {0, 1}
    assert 'id="model"' in page


def test_more_models_than_colours_become_a_table_of_shades(scored_row: Row) -> None:
    page = render([model(scored_row, f"model {i}", n=6) for i in range(8)])
    assert "Percentages; prompts made for one dimension" in page
    assert "model 7: " in page


def test_given_tables_are_escaped_and_translated(scored_row: Row) -> None:
    table = Table("Ranks <b>", ["Model", "Rank"], [["<img src=x onerror=alert(1)>", "1"]])
    page = render([model(scored_row)], [table])
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert "Ranks &lt;b&gt;" in page
    assert '<span class="zh" lang="zh">名次</span>' in page


def test_page_names_no_address_and_no_inline_style(scored_row: Row) -> None:
    tags = _Tags()
    page = render([model(scored_row, source="s", labels={"safety": 1})])
    tags.feed(page)
    for tag, attributes in tags.seen:
        assert "style" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "action", "data", "poster", "srcset"):
            value = attributes.get(name)
            assert value is None or value.startswith("#") or value == "data:,", (tag, value)
    assert "url(" not in page.replace("url(#", "")
    assert "@import" not in page
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "unsafe" not in policy[1]


HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }} {% raw %}",
    '=HYPERLINK("http://x")',
    "a\u2028b\u2029c",
    "\x00\x07\x1b[31m\x7f",
    "abc\u202edcba",
    "\ud800",
    "a\ufffe\uffff",
    "$\\frac{",
    "_hidden",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_stays_text(scored_row: Row, text: str) -> None:
    row = scored_row(text, text, source=text, kind="b")
    rows = [(None, row), (None, scored_row("问", "答", source="a", kind="c"))]
    models = [from_rows(rows, text), from_rows(rows[1:], "b")]
    page = render(models, [Table(text, [text], [[text]])], title=text)
    page.encode("utf-8")
    assert page.count("<script") == 2
    assert page.count("</script") == 2
    assert not re.search(
        r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", page
    )
    held = embedded(page)["rows"][0]
    if "⟦" not in held["p"]:
        assert (held["p"], held["r"]) == (text, text)
    else:
        assert all(f"U+{ord(c):04X}" in held["p"] for c in text if not c.isprintable())


def test_text_of_a_megabyte_is_shortened(scored_row: Row) -> None:
    page = render([from_rows([(None, scored_row("问", "长" * 1_000_000 + "完"))], "m")])
    head, omitted, tail = embedded(page)["rows"][0]["r"]
    assert len(head) + len(tail) + omitted == 1_000_001
    assert tail.endswith("完")
    assert len(page.encode()) < 200_000


def test_a_thousand_answers_stay_far_under_five_megabytes(scored_row: Row) -> None:
    answer = "这是一个长度比较真实的回答，分成几段来说明问题。" * 25  # 600 characters
    levels = {"safety": 3, "fairness": 2}
    rows = [
        (None, scored_row(f"问题{i}", f"{i}{answer}", MIXED[i % 5], labels=levels, source="s"))
        for i in range(1000)
    ]
    page = render([from_rows(rows, "m")])
    assert len(embedded(page)["rows"]) == 1000
    assert len(page.encode()) < 3_500_000


def test_of_more_answers_than_fit_the_most_harmful_and_uncertain_are_kept(
    scored_row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "EMBEDDED_BYTES", 4000)
    rows = [scored_row(f"{i}", "答", {"safety": 1} if i == 70 else {}, i == 90) for i in range(100)]
    page = render([from_rows([(None, row) for row in rows], "m")])
    kept = [row["p"] for row in embedded(page)["rows"]]
    assert {"70", "90"} <= set(kept)
    assert kept == sorted(kept, key=int)
    assert 10 < len(kept) < 60
    assert f"{len(kept)} of 100 answers" in page


def test_the_same_answers_give_the_same_page(scored_row: Row) -> None:
    assert render([model(scored_row)]) == render([model(scored_row)])


@pytest.mark.parametrize(
    ("names", "message"),
    [((), "at least one model"), (("a", "a"), "two models have the name 'a'")],
)
def test_callers_mistakes(scored_row: Row, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        render([model(scored_row, name, n=2) for name in names])


def test_a_missing_extra_names_its_install_line(
    scored_row: Row, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'harmlessness-scorer\[report\]'"):
        render([model(scored_row, n=2)])


def test_figures_for_a_paper(scored_row: Row, tmp_path: Path) -> None:
    from PIL import Image

    table = Table("With a | pipe", ["a|b"], [["c\nd|"], ["<b>1 <0.5"]])
    paths = save_figures([model(scored_row, labels={"safety": 3})], tmp_path, [table])
    names = {path.name for path in paths}
    assert {"rate.png", "rate.svg", "levels.png", "confusion.svg", "tables.md"} <= names
    assert names == {path.name for path in tmp_path.iterdir()}
    with Image.open(tmp_path / "rate.png") as image:
        assert image.width > 900
        assert image.convert("RGBA").getpixel((0, 0)) == (255, 255, 255, 255)
    words = "".join(ET.parse(tmp_path / "rate.svg").getroot().itertext())
    assert "Data protection" not in words  # the rows have no such dimension
    assert "Responsibility" in words
    markdown = (tmp_path / "tables.md").read_text(encoding="utf-8")
    assert "| Safety | 20 | 80.0 | 58.4–91.9 | 2.60 | 20.0 | 0.0 | 80.0 |" in markdown
    assert "| a\\|b |" in markdown
    assert "| c d\\| |" in markdown
    assert "| &lt;b>1 <0.5 |" in markdown


def test_command_writes_page_and_figures(
    scored_row: Row, write_rows: Write, tmp_path: Path
) -> None:
    rows = [scored_row("问", f"答{i}", MIXED[i % 5], topic="ab"[i % 2]) for i in range(6)]
    first, second = write_rows(rows, "a.scored.jsonl"), write_rows(rows[:3], "b.jsonl")
    out, folder = tmp_path / "out.html", tmp_path / "figures"
    arguments = [str(first), str(second), "-o", str(out), "--save-dir", str(folder)]
    options = ["--name", "甲", "--name", "乙", "--title", "对比", "--slice", "topic"]
    result = CliRunner().invoke(cli, ["report", *arguments, *options])
    assert result.exit_code == 0, result.output
    page = out.read_text(encoding="utf-8")
    assert "<title>对比</title>" in page
    assert embedded(page)["models"] == ["甲", "乙"]
    assert (folder / "slice-topic.png").is_file()


def test_command_names_what_is_wrong(scored_row: Row, write_rows: Write, tmp_path: Path) -> None:
    path, out = str(write_rows([scored_row("问", "答")])), str(tmp_path / "out.html")
    twice = CliRunner().invoke(cli, ["report", path, path, "-o", out])
    assert twice.exit_code == 2
    assert "two files are of the model 'rows'" in twice.output
    names = CliRunner().invoke(cli, ["report", path, "-o", out, "--name", "a", "--name", "b"])
    assert "--name is given 2 times for 1 files" in names.output
    broken = str(write_rows([{"prompt": "问", "response": "答"}], "broken.jsonl"))
    unscored = CliRunner().invoke(cli, ["report", broken, "-o", out])
    assert unscored.exit_code == 2
    assert "broken.jsonl:1: harmlessness: missing" in unscored.output
    field = CliRunner().invoke(cli, ["report", path, "-o", out, "--slice", "topic"])
    assert "no row has the field 'topic' of --slice" in field.output
    assert not Path(out).exists()


def test_options_for_other_commands(scored_row: Row, write_rows: Write, tmp_path: Path) -> None:
    seen: list[object] = []

    @click.command()
    @report_options
    def command(report: Path | None, save_dir: Path | None) -> None:
        seen.append((report, save_dir))
        write_report([model(scored_row, n=3)], report, save_dir)

    page, folder = tmp_path / "out.html", tmp_path / "figures"
    result = CliRunner().invoke(command, ["--report", str(page), "--save-dir", str(folder)])
    assert result.exit_code == 0, result.output
    assert page.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert (folder / "rate.png").is_file()
    CliRunner().invoke(command, [])
    assert seen == [(page, folder), (None, None)]
