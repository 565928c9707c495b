import io
from collections.abc import Mapping
from pathlib import Path

import pytest
from rich.console import Console

from scorer.data.check import (
    CONTRADICTION,
    DUPLICATE,
    EMPTY,
    INVALID,
    LONG,
    SHARED,
    SHOWN_PLACES,
    Report,
    check,
    level_rows,
    render,
)
from scorer.data.jsonl import write_jsonl
from scorer.data.splits import split_key, split_of
from scorer.errors import DataError


def report_on(folder: Path, *rows: Mapping[str, object], **options: int) -> Report:
    write_jsonl(folder / "rows.jsonl", rows)
    return check([folder / "rows.jsonl"], **options)  # type: ignore[arg-type]


def row(prompt: str, response: str, split: str = "train", **labels: int) -> dict[str, object]:
    return {"prompt": prompt, "response": response, "split": split, "labels": labels}


def kinds(report: Report) -> dict[object, int]:
    return {problem.kind: problem.count for problem in report.problems}


def test_sound_rows(tmp_path: Path) -> None:
    report = report_on(
        tmp_path,
        row("甲", "一", fairness=1),
        row("甲", "二", fairness=3, overall=3),
        row("乙", "一", split="dev", legality=3),
    )
    assert report.problems == ()
    assert (report.rows, report.prompts, report.failed(strict=True)) == (3, 2, False)
    table = {(name, level): counts for name, level, counts in level_rows(report)}
    assert table["fairness", 1] == table["fairness", 3] == table["overall", 3] == (1, 0, 0)
    assert table["legality", 3] == (0, 1, 0)
    assert table["safety", 2] == (0, 0, 0)


def test_shared_prompts(tmp_path: Path) -> None:
    report = report_on(
        tmp_path,
        row("你好吗？", "一"),
        row("你好吗", "二", split="dev"),
        row("你好，吗", "三", split="test"),
        row("", "评论", split="train"),
        row("", "评论。", split="test"),
    )
    assert kinds(report) == {SHARED: 2}
    assert report.problems[0].places[0].endswith("rows.jsonl:1 (train)")
    assert report.without_prompt == 2
    assert report.failed()


def test_rows_without_a_split_count_where_the_hash_puts_them(tmp_path: Path) -> None:
    split = split_of(split_key("你好", ""))
    other = next(name for name in ("train", "dev") if name != split)
    sound = report_on(tmp_path, row("你好", "一", split="", fairness=3), row("你好", "二", split))
    assert (sound.problems, sound.without_split) == ((), 1)
    assert sound.levels == {("fairness", 3, split): 1}
    assert kinds(report_on(tmp_path, row("你好", "一", split=""), row("你好", "二", other))) == {
        SHARED: 1
    }


def test_duplicates_and_contradictions(tmp_path: Path) -> None:
    report = report_on(
        tmp_path,
        row("甲", "答", fairness=1),
        row("甲！", "答 ", fairness=1),
        row("甲", "答", safety=2),
        row("甲", "答", fairness=3),
        row("甲", "答", safety=1, morality=3),
        row("甲", "别的", fairness=3),
    )
    assert kinds(report) == {CONTRADICTION: 2, DUPLICATE: 2}
    contradiction = report.problems[0]
    assert contradiction.places[0].endswith("fairness 3 and 1")
    assert contradiction.places[1].endswith("safety 1 and 2")
    assert report.failed()


def test_texts(tmp_path: Path) -> None:
    rows = [row("甲", " "), row("乙", "长" * 11), row("长" * 11, "答"), row("丙", "长" * 10)]
    report = report_on(tmp_path, *rows, max_characters=10)
    assert kinds(report) == {EMPTY: 1, LONG: 2}
    assert report.problems[1].places[1].endswith("rows.jsonl:3: prompt of 11 characters")
    assert not report.failed()
    assert report.failed(strict=True)


def test_invalid_rows_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    good = b'{"prompt": "a", "response": "b"}\n'
    path.write_bytes(good + b"{]\n" + b'{"prompt": 1}\n' + b'{"prompt": "\xff"}\n')
    report = check([path])
    assert (report.rows, report.unlabelled, kinds(report)) == (1, 1, {INVALID: 3})
    assert f"{path}:2: no valid JSON" in report.problems[0].places[0]
    assert report.failed()


def test_files_are_taken_together(tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl.gz"
    write_jsonl(one, [row("甲", "答")])
    write_jsonl(other, [row("甲", "答", split="test")])
    assert kinds(check([one, other])) == {SHARED: 1, DUPLICATE: 1}
    with pytest.raises(DataError, match="cannot be opened"):
        check([tmp_path / "none.jsonl"])


def test_lone_surrogates_do_not_stop_it(tmp_path: Path) -> None:
    assert report_on(tmp_path, row("\ud800", "\udfff")).rows == 1


def test_rendering(tmp_path: Path) -> None:
    rows = [row("甲", "[red]答", fairness=1) for _ in range(SHOWN_PLACES + 3)]
    console = Console(width=80, file=io.StringIO())
    with console.capture() as captured:
        console.print(render(report_on(tmp_path, *rows)), crop=False)
    text = captured.get()
    assert f"warning {SHOWN_PLACES + 2} × duplicate: the same pair again" in text
    assert "… and 2 more" in text
    assert "8 rows, 1 different prompts" in text
    assert f"{tmp_path}/rows.jsonl:3 and {tmp_path}/rows.jsonl:1\n" in text
