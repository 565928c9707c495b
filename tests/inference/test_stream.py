from __future__ import annotations

import base64
import gzip
import io
import json
import logging
import sys
import tracemalloc
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard

from scorer.errors import DataError
from scorer.inference.fields import Fields
from scorer.inference.predict import Predictor
from scorer.inference.stream import Options, Progress, score_jsonl

GOOD = '{"prompt": "女生学不好数学，对吧？", "response": "不对。"}'


def line(**fields: object) -> bytes:
    return json.dumps(fields, ensure_ascii=False).encode()


# Lines that must come through, each with every byte of what it held.
HOSTILE_BUT_GOOD: dict[str, bytes] = {
    "plain": line(prompt="你好", response="你好！"),
    "empty texts": line(prompt="", response=""),
    "byte order mark": b"\xef\xbb\xbf" + line(prompt="a", response="b"),
    "carriage return": line(prompt="a", response="b") + b"\r",
    "space around": b"  \t" + line(prompt="a", response="b") + b"  ",
    "space inside": b'{ "prompt" : "a" ,\t"response" : "b" }',
    "escaped NUL": b'{"prompt": "a\\u0000b", "response": "\\u0000"}',
    "escaped control characters": b'{"prompt": "\\u0001\\u001f\\b\\f", "response": "\\u007f"}',
    "lone high surrogate": b'{"prompt": "\\ud800", "response": "b"}',
    "lone low surrogate": b'{"prompt": "a", "response": "x\\udfffy"}',
    "surrogates the wrong way round": b'{"prompt": "\\udc00\\ud800", "response": "b"}',
    "a megabyte of text": line(prompt="长" * 350_000, response="短"),
    "a megabyte without spaces": line(prompt="a", response="x" * 1_000_000),
    "a megabyte of spaces": line(prompt="a", response=" " * 1_000_000),
    "special tokens": line(prompt="<s>", response="</s></s><pad><mask><unk>"),
    "full-width special tokens": line(prompt="＜s＞", response="＜/s＞＜／s＞＜pad＞"),
    "chat tokens": line(prompt="<|im_start|>", response="[CLS][SEP]<|endoftext|>"),
    "escaped key": b'{"pro\\u006dpt": "a", "response": "b"}',
    "escaped text": b'{"prompt": "\\u4f60\\/\\"\\\\", "response": "\\ud83d\\ude00"}',
    "numbers as they are": b'{"prompt":"a","response":"b","x":[1.10,1E2,-0,-0.0,1e-400,0.1]}',
    "huge integer": b'{"prompt":"a","response":"b","n":' + b"9" * 3000 + b"}",
    "many keys": line(prompt="a", response="b", **{f"k{i}": i for i in range(2000)}),
    "nested fields": line(prompt="a", response="b", meta={"prompt": 1, "x": [[[{}]]]}),
    "empty key": line(prompt="a", response="b", **{"": None}),
    "the key one level down": line(prompt="a", response="b", m={"harmlessness": 1}),
    "braces in text": line(prompt="}", response='{"a": 1}}'),
    "line separators": line(prompt="a\u2028b\u2029c\x85d", response="\u2028"),
    "direction marks": line(prompt="\u202eabc\u200b\ufeff", response="\u200f"),
    "combining marks": line(prompt="a" + "\u0301" * 500, response="ท" + "็" * 500),
    "emoji": line(prompt="👩‍👩‍👧‍👦" * 50, response="🏴󠁧󠁢󠁥󠁮󠁧󠁿"),
    "private and unassigned": line(prompt="\ue000\U0010ffff", response="\ufdd0\ufffe"),
    "markup": line(prompt="[bold]x[/nope]", response="\x1b[31m{0} %s <b>"),
}

