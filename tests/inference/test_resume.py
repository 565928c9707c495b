from __future__ import annotations

import errno
import gzip
import io
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from scorer.data.jsonl import read_lines
from scorer.errors import DataError
from scorer.inference import batching, outputs, sources, stream
from scorer.inference.options import Options, Shard
from scorer.inference.outputs import locked
from scorer.inference.predict import Prediction, Predictor
from scorer.inference.stream import score_jsonl
from scorer.inference.summary import Summary


@pytest.fixture(autouse=True)
def _small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "ROW_BYTES", 1)
    monkeypatch.setattr(stream, "_COMMIT_SHARE", 1e9)  # after every window


def write(path: Path, rows: int = 600) -> Path:
    lines = []
    for i in range(rows):
        text = json.dumps({"id": i, "prompt": "问" * (i % 9), "response": f"答{i % 50}"})
        lines.append(text[:-3] if i % 23 == 5 else text)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


class StopError(Exception):
    """Stands for whatever ends a process."""


def stopping(predictor: Predictor, after: int, error: BaseException) -> Any:
    """Return a predictor that fails in the window after `after` windows."""

    class Stopping:
        calls = 0

        def __getattr__(self, name: str) -> Any:
            return getattr(predictor, name)

        def predict(self, *arguments: Any) -> Prediction:
            self.calls += 1
            if self.calls > after:
                raise error
            return predictor.predict(*arguments)

    return Stopping()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def whole(instant: Predictor, tmp_path: Path) -> Callable[..., tuple[bytes, bytes, Summary]]:
    """Return what a run gives that nothing stops."""

    def run(source: Path, suffix: str = "", **options: Any) -> tuple[bytes, bytes, Summary]:
        folder = tmp_path / "whole"
        folder.mkdir()
        target = folder / f"out.jsonl{suffix}"
        summary = score_jsonl(source, target, instant, Options(**options))
        assert summary.rejected_path is not None
        return target.read_bytes(), summary.rejected_path.read_bytes(), summary

    return run


RESUME = Options(resume=True)


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_run_that_was_stopped_goes_on_to_the_same_bytes(
    suffix: str,
    instant: Predictor,
    whole: Callable[..., tuple[bytes, bytes, Summary]],
    tmp_path: Path,
) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / f"out.jsonl{suffix}"
    output, rejected, expected = whole(source, suffix)
    for after in (3, 0, 5, 1):
        with pytest.raises(StopError):
            score_jsonl(source, target, stopping(instant, after, StopError()), RESUME)
        assert not target.exists()
    # A power cut leaves bytes beyond what was on the disk for certain.
    for part in tmp_path.glob("*.part"):
        with part.open("ab") as torn:
            torn.write(b'{"id": 99, "pro')
    summary = score_jsonl(source, target, instant, RESUME)
    assert target.read_bytes() == output
    assert Path(f"{target}.rejected.jsonl").read_bytes() == rejected
    assert replace(summary, seconds=1, rejected_path=None) == replace(
        expected, seconds=1, rejected_path=None
    )
    assert names(tmp_path) == sorted(
        ["in.jsonl", "whole"]
        + [target.name + end for end in ("", ".rejected.jsonl", ".resume.json")]
    )


