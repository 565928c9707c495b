from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from scorer.cli import cli

KEY = "sk-test-0123456789abcdefghij"
QUESTIONS = [f"问题{n}？" for n in range(30)]

Invoke = Callable[..., Result]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.jsonl"
    rows = [{"question": question, "topic": "t"} for question in QUESTIONS]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def arguments(chat_server: Any, prompts: Path, tmp_path: Path) -> list[str]:
    return [
        *("collect", "--prompts", str(prompts), "--prompt-field", "question", "--model", "m-1"),
        *("--base-url", chat_server.url, "-o", str(tmp_path / "a.jsonl"), "--retries", "0"),
    ]


@pytest.fixture
def invoke(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> Invoke:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def run(*more: object) -> Result:
        result = CliRunner().invoke(cli, [*arguments, *map(str, more)])
        assert result.exception is None or isinstance(result.exception, SystemExit), (
            result.exception
        )
        return result

    return run


def test_a_whole_run(invoke: Invoke, chat_server: Any, tmp_path: Path) -> None:
    result = invoke("--seed", 3, "--system-prompt", "请用中文。", "--concurrency", 5)
    assert result.exit_code == 0
    assert "30 of 30 prompts answered, 0 failed; 30 asked just now" in result.stdout
    assert read(tmp_path / "a.jsonl") == [
        {
            "id": f"prompt-{number:04d}",
            "question": question,
            "topic": "t",
            "response": f"答：{question}",
            "finish_reason": "stop",
        }
        for number, question in enumerate(QUESTIONS, start=1)
    ]
    note = json.loads((tmp_path / "a.jsonl.meta.json").read_text(encoding="utf-8"))
    settings = {"model": "m-1", "base_url": chat_server.url, "temperature": 0.0, "seed": 3}
    settings |= {"system_prompt": "请用中文。", "top_p": None, "max_tokens": 2048}
    assert settings.items() <= note["settings"].items()
    assert len(note["settings"]["prompts_sha256"]) == 64
    (run,) = note["runs"]
    assert {"python", "harmlessness-scorer", "openai"} == run["software"].keys()
    assert run["started"] <= run["ended"]
    assert (run["asked"], run["failed"], run["completion_tokens"]) == (30, 0, 150)
    assert run["reported_models"] == {"demo-2024": 30}
    assert note["answers"] == {"prompts": 30, "answered": 30, "failed": {}}

    again = invoke("--seed", 3, "--system-prompt", "请用中文。")
    assert again.exit_code == 0
    assert "0 asked just now" in again.stdout
    assert len(chat_server.requests) == 30


def test_flames_from_its_published_form(
    chat_server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = {"dimension": "Safety", "subcomponent": "Mental harm", "prompt": "我很难过。"}
    (tmp_path / "Flames_1k_Chinese.jsonl").write_text(json.dumps(row), encoding="utf-8")
    out = tmp_path / "a.jsonl"
    command = ["collect", "--benchmark", "flames", "--prompts", str(tmp_path), "-o", str(out)]
    monkeypatch.setenv("OPENAI_BASE_URL", chat_server.url)
    result = CliRunner().invoke(cli, [*command, "--model", "m", "--no-api-key", "-q"])
    assert (result.exit_code, result.output) == (0, "")
    (answer,) = read(out)
    assert (answer["id"], answer["response"]) == ("flames-0000", "答：我很难过。")
    assert answer["meta"] == {"dimension": "safety", "subcomponent": "Mental harm"}


def test_failures_have_rows_and_are_asked_again_when_told(
    invoke: Invoke, chat_server: Any, tmp_path: Path
) -> None:
    chat_server.plan(QUESTIONS[2], chat_server.error(500, "overloaded"))
    chat_server.plan(QUESTIONS[4], chat_server.answer("一", "content_filter"))
    result = invoke()
    assert result.exit_code == 1
    assert "28 of 30 prompts answered, 2 failed" in result.stdout
    assert "HTTP 500: 1" in result.stdout
    assert "content filter: 1" in result.stdout
    assert "prompt-0003: HTTP 500" in result.stderr
    rows = read(tmp_path / "a.jsonl")
    assert [row["id"] for row in rows] == [f"prompt-{n:04d}" for n in range(1, 31)]
    assert rows[2]["response"] is None
    assert "overloaded" in rows[2]["error"]
    assert (rows[4]["response"], rows[4]["finish_reason"]) == (None, "content_filter")

    asked = len(chat_server.requests)
    assert invoke().exit_code == 1  # still failures in the file, and nobody is asked
    assert len(chat_server.requests) == asked
    result = invoke("--retry-failed")
    assert result.exit_code == 0
    assert "2 asked just now" in result.stdout
    assert len(chat_server.requests) == asked + 2
    rows = read(tmp_path / "a.jsonl")
    assert [row["response"] for row in rows] == [f"答：{question}" for question in QUESTIONS]
    assert not any("error" in row for row in rows)


def test_answers_cut_off_are_taken_when_told(
    invoke: Invoke, chat_server: Any, tmp_path: Path
) -> None:
    chat_server.plan(QUESTIONS[0], chat_server.answer("第一，", "length"))
    assert invoke().exit_code == 1
    first = read(tmp_path / "a.jsonl")[0]
    assert (first["response"], first["partial"]) == (None, "第一，")
    assert invoke("--accept-cut-off").exit_code == 0
    first = read(tmp_path / "a.jsonl")[0]
    assert (first["response"], first["finish_reason"]) == ("第一，", "length")
    assert first.keys() == {"id", "question", "topic", "response", "finish_reason"}
    note = json.loads((tmp_path / "a.jsonl.meta.json").read_text(encoding="utf-8"))
    assert note["answers"] == {"prompts": 30, "answered": 30, "failed": {}}
    assert [run["accept_cut_off"] for run in note["runs"]] == [False, True]
    assert len(chat_server.requests) == 30


def test_failures_are_never_scored(
    invoke: Invoke, chat_server: Any, tmp_path: Path, tiny_checkpoint: Path
) -> None:
    chat_server.plan(QUESTIONS[0], chat_server.answer(""))  # the first row of the file, too
    chat_server.plan(QUESTIONS[9], chat_server.answer("第一，", "length"))
    invoke()
    out = tmp_path / "scored.jsonl"
    command = ["score", str(tmp_path / "a.jsonl"), "-o", str(out), "--model", str(tiny_checkpoint)]
    result = CliRunner().invoke(cli, [*command, "--device", "cpu"])
    assert result.exit_code == 1
    assert len(read(out)) == 28
    assert all(isinstance(row["response"], str) for row in read(out))
    rejected = read(tmp_path / "scored.jsonl.rejected.jsonl")
    assert [row["line"] for row in rejected] == [1, 10]
    assert all("response: must be a string, not null" in row["error"] for row in rejected)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (("--temperature", "0.5"), "temperature was 0.0 and is 0.5 now"),
        (("--temperature", "default"), "temperature was 0.0 and is None now"),
        (("--system-prompt", "好"), "system_prompt was None and is '好' now"),
        (("--model", "m-2"), "model was 'm-1' and is 'm-2' now"),
        (("--extra", '{"top_k": 1}'), "extra was {} and is {'top_k': 1} now"),
    ],
)
def test_other_settings_are_refused(
    invoke: Invoke, tmp_path: Path, change: tuple[str, str], named: str
) -> None:
    invoke()
    before = (tmp_path / "a.jsonl").read_bytes()
    result = invoke(*change)
    assert result.exit_code == 2
    assert named in result.stderr
    assert result.stderr.count(" was ") == 2  # `was collected with` and the one setting
    assert (tmp_path / "a.jsonl").read_bytes() == before


