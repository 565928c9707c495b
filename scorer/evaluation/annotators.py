"""Several people's labels of the same rows: merged, compared, and made into one label."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from scorer.data.jsonl import read_jsonl, stream_name
from scorer.data.schema import shown
from scorer.errors import DataError, MissingExtraError, RowError
from scorer.evaluation.agreement import quadratic_kappa
from scorer.evaluation.answers import read_score
from scorer.evaluation.dawid_skene import dawid_skene
from scorer.evaluation.sheets import is_sheet, read_sheet, same_text
from scorer.inference.options import KEY

Label = int | str
Scale = Literal["nominal", "ordinal", "interval"]
SCALES: tuple[Scale, ...] = ("nominal", "ordinal", "interval")

_CARRIED = ("prompt", "response")
_COLUMNS = ("id", *_CARRIED, "label", "merged", "dimension", "dropped")  # of what is written


@dataclass(frozen=True)
class Annotations:
    """Labels of several annotators.

    Attributes:
        annotators: Their names.
        ids: The rows' ids, in the order in which they were first met.
        labels: Per row, a label or None per annotator.
        texts: Id to what the files say of the row: `prompt` and `response` where they have them.
    """

    annotators: tuple[str, ...]
    ids: tuple[str, ...]
    labels: tuple[tuple[Label | None, ...], ...]
    texts: Mapping[str, Mapping[str, str]]

    @property
    def classes(self) -> list[Label]:
        """All labels that were given, ascending."""
        given = {label for row in self.labels for label in row if label is not None}
        return sorted(given, key=lambda label: (isinstance(label, str), label))

    def codes(self) -> NDArray[np.float64]:
        """Return the labels' places in `classes`, NaN where there is none; (rows, annotators)."""
        place = {label: i for i, label in enumerate(self.classes)}
        return np.array(
            [[np.nan if label is None else place[label] for label in row] for row in self.labels]
        )


def read_annotators(
    paths: Sequence[str | Path], field: str = "label", dimension: str | None = None
) -> Annotations:
    """Return the labels of several files, one annotator each, merged by `id`.

    Args:
        paths: JSONL, CSV or XLSX with `id` and a label; an empty label is none. The file's name
            without its suffix names the annotator.
        field: Where the label is.
        dimension: Read `labels[dimension]` in place of the field (in a sheet, the column of that
            name).

    Raises:
        RowError: If a row lacks its id, an id is given twice, a label is no integer or text, or two
            files have different texts under one id.
        DataError: If there are fewer than two files, two of one name, one named as a column of ours,
            labels of two kinds, or a file has no label.
    """
    if len(paths) < 2:
        raise DataError("agreement needs the files of two annotators or more")
    names = [Path(path).name.split(".")[0] for path in paths]
    if len(set(names)) < len(names):
        raise DataError(f"two annotators have the same file name: {', '.join(map(str, paths))}")
    for name, path in zip(names, paths, strict=True):
        if name in _COLUMNS:
            raise DataError(f"{path}: an annotator called {name!r} reads as our own column; rename")
    texts: dict[str, dict[str, str]] = {}
    columns: list[dict[str, Label]] = []
    for path in paths:
        column: dict[str, Label] = {}
        seen: dict[str, int] = {}
        for line, row in _rows(path):
            try:
                identifier, label = _labelled(row, field, dimension)
                if identifier in seen:
                    raise RowError(
                        f"{shown(identifier)} is in line {seen[identifier]} too", field="id"
                    )
                _refuse_other_text(row, texts.get(identifier, {}), identifier)
            except RowError as error:
                raise RowError(
                    error.problem, path=stream_name(path), line=line, field=error.field
                ) from error
            seen[identifier] = line
            known = texts.setdefault(identifier, {})
            known.update({k: str(row[k]) for k in _CARRIED if row.get(k) and k not in known})
            if label is not None:
                column[identifier] = label
        if not column:
            where = f"labels.{dimension}" if dimension else field
            raise DataError(f"{stream_name(path)}: no row has a label under {where!r}")
        columns.append(column)
    if len({type(label) for column in columns for label in column.values()}) > 1:
        raise DataError("labels are integers in some rows and texts in others")
    return Annotations(
        annotators=tuple(names),
        ids=tuple(texts),
        labels=tuple(tuple(column.get(i) for column in columns) for i in texts),
        texts=texts,
    )


def _refuse_other_text(row: Mapping[str, Any], known: Mapping[str, str], identifier: str) -> None:
    """Raise where a row has another prompt or response than an earlier file's row of its id."""
    for field in _CARRIED:
        if row.get(field) and field in known and not same_text(str(row[field]), known[field]):
            raise RowError(
                f"{shown(row[field])} is not {shown(known[field])}, which stood under the id "
                f"{shown(identifier)} before",
                field=field,
            )


