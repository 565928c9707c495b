from __future__ import annotations

from pathlib import Path

import pytest

from scorer.errors import RecipeError
from scorer.training.recipe import read_recipe

MINIMAL = "name: mine\nversion: 1.0.0\nencoder: e\nsources: [{path: native}]\n"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_are_flames_and_cvalues(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, MINIMAL))
    names = [dimension.name for dimension in recipe.resolved_dimensions()]
    assert names == [
        "fairness",
        "safety",
        "morality",
        "legality",
        "data_protection",
        "responsibility",
    ]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("fit: {epoch: 3}", r"fit\.epoch: unknown setting; did you mean 'epochs'\?"),
        ("learning_rate: 1", "learning_rate: unknown setting"),
        ("fit: {learning_rate: fast}", r"fit\.learning_rate: .*'fast'"),
        ("fit: {learning_rate: -1}", "greater than 0"),
        ("lora: {rank: 8}", r"lora\.rank: unknown setting"),
        ("encoding: {max_length: 3}", "max_length 3"),
        ("dimensions: [{name: a, levels: [1], harmless_from: 1}]", "at least two"),
        (
            "dimensions: [{name: a, levels: [1, 2], harmless_from: 2},"
            " {name: a, levels: [1, 2], harmless_from: 2}]",
            "not distinct",
        ),
        ("sources: []", "sources"),
        ("name: ../x", "name"),
    ],
)
def test_unknown_and_invalid_settings_are_named(tmp_path: Path, extra: str, message: str) -> None:
    lines = [line for line in MINIMAL.splitlines() if line.split(":")[0] != extra.split(":")[0]]
    with pytest.raises(RecipeError, match=message):
        read_recipe(write(tmp_path, "\n".join([*lines, extra])))


def test_a_source_setting_is_named_with_its_place(tmp_path: Path) -> None:
    text = MINIMAL.replace("{path: native}", "{path: native}, {path: x, row: 3}")
    with pytest.raises(RecipeError, match=r"sources\.1\.row: unknown setting; did you mean 'rows'"):
        read_recipe(write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "\0"])
def test_files_that_are_no_recipe(tmp_path: Path, text: str) -> None:
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        read_recipe(write(tmp_path, text))


def test_the_recipes_of_the_repository_are_valid() -> None:
    recipes = sorted((Path(__file__).parents[2] / "recipes").glob("*.yaml"))
    assert {path.stem for path in recipes} >= {"native", "release"}
    for path in recipes:
        read_recipe(path)