def test_bytes_cut_anywhere_are_noticed_or_written_anew(
    instant: Predictor, whole: Callable[..., tuple[bytes, bytes, Summary]], tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl", 120), tmp_path / "out.jsonl"
    output, rejected, _ = whole(source)
    part, journal = tmp_path / "out.jsonl.part", tmp_path / "out.jsonl.resume.json"
    with pytest.raises(StopError):
        score_jsonl(source, target, stopping(instant, 2, StopError()), RESUME)
    stands, saved = part.read_bytes(), journal.read_bytes()
    for size in random.Random(1).sample(range(len(stands)), 5):
        part.write_bytes(stands[:size])  # less than the journal says: never ours
        with pytest.raises(DataError, match=f"{size} bytes, but {len(stands)} bytes were written"):
            score_jsonl(source, target, instant, RESUME)
    part.unlink()
    anew = rf"out\.jsonl\.part: missing, .*; remove {journal} to begin anew"
    with pytest.raises(DataError, match=anew):
        score_jsonl(source, target, instant, RESUME)
    journal.unlink()  # and without one the run begins anew
    part.write_bytes(stands[:77])
    score_jsonl(source, target, instant, RESUME)
    assert target.read_bytes() == output
    # Cut while the files got their names: all is there, and only names are left to give.
    named = tmp_path / "out.jsonl.rejected.jsonl"
    named.rename(f"{named}.part")
    score_jsonl(source, target, instant, RESUME)
    assert (tmp_path / "out.jsonl.rejected.jsonl").read_bytes() == rejected
    journal.write_bytes(saved[: len(saved) // 2])
    with pytest.raises(DataError, match=r"out\.jsonl\.resume\.json: cannot be read"):
        score_jsonl(source, target, instant, RESUME)


def test_a_run_that_is_complete_is_not_run_again(instant: Predictor, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    summary = score_jsonl(source, target, instant, RESUME)
    assert score_jsonl(source, target, stopping(instant, 0, StopError()), RESUME) == summary
    size = target.stat().st_size
    with target.open("ab") as changed:
        changed.write(b"x")
    with pytest.raises(DataError, match=f"{size + 1} bytes, but {size} were written"):
        score_jsonl(source, target, instant, RESUME)
    target.unlink()  # to have it anew
    assert score_jsonl(source, target, instant, RESUME).rows == summary.rows
    assert target.stat().st_size == size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"purpose": "strict"}, "purpose 'balanced', not 'strict'"),
        ({"token_budget": 77}, "token budget 1024, not 77"),
        ({"key": "other"}, "key 'harmlessness', not 'other'"),
        ({"overwrite_key": True}, "overwrite key False, not True"),
        ({"prompt_field": "id"}, "prompt field None, not 'id'"),
        ({"max_line": 99}, "max line 16777216, not 99"),
    ],
)
def test_other_settings_are_refused_by_name(
    changes: dict[str, Any], message: str, instant: Predictor, tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    with pytest.raises(StopError):
        score_jsonl(source, target, stopping(instant, 2, StopError()), RESUME)
    before = (tmp_path / "out.jsonl.part").read_bytes()
    other, options = instant, RESUME
    for name, value in changes.items():
        if hasattr(options, name):
            options = replace(options, **{name: value})
        else:
            other = replace(other, **{name: value})
    with pytest.raises(DataError, match=message):
        score_jsonl(source, target, other, options)
    assert (tmp_path / "out.jsonl.part").read_bytes() == before


def test_another_checkpoint_or_version_is_refused(
    instant: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    with pytest.raises(StopError):
        score_jsonl(source, target, stopping(instant, 2, StopError()), RESUME)
    assert instant.settings.digest
    retrained = replace(instant, settings=replace(instant.settings, digest="f" * 64))
    with pytest.raises(DataError, match=r"had scorer\.json '"):
        score_jsonl(source, target, retrained, RESUME)
    with monkeypatch.context() as patch:
        newer = {"tokenizers": "0.0"}
        patch.setattr("importlib.metadata.version", lambda name: newer.get(name) or version(name))
        with pytest.raises(
            DataError, match=r"had libraries 'tokenizers .*', not 'tokenizers 0\.0'"
        ):
            score_jsonl(source, target, instant, RESUME)
    monkeypatch.setattr("scorer.__version__", "9.9", raising=False)
    with pytest.raises(DataError, match=r"had version '.*', not '9\.9'"):
        score_jsonl(source, target, instant, RESUME)


def test_the_journal_names_the_engines_library(predictor: Predictor, tmp_path: Path) -> None:
    score_jsonl(write(tmp_path / "in.jsonl", 9), tmp_path / "out.jsonl", predictor, RESUME)
    journal = json.loads((tmp_path / "out.jsonl.resume.json").read_bytes())
    installed = [f"{name} {version(name)}" for name in ("tokenizers", "onnxruntime")]
    assert journal["settings"]["libraries"] == ", ".join(installed)


def test_another_input_is_refused(instant: Predictor, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    with pytest.raises(StopError):
        score_jsonl(source, target, stopping(instant, 2, StopError()), RESUME)
    original = source.read_bytes()
    source.write_bytes(original + b"\n")
    with pytest.raises(DataError, match=r"had input size \d+, not \d+"):
        score_jsonl(source, target, instant, RESUME)
    source.write_bytes(original.replace(b'"id": 3,', b'"id": 4,'))
    with pytest.raises(DataError, match="are not the same any more"):
        score_jsonl(source, target, instant, RESUME)
    source.write_bytes(original)
    score_jsonl(source, target, instant, RESUME)


def test_a_whole_output_of_another_input_is_refused(instant: Predictor, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    score_jsonl(source, target, instant, RESUME)
    source.write_bytes(source.read_bytes().replace(b'"id": 3,', b'"id": 4,'))
    with pytest.raises(DataError, match=r"in\.jsonl: the .* bytes .* are not the same any more"):
        score_jsonl(source, target, instant, RESUME)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.zst", "out.parquet"])
def test_a_name_that_cannot_be_taken_is_said_and_taken_later(
    name: str, instant: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if name.endswith(".parquet"):
        pytest.importorskip("pyarrow")
    source, target = write(tmp_path / "in.jsonl"), tmp_path / name
    rename = os.replace

    def refuse(one: Path, other: Path) -> None:
        if other == target:
            raise OSError(errno.EROFS, "Read-only file system")
        rename(one, other)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", refuse)
        for options in (RESUME, Options()):
            with pytest.raises(DataError, match=f"{name}: cannot be written: Read-only"):
                score_jsonl(source, target, instant, options)
            assert not target.exists()
    score_jsonl(source, target, stopping(instant, 0, StopError()), RESUME)  # scores nothing anew
    score_jsonl(source, tmp_path / f"whole{target.suffix}", instant)
    assert target.read_bytes() == (tmp_path / f"whole{target.suffix}").read_bytes()


def test_rejected_lines_of_a_run_before_do_not_come_back(
    instant: Predictor, tmp_path: Path
) -> None:
    source, target = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "a", "response": "b"}\n' * 200)
    stale = tmp_path / "out.jsonl.rejected.jsonl.part"
    stale.write_text("of another run")
    with pytest.raises(StopError):
        score_jsonl(source, target, stopping(instant, 2, StopError()), RESUME)
    assert not stale.exists()
    score_jsonl(source, target, instant, RESUME)
    stale.write_text("of another run")
    score_jsonl(source, target, instant, RESUME)
    assert not (tmp_path / "out.jsonl.rejected.jsonl").exists()


def test_without_resume_an_interrupted_run_stands_until_the_output_is_whole(
    instant: Predictor, tmp_path: Path
) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    with pytest.raises(StopError):
        score_jsonl(source, target, stopping(instant, 2, StopError()), RESUME)
    kept = names(tmp_path)
    with pytest.raises(StopError):
        score_jsonl(source, target, stopping(instant, 3, StopError()))
    assert names(tmp_path) == kept
    score_jsonl(source, target, instant)
    assert names(tmp_path) == ["in.jsonl", "out.jsonl", "out.jsonl.rejected.jsonl"]


def test_what_cannot_be_resumed(instant: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl")
    target, pipe = tmp_path / "out.jsonl", tmp_path / "pipe"
    os.mkfifo(pipe)
    for one, other in (("-", target), (pipe, target), (source, "-"), (source, os.devnull)):
        with pytest.raises(DataError, match="only a run from file to file"):
            score_jsonl(one, other, instant, RESUME)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_what_has_no_shards(instant: Predictor, tmp_path: Path) -> None:
    pipe, options = tmp_path / "pipe", Options(shard=Shard(1, 2))
    os.mkfifo(pipe)
    for source in ("-", pipe):
        with pytest.raises(DataError, match="only a file can be cut into shards"):
            score_jsonl(source, tmp_path / "out.jsonl", instant, options)


def test_shards_keep_their_rejected_lines_apart(instant: Predictor, tmp_path: Path) -> None:
    source, lines = write(tmp_path / "in.jsonl", 60), []
    for i in (1, 2):
        options = Options(shard=Shard(i, 2), rejected=tmp_path / "bad.jsonl")
        summary = score_jsonl(source, tmp_path / "out.jsonl", instant, options)
        assert summary.rejected_path == tmp_path / f"bad.{i}-of-2.jsonl"
        lines += [json.loads(raw)["line"] for _, raw in read_lines(summary.rejected_path)]
    assert lines == [i + 1 for i in range(60) if i % 23 == 5]
    assert not (tmp_path / "bad.jsonl").exists()


def test_a_second_process_is_refused(instant: Predictor, tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    for options in (Options(), RESUME):
        with locked(target), pytest.raises(DataError, match="another process is writing it"):
            score_jsonl(source, target, instant, options)
    assert names(tmp_path) == ["in.jsonl"]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("count", [1, 2, 7, 40])
def test_shards_are_the_whole(
    suffix: str, count: int, predictor: Predictor, instant: Predictor, tmp_path: Path
) -> None:
    plain = write(tmp_path / "plain.jsonl", 60).read_bytes()
    source = tmp_path / f"in.jsonl{suffix}"
    from scorer.data.jsonl import atomic_writer

    with atomic_writer(source) as stream_:
        stream_.write(plain)
    rows, rejects = [], []
    for i in range(1, count + 1):
        options = Options(shard=Shard(i, count))
        score_jsonl(source, tmp_path / "out.jsonl", instant, options)
        target = Shard(i, count).path(tmp_path / "out.jsonl")
        rows += [json.loads(raw)["id"] for _, raw in read_lines(target)]
        rejected = Path(f"{target}.rejected.jsonl")
        if rejected.exists():
            rejects += [json.loads(raw)["line"] for _, raw in read_lines(rejected)]
    assert rows == [i for i in range(60) if i % 23 != 5]
    assert rejects == [i + 1 for i in range(60) if i % 23 == 5]
    assert not (tmp_path / "out.jsonl").exists()


def test_a_shard_goes_on_too(instant: Predictor, tmp_path: Path) -> None:
    source, shard = write(tmp_path / "in.jsonl"), Shard(2, 3)
    for target, after in ((tmp_path / "a.jsonl", 99), (tmp_path / "b.jsonl", 2)):
        options = Options(shard=shard, resume=True)
        if after < 99:
            with pytest.raises(StopError):
                score_jsonl(source, target, stopping(instant, after, StopError()), options)
        score_jsonl(source, target, instant, options)
    a, b = (shard.path(tmp_path / name).read_bytes() for name in ("a.jsonl", "b.jsonl"))
    assert a == b != b""


class Side:
    """The engine of `inner` in three streams, where longer rows take longer.

    In the call numbered `fail_at` it does `fail`.
    """

    device, token_budget, same_length, streams, window_rows = "cpu", 60, False, 3, 2048

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.calls, self.fail_at = 0, 0
        self.fail: Callable[[], None] = lambda: None
        self.begun: list[int] = []
        self.ended: list[int] = []
        self._lock = threading.Lock()

    def logits(self, input_ids: Any, *arrays: Any) -> Any:
        with self._lock:
            self.calls += 1
            call = self.calls
            self.begun.append(call)
        if call == self.fail_at:
            self.fail()
        time.sleep(input_ids.shape[1] ** 2 / 50_000)
        self.ended.append(call)
        return self.inner.logits(input_ids, *arrays)


@pytest.fixture
def side(instant: Predictor) -> Predictor:
    """A predictor with three batches under way at a time, and many batches in a window."""
    return replace(instant, engine=Side(instant.engine), token_budget=60)


def test_batches_that_come_back_out_of_order_are_put_into_order(
    instant: Predictor, side: Predictor, tmp_path: Path
) -> None:
    source = write(tmp_path / "in.jsonl")
    score_jsonl(source, tmp_path / "one.jsonl", replace(instant, token_budget=60))
    score_jsonl(source, tmp_path / "three.jsonl", side)
    engine: Any = side.engine
    assert engine.begun != engine.ended
    assert (tmp_path / "three.jsonl").read_bytes() == (tmp_path / "one.jsonl").read_bytes()


def raise_stop() -> None:
    raise StopError


def press_ctrl_c() -> None:
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@pytest.mark.parametrize(
    ("fail", "error"), [(raise_stop, StopError), (press_ctrl_c, KeyboardInterrupt)]
)
def test_what_ends_a_run_among_its_batches_comes_out_and_finished_windows_stay(
    fail: Callable[[], None],
    error: type[BaseException],
    instant: Predictor,
    side: Predictor,
    tmp_path: Path,
) -> None:
    source, target, engine = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl", side.engine
    assert isinstance(engine, Side)
    engine.fail, engine.fail_at, threads = fail, 41, threading.active_count()
    with pytest.raises(error):
        score_jsonl(source, target, side, RESUME)
    assert engine.calls < 41 + 2 * engine.streams  # what was waiting is not begun
    assert threading.active_count() == threads
    state = json.loads((tmp_path / "out.jsonl.resume.json").read_bytes())["state"]
    kept = (tmp_path / "out.jsonl.part").read_bytes()
    assert 0 < state["tally"]["rows"] == kept.count(b"\n")
    score_jsonl(source, target, side, RESUME)
    score_jsonl(source, tmp_path / "whole.jsonl", replace(instant, token_budget=60))
    assert target.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_names_of_shards() -> None:
    assert Shard.parse("2/8") == Shard(2, 8)
    assert Shard(2, 128).path(Path("d/out.jsonl.gz")) == Path("d/out.002-of-128.jsonl.gz")
    assert Shard(1, 2).path(Path(".hidden")) == Path(".hidden.1-of-2")
    for text in ("", "1", "0/2", "3/2", "-1/2", "1/0", "a/b", "1/2/3", "²/3"):
        with pytest.raises(ValueError, match="shard"):
            Shard.parse(text)


@pytest.fixture
def command(tiny_checkpoint: Path, tmp_path: Path) -> list[str]:
    model = ["--model", str(tiny_checkpoint), "--device", "cpu", "--threads", "3"]
    return [
        *(sys.executable, "-m", "scorer", "score", str(tmp_path / "in.jsonl")),
        *("-o", str(tmp_path / "out.jsonl"), "--resume", *model),
    ]


def test_ctrl_c_keeps_what_is_done_and_says_how_to_go_on(
    instant: Predictor, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source, target = write(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    with pytest.raises(KeyboardInterrupt):
        score_jsonl(source, target, stopping(instant, 3, KeyboardInterrupt()), RESUME)
    state = json.loads((tmp_path / "out.jsonl.resume.json").read_bytes())["state"]
    rows = state["tally"]["rows"]
    assert rows > 0
    assert f"{rows} rows are kept; --resume goes on after them" in caplog.text
    assert len((tmp_path / "out.jsonl.part").read_bytes().splitlines()) == rows


def test_a_real_full_disk_ends_a_run_that_can_go_on(command: list[str], tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    write(tmp_path / "in.jsonl", 5000)
    target = tmp_path / "out.jsonl"
    subprocess.run(command, capture_output=True, check=False)
    limit = 6 * target.stat().st_size // 10  # one window fits, all of them do not
    for path in tmp_path.glob("out.*"):
        path.unlink()

    def small_disk() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    failed = subprocess.run(
        command, preexec_fn=small_disk, capture_output=True, text=True, check=False
    )
    assert failed.returncode == 2, failed.stderr
    assert "out.jsonl: cannot be written: File too large" in failed.stderr.replace("\n", "")
    assert "rows are kept" in failed.stderr.replace("\n", " ")
    assert "Traceback" not in failed.stderr
    assert not target.exists()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr
    assert len(target.read_bytes().splitlines()) == sum(i % 23 != 5 for i in range(5000))
    assert "going on after" in again.stderr


def test_kills_at_random_moments_cost_no_byte(command: list[str], tmp_path: Path) -> None:
    """Three of them; benchmarks/endurance.py has fifty."""
    write(tmp_path / "in.jsonl", 5000)
    whole = [str(tmp_path / "whole.jsonl") if "out.jsonl" in part else part for part in command]
    subprocess.run(whole, check=False, capture_output=True)
    rng = random.Random(5)
    for _ in range(3):
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            for line in process.stderr:  # from here on it reads and scores
                if "prompt from" in line or "going on" in line:
                    break
            try:
                process.wait(rng.uniform(0.01, 0.3))
            except subprocess.TimeoutExpired:
                process.kill()
    subprocess.run(command, check=False, capture_output=True)
    for end in ("", ".rejected.jsonl"):
        one, other = tmp_path / f"out.jsonl{end}", tmp_path / f"whole.jsonl{end}"
        assert one.read_bytes() == other.read_bytes()


class Watched:
    """A predictor that counts the windows whose encoding has begun."""

    def __init__(self, inner: Predictor, check: Callable[[int, int], bool]) -> None:
        self._inner, self._check = inner, check
        self._changed = threading.Condition()
        self.encoding = self.scored = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def encode(self, pairs: Any) -> Any:
        with self._changed:
            self.encoding += 1
            self._changed.notify_all()
        return self._inner.encode(pairs)

    def predict(self, *arguments: Any) -> Prediction:
        self.scored += 1
        with self._changed:
            assert self._changed.wait_for(lambda: self._check(self.encoding, self.scored), 10)
        return self._inner.predict(*arguments)


def test_the_next_window_is_encoded_while_one_is_scored(instant: Predictor, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl")
    counted: Any = Watched(instant, lambda encoding, scored: True)
    score_jsonl(source, tmp_path / "one.jsonl", counted)
    windows = counted.scored
    assert windows > 5
    watched: Any = Watched(instant, lambda encoding, scored: encoding == min(scored + 1, windows))
    score_jsonl(source, tmp_path / "two.jsonl", watched)
    assert watched.scored == windows


def test_a_pipe_is_not_read_ahead(
    instant: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(tmp_path / "in.jsonl").read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    watched: Any = Watched(instant, lambda encoding, scored: encoding == scored)
    score_jsonl("-", tmp_path / "out.jsonl", watched)
    assert watched.scored > 5


def test_windows_before_a_broken_place_are_kept(instant: Predictor, tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl.gz"
    source.write_bytes(gzip.compress(write(tmp_path / "in.jsonl", 3000).read_bytes())[:-400])
    sizes: list[int] = []
    with sources.JsonlSource(source, Options()) as reader:
        windows = reader.windows(outputs.Rejects(None), 2048)
        with pytest.raises(DataError, match="cannot be read on"):
            sizes.extend(len(window.pairs) for window in windows)
    assert sum(sizes) > 100
    with pytest.raises(DataError, match="cannot be read on"):
        score_jsonl(source, tmp_path / "out.jsonl", instant, RESUME)
    assert (tmp_path / "out.jsonl.part").read_bytes().count(b"\n") == sum(sizes)
