from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from scorer.collect.answer import Answer, failed
from scorer.collect.prompts import Item
from scorer.collect.store import AnswersFile, Sidecar, read_sidecar
from scorer.data.jsonl import write_jsonl
from scorer.errors import DataError, RowError

ITEMS = [Item(str(n), f"问{n}", {"id": str(n), "prompt": f"问{n}"}) for n in range(4)]


def row(number: int, answer: Answer | None = None) -> dict[str, Any]:
    return (answer or Answer(f"答{number}")).row(ITEMS[number].row)


def write(path: Path, *numbers: int) -> None:
    with AnswersFile(path, ITEMS) as file:
        for number in numbers:
            file.add(str(number), row(number))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()]


def test_rows_lie_in_the_prompts_order_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AnswersFile(path, ITEMS) as file:
        for number in (3, 0, 2):
            file.add(str(number), row(number))
            assert ids(path)[-1] == str(number)  # on disk at once, in the order of coming
        assert ids(path) == ["3", "0", "2"]
    assert ids(path) == ["0", "2", "3"]
    write(path, 1)
    assert ids(path) == ["0", "1", "2", "3"]
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_keeps_what_was_added(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with suppress(KeyboardInterrupt), AnswersFile(path, ITEMS) as file:
        file.add("2", row(2))
        file.add("1", row(1))
        raise KeyboardInterrupt
    assert ids(path) == ["1", "2"]


def test_a_file_cut_at_any_byte_keeps_every_whole_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, 0, 1, 2)
    whole = path.read_bytes()
    ends = [place for place, byte in enumerate(whole) if byte == ord("}")]  # one per row
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        expected = [str(number) for number, end in enumerate(ends) if end < cut]
        with AnswersFile(path, ITEMS) as file:
            assert list(file.rows) == expected
            for number in range(3):
                if str(number) not in file.rows:
                    file.add(str(number), row(number))
        assert path.read_bytes() == whole


def test_the_later_row_of_a_prompt_holds(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with AnswersFile(path, ITEMS) as file:
        file.add("0", row(0, failed("time-out", "no reply")))
        assert file.failures() == {"time-out": 1}
    with AnswersFile(path, ITEMS) as file:
        file.add("0", row(0))
        assert len(ids(path)) == 2
        assert not file.failures()
    assert [json.loads(line) for line in path.read_text("utf-8").splitlines()] == [row(0)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("broken", "a.jsonl:1: no valid JSON"),
        ("[]", "must be a JSON object"),
        ('{"id": "9"}', "id: '9' is the id of no prompt"),
        (
            '{"id": "0", "prompt": "别的", "response": "a"}',
            "prompt: '别的' is not the prompt's '问0'",
        ),
        ('{"id": "0", "response": "a"}', "prompt: None is not the prompt's '问0'"),
        ('{"id": "0", "prompt": "问0"}', "neither a response nor an error"),
        ('{"id": "0", "prompt": "问0", "response": null}', "neither a response nor an error"),
    ],
)
def test_a_file_of_something_else_is_refused_and_stays(
    tmp_path: Path, line: str, message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    with pytest.raises(RowError) as caught, AnswersFile(path, ITEMS):
        pass
    assert message in str(caught.value)
    assert path.read_text(encoding="utf-8") == line + "\n"


def test_two_runs_cannot_write_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="no locks on this system")
    path = tmp_path / "a.jsonl"
    with (
        AnswersFile(path, ITEMS),
        pytest.raises(DataError, match="another run is writing it"),
        AnswersFile(path, ITEMS),
    ):
        pass
    write(path, 0)


def test_the_lock_is_held_until_the_file_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl", reason="no locks on this system")
    from scorer.collect import store

    path, refused = tmp_path / "a.jsonl", []

    def replace(target: Path, rows: Any) -> None:
        with pytest.raises(DataError, match="another run is writing it"), AnswersFile(path, ITEMS):
            pass
        refused.append(target)
        write_jsonl(target, rows)

    monkeypatch.setattr(store, "write_jsonl", replace)
    write(path, 1, 0)
    assert refused == [path]
    assert ids(path) == ["0", "1"]


def test_settings_that_differ_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    settings = {"model": "m", "temperature": 0.0}
    note = Sidecar(path)
    note.open(settings)
    note.begin({"started": "now"})
    write(path, 0)
    note.end({"asked": 1}, {"answered": 1})
    assert read_sidecar(path)["settings"] == settings
    Sidecar(path).open(settings)
    with pytest.raises(DataError) as caught:
        Sidecar(path).open({"model": "m", "temperature": 0.7, "seed": 1})
    assert "temperature was 0.0 and is 0.7 now; seed was None and is 1 now" in str(caught.value)
    assert "model" not in str(caught.value)


def test_settings_may_change_while_there_is_no_answer(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    note = Sidecar(path)
    note.open({"model": "a"})
    note.begin({})
    path.touch()
    Sidecar(path).open({"model": "b"})


def test_answers_without_a_usable_note_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    write(path, 0)
    note = Sidecar(path)
    with pytest.raises(DataError, match="exists without"):
        note.open({})
    note.path.write_text('{"format": 99}')
    with pytest.raises(DataError, match="no note of collected answers"):
        note.open({})
