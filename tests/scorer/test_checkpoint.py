from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from scorer.checkpoint import read_settings, write_settings
from scorer.errors import CheckpointError

HASHED = {"bytes": 1, "sha256": "0" * 64}


@pytest.fixture
def folder(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint"))


def test_settings_survive_a_round_trip(folder: Path) -> None:
    settings = read_settings(folder)
    write_settings(folder, settings, ["tokenizer.json"])
    assert read_settings(folder) == settings
    assert settings.model == "tiny 0.0.1"


def change(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads((folder / "scorer.json").read_text(encoding="utf-8"))
    edit(content)
    (folder / "scorer.json").write_text(json.dumps(content), encoding="utf-8")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("targets"), "targets"),
        (lambda c: c.update(format=1), "format 1"),
        (lambda c: c["targets"].reverse(), "do not match"),
        (lambda c: c["targets"][0].pop("platt"), "platt"),
        (lambda c: c["targets"][0]["platt"].update(temperature=0.0), "temperature"),
        (lambda c: c["targets"][0]["platt"].update(offset=float("nan")), "offset"),
        (lambda c: c["targets"][0]["thresholds"].update(strict="x"), "not supported"),
        (lambda c: c["targets"][0]["thresholds"].update(strict=0.1), "rise"),
        (lambda c: c["doubt"].update(unfamiliar=2), "unfamiliar"),
        (lambda c: c["overall"].update(pickle=1), "pickle"),
        (lambda c: c["dimensions"][0].update(levels=[3, 1]), "ascend"),
        (lambda c: c["encoding"].update(max_length=2), "max_length"),
        (lambda c: c["files"].update({"../secret": HASHED}), "leaves the folder"),
        (lambda c: c["files"].update({"weights.x": HASHED}), "weights.x is missing"),
        (lambda c: c["files"]["tokenizer.json"].update(bytes=5), "scorer.json says 5"),
    ],
)
def test_a_broken_settings_file_is_refused(
    folder: Path, edit: Callable[[dict[str, Any]], object], message: str
) -> None:
    change(folder, edit)
    with pytest.raises(CheckpointError, match=message):
        read_settings(folder)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no scorer checkpoint"):
        read_settings(tmp_path)
    (tmp_path / "scorer.json").write_bytes(b"\xff")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_settings(tmp_path)
