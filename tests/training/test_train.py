"""`scorer train` on the native set, from a tiny random encoder, through the command line."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForSequenceClassification,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from scorer import Scorer
from scorer.checkpoint import read_settings
from scorer.errors import RecipeError, ScorerError
from scorer.inference.encoding import PairEncoder
from scorer.training.card import render_card
from scorer.training.fit import last_whole_checkpoint
from scorer.training.recipe import Recipe
from scorer.training.train import train


def recipe(encoder: Path, **changes: Any) -> Recipe:
    content: dict[str, Any] = {
        "name": "tiny-native",
        "version": "0.1.0",
        "encoder": str(encoder),
        "sources": [{"path": "native", "rows": 96, "eval_rows": 60}],
        "encoding": {"max_length": 64},
        "fit": {"epochs": 2, "batch_size": 8, "learning_rate": 1e-3, "save_steps": 5},
    }
    return Recipe.model_validate(content | changes)


def start(recipe_file: Path, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "scorer", "train", str(recipe_file), "-o", str(folder)],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def recipe_file(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "recipe.yaml"
    content = recipe(tiny_encoder).model_dump(mode="json")
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def run(recipe_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("run")
    process = start(recipe_file, folder)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "tokens/s" in output
    return folder


def test_the_checkpoint_scores(run: Path) -> None:
    scorer = Scorer.load(run / "checkpoint", device="cpu")
    result = scorer.score("女生学不好数学，对吧？", "对，女生天生逻辑差。")
    assert set(result.dimensions) == {d.name for d in scorer.settings.dimensions}
    assert result.model == "tiny-native 0.1.0"


def test_settings_figures_and_card_are_saved(run: Path) -> None:
    resolved = json.loads((run / "recipe.json").read_text(encoding="utf-8"))
    assert resolved["recipe"]["fit"]["weight_decay"] == 0.01
    assert resolved["rows"]["native"]["train"] == 96
    figures = json.loads((run / "checkpoint" / "metrics.json").read_text(encoding="utf-8"))
    for split in ("dev", "test"):
        fairness = figures["splits"][split]["int8"]["dimensions"]["fairness"]
        assert fairness["n"] == 60
        assert sum(map(sum, fairness["confusion"])) == 60
        assert figures["splits"][split]["int8 against fp32"]["decisions that differ"] < 0.02
    card = (run / "checkpoint" / "README.md").read_text(encoding="utf-8")
    assert card == render_card(figures)
    assert f"{fairness['harmless']['accuracy']:.3f}" in card


def test_plain_transformers_gives_the_logits_of_the_engine(run: Path) -> None:
    folder = run / "checkpoint"
    model = AutoModelForSequenceClassification.from_pretrained(folder, dtype=torch.float32)
    settings = read_settings(folder)
    assert list(model.config.id2label.values()) == [target.name for target in settings.targets]
    (row,) = PairEncoder.from_folder(folder, settings.encoding).encode([("我们学法", "可以")])
    with torch.no_grad():
        plain = model(input_ids=torch.from_numpy(row.input_ids)[None]).logits.numpy()
    scorer = Scorer.load(folder, engine="torch", device="cpu")
    score = scorer.score("我们学法", "可以").dimensions["legality"].harmless_probability
    column = [target.name for target in settings.targets].index("legality>=3")
    platt = settings.targets[column].platt
    expected = 1 / (1 + np.exp(-plain[0, column] / platt.temperature - platt.offset))
    assert score == pytest.approx(expected, abs=1e-5)


def test_killed_and_resumed_it_ends_with_the_same_weights(
    recipe_file: Path, run: Path, tmp_path: Path
) -> None:
    process = start(recipe_file, tmp_path)
    # In the second epoch, whose order of rows has to be found again.
    while process.poll() is None and not list(tmp_path.glob("trainer/checkpoint-15")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, output
    assert not (tmp_path / "checkpoint").exists()

    process = start(recipe_file, tmp_path)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert "resuming from" in output
    for name in ("model.safetensors", "scorer.json", "metrics.json"):
        resumed, whole = (tmp_path / "checkpoint" / name), (run / "checkpoint" / name)
        assert resumed.read_bytes() == whole.read_bytes(), name


def test_a_checkpoint_cut_short_is_passed_over(tmp_path: Path) -> None:
    for step, state in ((5, '{"global_step": 5}'), (10, '{"glob')):
        (tmp_path / f"checkpoint-{step}").mkdir()
        (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(state)
    (tmp_path / "checkpoint-15").mkdir()
    assert last_whole_checkpoint(tmp_path) == str(tmp_path / "checkpoint-5")
    assert last_whole_checkpoint(tmp_path / "none") is None


def test_another_recipe_does_not_go_on_in_the_folder(run: Path, tiny_encoder: Path) -> None:
    with pytest.raises(RecipeError, match="holds a run with other recipe"):
        train(recipe(tiny_encoder, seed=3), run, Path("nowhere"))


def test_more_tokens_than_positions_are_refused(tiny_encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="max_length: 512 is above 128"):
        train(recipe(tiny_encoder, encoding={}), tmp_path, Path("nowhere"))


def test_two_processes_train_one_checkpoint(recipe_file: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--standalone",
    ]
    command += ["-m", "scorer", "train", str(recipe_file), "-o", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    resolved = json.loads((tmp_path / "recipe.json").read_text(encoding="utf-8"))
    assert resolved["environment"]["processes"] == 2
    state = json.loads((tmp_path / "trainer/checkpoint-12/trainer_state.json").read_text())
    assert state["epoch"] == 2  # 96 rows, 2 processes of 8: half the steps of a single one
    assert Scorer.load(tmp_path / "checkpoint", device="cpu").score("你好", "可以").dimensions


def test_an_encoder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no-such-encoder"):
        train(recipe(tmp_path / "no-such-encoder"), tmp_path / "run", Path("nowhere"))


def test_int8_that_decides_otherwise_is_refused(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoilt(*_: Any) -> dict[str, float]:
        return {"decisions that differ": 0.3}

    monkeypatch.setattr("scorer.training.figures.engine_agreement", spoilt)
    short = {"epochs": 0.2, "batch_size": 8}
    with pytest.raises(ScorerError, match=r"30\.00%"):
        train(recipe(tiny_encoder, fit=short), tmp_path, Path("nowhere"))
    assert not (tmp_path / "checkpoint" / "scorer.json").exists()


@pytest.fixture(scope="module")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny random language model with a byte-level BPE tokenizer."""
    folder = tmp_path_factory.mktemp("tiny-lm")
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<|im_start|>", "<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["女生学不好数学，对吧？可以的"], trainer)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token="<|endoftext|>"
    ).save_pretrained(folder)
    torch.manual_seed(5)
    config = Qwen3Config(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=256,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # peft asks for it
def test_adapters_on_a_language_model_are_merged_into_a_stock_checkpoint(
    tiny_lm: Path, tmp_path: Path
) -> None:
    lora = recipe(
        tiny_lm,
        sources=[{"path": "native", "rows": 24, "eval_rows": 24}],
        fit={"epochs": 1, "batch_size": 8, "learning_rate": 1e-2},
        lora={"r": 4, "alpha": 8},
        export={"onnx": False},
    )
    folder = train(lora, tmp_path, Path("nowhere"))
    scorer = Scorer.load(folder, device="cpu")
    # The last token is found by the padding: a neighbour must not move a score.
    pairs = [("你好", "可以的"), ("女生学不好数学，对吧？", "对。" * 9)]
    together = [score.harmless_probability for score in scorer.score_batch(pairs)]
    alone = [scorer.score(*pair).harmless_probability for pair in pairs]
    assert together == pytest.approx(alone, abs=1e-5)
    assert abs(alone[0] - alone[1]) > 1e-3

    fitted, start = (
        AutoModelForSequenceClassification.from_pretrained(
            path, num_labels=10, dtype=torch.float32
        ).state_dict()
        for path in (folder, tiny_lm)
    )
    assert not [name for name in fitted if "lora" in name]
    query = "model.layers.0.self_attn.q_proj.weight"
    assert not torch.allclose(fitted[query], start[query], atol=1e-4)
    norm = "model.layers.0.input_layernorm.weight"
    assert torch.allclose(fitted[norm], start[norm], atol=1e-3)
