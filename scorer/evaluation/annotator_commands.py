"""The command `scorer benchmark annotators`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from scorer.evaluation.markdown import Table

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("-o", "--output", type=_FILE, help="JSON of all figures.")
@click.option("--field", default="label", show_default=True, help="Field or column of the label.")
@click.option("--dimension", help="Read labels.DIMENSION, and compare the scorer on it.")
@click.option(
    "--scale",
    type=click.Choice(["nominal", "ordinal", "interval"]),
    default="ordinal",
    show_default=True,
    help="Scale of Krippendorff's alpha.",
)
@click.option(
    "--merge",
    type=click.Choice(["majority", "dawid-skene"]),
    default="majority",
    show_default=True,
    help="How several labels become one; a tie of the majority gives none.",
)
@click.option("--labels", type=_FILE, help="JSONL, CSV or XLSX for the merged labels.")
@click.option("--disagreements", "apart", type=_FILE, help="Likewise for what people disagree on.")
@click.option("--scored", type=_FILE, help="Scored JSONL: the scorer's own agreement.")
def annotators(
    files: Sequence[Path],
    output: Path | None,
    field: str,
    dimension: str | None,
    scale: str,
    merge: str,
    labels: Path | None,
    apart: Path | None,
    scored: Path | None,
) -> None:
    """Compare and merge several people's labels: FILES, one each (JSONL, CSV or XLSX), by `id`."""
    from scorer.data.jsonl import write_json
    from scorer.evaluation import annotators as people
    from scorer.evaluation.markdown import print_tables

    if scored is not None and dimension is None:
        raise click.UsageError("--scored needs --dimension")
    read = people.read_annotators(files, field, dimension)
    figures = people.agreement_figures(read, cast(people.Scale, scale))
    fitted, figures["dawid_skene"] = people.dawid_skene_labels(read)
    merged = fitted if merge == "dawid-skene" else people.majority_labels(read)
    differ = list(people.disagreements(read, merged))
    figures |= {
        "merge": merge,
        "merged": sum(label is not None for label in merged),
        "disagreements": len(differ),
    }
    if scored is not None and dimension is not None:
        figures["scorer"] = people.scorer_agreement(scored, read, merged, dimension)
    if labels is not None:
        rows = zip(read.ids, merged, strict=True)
        _write(labels, ("id", field), [{"id": i, field: label} for i, label in rows])
    if apart is not None:
        columns = ("id", "prompt", "response", *read.annotators, "label")
        _write(apart, columns, differ)
    if output is not None:
        write_json(output, figures)
    print_tables([_table(figures)])
    whole = {
        "Fleiss' kappa": figures["fleiss_kappa"],
        f"Krippendorff's alpha ({scale})": figures["krippendorff_alpha"],
    }
    for name, value in whole.items():
        click.echo(f"{name}: {_shown(value)}")
    click.echo(
        f"{figures['rows']} rows: {figures['labelled_by_all']} labelled by all, "
        f"{len(differ)} on which people disagree, {figures['merged']} with a label by {merge}"
    )
    dropped = figures.get("scorer", {}).get("dropped", {})
    for what, count in dropped.items():
        if count:
            click.echo(f"left out of the scorer's agreement: {count} rows {what}")


def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    from scorer.data.jsonl import write_jsonl
    from scorer.evaluation.sheets import is_sheet, write_sheet

    if is_sheet(path):
        write_sheet(path, columns, ([row.get(name) for name in columns] for row in rows))
    else:
        write_jsonl(path, rows)


def _table(figures: Mapping[str, Any]) -> Table:
    from scorer.evaluation.markdown import Table

    pairs = dict(figures["pairs"])
    if "scorer" in figures:
        rest = figures["scorer"].items()
        pairs |= {
            f"scorer / {name}": one for name, one in rest if name not in ("dimension", "dropped")
        }
    rows = [
        [
            name,
            str(one["n"]),
            _shown(one["percent"], ".1f"),
            _shown(one["cohen_kappa"]),
            _shown(one.get("quadratic_kappa")),
        ]
        for name, one in pairs.items()
    ]
    return Table("Agreement", ["", "n", "percent", "Cohen's kappa", "quadratic kappa"], rows)


def _shown(value: float | None, form: str = ".3f") -> str:
    return "-" if value is None else f"{value:{form}}"