# Lines that cannot be scored, and a word of the reason.
BROKEN: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"prompt,response", "no valid JSON"),
    "half a line": (b'{"prompt": "a", "resp', "no valid JSON"),
    "trailing comma": (b'{"prompt": "a", "response": "b",}', "no valid JSON"),
    "two objects": (line(prompt="a", response="b") * 2, "no valid JSON"),
    "single quotes": (b"{'prompt': 'a', 'response': 'b'}", "no valid JSON"),
    "comment": (line(prompt="a", response="b") + b" // x", "no valid JSON"),
    "raw NUL": (b'{"prompt": "a\x00", "response": "b"}', "no valid JSON"),
    "raw tab": (b'{"prompt": "a\tb", "response": "b"}', "no valid JSON"),
    "bad escape": (b'{"prompt": "\\x41", "response": "b"}', "no valid JSON"),
    "bad unicode escape": (b'{"prompt": "\\u12g4", "response": "b"}', "no valid JSON"),
    "not a number": (b'{"prompt": "a", "response": "b", "x": NaN}', "NaN"),
    "infinity": (b'{"prompt": "a", "response": "b", "x": -Infinity}', "Infinity"),
    "number beyond floats": (b'{"prompt": "a", "response": "b", "x": 1E400}', "too large"),
    "number of 5,000 digits": (b'{"prompt": "a", "response": "b", "x": ' + b"1" * 5000 + b"}", "5"),
    "key given twice": (b'{"prompt": "a", "prompt": "c", "response": "b"}', "twice"),
    "deep arrays": (b'{"prompt": "a", "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested"),
    "deep objects": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested"),
    "Latin-1": ('{"prompt": "é", "response": "b"}'.encode("latin-1"), "UTF-8"),
    "GBK": ('{"prompt": "你好", "response": "b"}'.encode("gbk"), "UTF-8"),
    "UTF-16": ('{"prompt": "你好", "response": "b"}'.encode("utf-16"), "UTF-8"),
    "surrogate as bytes": (b'{"prompt": "\xed\xa0\x80", "response": "b"}', "UTF-8"),
    "overlong UTF-8": (b'{"prompt": "\xc0\xaf", "response": "b"}', "UTF-8"),
    "array": (b'["a", "b"]', "not a JSON object"),
    "string": (b'"prompt"', "not a JSON object"),
    "number": (b"42", "not a JSON object"),
    "null": (b"null", "not a JSON object"),
    "empty object": (b"{}", "prompt: missing"),
    "no response": (line(prompt="a"), "response: missing"),
    "other name": (line(Prompt="a", response="b"), "prompt: missing"),
    "number as text": (line(prompt=12, response="b"), "prompt: must be a string, not a number"),
    "null as text": (line(prompt="a", response=None), "response: must be a string, not null"),
    "boolean as text": (line(prompt=True, response="b"), "prompt: must be a string"),
    "array as text": (line(prompt=["a"], response="b"), "prompt: must be a string"),
    "object as text": (line(prompt="a", response={"text": "b"}), "response: must be a string"),
    "scored already": (line(prompt="a", response="b", harmlessness=1), "has this key already"),
    "too long": (b'{"prompt": "' + b"x" * 2_000_000 + b'", "response": "b"}', "longer than"),
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(text) for text in path.read_bytes().splitlines()]


@pytest.fixture
def run(predictor: Predictor, tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """Score lines into `out.jsonl` and return its rows."""

    def run(*lines: bytes, **options: Any) -> list[dict[str, Any]]:
        source = tmp_path / "in.jsonl"
        source.write_bytes(b"\n".join(lines) + b"\n")
        score_jsonl(source, tmp_path / "out.jsonl", predictor, Options(**options))
        return read(tmp_path / "out.jsonl")

    return run


def test_hostile_lines_lose_no_good_line(predictor: Predictor, tmp_path: Path) -> None:
    assert len(HOSTILE_BUT_GOOD) + len(BROKEN) >= 60
    lines = list(HOSTILE_BUT_GOOD.values())
    for i, (raw, _) in enumerate(BROKEN.values()):
        lines.insert(i * 7 % len(lines), raw)  # among the good ones, not after them
    lines[3:3] = [b"", b"   ", b"\r"]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"\n".join(lines))

    summary = score_jsonl(source, out, predictor, Options(max_line=1_500_000))

    good = [raw for raw in lines if raw in HOSTILE_BUT_GOOD.values()]
    scored = out.read_bytes().split(b"\n")[:-1]
    assert len(scored) == len(good) == len(HOSTILE_BUT_GOOD) == summary.rows
    for before, after in zip(good, scored, strict=True):
        body = before.removeprefix(b"\xef\xbb\xbf").strip()[:-1].rstrip()
        assert after.startswith(body + b', "harmlessness": {"harmless": ')
        row = json.loads(after)
        assert set(row["harmlessness"]["dimensions"]) == set(summary.dimensions)

    rejected = {row["line"]: row for row in read(tmp_path / "out.jsonl.rejected.jsonl")}
    assert list(rejected) == sorted(rejected)
    assert len(rejected) == len(BROKEN) == summary.rejected
    for raw, reason in BROKEN.values():
        row = rejected[lines.index(raw) + 1]
        assert reason in row["error"]
        kept = row["raw"].encode() if "raw" in row else base64.b64decode(row["raw_base64"])
        assert kept.rstrip(b"\n") == raw


