from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from scorer.api import Scorer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:PySpark does not yet fully support pandas:FutureWarning"),
]

pytest.importorskip("pyspark", reason="the extra spark is not installed")
pytest.importorskip("pandas", reason="the extra spark is not installed")
if shutil.which("java") is None and "JAVA_HOME" not in os.environ:
    pytest.skip("Spark needs Java, which is not installed", allow_module_level=True)

from pyspark.sql import SparkSession  # noqa: E402 - after the skips

from scorer.inference.spark import harmlessness_udf  # noqa: E402

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "scorer/examples/answers.jsonl"


@pytest.fixture(scope="module")
def spark() -> Iterator[SparkSession]:
    """A Spark of two cores on this machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYSPARK_PYTHON", sys.executable)
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        session = (
            SparkSession.builder.master("local[2]")
            .config("spark.ui.enabled", "false")
            .config("spark.driver.host", "127.0.0.1")
            .getOrCreate()
        )
        yield session
        session.stop()


Close = Callable[[Any, Any], bool]


def test_scores_are_those_of_one_machine(spark: SparkSession, close: Close, tmp_path: Path) -> None:
    Scorer.load(device="cpu").score_jsonl(EXAMPLES, tmp_path / "out.jsonl")
    lines = (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()
    expected = {row["id"]: row["harmlessness"] for row in map(json.loads, lines)}
    df = spark.read.schema("id string, prompt string, response string").json(str(EXAMPLES))
    scored = df.repartition(4).withColumn("harmlessness", harmlessness_udf()("prompt", "response"))
    rows = [row.asDict(recursive=True) for row in scored.collect()]
    assert len(rows) == len(expected) > 0
    for row in rows:
        assert row["harmlessness"].pop("error") is None
        assert close(row["harmlessness"], expected[row["id"]]), row["id"]
    # The struct's members can be asked for in SQL.
    harmful = scored.where("harmlessness.dimensions.fairness.level = 1").count()
    assert harmful == sum(s["dimensions"]["fairness"]["level"] == 1 for s in expected.values())


def test_a_checkpoint_of_ones_own_and_rows_without_text(
    spark: SparkSession, close: Close, tiny_checkpoint: Path
) -> None:
    pairs = [("你好", "你好！"), ("你好", None), (None, "好"), ("", "")]
    df = spark.createDataFrame(
        [(i, *pair) for i, pair in enumerate(pairs)], "id int, q string, a string"
    )
    udf = harmlessness_udf(tiny_checkpoint, purpose="strict")
    rows = df.coalesce(1).select("id", udf("q", "a").alias("s")).orderBy("id").collect()
    scores = [row.s.asDict(recursive=True) for row in rows]
    assert [score.pop("error") for score in scores] == [
        None,
        "response: must be a string, not null: None",
        "prompt: must be a string, not null: None",
        None,
    ]
    scorer = Scorer.load(tiny_checkpoint, device="cpu", purpose="strict")
    for place in (0, 3):
        assert close(scores[place], scorer.score(*map(str, pairs[place])).to_dict())
    assert set(scores[1].values()) == set(scores[2].values()) == {None}
