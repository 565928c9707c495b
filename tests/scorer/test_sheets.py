from __future__ import annotations

import csv
import zipfile
from pathlib import Path

import openpyxl
import pytest

from scorer.errors import DataError, RowError
from scorer.evaluation.sheets import (
    MAX_CELL,
    original_text,
    read_sheet,
    safe_cell,
    write_sheet,
)

HOSTILE = [
    "=1+1",
    '=HYPERLINK("http://x.invalid","a")',
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "  =1",
    "＝1+1",
    "'=1",
    "'quoted",
    "''",
    "a\x00b\x1b[31mc\x7f",
    "a\r\nb",
    "⟦U+0000⟧",
    "⟦U+27E6⟧",
    "\ud800",
    "\u202eevil",
    "_x0041_",
    "plain，中文 😀",
    'a,b;"c"\nd',
    "1e5",
    "001",
    "2024-01-01",
    "<script>alert(1)</script>",
]


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_hostile_text_comes_back_as_it_was_and_is_no_formula(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sheet{suffix}"
    write_sheet(path, ["n", "text"], [(i, text) for i, text in enumerate(HOSTILE)])
    assert [row["text"] for _, row in read_sheet(path)] == HOSTILE


def test_no_cell_begins_as_a_formula(tmp_path: Path) -> None:
    path = tmp_path / "sheet.csv"
    write_sheet(path, ["text"], [(text,) for text in HOSTILE])
    with path.open(encoding="utf-8-sig", newline="") as stream:
        cells = [row[0] for row in csv.reader(stream)]
    for cell in cells:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r", "＝"))
        assert not any(ord(c) < 32 and c != "\n" for c in cell)


def test_an_xlsx_holds_strings_alone(tmp_path: Path) -> None:
    path = tmp_path / "sheet.xlsx"
    write_sheet(path, ["text"], [(text,) for text in HOSTILE], {"text": ["a", "b"]})
    sheet = openpyxl.load_workbook(path).active
    assert {cell.data_type for (cell,) in sheet.iter_rows()} == {"s"}
    with zipfile.ZipFile(path) as archive:
        assert b"<f>" not in archive.read("xl/worksheets/sheet1.xml")
    assert [v.formula1 for v in sheet.data_validations.dataValidation] == ['"a,b"']


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
@pytest.mark.parametrize("text", ["长" * 1_000_000, "😀" * 500_000, "=\x00" * 500_000])
def test_a_megabyte_is_cut_and_says_so(tmp_path: Path, suffix: str, text: str) -> None:
    path = tmp_path / f"sheet{suffix}"
    write_sheet(path, ["text", "id"], [(text, "x")])
    ((_, row),) = read_sheet(path)
    assert row["id"] == "x"
    assert "UTF-16 units in all" in row["text"]
    assert row["text"].startswith(text[:100])
    assert len(safe_cell(text).encode("utf-16-le")) // 2 <= MAX_CELL


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_names_of_columns_are_made_safe_too(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"sheet{suffix}"
    write_sheet(path, ["=1+1", "a\x1bb"], [("x", "y")])
    assert list(read_sheet(path)) == [(2, {"=1+1": "x", "a\x1bb": "y"})]
    if suffix == ".csv":
        assert "'=1+1" in path.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml"])
@pytest.mark.parametrize("content", [b"", b"<a><b></a>", b"half", None])
def test_a_damaged_xlsx_is_named(tmp_path: Path, part: str, content: bytes | None) -> None:
    path, bad = tmp_path / "good.xlsx", tmp_path / "bad.xlsx"
    write_sheet(path, ["a"], [("x",)] * 50)
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(bad, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == part:
                data = data[: len(data) // 2] if content is None else content
            target.writestr(name, data)
    with pytest.raises(DataError, match=r"bad\.xlsx: no XLSX file, or a damaged one"):
        list(read_sheet(bad))


def test_the_longest_cell_is_whole() -> None:
    text = "字" * MAX_CELL
    assert original_text(safe_cell(text)) == text


def test_numbers_that_a_person_types_are_read_as_text(tmp_path: Path) -> None:
    path = tmp_path / "sheet.xlsx"
    book = openpyxl.Workbook()
    for row in [["id", "label"], [1, 2.0], [None, None], ["b", 3]]:
        book.active.append(row)
    book.save(path)
    assert list(read_sheet(path)) == [
        (2, {"id": "1", "label": "2"}),
        (4, {"id": "b", "label": "3"}),
    ]


def test_broken_sheets_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must end in \.csv or \.xlsx"):
        write_sheet(tmp_path / "a.ods", ["a"], [])
    bad = tmp_path / "bad.xlsx"
    bad.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"bad\.xlsx: no XLSX file"):
        list(read_sheet(bad))
    gbk = tmp_path / "gbk.csv"
    gbk.write_bytes("编号,标签".encode("gbk"))
    with pytest.raises(DataError, match="not UTF-8"):
        list(read_sheet(gbk))
    wide = tmp_path / "wide.csv"
    wide.write_text("a,b\n1,2,3\n", encoding="utf-8")
    with pytest.raises(RowError, match=r"wide\.csv:2: 3 cells for 2 columns"):
        list(read_sheet(wide))
    twice = tmp_path / "twice.csv"
    twice.write_text("a,a\n1,2\n", encoding="utf-8")
    with pytest.raises(DataError, match="must differ"):
        list(read_sheet(twice))
    with pytest.raises(DataError, match="cannot be opened"):
        list(read_sheet(tmp_path / "none.csv"))
