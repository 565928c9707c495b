from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scorer.errors import RecipeError
from scorer.training import experiments
from scorer.training.experiments import (
    RESULTS_FILE,
    TABLE_FILE,
    read_experiment,
    run_experiments,
)
from scorer.training.recipe import Recipe, merged

EXPERIMENTS = sorted((Path(__file__).parents[2] / "experiments").glob("*.yaml"))


@pytest.fixture
def file(tiny_encoder: Path, tmp_path: Path) -> Path:
    base = {
        "name": "tiny-native",
        "version": "0.1.0",
        "encoder": str(tiny_encoder),
        "sources": [{"path": "native", "rows": 64, "eval_rows": 60}],
        "encoding": {"max_length": 48},
        "fit": {"epochs": 2, "batch_size": 8},
    }
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base), encoding="utf-8")
    return write(tmp_path, settings={"base": {}, "corn": {"fit": {"targets": "corn"}}})


def write(folder: Path, **changes: Any) -> Path:
    content = {"base": "base.yaml", "common": {"fit": {"epochs": 1}}, "seeds": [5, 6]}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")
    return path


def test_every_setting_is_run_once_with_every_seed(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "out"
    results = run_experiments(file, folder, tmp_path)
    expected = [("base", 5), ("base", 6), ("corn", 5), ("corn", 6)]
    assert [(r["setting"], r["seed"]) for r in results] == expected
    assert results[0]["recipe"]["fit"]["epochs"] == 1
    assert results[0]["dev"]["parts"]["all of native"]["rows"] == results[0]["dev"]["rows"] == 60
    assert results[2]["recipe"]["fit"]["targets"] == "corn"
    assert json.loads((folder / RESULTS_FILE).read_text(encoding="utf-8")) == results
    table = (folder / TABLE_FILE).read_text(encoding="utf-8")
    mean = sum(r["dev"]["mean"]["level accuracy"] for r in results[:2]) / 2
    assert "| base | 2 | 1 |" in table
    assert f" {mean:.3f} ± " in table

    def refuse(*_: object) -> None:
        raise AssertionError("what is done was run again")

    monkeypatch.setattr(experiments, "_run", refuse)
    assert run_experiments(file, folder, tmp_path) == results
    base = tmp_path / "base.yaml"
    base.write_text(base.read_text(encoding="utf-8").replace("tiny-native", "other"), "utf-8")
    assert run_experiments(file, folder, tmp_path) == results
    for result in results:
        del result["recipe"]["fit"]["consistency"]  # as if recorded before there was one
    (folder / RESULTS_FILE).write_text(json.dumps(results), encoding="utf-8")
    assert run_experiments(file, folder, tmp_path) == results
    fewer = write(tmp_path, settings={"renamed": {}})
    assert [r["setting"] for r in run_experiments(fewer, folder, tmp_path)] == ["renamed"] * 2
    assert "corn" not in (folder / TABLE_FILE).read_text(encoding="utf-8")
    for changes in ({"seeds": [5, 7]}, {"judge": ["native-calm"]}):
        with pytest.raises(AssertionError, match="again"):
            run_experiments(write(tmp_path, settings={"base": {}}, **changes), folder, tmp_path)


def test_what_cannot_be_judged_is_not_fitted(file: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no dev row of"):
        run_experiments(
            write(tmp_path, settings={"base": {}}, judge=["natve"]), tmp_path / "out", tmp_path
        )
    assert not (tmp_path / "out" / "run").exists()


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_the_committed_experiments_are_valid(path: Path) -> None:
    _, runs = read_experiment(path)
    assert len({name for name, _ in runs}) > 1


def test_each_source_can_be_left_out(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [{"path": "native", "eval_rows": 60}, {"path": "other.jsonl", "weight": 0.5}]
    seen: dict[str, list[int | None]] = {}

    def parts(recipe: Recipe) -> dict[str, Any]:
        auroc = {None: 0.75, 0: 0.5}
        return {
            f"all of {source.path}": {"all dimensions": {"harmless AUROC": auroc[source.rows]}}
            for source in recipe.sources
        }

    def note(recipe: Recipe, corpus: object, folder: Path, *_: object) -> dict[str, Any]:
        folder.mkdir()
        return {
            "cost": {"epochs": 1, "tokens an epoch": 1, "seconds": 1},
            "dev": {"mean": {}, "parts": parts(recipe)},
            "rows": [source.rows for source in recipe.sources],
        }

    monkeypatch.setattr(experiments, "_run", note)
    row = {"prompt": "p", "response": "r", "labels": {"safety": 3}, "split": "train"}
    (tmp_path / "other.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    path = write(
        tmp_path,
        settings={"all": {}},
        seeds=[5],
        leave_one_out=True,
        common={"sources": sources},
    )
    for result in run_experiments(path, tmp_path / "out", tmp_path):
        seen[result["setting"]] = result["rows"]
    assert seen == {
        "all": [None, None],
        "without native": [0, None],
        "without other.jsonl": [None, 0],
    }
    table = (tmp_path / "out" / TABLE_FILE).read_text(encoding="utf-8")
    assert "| native | 0.750 | 0.500 | – | – | – | – |" in table


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"settings": {}}, "settings"),
        ({"settings": {"a": {}}, "budget": 3}, "budget"),
        ({"settings": {"a": {"fit": {"epoch": 1}}}}, "did you mean 'epochs'"),
        ({"settings": {"a": {}}, "base": "none.yaml"}, "none.yaml"),
        ({"settings": {"a": {}, "b": {"fit": {"epochs": 1}}}}, "b is the same as a"),
    ],
)
def test_a_wrong_file_is_refused_before_anything_runs(
    file: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        run_experiments(write(tmp_path, **changes), tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()


def test_changes_are_laid_over_sections_and_replace_lists() -> None:
    base = {"fit": {"epochs": 1, "seed": 2}, "sources": [1, 2]}
    assert merged(base, {"fit": {"epochs": 3}, "sources": [4]}) == {
        "fit": {"epochs": 3, "seed": 2},
        "sources": [4],
    }
    assert base["fit"] == {"epochs": 1, "seed": 2}
