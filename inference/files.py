"""Which files a command means, and where each one's scores go."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from scorer.data.jsonl import STANDARD_STREAM
from scorer.errors import DataError

SUFFIXES = (
    *(f".{kind}{packed}" for kind in ("jsonl", "ndjson") for packed in ("", ".gz", ".zst")),
    ".parquet",
)
"""Names that are taken from a folder end so."""

_OURS = ".rejected.jsonl"  # what an earlier run left beside its output


def plan(sources: Sequence[str], output: str) -> list[tuple[str, str]]:
    """Return (input, output) of each file, in a fixed order.

    One file goes into the file `output`; into a folder of that name, if there is one or the name ends
    with a slash, it goes under its own name. Several files, a folder and a pattern always go into a
    folder, which is made; what lies below a folder, or below the part of a pattern without
    wildcards, keeps its path.

    Args:
        sources: Files, folders, patterns with `*`, `?`, `[…]` and `**`, or `-`.
        output: File or folder.

    Raises:
        DataError: If nothing matches, if two files would go into one, or if `output` is a file
            where a folder is needed.
    """
    folder = Path(output)
    single = len(sources) == 1 and not _many(sources[0])
    if single and not (folder.is_dir() or output.endswith(("/", os.sep))):
        return [(sources[0], output)]
    if STANDARD_STREAM in (*sources, output):
        raise DataError(f"several files go into a folder; {STANDARD_STREAM} is none, and no file")
    if folder.exists() and not folder.is_dir():
        raise DataError(f"{output}: several files go into a folder, and this is a file")
    taken: dict[Path, str] = {}
    for source in sources:
        for path, name in _files(source, folder):
            target = folder / name
            if target in taken and Path(taken[target]).resolve() != path.resolve():
                raise DataError(f"{path} and {taken[target]} would both go to {target}")
            taken[target] = str(path)
    if not taken:
        raise DataError(f"nothing to score: {', '.join(sources)}")
    for target in taken:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(f"{target.parent}: cannot be made: {error.strerror}") from error
    return [(source, str(target)) for target, source in taken.items()]


def _many(source: str) -> bool:
    path = Path(source)
    return path.is_dir() or (glob.has_magic(source) and not path.exists())


def _files(source: str, output: Path) -> Iterator[tuple[Path, Path]]:
    """Yield (file, its path below the output folder)."""
    path = Path(source)
    if not _many(source):
        yield path, Path(path.name)
        return
    if path.is_dir():
        base = path
        found = [item for item in path.rglob("*") if item.name.casefold().endswith(SUFFIXES)]
    else:
        base = _fixed_part(path)
        found = [Path(item) for item in glob.glob(source, recursive=True)]  # noqa: PTH207 - as typed
    outputs = output.resolve()
    for item in sorted(found):
        below = item.relative_to(base)
        hidden = any(part.startswith(".") for part in below.parts)
        ours = item.name.endswith(_OURS) or (
            outputs != base.resolve() and outputs in item.resolve().parents
        )
        if item.is_file() and not hidden and not ours:
            yield item, below
    if not found:
        raise DataError(f"{source}: nothing to score there")


def _fixed_part(pattern: Path) -> Path:
    """Return the folder that a pattern's first wildcard is in."""
    parts = pattern.parts
    first = next(i for i, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])
