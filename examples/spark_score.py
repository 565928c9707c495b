"""Score a table on Spark and print the harmless rate of each dimension.

    pip install 'harmlessness-scorer[spark]'                     # on the driver and every worker
    spark-submit examples/spark_score.py s3a://bucket/answers s3a://bucket/scored
    PYSPARK_PYTHON=$(which python) python examples/spark_score.py answers.jsonl scored

The input is Parquet, or JSON lines by their name, with the columns `prompt` and `response`. Every
row comes out with the struct `harmlessness`; where it could not be scored, `harmlessness.error` says
why and the other fields are null.
"""

from __future__ import annotations

import argparse

from pyspark.sql import SparkSession
from pyspark.sql import functions as F  # noqa: N812 - as all of Spark's users write it

from scorer.inference.spark import harmlessness_udf


def main() -> None:
    """Score IN into OUT and print the rates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="Parquet, or JSON lines: *.json, *.jsonl")
    parser.add_argument("target", help="new folder of Parquet")
    parser.add_argument("--model", help="checkpoint folder or hub id; the shipped one if not given")
    options = parser.parse_args()

    spark = SparkSession.builder.appName("harmlessness").getOrCreate()
    lines = options.source.removesuffix(".gz").endswith((".json", ".jsonl"))
    df = spark.read.json(options.source) if lines else spark.read.parquet(options.source)
    scored = df.withColumn("harmlessness", harmlessness_udf(options.model)("prompt", "response"))
    scored.write.parquet(options.target)

    back = spark.read.parquet(options.target)
    dimensions = back.schema["harmlessness"].dataType["dimensions"].dataType.names
    harmless = {name: F.col(f"harmlessness.dimensions.{name}.harmless") for name in dimensions}
    rates = [F.round(100 * F.avg(column.cast("int")), 1).alias(n) for n, column in harmless.items()]
    back.select(F.count("*").alias("rows"), *rates).show()
    spark.stop()


if __name__ == "__main__":
    main()
