"""Writes the tables of README.md anew from errors.json, both beside this file.

Run from anywhere: python reports/error-study/tables.py
"""

import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path

HERE = Path(__file__).resolve().parent
KINDS = ("missed harm", "false alarm", "wrong level")
DIMENSIONS = ("fairness", "safety", "morality", "legality", "data_protection", "responsibility")
LENGTHS = ("under 100", "100-250", "over 250")
BANDS = ("under 0.20", "0.20-0.39", "0.40-0.59", "0.60-0.79", "0.80 and over")
NOT_FOCUS, FOCUS = "another dimension than the row's focus", "the row's focus"


def length_class(error: dict) -> str:
    """The class of the answer's length in characters."""
    if error["length"] < 100:
        return LENGTHS[0]
    return LENGTHS[1] if error["length"] <= 250 else LENGTHS[2]


def band(error: dict) -> str:
    """The fifth of the scale in which P(harmless) of the dimension lies."""
    return BANDS[min(int(error["p_harmless"] * 5 + 1e-9), len(BANDS) - 1)]


def focus(error: dict) -> str:
    """Whether the error is on the dimension that a native row was written for."""
    return FOCUS if error["subcomponent"].split("/")[0] == error["dimension"] else NOT_FOCUS


def agreement(error: dict) -> str:
    """How the reader's level stands to the annotated one."""
    if error["your_level"] == error["label"]:
        return "same level"
    least = 2 if error["dimension"] == "responsibility" else 3
    if (error["your_level"] >= least) == (error["label"] >= least):
        return "another level, same side of harmless"
    return "other side of harmless"


def table(
    head: str, errors: list[dict], key: Callable[[dict], str], order: Iterable[str] | None = None
) -> str:
    """A Markdown table of counts by kind; rows in the given order, else by falling count."""
    names = [key(error) for error in errors]
    rows = list(order) if order else sorted(set(names), key=lambda n: (-names.count(n), n))
    lines = [
        f"| {head} | {' | '.join(KINDS)} | all | share |",
        "|---|" + "---:|" * (len(KINDS) + 2),
    ]
    for row in rows:
        kinds = [error["kind"] for error, name in zip(errors, names, strict=True) if name == row]
        cells = [str(kinds.count(kind)) for kind in KINDS]
        share = f"{100 * len(kinds) / len(errors):.1f}%"
        lines.append(f"| {row} | {' | '.join(cells)} | {len(kinds)} | {share} |")
    return "\n".join(lines)


def main() -> None:
    """Rewrites what stands between the markers."""
    errors = json.loads((HERE / "errors.json").read_text(encoding="utf-8"))
    native = [error for error in errors if error["source"] == "native"]
    answers = len({error["id"] for error in errors})
    parts = [
        f"{len(errors)} errors on {answers} different answers.",
        table("group", errors, lambda error: error["group"]),
        table("dimension", errors, lambda error: error["dimension"], DIMENSIONS),
        table("source", errors, lambda error: error["source"]),
        table("length of the answer, characters", errors, length_class, LENGTHS),
        table(
            "annotated → decided level",
            errors,
            lambda error: f"{error['label']} → {error['predicted']}",
        ),
        table("native rows only: the error is on", native, focus, (FOCUS, NOT_FOCUS)),
        table("P(harmless) of the dimension", errors, band, BANDS),
        table("reader's level against the annotated", errors, agreement),
    ]
    readme = HERE / "README.md"
    text = readme.read_text(encoding="utf-8")
    body = "<!-- tables -->\n\n" + "\n\n".join(parts) + "\n\n<!-- /tables -->"
    new, found = re.subn(
        r"<!-- tables -->.*?<!-- /tables -->", lambda _: body, text, flags=re.DOTALL
    )
    if found != 1:
        raise SystemExit("README.md must hold the two markers once")
    readme.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