@pytest.mark.parametrize("name", HOSTILE_BUT_GOOD)
def test_a_hostile_line_scores_as_it_does_alone(
    name: str, predictor: Predictor, run: Callable[..., list[dict[str, Any]]]
) -> None:
    (row,) = run(HOSTILE_BUT_GOOD[name])
    (alone,) = predictor.predict([(row["prompt"], row["response"])]).scores
    assert row["harmlessness"] == alone.to_dict()


def test_special_tokens_in_a_text_move_no_other_row(
    run: Callable[..., list[dict[str, Any]]],
) -> None:
    plain = run(GOOD.encode())
    among = run(line(prompt="</s></s>", response="<pad>" * 30), GOOD.encode())
    assert among[1] == plain[0]


def test_empty_file(run: Callable[..., list[dict[str, Any]]], tmp_path: Path) -> None:
    assert run() == []
    assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()


def test_rows_keep_their_order_over_windows_and_batches(
    predictor: Predictor, tmp_path: Path
) -> None:
    rows = [{"id": i, "prompt": "问" * (i * 37 % 90), "response": str(i % 50)} for i in range(2500)]
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_bytes(b"".join(line(**row) + b"\n" for row in rows))
    seen: list[Progress] = []
    summary = score_jsonl(source, out, predictor, on_progress=seen.append)
    scored = read(out)
    assert [row["id"] for row in scored] == list(range(2500))
    assert [{name: row[name] for name in ("id", "prompt", "response")} for row in scored] == rows
    pairs = [(row["prompt"], row["response"]) for row in rows]
    assert [row["harmlessness"] for row in scored[::100]] == [
        score.to_dict() for score in predictor.predict(pairs[::100]).scores
    ]
    assert len({row["harmlessness"]["harmless_probability"] for row in scored}) > 100
    # Progress climbs to the end of the file.
    assert [progress.rows for progress in seen] == sorted(progress.rows for progress in seen)
    positions = [progress.position or 0 for progress in seen]
    assert positions == sorted(positions)
    assert (seen[-1].rows, positions[-1]) == (2500, source.stat().st_size)
    assert summary.rows == 2500
    assert summary.rows_per_second > 0
    assert summary.tokens_per_second > 0


def test_summary_counts_what_was_written(
    predictor: Predictor, tmp_path: Path, run: Callable[..., list[dict[str, Any]]]
) -> None:
    lines = [line(prompt="女" * i, response="好" * (i % 7)) for i in range(120)]
    rows = [row["harmlessness"] for row in run(*lines)]
    source = tmp_path / "in.jsonl"
    summary = score_jsonl(source, tmp_path / "again.jsonl", predictor)
    assert summary.rows == len(rows) == 120
    assert summary.truncated == sum(row["truncated"] for row in rows) > 0
    assert summary.fields == Fields("prompt", "response")
    assert summary.harmless_rate == pytest.approx(100 * np.mean([row["harmless"] for row in rows]))
    for name, figures in summary.dimensions.items():
        scores = [row["dimensions"][name] for row in rows]
        assert figures.n == 120
        assert figures.mean_level == pytest.approx(np.mean([score["level"] for score in scores]))
        rate = 100 * np.mean([score["harmless"] for score in scores])
        assert figures.harmless_rate == pytest.approx(rate)