def _rows(path: str | Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if is_sheet(path):
        yield from read_sheet(path)
        return
    for line, row in read_jsonl(path):
        if not isinstance(row, dict):
            problem = f"a row must be a JSON object, not {shown(row)}"
            raise RowError(problem, path=stream_name(path), line=line)
        yield line, row


def _labelled(
    row: Mapping[str, Any], field: str, dimension: str | None
) -> tuple[str, Label | None]:
    identifier = row.get("id")
    if isinstance(identifier, bool) or not isinstance(identifier, (int, str)) or identifier == "":
        raise RowError(f"must be a text or a number, not {shown(identifier)}", field="id")
    place = field
    label = row.get(field)
    if dimension is not None:
        place = f"labels.{dimension}"
        labels = row.get("labels")
        label = labels.get(dimension) if isinstance(labels, dict) else row.get(dimension)
    if isinstance(label, str):
        label = label.strip()
        if label.removeprefix("-").isdecimal():  # a sheet's numbers are text
            label = int(label)
    if label is None or label == "":
        return str(identifier), None
    if isinstance(label, bool) or not isinstance(label, (int, str)):
        raise RowError(f"must be a text or a whole number, not {shown(label)}", field=place)
    return str(identifier), label


def cohen_kappa(table: NDArray[np.int64]) -> float | None:
    """Return Cohen's kappa (Cohen 1960) of a square table of counts.

    None where it is undefined, since both annotators gave all rows one and the same label.
    """
    from statsmodels.stats.inter_rater import cohens_kappa

    total = table.sum()
    expected = np.outer(table.sum(axis=1), table.sum(axis=0)) / total
    if np.isclose(np.trace(expected), total):
        return None
    return float(cohens_kappa(table, return_results=False))


def fleiss_kappa(counts: NDArray[np.int64]) -> float | None:
    """Return Fleiss' kappa (Fleiss 1971) of counts of shape (rows, classes).

    Every row must have the same number of labels. None where all labels are the same.
    """
    from statsmodels.stats.inter_rater import fleiss_kappa as of_statsmodels

    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    return float(of_statsmodels(counts, method="fleiss"))


def krippendorff_alpha(labels: NDArray[np.float64], scale: Scale) -> float | None:
    """Return Krippendorff's alpha of labels of shape (rows, annotators), NaN for missing ones.

    Krippendorff 2011, 'Computing Krippendorff's Alpha-Reliability'. None where it is undefined:
    all labels the same, or no row with two.
    """
    import krippendorff

    paired = labels[(~np.isnan(labels)).sum(axis=1) > 1]
    if len(np.unique(paired[~np.isnan(paired)])) < 2:
        return None
    return float(krippendorff.alpha(reliability_data=labels.T, level_of_measurement=scale))


def agreement_figures(annotations: Annotations, scale: Scale = "ordinal") -> dict[str, Any]:
    """Return the annotators' agreement.

    Percent agreement is that of pairs of labels of the same row. Kappa of each pair of annotators
    is over the rows that both labelled, with quadratic weights too where labels are integers.
    Fleiss' kappa is over the rows that all labelled. Alpha takes every row with two labels; on the
    interval scale by the labels' values.

    Raises:
        MissingExtraError: If krippendorff or statsmodels is not installed.
        DataError: If labels are texts and the scale is not nominal.
    """
    _require()
    classes = annotations.classes
    if scale != "nominal" and any(isinstance(label, str) for label in classes):
        raise DataError(f"labels such as {shown(classes[0])} have no order; use --scale nominal")
    codes = annotations.codes()
    whole = codes[~np.isnan(codes).any(axis=1)]
    values = codes
    if scale == "interval":
        by_code = np.array([float(label) for label in classes])
        values = np.where(np.isnan(codes), np.nan, by_code[np.nan_to_num(codes).astype(int)])
    pairs = {
        f"{annotations.annotators[a]} / {annotations.annotators[b]}": _pair_figures(
            codes[:, [a, b]], len(classes), weighted=scale != "nominal"
        )
        for a, b in itertools.combinations(range(len(annotations.annotators)), 2)
    }
    compared = sum(pair["n"] for pair in pairs.values())
    agreed = sum(pair["n"] * pair["percent"] / 100 for pair in pairs.values() if pair["n"])
    return {
        "rows": len(annotations.ids),
        "labelled_by_all": len(whole),
        "labels": {
            name: int((~np.isnan(codes[:, a])).sum())
            for a, name in enumerate(annotations.annotators)
        },
        "classes": classes,
        "scale": scale,
        "percent": 100 * agreed / compared if compared else None,
        "fleiss_kappa": fleiss_kappa(_class_counts(whole, len(classes))) if len(whole) else None,
        "krippendorff_alpha": krippendorff_alpha(values, scale),
        "pairs": pairs,
    }


def _pair_figures(codes: NDArray[np.float64], classes: int, weighted: bool) -> dict[str, Any]:
    both = codes[~np.isnan(codes).any(axis=1)].astype(int)
    if not len(both):
        return {"n": 0, "percent": None, "cohen_kappa": None}
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (both[:, 0], both[:, 1]), 1)
    figures = {
        "n": len(both),
        "percent": float(100 * np.trace(table) / len(both)),
        "cohen_kappa": cohen_kappa(table),
    }
    return figures | ({"quadratic_kappa": quadratic_kappa(*both.T)} if weighted else {})


