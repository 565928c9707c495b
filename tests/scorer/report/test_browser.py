"""The page in headless Chromium; skipped where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scorer.report import Table, from_rows, render

Row = Callable[..., dict[str, Any]]

COUNT = "document.querySelectorAll('#list > li').length"
HOSTILE = {
    "script": "</script><script>window.bad = 1</script><img src=x onerror='window.bad = 2'>",
    "link": "<a href='http://example.com/'>x</a><iframe src='http://example.com/'></iframe>",
    "style": "<style>body { display: none }</style><svg onload='window.bad = 3'>",
    "formula": '=HYPERLINK("http://example.com/","x")',
    "control": "\x00\x1b[2Jabc\u202edcba\u2066",
    "template": "{{ constructor.constructor('window.bad = 4')() }}${window.bad = 5}",
}


def answers(scored_row: Row) -> list[dict[str, Any]]:
    rows = [
        scored_row(f"问题{i}", f"平常的回答{i}", {"safety": 1} if i < 4 else {}, 3 <= i < 8)
        for i in range(60)
    ]
    rows += [scored_row(name, text, {"fairness": 2}, source=name) for name, text in HOSTILE.items()]
    rows.append(scored_row("很长", "长" * 1_000_000, {"legality": 1}))
    return rows


@pytest.fixture(scope="module")
def page(scored_row: Row, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = answers(scored_row)
    models = [
        from_rows([(None, row | {"labels": {"safety": 3}}) for row in rows], "甲<script>"),
        from_rows([(None, row) for row in rows[:10]], "乙"),
    ]
    tables = [Table("<script>window.bad = 6</script>", ["a"], [["<b onclick='x'>"]])]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(models, tables), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser: Any, page: Path) -> Any:
    browser.size(1280)
    browser.open(page)
    return browser


def choose(browser: Any, field: str, value: str) -> None:
    browser.run(
        f"{{ const e = document.getElementById({field!r}); e.value = {value!r}; "
        "e.dispatchEvent(new Event('change', {bubbles: true})); }"
    )


def search(browser: Any, text: str) -> None:
    browser.run(
        f"{{ const e = document.getElementById('search'); e.value = {text!r}; "
        "e.dispatchEvent(new Event('input', {bubbles: true})); }"
    )


def test_renders_without_errors_and_asks_nobody(opened: Any, page: Path) -> None:
    assert opened.run(COUNT) == 20
    assert opened.run("document.querySelectorAll('svg.plot').length") >= 5
    assert opened.run("window.bad ?? null") is None
    assert (
        opened.run("document.querySelectorAll('#list img, iframe, #list a, #list svg').length") == 0
    )
    assert opened.requests == [page.as_uri()]
    assert opened.console == []


def test_the_watch_on_console_and_requests_works(browser: Any, tmp_path: Path) -> None:
    # The test above could not fail if this one did.
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<script type="application/json" id="data"></script><img src="missing.png">'
        "<script>undefinedName()</script>",
        encoding="utf-8",
    )
    browser.open(bad)
    assert any(address.endswith("missing.png") for address in browser.requests)
    assert any("undefinedName" in message for message in browser.console)


def test_the_policy_stops_what_is_not_ours(browser: Any, page: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    added = "<script>window.bad = 1</script><img src='http://127.0.0.1:9/x.png'></body>"
    changed.write_text(page.read_text(encoding="utf-8").replace("</body>", added), encoding="utf-8")
    browser.open(changed)
    assert browser.run("window.bad ?? null") is None
    assert sum("Content Security Policy" in message for message in browser.console) == 2


def test_hostile_answers_show_as_text(opened: Any) -> None:
    for name, text in HOSTILE.items():
        if name == "control":
            continue
        search(opened, name)
        found = opened.run("[...document.querySelectorAll('.text')].map((e) => e.textContent)")
        assert text in found
    search(opened, "control")
    shown = opened.run("[...document.querySelectorAll('.text')].map((e) => e.textContent)")
    assert "⟦U+0000⟧⟦U+001B⟧[2Jabc⟦U+202E⟧dcba⟦U+2066⟧" in shown
    assert opened.run("window.bad ?? null") is None
    assert opened.console == []


def test_a_megabyte_is_shortened_with_a_note(opened: Any) -> None:
    search(opened, "很长")
    assert opened.run("document.querySelector('.omitted').textContent") == (
        "998,000 characters left out"
    )
    assert opened.run("document.querySelector('#list .text:not(:has(mark))').clientHeight") < 300


def test_search_and_filters(opened: Any) -> None:
    count = "document.getElementById('count').textContent"
    assert opened.run(count) == "77 of 77 answers"
    search(opened, "平常 回答59")
    assert opened.run(count) == "1 of 77 answers"
    assert opened.run("document.querySelector('mark').textContent") == "平常"
    search(opened, "nowhere")
    assert opened.run(count) == "No answer matches."
    search(opened, "")
    choose(opened, "model", "1")
    assert opened.run(count) == "10 of 77 answers"
    choose(opened, "dimension", "1")  # safety
    choose(opened, "level", "1")
    assert opened.run(count) == "4 of 77 answers"
    opened.run("document.getElementById('uncertain').click()")
    assert opened.run(count) == "1 of 77 answers"
    opened.run("document.querySelector('#filters [type=reset]').click()")
    opened.run("new Promise((done) => setTimeout(done, 50))")
    assert opened.run(count) == "77 of 77 answers"


def test_order_and_more(opened: Any) -> None:
    first = "document.querySelector('#list .text').textContent"
    assert opened.run("document.querySelector('#list > li').className") == "harmful"
    choose(opened, "sort", "uncertainFirst")
    assert opened.run("document.querySelector('.badge.doubt').textContent") == "uncertain"
    choose(opened, "sort", "fileOrder")
    assert opened.run(first) == "问题0"
    opened.run("document.getElementById('more').click()")
    assert opened.run(COUNT) == 40


@pytest.mark.parametrize(
    ("language", "title"), [("zh-CN", "无害性评测报告"), ("en-GB", "Harmlessness report")]
)
def test_language_of_the_browser_and_switch(
    browser: Any, page: Path, language: str, title: str
) -> None:
    browser.open(page, language)
    try:
        assert browser.run("document.title") == title
        assert browser.run("document.querySelector('h1').innerText") == title
        words = browser.run("document.querySelector('#plot-rate svg').getAttribute('aria-label')")
        assert ("安全" in words) == (language == "zh-CN")
        other = "en" if language == "zh-CN" else "zh"
        browser.run(f"document.querySelector('[data-language={other}]').click()")
        assert browser.run("document.title") != title
    finally:
        browser.run("localStorage.clear()")


def test_dark_by_preference_and_by_switch(opened: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    ink = "getComputedStyle(document.querySelector('#plot-rate svg text')).fill"
    light = (opened.run(ground), opened.run(ink))
    opened.prefer("dark")
    try:
        dark = (opened.run(ground), opened.run(ink))
        assert all(one != other for one, other in zip(light, dark, strict=True))
        opened.run("document.querySelector('[data-choice=light]').click()")
        assert (opened.run(ground), opened.run(ink)) == light
    finally:
        opened.prefer("light")
        opened.run("localStorage.clear()")


@pytest.mark.parametrize("width", [1280, 768, 390, 320])
def test_nothing_is_wider_than_the_window(browser: Any, page: Path, width: int) -> None:
    browser.size(width)
    browser.open(page, "zh-CN")
    assert browser.run("document.documentElement.scrollWidth") <= width


def test_print_shows_no_controls(opened: Any) -> None:
    opened.call("Emulation.setEmulatedMedia", media="print")
    try:
        hidden = "getComputedStyle(document.getElementById('filters')).display"
        assert opened.run(hidden) == "none"
        assert opened.run("document.querySelector('.text').offsetHeight") > 0
    finally:
        opened.call("Emulation.setEmulatedMedia", media="")
