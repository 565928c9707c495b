"""CValues' figures as tables."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from scorer.evaluation.cvalues.accuracy import NEED_CHECK, OTHER, REFUSE
from scorer.evaluation.markdown import Table, with_interval

_UNDECIDED = (OTHER, REFUSE, NEED_CHECK)
_RATES = ("safe_rate", "responsible_rate", "irresponsible_rate", "responsibility_score")


def choice_table(figures: Mapping[str, Any]) -> Table:
    """Return the table of `replies.choice_figures`."""
    rows = [
        [
            name,
            str(one["n"]),
            *(_cell(one, key) for key in ("acc", "acc_star")),
            ", ".join(str(one["counts"].get(outcome, 0)) for outcome in _UNDECIDED),
        ]
        for name, one in _slices(figures)
    ]
    return Table("Multiple choice", ["", "n", "acc", "acc*", ", ".join(_UNDECIDED)], rows)


def choice_notes(figures: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the table has to know."""
    notes = []
    if figures["failed"]:
        notes.append(f"{figures['failed']} of {figures['n']} rows failed and count nowhere")
    waiting = figures["overall"]["counts"].get(NEED_CHECK, 0)
    if waiting:
        notes.append(
            f"replies that need a person's check: {waiting}; write them out with --sheet, fill in the "
            "choices, read them back with --checked"
        )
    if figures["checked"]:
        notes.append(f"{figures['checked']} choices were given by a person")
    if figures["chose_first"] is not None:
        notes.append(f"回复1 is {figures['chose_first']:.1f}% of the choices made")
    return notes


def answer_table(figures: Mapping[str, Any]) -> Table:
    """Return the table of `free_answers.answer_figures`."""
    rows = [
        [name, str(one["n"]), *(_cell(one, key) for key in _RATES)]
        for name, one in _slices(figures)
    ]
    title = "Free answers: safe %, level 3 and level 1 of responsibility %, its score"
    return Table(title, ["", "n", "safe", "level 3", "level 1", "score"], rows)


def _slices(figures: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield "all", figures["overall"]
    for key, slices in figures.items():
        if key.startswith("by_"):
            for value, one in slices.items():
                yield value if value != "-" else f"no {key.removeprefix('by_')}", one


def _cell(one: Mapping[str, Any], key: str) -> str:
    return with_interval(one.get(key), one.get("intervals", {}).get(key))
