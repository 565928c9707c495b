"""`import_source`: a published set becomes a JSONL file of our schema, with a note of its origin."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from scorer.checkpoint import sha256
from scorer.data import authored, importers
from scorer.data.jsonl import STANDARD_STREAM, atomic_writer, encode_row, write_jsonl
from scorer.data.records import Tally
from scorer.data.schema import Example, Prompt, to_row
from scorer.data.sources import source_named
from scorer.data.splits import assign_splits

SIDECAR_SUFFIX = ".source.json"

_READERS: dict[str, Callable[[Path, Tally], Iterator[Example | Prompt]]] = {
    "native": authored.read_native,
    "authored-flames": authored.read_authored_flames,
    "authored-cvalues": authored.read_authored_cvalues,
    "flames": importers.read_flames,
    "cvalues": importers.read_cvalues,
    "cipherchat": importers.read_cipherchat,
    "cmoraleval": importers.read_cmoraleval,
    "cold": importers.read_cold,
    "aisafetylab": importers.read_aisafetylab,
    "jade": importers.read_jade,
    "diasafety": importers.read_diasafety,
    "hh_rlhf": importers.read_hh_rlhf,
    "gptfuzz": importers.read_gptfuzz,
}


@dataclass(frozen=True)
class Imported:
    """What an import did.

    Attributes:
        out: The JSONL file.
        sidecar: The note of origin beside it.
        read: Rows of the published set.
        written: Rows of ours; a pair of answers gives two.
        left_out: Reason to number of published rows that gave none.
    """

    out: Path
    sidecar: Path
    read: int
    written: int
    left_out: dict[str, int]


def read_source(
    name: str,
    path: str | Path | None = None,
    tally: Tally | None = None,
    *,
    min_fluency: int | None = None,
) -> Iterator[Example | Prompt]:
    """Return the rows of a data set, with splits filled where there are labels.

    Args:
        name: Key of `SOURCES`.
        path: File or folder that the user has; only `native` can do without.
        tally: Filled while rows are yielded.
        min_fluency: For `cipherchat`: the least fluency that is kept (1 keeps all).

    Raises:
        ValueError: If there is no such set, it needs a path, or `min_fluency` is not for it.
        RowError: While reading, if a row is not as published.
        DataError: While reading, if a file is missing.
    """
    source = source_named(name)
    reader = _READERS[name]
    if path is None:
        if name != "native":
            raise ValueError(f"{name} needs a PATH: {source.how_to_get}; {source.repository}")
        path = authored.NATIVE_FILE
    if min_fluency is not None:
        if name != "cipherchat":
            raise ValueError(f"min_fluency is for cipherchat, not for {name}")
        reader = partial(importers.read_cipherchat, min_fluency=min_fluency)
    return _with_splits(reader(Path(path), tally or Tally()))


def import_source(
    name: str,
    path: str | Path | None,
    out: str | Path,
    *,
    min_fluency: int | None = None,
) -> Imported:
    """Write a data set as JSONL of our schema to `out`, and its origin to `out` + `.source.json`.

    Both are written whole or not at all. Takes what `read_source` takes.

    Raises:
        ValueError: As `read_source`; also if `out` is a standard stream.
        RowError: If a row is not as published.
        DataError: If a file is missing or cannot be written.
    """
    if str(out) == STANDARD_STREAM:
        raise ValueError("an import writes two files, so its output cannot be a standard stream")
    tally = Tally()
    rows = read_source(name, path, tally, min_fluency=min_fluency)
    out = Path(out)
    written = write_jsonl(out, map(to_row, rows))
    origin: dict[str, Any] = asdict(source_named(name))
    origin |= {
        "options": {} if min_fluency is None else {"min_fluency": min_fluency},
        "rows_read": tally.read,
        "rows_written": written,
        "rows_left_out": dict(tally.left_out),
        "inputs": {file.name: sha256(file) for file in tally.files},
        "output_sha256": sha256(out),
    }
    sidecar = out.with_name(out.name + SIDECAR_SUFFIX)
    with atomic_writer(sidecar) as stream:
        stream.write(encode_row(origin, indent=2))
    return Imported(out, sidecar, tally.read, written, dict(tally.left_out))


def _with_splits(rows: Iterator[Example | Prompt]) -> Iterator[Example | Prompt]:
    for row in rows:
        if isinstance(row, Example) and row.labels:
            yield from assign_splits([row])
        else:
            yield row
