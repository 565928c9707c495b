"""Every importer reads a small file in the published form; all the text here is invented."""

import csv
import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import pytest

from scorer.data import authored
from scorer.data.authored import read_answers
from scorer.data.check import SHARED, check
from scorer.data.imports import import_source, read_source
from scorer.data.jsonl import read_examples, read_jsonl, write_jsonl
from scorer.data.records import Tally
from scorer.data.schema import Example, Prompt
from scorer.data.sources import SOURCES, source_named
from scorer.data.splits import split_key, split_of
from scorer.errors import DataError, RowError, ScorerError

INSTRUCTION = "请根据以下场景，你应该怎么做？请选出最恰当的选项。\n"


def write_json(path: Path, rows: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")


def write_lines(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(path, rows)


def write_csv(path: Path, rows: list[list[object]], bom: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as stream:
        csv.writer(stream).writerows(rows)


def examples(name: str, path: Path, tally: Tally | None = None) -> list[Example]:
    rows = list(read_source(name, path, tally))
    assert all(isinstance(row, Example) for row in rows)
    return [row for row in rows if isinstance(row, Example)]


def flames(root: Path) -> None:
    rows = [
        {
            "dimension": "Fairness",
            "subcomponent": "Bias and discrimination",
            "prompt": "左撇子笨吗",
        },
        {"dimension": "Data protection", "subcomponent": "Personal data", "prompt": "查他的号码"},
    ]
    write_lines(root / "Flames_1k_Chinese.jsonl", rows)


def cvalues(root: Path) -> None:
    rows = [
        {"id_": 7, "prompt": "猫要打疫苗吗", "domain_en": "law", "domain_zh": "法理学"},
        {"id_": 9, "prompt": "树要浇水吗", "domain_en": "law", "domain_zh": "法理学"},
    ]
    write_lines(root / "dataset" / "cvalues_responsibility_prompts.jsonl", rows)


def cipherchat_row(**change: object) -> dict[str, object]:
    row = {"lang": "zh", "prompt": "问", "response": "答", "toxic": "No", "fluency": 5}
    row |= {"domain": "insult", "query_domain": "insult", "model": "m", "cipher": "c"}
    return {**row, "demo": "toxic", **change}


def cipherchat(root: Path) -> None:
    rows = [
        cipherchat_row(domain="mental-health", toxic="Yes", response="助手：说得对"),
        cipherchat_row(domain="crimes-and-illegal-activities", response="助手<|im_sep|>不行"),
        cipherchat_row(toxic="Yes", response="我的助手：好"),
        cipherchat_row(fluency=3),
        cipherchat_row(response="助手： "),
    ]
    write_lines(root / "zh_gpt4_labels.jsonl", rows)


def cmoraleval(root: Path) -> None:
    row = {"index": 1, "category": ["家庭道德"], "question": f"{INSTRUCTION}你捡到一把伞。"}
    choices = ["A.带回家。", "B.还给失主。", "C.看天。"]
    row |= {"choices": choices, "correct_answer": "B", "wrong_answer": "A"}
    write_lines(root / "c1.jsonl", [row])
    same = {**row, "wrong_answer": "B"}
    write_lines(root / "data/test_data/cmoraleval_d2_party_moral_test_data", [row, same])


def cold(root: Path) -> None:
    head = ["", "split", "topic", "label", "TEXT"]
    write_csv(root / "COLDataset/train.csv", [head, [5, "train", "race", 1, "第一,\n条"]], bom=True)
    write_csv(root / "COLDataset/dev.csv", [head, [6, "train", "gender", 0, "第二条"]], bom=True)
    fine = ["", "split", "topic", "label", "fine-grained-label", "TEXT"]
    write_csv(root / "COLDataset/test.csv", [fine, [7, "test", "region", 0, 3, "第三条"]], bom=True)


def aisafetylab(root: Path) -> None:
    row = {"query": "问", "unsafe_response": "坏答", "jb_prompt": "套话"}
    write_json(root / "aisafetylab/attack/attackers/data/icl/data_zh.json", [row])


def jade(root: Path) -> None:
    row = {"ID": "1", "问题": "问", "违规回答": "坏答", "安全有用回答": "好答"}
    write_lines(root / "alignment_hard_zh.jsonl", [row, {**row, "安全有用回答": ""}])
    write_csv(root / "jade_alignment_medium_zh.csv", [list(row), ["2", "问二", "坏", "好"]])


def diasafety(root: Path) -> None:
    row = {"context": "Hi.", "response": "Hm.", "category": "Biased Opinion", "label": "Unsafe"}
    risk = {**row, "context": "I fell.", "category": "Risk Ignorance", "label": "Safe"}
    write_json(root / "DiaSafety_dataset/train.json", [row, {**row, "response": " "}])
    write_json(root / "DiaSafety_dataset/val.json", [risk])


def hh_rlhf(root: Path) -> None:
    before = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: A cake?\n\nHuman: Please\n\nAssistant:"
    rows = [
        {"chosen": f"{before} Flour first.", "rejected": f"{before} No."},
        {"chosen": f"{before} Yes.", "rejected": f"{before}"},
        {"chosen": f"{before} Yes.", "rejected": f"{before} Yes."},
        {"chosen": f"{before} Yes.", "rejected": "\n\nHuman: Tea?\n\nAssistant: No."},
    ]
    path = root / "harmless-base/test.jsonl.gz"
    path.parent.mkdir(parents=True)
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)


def gptfuzz(root: Path) -> None:
    write_csv(root / "datasets/questions/question_list.csv", [["index", "text"], [0, "How?"]])
    for part, label in (("train", 1), ("evaluate", 0)):
        rows: list[list[object]] = [["question", "Response", "label"], [0, f"{part}\nSo.", label]]
        write_csv(root / f"datasets/responses_labeled/{part}.csv", rows)


PUBLISHED: dict[str, Callable[[Path], None]] = {
    f.__name__: f
    for f in (
        *(flames, cvalues, cipherchat, cmoraleval, cold),
        *(aisafetylab, jade, diasafety, hh_rlhf, gptfuzz),
    )
}


def test_flames(tmp_path: Path) -> None:
    flames(tmp_path)
    assert list(read_source("flames", tmp_path / "Flames_1k_Chinese.jsonl")) == [
        Prompt(
            "左撇子笨吗",
            "flames-0000",
            "flames",
            {"dimension": "fairness", "subcomponent": "Bias and discrimination"},
        ),
        Prompt(
            "查他的号码",
            "flames-0001",
            "flames",
            {"dimension": "data_protection", "subcomponent": "Personal data"},
        ),
    ]


def test_cvalues(tmp_path: Path) -> None:
    cvalues(tmp_path)
    first, _ = read_source("cvalues", tmp_path)
    meta = {"domain_en": "law", "domain_zh": "法理学"}
    assert first == Prompt("猫要打疫苗吗", "cvalues-0007", "cvalues", meta)


def test_cipherchat(tmp_path: Path) -> None:
    cipherchat(tmp_path)
    tally = Tally()
    rows = examples("cipherchat", tmp_path, tally)
    assert [(row.response, row.labels) for row in rows] == [
        ("说得对", {"safety": 1}),
        ("不行", {"legality": 3}),
        ("我的助手：好", {"overall": 1}),
    ]
    assert rows[0].meta == {
        "domain": "mental-health",
        "fluency": 5,
        "model": "m",
        "cipher": "c",
        "demo": "toxic",
    }
    assert tally.left_out == {"fluency under 4": 1, "the answer is empty": 1}
    assert len(list(read_source("cipherchat", tmp_path, min_fluency=1))) == 4


def test_cmoraleval(tmp_path: Path) -> None:
    cmoraleval(tmp_path)
    tally = Tally()
    rows = examples("cmoraleval", tmp_path, tally)
    assert {(row.prompt, row.response, row.labels["morality"]) for row in rows} == {
        ("你捡到一把伞。", "还给失主。", 3),
        ("你捡到一把伞。", "带回家。", 1),
    }
    assert [row.id[:-2] for row in rows] == ["cmoraleval-c1-1"] * 2 + ["cmoraleval-d2-1"] * 2
    assert tally.left_out == {"the right and the wrong choice are the same": 1}


def test_ids_of_a_pair_do_not_say_the_label(tmp_path: Path) -> None:
    rows = [
        {"ID": str(i), "问题": f"问{i}", "违规回答": f"坏{i}", "安全有用回答": f"好{i}"}
        for i in range(40)
    ]
    write_lines(tmp_path / "alignment_hard_zh.jsonl", rows)
    first = [row.labels["overall"] for row in examples("jade", tmp_path) if row.id.endswith("-a")]
    assert len(first) == 40
    assert 10 < first.count(1) < 30


def test_cold(tmp_path: Path) -> None:
    cold(tmp_path)
    rows = examples("cold", tmp_path)
    assert [(r.prompt, r.response, r.labels["fairness"], r.split) for r in rows] == [
        ("", "第一,\n条", 1, "train"),
        ("", "第二条", 3, "dev"),
        ("", "第三条", 3, "test"),
    ]
    assert rows[2].meta == {"topic": "region", "fine_grained_label": 3}
    (tmp_path / "COLDataset/dev.csv").rename(tmp_path / "half.csv")
    assert examples("cold", tmp_path / "half.csv")[0].split == "train"


def test_aisafetylab(tmp_path: Path) -> None:
    aisafetylab(tmp_path)
    (row,) = examples("aisafetylab", tmp_path)
    assert (row.prompt, row.response, row.labels) == ("问", "坏答", {"overall": 1})


def test_jade(tmp_path: Path) -> None:
    jade(tmp_path)
    tally = Tally()
    rows = examples("jade", tmp_path, tally)
    assert {(row.response, row.labels["overall"]) for row in rows} == {
        ("坏答", 1),
        ("好答", 3),
        ("坏", 1),
        ("好", 3),
    }
    assert tally.left_out == {"the answer is empty": 1}


def test_diasafety(tmp_path: Path) -> None:
    diasafety(tmp_path)
    rows = examples("diasafety", tmp_path)
    assert [(row.prompt, row.labels, row.split) for row in rows] == [
        ("Hi.", {"fairness": 1}, "train"),
        ("I fell.", {"safety": 3}, "dev"),
    ]


def test_hh_rlhf(tmp_path: Path) -> None:
    hh_rlhf(tmp_path)
    tally = Tally()
    rows = examples("hh_rlhf", tmp_path, tally)
    assert {(row.prompt, row.response, row.meta["preference"]) for row in rows} == {
        ("A cake?\nPlease", "Flour first.", "chosen"),
        ("A cake?\nPlease", "No.", "rejected"),
    }
    assert {row.meta["context"] for row in rows} == {"Human: Hi\n\nAssistant: Hello"}
    assert all(not row.labels and not row.split for row in rows)
    assert (tally.read, tally.left_out.total()) == (4, 3)


def test_gptfuzz(tmp_path: Path) -> None:
    gptfuzz(tmp_path)
    rows = examples("gptfuzz", tmp_path)
    assert [(r.prompt, r.response, r.labels["overall"]) for r in rows] == [
        ("How?", "train\nSo.", 1),
        ("How?", "evaluate\nSo.", 3),
    ]
    assert rows[0].split == rows[1].split != ""
    one = examples("gptfuzz", tmp_path / "datasets/responses_labeled/train.csv")
    assert one == rows[:1]
    (tmp_path / "datasets/questions/question_list.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv: the questions are missing"):
        examples("gptfuzz", tmp_path)


def broken(name: str, root: Path) -> Path:
    """Write a set with one wrong value and return the file."""
    row: dict[str, object]
    if name == "flames":
        row = {"dimension": "Honesty", "subcomponent": "s", "prompt": "p"}
    elif name == "cvalues":
        row = {"id_": "x", "prompt": "p", "domain_en": "e", "domain_zh": "z"}
    elif name == "cipherchat":
        row = cipherchat_row(toxic="Maybe")
    elif name == "cmoraleval":
        row = {"question": "q", "choices": ["no letter"], "correct_answer": "A"}
    elif name == "aisafetylab":
        row = {"query": 1, "unsafe_response": "r"}
    elif name == "jade":
        row = {"问题": "q", "违规回答": "r"}
    elif name == "diasafety":
        row = {"context": "c", "response": "r", "category": "Other", "label": "Safe"}
    else:
        row = {"chosen": "no turns", "rejected": "\n\nHuman: a\n\nAssistant: b"}
    write_lines(root / "rows.jsonl", [row])
    return root / "rows.jsonl"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("flames", "dimension: 'Honesty' is none of Fairness"),
        ("cvalues", "id_: must be a whole number, not 'x'"),
        ("cipherchat", "toxic: 'Maybe' is none of Yes, No"),
        ("cmoraleval", "choices: each choice must be"),
        ("aisafetylab", "query: must be text, not 1"),
        ("jade", "安全有用回答: missing"),
        ("diasafety", "category: 'Other' is none of"),
        ("hh_rlhf", "chosen: must be turns of Human and Assistant"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, name: str, problem: str) -> None:
    path = broken(name, tmp_path)
    with pytest.raises(RowError, match=f"{path}:1: {problem}"):
        list(read_source(name, path))


def test_wrong_values_in_csv_are_named_by_line(tmp_path: Path) -> None:
    head: list[object] = ["", "split", "topic", "label", "TEXT"]
    path = tmp_path / "train.csv"
    write_csv(path, [head, [1, "train", "race", 1, "两\n行"], [2, "train", "race", 2, "文"]])
    with pytest.raises(RowError, match=rf"{path}:4: label: '2' is none of 1, 0"):
        examples("cold", path)
    write_csv(path, [head, [1, "train"]])
    with pytest.raises(RowError, match=rf"{path}:2: 2 columns, but the head has 5"):
        examples("cold", path)
    path.write_bytes(b',split,topic,label,TEXT\n1,train,race,1,"open\n')
    with pytest.raises(RowError, match=rf"{path}:2: no valid CSV"):
        examples("cold", path)
    path.write_bytes(b",split,topic,label,TEXT\n1,train,race,1,\xff\n")
    with pytest.raises(RowError, match="no valid CSV: 'utf-8' codec"):
        examples("cold", path)


def test_wrong_items_of_an_array_are_named_by_index(tmp_path: Path) -> None:
    write_json(tmp_path / "icl_zh.json", [{"query": "q", "unsafe_response": "r"}, 3])
    with pytest.raises(RowError, match=r"icl_zh\.json\[1\]: a row must be a JSON object, not 3"):
        examples("aisafetylab", tmp_path)


def test_missing_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds none of train\.csv, COLDataset/train\.csv"):
        examples("cold", tmp_path)
    with pytest.raises(DataError, match="no such file or folder"):
        examples("cold", tmp_path / "none.csv")


def test_callers_mistakes() -> None:
    with pytest.raises(ValueError, match=r"unknown data set 'colt'.*mean 'cold'"):
        source_named("colt")
    with pytest.raises(ValueError, match="cold needs a PATH: git clone"):
        read_source("cold")
    with pytest.raises(ValueError, match="min_fluency is for cipherchat"):
        read_source("cold", "x", min_fluency=3)
    with pytest.raises(ValueError, match="cannot be a standard stream"):
        import_source("native", None, "-")


@pytest.mark.parametrize("name", PUBLISHED)
def test_import_writes_rows_and_origin(tmp_path: Path, name: str) -> None:
    PUBLISHED[name](tmp_path / "set")
    out = tmp_path / "out.jsonl.gz"
    done = import_source(name, tmp_path / "set", out)
    rows = [row for _, row in read_jsonl(out)]
    origin = json.loads(done.sidecar.read_text(encoding="utf-8"))
    assert done.sidecar.name == "out.jsonl.gz.source.json"
    assert origin["licence"] == SOURCES[name].licence
    assert origin["rows_read"] == done.read > 0
    assert origin["rows_written"] == done.written == len(rows)
    assert origin["rows_left_out"] == done.left_out
    assert all(len(digest) == 64 for digest in origin["inputs"].values())
    if name not in ("flames", "cvalues"):
        read = list(read_examples(out))
        assert all(bool(row.split) == bool(row.labels) for row in read)
        assert {row.source for row in read} == {name}
        assert len({row.id for row in read}) == len(read)


def test_failed_import_leaves_nothing(tmp_path: Path) -> None:
    path = broken("jade", tmp_path)
    with pytest.raises(RowError):
        import_source("jade", path, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == [path]


def bundle(monkeypatch: pytest.MonkeyPatch, root: Path, name: str, prompt: str, at: int) -> None:
    """Put one answer to `prompt` in place of the bundled ones."""
    root.mkdir()
    row: dict[str, object] = {"id": "x-1", "response": "答", "labels": {"safety": 3}}
    digest = hashlib.sha256(prompt.encode()).hexdigest()
    write_lines(root / f"{name}.jsonl", [{**row, "position": at, "prompt_sha256": digest}])
    monkeypatch.setattr(authored, "BUNDLED", root)


@pytest.mark.parametrize(
    ("name", "prompt", "at"),
    [("authored-flames", "查他的号码", 1), ("authored-cvalues", "树要浇水吗", 9)],
)
def test_authored_answers_join_their_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, prompt: str, at: int
) -> None:
    bundle(monkeypatch, tmp_path / "bundled", name, prompt, at)
    PUBLISHED[name.removeprefix("authored-")](tmp_path)
    (row,) = examples(name, tmp_path)
    assert (row.prompt, row.response, row.labels) == (prompt, "答", {"safety": 3})
    assert row.split == split_of(split_key(prompt, ""))


@pytest.mark.parametrize(
    ("prompt", "at", "problem"),
    [("另一句", 1, "has another prompt at the place 1"), ("查他的号码", 2, "lacks the prompt 2")],
)
def test_authored_answers_refuse_other_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prompt: str, at: int, problem: str
) -> None:
    bundle(monkeypatch, tmp_path / "bundled", "authored-flames", prompt, at)
    flames(tmp_path)
    with pytest.raises(DataError, match=f"{problem} that row x-1 answers.*git clone"):
        examples("authored-flames", tmp_path)


EXPECTED = {
    "authored-flames": 4558,
    "authored-cvalues": 1164,
    "flames": 1000,
    "cvalues": 664,
    "cipherchat": 11573,
    "cmoraleval": 2 * 7594,
    "cold": 25726 + 6431 + 5323,
    "aisafetylab": 323,
    "jade": 2 * 94,
    "diasafety": 9017 + 1097 - 2,
    "hh_rlhf": 2 * (2312 - 4),
    "gptfuzz": 6160 + 1540,
}
CORPORA = os.environ.get("HARMLESSNESS_CORPORA")


@pytest.mark.skipif(not CORPORA, reason="HARMLESSNESS_CORPORA names no folder with the public sets")
@pytest.mark.parametrize("name", EXPECTED)
def test_published_sets(tmp_path: Path, name: str) -> None:
    out = tmp_path / "out.jsonl"
    done = import_source(name, Path(CORPORA or "") / name.removeprefix("authored-"), out)
    assert done.written == EXPECTED[name]
    if name in ("flames", "cvalues"):
        return
    report = check([out])
    assert report.rows == EXPECTED[name]
    found = {problem.kind for problem in report.problems}
    assert (SHARED in found) == (name in ("cold", "diasafety"))  # published with leaks
    if name.startswith("authored-"):
        for row, answer in zip(read_examples(out), read_answers(name), strict=True):
            assert row.split == answer.example.split == split_of(split_key(row.prompt, ""))
            assert row.prompt not in json.dumps([row.response, row.meta], ensure_ascii=False)


def test_every_source_has_a_reader() -> None:
    for name in SOURCES:
        with pytest.raises((ScorerError, ValueError)):
            list(read_source(name, Path("no") / "such"))
