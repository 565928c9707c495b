from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from scorer.api import Scorer
from scorer.errors import CheckpointError, RowError
from scorer.inference.fields import Fields
from scorer.inference.workers import Loading, pack, pair_or_reason, score_pairs, score_type

PAIRS = [("女生学不好数学，对吧？", "不对。"), ("你好", "你好！")]


@pytest.fixture
def tiny(tiny_checkpoint: Path) -> Scorer:
    return Scorer.load(tiny_checkpoint, device="cpu", threads=1)


def test_a_packed_checkpoint_scores_alike_elsewhere(
    tiny: Scorer, tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_NUM_THREADS", "8")  # and is put back afterwards
    settings, files = pack(tiny_checkpoint)
    assert settings == tiny.settings
    assert files is not None
    arrived = Loading(purpose="strict", max_tokens=32).load(files, threads=3)
    assert os.environ["RAYON_NUM_THREADS"] == "3"
    assert not arrived.folder.exists()  # nothing is left on the worker
    here = Scorer.load(tiny_checkpoint, device="cpu", threads=1, purpose="strict", max_tokens=32)
    assert arrived.score_batch(PAIRS) == here.score_batch(PAIRS)


def test_what_a_checkpoint_does_not_list_is_not_sent(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / "notes.txt").write_text("private")
    _, files = pack(folder)
    assert files is not None
    assert "notes.txt" not in files
    assert {"scorer.json", "model.int8.onnx", "tokenizer.json"} <= files.keys()


def test_the_shipped_checkpoint_is_not_sent() -> None:
    settings, files = pack(None)
    assert files is None
    assert settings == Scorer.load(device="cpu").settings


def test_what_cannot_be_sent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        pack(tmp_path / "none")
    with pytest.raises(ValueError, match="max_tokens 9999 is above"):
        pack(None, max_tokens=9999)
    with pytest.raises(ValueError, match="purpose 'harsh' is none of"):
        Loading(purpose="harsh")


def test_reasons_stay_in_their_places(tiny: Scorer) -> None:
    fields = Fields("q", "a")
    rows = [
        {"q": "你好", "a": None},
        {"q": "你好", "a": "你好！"},
        {"a": ""},
        {"q": "", "a": b"\xff"},
    ]
    results = score_pairs(tiny, [pair_or_reason(row, fields) for row in rows])
    assert results[1] == tiny.score("你好", "你好！")
    reasons = [result.reason for result in results if isinstance(result, RowError)]
    assert reasons == [
        "a: must be a string, not null: None",
        "q: missing",
        "a: must be a string, not bytes: b'\\xff'",
    ]
    assert score_pairs(tiny, []) == []


def test_the_arrow_type_holds_every_member_of_a_score(tiny: Scorer) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    scores = [score.to_dict() for score in tiny.score_batch(PAIRS)]
    array = pyarrow.array([*scores, None], score_type(tiny.settings))
    back = array.to_pylist()
    assert back == [*scores, None]
    assert json.dumps(back[0]) == json.dumps(scores[0])  # in the same order too
    assert score_type(replace(tiny.settings)) == array.type