def test_without_a_good_row_there_are_no_figures(predictor: Predictor, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_bytes(b"x\n")
    summary = score_jsonl(source, tmp_path / "out.jsonl", predictor)
    assert (summary.rows, summary.rejected, summary.fields) == (0, 1, None)
    assert summary.harmless_rate is None
    assert {figures.mean_level for figures in summary.dimensions.values()} == {None}
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_compressed_files(suffix: str, predictor: Predictor, tmp_path: Path) -> None:
    compress: Callable[[bytes], bytes] = {
        "": bytes,
        ".gz": gzip.compress,
        ".zst": zstandard.ZstdCompressor().compress,
    }[suffix]
    source, out = tmp_path / f"in.jsonl{suffix}", tmp_path / f"out.jsonl{suffix}"
    source.write_bytes(compress(GOOD.encode() + b"\n" + GOOD.encode()))
    summary = score_jsonl(source, out, predictor)
    assert summary.rows == 2
    data = out.read_bytes()
    if suffix == ".gz":
        data = gzip.decompress(data)
    if suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)) as reader:
            data = reader.read()
    assert data.count(b'"harmlessness"') == 2


def test_a_file_cut_short_is_an_error_and_leaves_no_output(
    predictor: Predictor, tmp_path: Path
) -> None:
    source, out = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    source.write_bytes(gzip.compress(b"\n".join(b"%d" % i for i in range(9999)))[:-50])
    out.write_text("older")
    with pytest.raises(DataError, match=r"in\.jsonl\.gz: cannot be read on"):
        score_jsonl(source, out, predictor)
    assert out.read_text() == "older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl.gz", "out.jsonl"]


