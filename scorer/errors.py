"""Named exceptions for broken files and checkpoints; a caller's own mistakes stay `ValueError` / `TypeError`."""

from __future__ import annotations


class ScorerError(Exception):
    """Base of every error this package raises about files, rows, checkpoints or missing extras."""


class RowError(ScorerError):
    """A row that cannot be used; the message names file, line, field and value.

    Attributes:
        path: File the row came from, or `<stdin>` and the like.
        line: 1-based line number, or None where rows have no lines.
        field: Field at fault, or None where the whole row is.
        problem: What is wrong, without the place.
    """

    def __init__(
        self,
        problem: str,
        *,
        path: str = "<row>",
        line: int | None = None,
        field: str | None = None,
    ) -> None:
        self.path, self.line, self.field, self.problem = path, line, field, problem
        place = path if line is None else f"{path}:{line}"
        super().__init__(f"{place}: {problem}" if field is None else f"{place}: {field}: {problem}")

    @property
    def reason(self) -> str:
        """What is wrong, with the field but without file and line."""
        return self.problem if self.field is None else f"{self.field}: {self.problem}"

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the keyword arguments when crossing a process border."""
        return _row_error, (self.problem, self.path, self.line, self.field)


def _row_error(problem: str, path: str, line: int | None, field: str | None) -> RowError:
    return RowError(problem, path=path, line=line, field=field)


class DataError(ScorerError):
    """A data file or data set that cannot be used as a whole."""


class RecipeError(ScorerError):
    """A training recipe with an unknown or invalid setting."""


class CheckpointError(ScorerError):
    """A checkpoint folder that is incomplete, inconsistent or unsafe."""


class MissingExtraError(ScorerError, ImportError):
    """A feature needs an optional dependency; the message is its install line."""

    def __init__(self, feature: str, extra: str, missing: str) -> None:
        super().__init__(
            f"{feature} needs {missing}, which is not installed. "
            f"Install it with: pip install 'harmlessness-scorer[{extra}]'"
        )