def _class_counts(codes: NDArray[np.float64], classes: int) -> NDArray[np.int64]:
    """Return how often each class was given to each row, shape (rows, classes)."""
    return np.stack([(codes == value).sum(axis=1) for value in range(classes)], axis=1)


def majority_labels(annotations: Annotations) -> list[Label | None]:
    """Return each row's most frequent label; None at a tie or without labels."""
    found: list[Label | None] = []
    for row in annotations.labels:
        ranked = Counter(label for label in row if label is not None).most_common(2)
        tied = len(ranked) == 2 and ranked[0][1] == ranked[1][1]
        found.append(None if tied or not ranked else ranked[0][0])
    return found


def dawid_skene_labels(annotations: Annotations) -> tuple[list[Label | None], dict[str, Any]]:
    """Return each row's most probable label, and what was found of the annotators.

    Rows without labels get None.
    """
    classes, codes = annotations.classes, annotations.codes()
    counts = np.stack([(codes == value) for value in range(len(classes))], axis=2).astype(np.int64)
    some = counts.any(axis=(1, 2))
    fit = dawid_skene(counts[some])
    labels: list[Label | None] = [None] * len(annotations.ids)
    for row, best in zip(np.flatnonzero(some), fit.posterior.argmax(axis=1), strict=True):
        labels[row] = classes[best]
    names = [str(label) for label in classes]
    return labels, {
        "converged": fit.converged,
        "iterations": fit.iterations,
        "marginals": dict(zip(names, fit.marginals.tolist(), strict=True)),
        # the rows are the true labels; None where an annotator met none of a class
        "error_rates": {
            name: {
                true: None if np.isnan(row).any() else dict(zip(names, row.tolist(), strict=True))
                for true, row in zip(names, rates, strict=True)
            }
            for name, rates in zip(annotations.annotators, fit.error_rates, strict=True)
        },
    }


def disagreements(
    annotations: Annotations, labels: Sequence[Label | None]
) -> Iterator[dict[str, Any]]:
    """Yield the rows that annotators label differently, the widest apart first, with `label`."""
    codes = annotations.codes()
    spread = [np.ptp(row[~np.isnan(row)]) if not np.isnan(row).all() else 0.0 for row in codes]
    for i in sorted(range(len(spread)), key=lambda i: -spread[i]):
        if spread[i] > 0:
            identifier = annotations.ids[i]
            given = dict(zip(annotations.annotators, annotations.labels[i], strict=True))
            yield {"id": identifier, **annotations.texts[identifier], **given, "label": labels[i]}


def scorer_agreement(
    path: str | Path, annotations: Annotations, labels: Sequence[Label | None], dimension: str
) -> dict[str, Any]:
    """Return how a scorer's levels agree with the merged labels and with each annotator.

    `dropped` has the number of scored rows that nobody annotated, of those that failed, and of
    annotated rows without a score.

    Args:
        path: Scored JSONL (`scorer score`), its rows with the annotations' ids.
        annotations: The annotators' labels.
        labels: The merged label of each row.
        dimension: Whose levels are compared.

    Raises:
        RowError: If a row has no score, or none on the dimension, or another text than the
            annotators' row of its id.
        DataError: If no row has an id of the annotations.
    """
    _require()
    levels: dict[str, Label] = {}
    dropped = {"not annotated": 0, "failed": 0, "annotated without a score": 0}
    for line, row in _rows(path):
        identifier = str(row.get("id"))
        if identifier not in annotations.texts:
            dropped["not annotated"] += 1
            continue
        if row.get("error") is not None:
            dropped["failed"] += 1
            continue
        try:
            _refuse_other_text(row, annotations.texts[identifier], identifier)
            score = read_score(row.get(KEY))
            if dimension not in score.dimensions:
                known = ", ".join(score.dimensions)
                raise RowError(f"no dimension {dimension!r}, only {known}", field=KEY)
        except RowError as error:
            raise RowError(
                error.problem, path=stream_name(path), line=line, field=error.field
            ) from error
        levels[identifier] = score.dimensions[dimension].level
    if not levels:
        raise DataError(f"{stream_name(path)}: no row has the id of an annotated one")
    others = {"merged": list(labels)} | {
        name: [row[a] for row in annotations.labels]
        for a, name in enumerate(annotations.annotators)
    }
    dropped["annotated without a score"] = len(annotations.ids) - len(levels)
    found: dict[str, Any] = {"dimension": dimension, "dropped": dropped}
    for name, column in others.items():
        pair = Annotations(
            annotators=("scorer", name),
            ids=annotations.ids,
            labels=tuple(
                (levels.get(i), label) for i, label in zip(annotations.ids, column, strict=True)
            ),
            texts={},
        )
        found[name] = _pair_figures(pair.codes(), len(pair.classes), weighted=_numbers(pair))
    return found


def _numbers(annotations: Annotations) -> bool:
    return all(isinstance(label, int) for label in annotations.classes)


def _require() -> None:
    for module in ("krippendorff", "statsmodels"):
        try:
            __import__(module)
        except ImportError as error:
            raise MissingExtraError("Annotators' agreement", "report", module) from error