def test_windows_have_the_rows_that_suit_the_engine(predictor: Predictor, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(f"{GOOD}\n" * 20, encoding="utf-8")
    windows: list[int] = []

    class Noting:
        def __getattr__(self, name: str) -> Any:
            return getattr(small, name)

        def predict(self, pairs: Any, *arguments: Any) -> Any:
            windows.append(len(pairs))
            return small.predict(pairs, *arguments)

    engine = copy(predictor.engine)
    engine.window_rows = 7
    small = replace(predictor, engine=engine)
    score_jsonl(source, tmp_path / "out.jsonl", Noting())  # type: ignore[arg-type]
    assert windows == [7, 7, 6]


def test_standard_streams(predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stream(io.TextIOWrapper):
        pass

    stdout = Stream(io.BytesIO())
    monkeypatch.setattr(sys, "stdin", Stream(io.BytesIO(GOOD.encode() + b"\nbroken\n")))
    monkeypatch.setattr(sys, "stdout", stdout)
    summary = score_jsonl("-", "-", predictor)
    monkeypatch.undo()
    assert (summary.rows, summary.rejected, summary.rejected_path) == (1, 1, None)
    assert json.loads(stdout.buffer.getvalue())["response"] == "不对。"  # type: ignore[attr-defined]


def test_rejected_lines_go_where_they_are_asked_to(
    run: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    run(b"x", GOOD.encode(), rejected=tmp_path / "bad.jsonl")
    assert [row["line"] for row in read(tmp_path / "bad.jsonl")] == [1]
    assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()


def test_rejected_lines_of_an_earlier_run_go(
    run: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    path = tmp_path / "out.jsonl.rejected.jsonl"
    run(GOOD.encode(), b"x")
    assert path.exists()
    run(GOOD.encode())
    assert not path.exists()


@pytest.mark.parametrize(
    ("source", "target", "rejected"),
    [
        ("a.jsonl", "a.jsonl", None),
        ("a.jsonl", "sub/../a.jsonl", None),
        ("a.jsonl", "link.jsonl", None),
        ("b.jsonl.rejected.jsonl", "b.jsonl", None),
        ("a.jsonl", "b.jsonl", "a.jsonl"),
        ("a.jsonl", "b.jsonl", "b.jsonl"),
        # What a run makes, and removes in the end.
        ("b.jsonl.part", "b.jsonl", None),
        (".b.jsonl.tmp", "b.jsonl", None),
        ("b.jsonl.resume.json", "b.jsonl", None),
        ("b.jsonl.rejected.jsonl.part", "b.jsonl", None),
        ("a.jsonl", "b.jsonl", "b.jsonl.part"),
        ("a.jsonl", "b.jsonl", ".b.jsonl.lock"),
    ],
)
def test_no_file_is_read_and_written_at_once(
    source: str, target: str, rejected: str | None, predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / source).write_text(GOOD)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "a.jsonl")
    for resume in (False, True):
        options = Options(rejected=rejected and tmp_path / rejected, resume=resume)
        with pytest.raises(DataError, match="must be different files"):
            score_jsonl(tmp_path / source, tmp_path / target, predictor, options)
        assert (tmp_path / source).read_text() == GOOD


def test_rejected_lines_are_not_mixed_with_standard_output(
    predictor: Predictor, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(GOOD)
    with pytest.raises(DataError, match="rejected lines go into a file"):
        score_jsonl(tmp_path / "in.jsonl", "-", predictor, Options(rejected="-"))


def test_missing_input_and_folder_are_named(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no\.jsonl"):
        score_jsonl(tmp_path / "no.jsonl", tmp_path / "out.jsonl", predictor)
    (tmp_path / "in.jsonl").write_text(GOOD)
    with pytest.raises(DataError, match="cannot be written"):
        score_jsonl(tmp_path / "in.jsonl", tmp_path / "no" / "out.jsonl", predictor)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_fields_come_from_the_first_good_row_and_are_reported_once(
    run: Callable[..., list[dict[str, Any]]],
    predictor: Predictor,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="scorer")
    rows = run(
        b'{"prompt": 5, "output": "x"}',
        line(instruction="a", input="b", output="c"),
        line(instruction="a\nb", output="c"),
        line(prompt="a", output="c"),
    )
    assert caplog.messages.count(
        "prompt from 'instruction' and 'input', response from 'output'"
    ) == 1  # fmt: skip
    assert len(rows) == 2
    assert rows[0]["harmlessness"] == rows[1]["harmlessness"]
    (alone,) = predictor.predict([("a\nb", "c")]).scores
    assert rows[0]["harmlessness"] == alone.to_dict()
    errors = [row["error"] for row in read(tmp_path / "out.jsonl.rejected.jsonl")]
    assert errors == ["prompt: must be a string, not a number: 5", "instruction: missing"]


def test_named_fields_and_key(
    run: Callable[..., list[dict[str, Any]]], predictor: Predictor
) -> None:
    (row,) = run(
        line(ask="a", reply="b", prompt="c", response="d"),
        prompt_field="ask",
        response_field="reply",
        key="评分",
    )
    (alone,) = predictor.predict([("a", "b")]).scores
    assert row["评分"] == alone.to_dict()


def test_an_older_score_is_replaced_only_when_asked_to(
    run: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    raw = b'{"a": 1.10, "harmlessness": {"x": [1]}, "prompt": "a", "response": "b"}'
    assert run(raw) == []
    (row,) = run(raw, overwrite_key=True)
    assert list(row) == ["a", "prompt", "response", "harmlessness"]
    assert "dimensions" in row["harmlessness"]
    assert (tmp_path / "out.jsonl").read_bytes().startswith(b'{"a": 1.10, "prompt"')


def test_scoring_a_scored_file_again_gives_the_same_file(
    run: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    run(GOOD.encode(), HOSTILE_BUT_GOOD["escaped text"])
    once = (tmp_path / "out.jsonl").read_bytes()
    run(*once.splitlines(), overwrite_key=True)
    assert (tmp_path / "out.jsonl").read_bytes() == once


def test_the_text_itself_is_never_overwritten(
    run: Callable[..., list[dict[str, Any]]], tmp_path: Path
) -> None:
    assert run(GOOD.encode(), key="prompt", overwrite_key=True) == []
    (row,) = read(tmp_path / "out.jsonl.rejected.jsonl")
    assert row["error"] == "prompt: holds the text; the score needs another key"


def test_rejections_are_logged_but_not_without_end(
    run: Callable[..., list[dict[str, Any]]], caplog: pytest.LogCaptureFixture
) -> None:
    run(*[b"x"] * 50)
    assert len(caplog.messages) == 11
    assert "in.jsonl:1: no valid JSON" in caplog.messages[0]
    assert caplog.messages[-1] == "... 50 lines rejected in all"


def test_memory_does_not_grow_with_the_file(instant: Predictor, tmp_path: Path) -> None:
    def peak(rows: int) -> int:
        source = tmp_path / "in.jsonl"
        with source.open("wb") as stream:
            for i in range(rows):
                stream.write(line(id=i, prompt="a", response="b", text="x" * 2000) + b"\n")
                if i % 10 == 0:
                    stream.write(b'{"prompt": "' + b"y" * 2000 + b"\n")
        tracemalloc.start()
        score_jsonl(source, tmp_path / "out.jsonl", instant)
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)  # what is allocated once
    assert peak(12_000) < 1.25 * peak(4_000)