def test_a_changed_prompt_file_is_refused(invoke: Invoke, prompts: Path) -> None:
    invoke()
    prompts.write_text(prompts.read_text().replace("0", "1", 1), encoding="utf-8")
    result = invoke()
    assert result.exit_code == 2
    assert "prompts_sha256 was" in result.stderr


@pytest.mark.parametrize(
    ("arguments_", "message"),
    [
        (("--adapter", "x"), "--adapter needs --local"),
        (("--local", "nowhere"), "--base-url is for an endpoint, not for"),
        (("--benchmark", "flames"), "--prompt-field is for rows of your own"),
        (("--temperature", "warm"), "'warm' is not a valid float"),
        (("--extra", "[1]"), "must be a JSON object"),
        (("--extra", "{"), "no JSON"),
        (("-o", "a.jsonl.gz"), "needs a plain file"),
        (("--prompts", "none.jsonl"), "none.jsonl: cannot be opened"),
        (("--base-url", "http://h/v1?key=secret"), "the base URL must be"),
        (("--api-key-env", "NO_SUCH_KEY"), "NO_SUCH_KEY, which should hold the API key, is not"),
    ],
)
def test_mistakes_are_one_message_and_status_2(
    invoke: Invoke, arguments_: tuple[str, ...], message: str, chat_server: Any, tmp_path: Path
) -> None:
    result = invoke(*arguments_)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.output
    assert "secret" not in result.output
    assert chat_server.requests == []
    assert [path.name for path in tmp_path.iterdir()] == ["prompts.jsonl"]


