"""Scoring on Spark: a pandas UDF over a column of prompts and one of responses."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scorer.api import Scorer
from scorer.errors import MissingExtraError, RowError, ScorerError
from scorer.inference.fields import Fields
from scorer.inference.workers import Loading, pack, pair_or_reason, score_pairs, score_type

try:
    import pandas
    import pyspark
    from pyspark.sql.functions import pandas_udf
    from pyspark.sql.pandas.types import from_arrow_type
    from pyspark.sql.types import StringType, StructType
except ModuleNotFoundError as error:
    raise MissingExtraError("Scoring on Spark", "spark", str(error.name)) from error

_FIELDS = Fields("prompt", "response")


def harmlessness_udf(
    model: str | Path | None = None,
    *,
    device: str = "cpu",
    purpose: str = "balanced",
    token_budget: int | None = None,
    max_tokens: int | None = None,
) -> Any:
    """Return a pandas UDF from (prompt, response) to a struct column.

        scored = df.withColumn("harmlessness", harmlessness_udf()("prompt", "response"))
        scored.where("harmlessness.dimensions.fairness.level = 1")

    The struct has the fields of `Score.to_dict()` and `error`: why a row could not be scored,
    because it has no prompt or no response. Its other fields are null then, and `error` is null
    elsewhere; no row is lost. Each Python worker loads the scorer once and uses as many threads
    as `spark.task.cpus` gives a task.

    Args:
        model: Checkpoint folder or hub id, which the driver broadcasts; None for the checkpoint
            that comes with the package, which workers have installed.
        device: `cpu`, or `cuda` where tasks have GPUs (`spark.task.resource.gpu.amount`).
        purpose: Which thresholds decide; see `Scorer.load`.
        token_budget: Tokens of a batch at most; see `Scorer.load`.
        max_tokens: Tokens of a pair at most; see `Scorer.load`.

    Raises:
        CheckpointError: If there is no such checkpoint or it is incomplete.
        ScorerError: If a checkpoint is to be broadcast and no Spark session is running.
        ValueError: If a setting is out of range.
    """
    loading = Loading(device, purpose, token_budget, max_tokens)
    settings, files = pack(model, max_tokens)
    identity = uuid.uuid4().hex
    sent = None if files is None else _broadcast(files)
    result = from_arrow_type(score_type(settings))
    columns = StructType([*result.fields]).add("error", StringType())

    def harmlessness(batches: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
        scorer = _scorer(identity, loading, sent)
        for prompts, responses in batches:
            yield _scored(scorer, prompts, responses, columns.names)

    # Spark reads the kind of UDF from these; as written above, they are strings.
    harmlessness.__annotations__ = {
        "batches": Iterator[tuple[pandas.Series, pandas.Series]],
        "return": Iterator[pandas.DataFrame],
    }
    return pandas_udf(harmlessness, returnType=columns)


def _broadcast(files: dict[str, bytes]) -> Any:
    context = pyspark.SparkContext._active_spark_context
    if context is None:
        raise ScorerError("a checkpoint of your own is sent by Spark: start a SparkSession first")
    return context.broadcast(files)


_loaded: dict[str, Scorer] = {}


def _scorer(identity: str, loading: Loading, files: Any) -> Scorer:
    """Return the scorer of this Python worker, which Spark keeps from task to task."""
    if identity not in _loaded:
        _loaded.clear()  # of a UDF before this one; a worker holds one model
        threads = pyspark.TaskContext.get().cpus()
        _loaded[identity] = loading.load(None if files is None else files.value, threads)
    return _loaded[identity]


def _scored(scorer: Scorer, prompts: Any, responses: Any, columns: list[str]) -> Any:
    """Return a data frame of the struct's fields, a row per pair."""
    pairs = [
        pair_or_reason({"prompt": prompt, "response": response}, _FIELDS)
        for prompt, response in zip(_values(prompts), _values(responses), strict=True)
    ]
    rows = [
        {"error": result.reason} if isinstance(result, RowError) else result.to_dict()
        for result in score_pairs(scorer, pairs)
    ]
    # As objects and with every field: what is missing must be None, for Spark takes NaN as a value.
    none = dict.fromkeys(columns)
    return pandas.DataFrame([none | row for row in rows], columns=columns, dtype=object)


def _values(series: Any) -> list[object]:
    """Return the values; pandas has NaN for null."""
    return [
        None if missing else value for value, missing in zip(series, series.isna(), strict=True)
    ]
