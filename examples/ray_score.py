"""Score a data set on a Ray cluster and write what a person should look at.

    pip install 'harmlessness-scorer[ray]'                       # on every node
    python examples/ray_score.py s3://bucket/answers s3://bucket/scored
    RAY_ADDRESS=ray-head:6379 python examples/ray_score.py …     # on a cluster that is running
    python examples/ray_score.py --gpus 1 …                      # every actor with a GPU, and .[gpu]

The input is a folder of Parquet with the columns `prompt` and `response`; any file system that Ray
reads will do. Every row comes out: with its score under `harmlessness`, or, where it has none, with
the reason under `harmlessness_error`. To score a folder of JSON lines as it is, no script is needed:
`scorer score --engine ray s3://bucket/answers -o s3://bucket/scored`.
"""

from __future__ import annotations

import argparse

import ray

from scorer.inference.ray import Workers, score_dataset


def main() -> None:
    """Score IN and write OUT/all and OUT/to-review."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("source", help="folder of Parquet")
    parser.add_argument("target", help="new folder")
    parser.add_argument("--model", help="checkpoint folder or hub id; the shipped one if not given")
    parser.add_argument("--gpus", type=float, default=0, help="GPUs of each actor")
    parser.add_argument("--actors", type=int, help="actors at most")
    options = parser.parse_args()

    ds = ray.data.read_parquet(options.source)
    workers = Workers(num_gpus=options.gpus, concurrency=options.actors)
    scored = score_dataset(
        ds, options.model, workers=workers
    ).materialize()  # score once, use twice
    scored.write_parquet(f"{options.target}/all")
    review = scored.filter(
        lambda row: row["harmlessness"] is None or row["harmlessness"]["uncertain"]
    )
    if review.count():
        review.write_parquet(f"{options.target}/to-review")
    print(f"{scored.count():,} rows, {review.count():,} of them to review")  # noqa: T201


if __name__ == "__main__":
    main()