def test_a_missing_benchmark_says_where_to_get_it(tmp_path: Path) -> None:
    command = ["collect", "--benchmark", "flames", "--prompts", str(tmp_path / "none")]
    result = CliRunner().invoke(cli, [*command, "--model", "m", "-o", str(tmp_path / "a.jsonl")])
    assert result.exit_code == 2
    assert "https://github.com/AIFlames/Flames" in result.stderr


def test_a_refused_key_is_named_nowhere(invoke: Invoke, chat_server: Any, tmp_path: Path) -> None:
    chat_server.default = chat_server.error(401, f"Incorrect API key provided: {KEY}")
    chat_server.plan(QUESTIONS[0], chat_server.error(400, f"{KEY} may not ask this"))
    result = invoke("--concurrency", 1)
    assert result.exit_code == 2
    assert "HTTP 401" in result.stderr
    (row,) = read(tmp_path / "a.jsonl")
    assert "*** may not ask this" in row["error"]
    told = result.output + "".join(
        path.read_text(encoding="utf-8") for path in tmp_path.iterdir() if path.is_file()
    )
    assert KEY not in told
    assert "Traceback" not in told


def start(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scorer", *arguments],
        env=os.environ | {"OPENAI_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def wait_for_rows(path: Path, count: int) -> None:
    deadline = time.monotonic() + 60
    while not path.exists() or path.read_bytes().count(b"\n") < count:
        assert time.monotonic() < deadline, "no rows in time"
        time.sleep(0.02)


def test_a_killed_run_goes_on_and_asks_nothing_twice(
    invoke: Invoke, arguments: list[str], chat_server: Any, tmp_path: Path
) -> None:
    out = tmp_path / "a.jsonl"
    chat_server.default = chat_server.slow(0.1, chat_server.answer())
    with start([*arguments, "--concurrency", "3"]) as process:
        wait_for_rows(out, 6)
        process.kill()
        process.communicate()
    kept = {row["question"] for row in read(out)}
    assert 6 <= len(kept) < 30
    # As if it had been killed in the middle of a row: the last one is cut off.
    content = out.read_bytes()
    torn = read(out)[-1]["question"]
    out.write_bytes(content[:-20])
    before = chat_server.asked.copy()
    chat_server.default = chat_server.answer()

    assert invoke("--concurrency", 3).exit_code == 0
    assert [row["question"] for row in read(out)] == QUESTIONS
    asked_again = {
        question for question in QUESTIONS if chat_server.asked[question] > before[question]
    }
    assert asked_again == set(QUESTIONS) - (kept - {torn})
    runs = json.loads((tmp_path / "a.jsonl.meta.json").read_text(encoding="utf-8"))["runs"]
    assert ["ended" in run for run in runs] == [False, True]


def test_ctrl_c_ends_with_what_is_done_in_order(
    arguments: list[str], chat_server: Any, tmp_path: Path
) -> None:
    out = tmp_path / "a.jsonl"
    chat_server.default = chat_server.slow(0.1, chat_server.answer())
    chat_server.plan(QUESTIONS[0], chat_server.slow(3, chat_server.answer()))
    with start([*arguments, "--concurrency", "3"]) as process:
        wait_for_rows(out, 4)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert "interrupted" in stderr
    rows = read(out)
    assert len(rows) >= 4
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    note = json.loads((tmp_path / "a.jsonl.meta.json").read_text(encoding="utf-8"))
    assert note["answers"]["answered"] == len(rows)
