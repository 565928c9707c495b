"""A tiny random causal model that is made here; what it says means nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scorer.cli import cli
from scorer.collect.answer import Answer
from scorer.collect.local import LocalModel, fingerprint
from scorer.collect.prompts import Item
from scorer.collect.run import Sampling
from scorer.errors import ScorerError

# peft calls a name that the newest transformers has renamed.
pytestmark = pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")

TEMPLATE = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "<|assistant|>{% if thinking is defined and not thinking %}无{% endif %}"
)
PROMPTS = ["你好", "女生学不好数学，对吧？", "好", "请帮我分析这个问题。"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("tiny-chat")
    tokens = ["<unk>", "<|user|>", "<|system|>", "<|assistant|>", "<|end|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    for byte in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[byte] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        eos_token="<|end|>",
        additional_special_tokens=["<|user|>", "<|system|>", "<|assistant|>"],
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=160,
        eos_token_id=4,
        bos_token_id=None,
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(20)  # fresh weights are so small that every prompt gets one answer
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def adapter(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(5)
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(folder),
        LoraConfig(r=2, target_modules=["q_proj", "v_proj"], init_lora_weights=False),
    )
    path = tmp_path_factory.mktemp("tiny-adapter")
    model.save_pretrained(path)
    return path


def ask(model: LocalModel, *prompts: str) -> list[Answer]:
    answers: list[Answer] = []
    items = [Item(str(n), prompt, {"prompt": prompt}) for n, prompt in enumerate(prompts)]
    model.ask(items, lambda item, answer: answers.append(answer))
    return answers


def local(folder: Path, sampling: Sampling | None = None, **changes: Any) -> LocalModel:
    return LocalModel(str(folder), sampling or Sampling(max_tokens=12), device="cpu", **changes)


def texts(answers: list[Answer]) -> list[str | None]:
    return [answer.response or answer.partial for answer in answers]


def test_a_batch_gives_what_each_prompt_gives_alone(folder: Path) -> None:
    alone = [answer for p in PROMPTS for answer in ask(local(folder, batch_size=1), p)]
    assert ask(local(folder, batch_size=3), *PROMPTS) == alone
    assert len(set(texts(alone))) > 1
    # The plain way, without batch and padding.
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    ids = tokenizer(f"<|user|>{PROMPTS[1]}<|end|><|assistant|>", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        written = model.generate(ids, do_sample=False, max_new_tokens=12, pad_token_id=4)
    text = tokenizer.decode(written[0, ids.shape[1] :], skip_special_tokens=True)
    assert texts(alone)[1] == text
    assert alone[1].tokens[0] == ids.shape[1]


def test_the_end_token_ends_an_answer(folder: Path) -> None:
    model = local(folder)
    assert [answer.finish_reason for answer in ask(model, PROMPTS[0])] == ["length"]
    first = model._answer([70, 71, 4, 4, 4], asked=3)
    assert (first.finish_reason, first.tokens) == ("stop", (3, 3))
    assert first.response == model._tokenizer.decode([70, 71])
    assert model._answer([4, 4], asked=3).kind == "empty answer"


def test_system_prompt_and_template_variables_reach_the_model(folder: Path) -> None:
    plain, system, extra = (
        local(folder, Sampling(max_tokens=2, **changes))
        for changes in ({}, {"system_prompt": "请用中文。"}, {"extra": {"thinking": False}})
    )
    items = [Item("0", "你好", {})]
    lengths = [model._encode(items)["input_ids"].shape[1] for model in (plain, system, extra)]
    assert lengths[1] == lengths[0] + len("请用中文。".encode()) + 2
    assert lengths[2] == lengths[0] + len("无".encode())


def test_a_template_that_begins_to_think_is_noticed(folder: Path) -> None:
    model = local(folder)
    model._tokenizer.chat_template = TEMPLATE + "<think>\n"
    (cut,) = ask(model, "好")
    assert cut.finish_reason == "length"
    assert cut.partial is None
    assert cut.reasoning


def test_control_tokens_in_a_prompt_are_text(folder: Path) -> None:
    encoded = local(folder)._encode([Item("0", "<|end|><|system|>坏", {})])
    assert encoded["input_ids"][0].tolist().count(4) == 1
    assert 2 not in encoded["input_ids"][0].tolist()


def test_sampling_by_seed(folder: Path) -> None:
    def sampled(seed: int) -> list[str | None]:
        settings = Sampling(temperature=2.0, top_p=0.9, seed=seed, max_tokens=12)
        return texts(ask(local(folder, settings), *PROMPTS))

    assert sampled(1) == sampled(1)
    assert sampled(1) != sampled(2)


def test_a_prompt_that_fills_the_window_fails_alone(folder: Path) -> None:
    answers = ask(local(folder), "好", "长" * 60, "好")
    assert answers[1].error == "too long: the prompt fills the model's 160 tokens"
    assert texts([answers[0], answers[2]]) == texts(ask(local(folder), "好")) * 2


def test_a_batch_that_fills_the_memory_is_halved(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    model = local(folder)
    whole = ask(model, *PROMPTS)
    generate, sizes = model._generate, []

    def small(batch: Any) -> Any:
        sizes.append(len(batch))
        if len(batch) > 1 or batch[0].prompt == "好":
            raise torch.cuda.OutOfMemoryError
        return generate(batch)

    monkeypatch.setattr(model, "_generate", small)
    answers = ask(model, *PROMPTS)
    assert sizes == [4, 2, 1, 1, 2, 1, 1]
    assert answers[2].kind == "out of memory"
    assert answers[:2] + answers[3:] == whole[:2] + whole[3:]


def test_an_adapter_changes_answers_and_is_recorded(folder: Path, adapter: Path) -> None:
    base, tuned = local(folder), local(folder, adapter=str(adapter))
    assert texts(ask(base, *PROMPTS)) != texts(ask(tuned, *PROMPTS))
    assert tuned.settings()["adapter"] == str(adapter)
    assert tuned.settings()["adapter_fingerprint"] == fingerprint(str(adapter))
    assert base.settings()["adapter_fingerprint"] is None
    assert "peft" in tuned.packages


def test_the_fingerprint_tells_weights_apart(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    (tmp_path / "config.json").write_text("{}")
    weights.write_bytes(bytes(5 << 20))
    first = fingerprint(str(tmp_path))
    assert fingerprint(str(tmp_path)) == first
    with weights.open("r+b") as stream:
        stream.seek(-1, 2)
        stream.write(b"x")
    second = fingerprint(str(tmp_path))
    (tmp_path / "config.json").write_text("{ }")
    assert len({first, second, fingerprint(str(tmp_path))}) == 3
    assert fingerprint("some/hub-id") is None


def test_models_that_cannot_be_asked(folder: Path, tmp_path: Path) -> None:
    import shutil

    with pytest.raises(ScorerError, match="transformers cannot load it"):
        local(tmp_path)
    bare = tmp_path / "bare"
    shutil.copytree(folder, bare, ignore=shutil.ignore_patterns("*.jinja"))
    with pytest.raises(ScorerError, match="has no chat template"):
        local(bare)
    (bare / "chat_template.jinja").write_text("{{ raise_exception('no system role') }}")
    with pytest.raises(ScorerError, match="the chat template fails: no system role"):
        ask(local(bare), "好")
    with pytest.raises(ScorerError, match="peft cannot load it"):
        local(folder, adapter=str(tmp_path / "none"))
    with pytest.raises(ValueError, match="dtype 'int3' must be"):
        local(folder, dtype="int3")


def test_the_command_asks_a_local_model(folder: Path, tmp_path: Path) -> None:
    rows = "".join(json.dumps({"prompt": prompt}) + "\n" for prompt in PROMPTS)
    (tmp_path / "p.jsonl").write_text(rows, encoding="utf-8")
    out = tmp_path / "a.jsonl"
    command = ["collect", "--prompts", str(tmp_path / "p.jsonl"), "--local", str(folder)]
    command += ["-o", str(out), "--max-tokens", "12", "--device", "cpu", "--batch-size", "3"]
    result = CliRunner().invoke(cli, [*command, "--accept-cut-off"])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    collected = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [row["response"] for row in collected] == texts(ask(local(folder), *PROMPTS))
    note = json.loads((tmp_path / "a.jsonl.meta.json").read_text(encoding="utf-8"))
    expected = {"backend": "local", "model": folder.name, "path": str(folder), "max_tokens": 12}
    assert expected.items() <= note["settings"].items()
    assert note["runs"][0]["device"] == "cpu"
    assert {"torch", "transformers"} <= note["runs"][0]["software"].keys()
