from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import scorer
from scorer import DimensionScore, Score, Scorer, api
from scorer.checkpoint import WEIGHTS_FILE
from scorer.errors import CheckpointError, ScorerError

PAIRS = [
    ("女生学不好数学，对吧？", "对，女生天生逻辑差，别学理科了。"),
    ("你好", "你好！"),
    ("", ""),
    ("我们可以" * 60, "不可以。" * 60),
    ("你好", "你好！"),
]


@pytest.fixture(scope="module")
def tiny(tiny_checkpoint: Path) -> Scorer:
    return Scorer.load(tiny_checkpoint, device="cpu")


@pytest.fixture
def default(tiny: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny checkpoint in place of the shipped one."""
    monkeypatch.setattr(api, "_loaded", [tiny])


def test_one_is_the_first_of_a_batch(tiny: Scorer) -> None:
    for prompt, response in PAIRS:
        assert tiny.score(prompt, response) == tiny.score_batch([(prompt, response)])[0]


@pytest.mark.usefixtures("default")
def test_functions_use_the_default_scorer(tiny: Scorer, tmp_path: Path) -> None:
    assert scorer.score(*PAIRS[0]) == scorer.score_batch([PAIRS[0]])[0] == tiny.score(*PAIRS[0])
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text(json.dumps({"prompt": PAIRS[0][0], "response": PAIRS[0][1]}))
    assert scorer.score_jsonl(source, out).rows == 1
    assert json.loads(out.read_text())["harmlessness"] == tiny.score(*PAIRS[0]).to_dict()


@pytest.mark.parametrize("count", [0, 1, 2, len(PAIRS)])
def test_list_in_list_out(tiny: Scorer, count: int) -> None:
    scores = tiny.score_batch(PAIRS[:count])
    assert isinstance(scores, list)
    assert len(scores) == count
    for score, pair in zip(scores, PAIRS[:count], strict=True):
        alone = tiny.score(*pair)
        assert score.truncated == alone.truncated
        assert score.harmless_probability == pytest.approx(alone.harmless_probability, abs=1e-3)


def test_result_holds_what_it_says(tiny: Scorer) -> None:
    scores = tiny.score_batch(PAIRS)
    assert scores[1] == scores[4]
    assert scores[0] != scores[1]
    assert [score.truncated for score in scores] == [False, False, False, True, False]
    for score in scores:
        assert isinstance(score, Score)
        assert score.model == "tiny 0.0.1"
        assert list(score.dimensions) == [item.name for item in tiny.settings.dimensions]
        for dimension, value in score.dimensions.items():
            assert isinstance(value, DimensionScore)
            assert sum(value.probabilities.values()) == pytest.approx(1)
            assert value.level in value.probabilities, dimension
        assert score.harmless == all(value.harmless for value in score.dimensions.values())
        assert json.loads(json.dumps(score.to_dict())) == score.to_dict()


def test_a_stream_is_scored_as_it_comes(tiny: Scorer) -> None:
    taken = 0

    def endless() -> Iterator[tuple[str, str]]:
        nonlocal taken
        while True:
            taken += 1
            yield PAIRS[taken % 2]

    first = next(tiny.score_stream(endless()))
    assert first.harmless_probability == pytest.approx(
        tiny.score(*PAIRS[1]).harmless_probability, abs=1e-3
    )
    assert taken < 5000


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (("a",), r"pairs\[1\] must be \(prompt, response\), not \('a',\)"),
        (("a", "b", "c"), r"pairs\[1\] must be"),
        ("ab", r"pairs\[1\] must be"),
        (None, r"pairs\[1\] must be"),
        ((1, "b"), r"pairs\[1\]: prompt must be a str, not int"),
        (("a", None), r"pairs\[1\]: response must be a str, not NoneType"),
        ((b"a", "b"), r"pairs\[1\]: prompt must be a str, not bytes"),
    ],
)
def test_wrong_types_name_their_index(tiny: Scorer, item: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        tiny.score_batch([("a", "b"), item])  # type: ignore[list-item]


def test_pairs_may_be_lists(tiny: Scorer) -> None:
    assert tiny.score_batch([["a", "b"]]) == tiny.score_batch([("a", "b")])  # type: ignore[list-item]


def test_scorer_says_what_runs_where(tiny: Scorer, tiny_checkpoint: Path) -> None:
    assert (tiny.engine, tiny.device, tiny.folder) == ("onnx", "cpu", tiny_checkpoint)
    assert "cpu" in tiny.reason
    other = Scorer.load(tiny_checkpoint, engine="torch", device="cpu")
    assert (other.engine, other.device) == ("torch", "cpu")
    for pair in PAIRS:
        assert other.score(*pair).harmless_probability == pytest.approx(
            tiny.score(*pair).harmless_probability, abs=0.05
        )


def test_token_budget_and_threads_change_no_score(tiny: Scorer, tiny_checkpoint: Path) -> None:
    other = Scorer.load(tiny_checkpoint, device="cpu", token_budget=1, threads=1)
    for score, same in zip(other.score_batch(PAIRS), tiny.score_batch(PAIRS), strict=True):
        assert score.harmless_probability == pytest.approx(same.harmless_probability, abs=1e-3)


def test_max_length_cuts_sooner(tiny: Scorer, tiny_checkpoint: Path) -> None:
    pair = ("我们可以", "好" * 40)
    assert not tiny.score(*pair).truncated
    short = Scorer.load(tiny_checkpoint, device="cpu", max_tokens=32)
    assert short.score(*pair).truncated
    assert short.settings.encoding.max_length == 32


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"max_tokens": 97}, "max_tokens 97 is above 96"),
        ({"max_tokens": 3}, "max_length 3 must be at least 16"),
        ({"token_budget": 0}, "token_budget 0 must be at least 1"),
        ({"threads": 0}, "threads 0 must be at least 1"),
        ({"engine": "tf"}, "engine 'tf'"),
        ({"device": "tpu"}, "device 'tpu'"),
    ],
)
def test_settings_out_of_range(
    tiny_checkpoint: Path, setting: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Scorer.load(tiny_checkpoint, **setting)  # type: ignore[arg-type]


def test_no_such_checkpoint(tmp_path: Path) -> None:
    for path in (tmp_path / "none", "./none", "none", "a/b/c", "~/none/at/all", "../none"):
        with pytest.raises(CheckpointError, match="no such checkpoint folder"):
            Scorer.load(path)
    with pytest.raises(CheckpointError, match=r"it has no scorer\.json"):
        Scorer.load(tmp_path)


def test_hub_id_without_a_network_says_so() -> None:
    with pytest.raises(CheckpointError, match=r"nobody/nothing: .* cannot be had from the hub"):
        Scorer.load("nobody/nothing")


def test_hub_id_downloads_our_files_alone(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[tuple[str, list[str]]] = []

    def snapshot_download(repo_id: str, *, allow_patterns: list[str]) -> str:
        asked.append((repo_id, allow_patterns))
        return str(tiny_checkpoint)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert Scorer.load("owner/name", device="cpu").settings.name == "tiny"
    ((repo_id, patterns),) = asked
    assert repo_id == "owner/name"
    assert not any("*" in pattern or pattern.endswith((".bin", ".py")) for pattern in patterns)
    assert {path.name for path in tiny_checkpoint.iterdir()} <= set(patterns)


def test_the_shipped_checkpoint_is_the_one_folder(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "_MODELS", tmp_path)
    with pytest.raises(CheckpointError, match="holds 0 checkpoints"):
        Scorer.load()
    shutil.copytree(tiny_checkpoint, tmp_path / "one")
    assert Scorer.load(device="cpu").folder == tmp_path / "one"
    shutil.copytree(tiny_checkpoint, tmp_path / "two")
    with pytest.raises(CheckpointError, match="holds 2 checkpoints"):
        Scorer.load()


def test_a_damaged_checkpoint_is_refused(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(tiny_checkpoint, folder)
    (folder / WEIGHTS_FILE).write_bytes(b"short")
    with pytest.raises(ScorerError, match="incomplete or was changed"):
        Scorer.load(folder)


def test_first_calls_at_a_time_load_one_model(
    tiny: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads = 0

    def load() -> Scorer:
        nonlocal loads
        loads += 1
        time.sleep(0.05)
        return tiny

    monkeypatch.setattr(api, "_loaded", [])
    monkeypatch.setattr(api.Scorer, "load", load)
    threads = [threading.Thread(target=api.score, args=("a", "b")) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == 1


def test_threads_share_a_scorer(tiny: Scorer) -> None:
    expected = [score.harmless_probability for score in tiny.score_batch(PAIRS)]
    results: list[list[float]] = []

    def work() -> None:
        for _ in range(5):
            results.append([score.harmless_probability for score in tiny.score_batch(PAIRS)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 20
    for result in results:
        assert result == pytest.approx(expected, abs=1e-3)


HEAVY = ("numpy", "onnxruntime", "tokenizers", "huggingface_hub", "click", "rich")


def modules_after(program: str, *arguments: str) -> set[str]:
    """Return the top modules that a fresh process has loaded after `program`."""
    program += "\nimport sys\nprint(*{name.split('.')[0] for name in sys.modules})"
    run = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True
    )
    return set(run.stdout.split())


def test_import_loads_nothing_heavy() -> None:
    loaded = modules_after("import scorer\nfrom scorer import Scorer, score, ScorerError")
    assert loaded.isdisjoint({*HEAVY, "torch", "transformers", "datasets"})


def test_scoring_loads_neither_torch_nor_transformers(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text('{"prompt": "a", "response": "b"}')
    program = (
        "import sys\n"
        "from scorer import Scorer\n"
        "scorer = Scorer.load(sys.argv[1], device='cpu')\n"
        "assert scorer.score('你好', '你好').model == 'tiny 0.0.1'\n"
        "scorer.score_jsonl(sys.argv[2] + '/in.jsonl', sys.argv[2] + '/out.jsonl')"
    )
    loaded = modules_after(program, str(tiny_checkpoint), str(tmp_path))
    assert "onnxruntime" in loaded
    assert loaded.isdisjoint({"torch", "transformers", "datasets", "sklearn", "peft"})


def test_package_offers_its_names() -> None:
    assert set(scorer.__all__) <= set(dir(scorer))
    for name in scorer.__all__:
        assert getattr(scorer, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'scores'"):
        scorer.scores  # type: ignore[attr-defined]  # noqa: B018
