"""Our labels on all six dimensions for some answers of public sets, without their text.

`bundled/<source>-labels.jsonl` names an answer by its id and the SHA-256 of its text.
"""

from __future__ import annotations

from collections.abc import Mapping

from scorer.data.jsonl import read_jsonl
from scorer.data.schema import SECOND_LABELS, Example, parse_example
from scorer.data.sources import BUNDLED
from scorer.data.splits import text_digest
from scorer.errors import RowError


class SecondLabels:
    """The bundled labels of one source.

    Args:
        source: Name of the source; one without such labels gives none.

    Raises:
        RowError: If the bundled file is broken.
    """

    def __init__(self, source: str) -> None:
        file = BUNDLED / f"{source}-labels.jsonl"
        self._labels: dict[tuple[str, str], Mapping[str, int]] = {}
        if not file.is_file():
            return
        for line, row in read_jsonl(file):
            if not isinstance(row, dict) or row.keys() != {"id", "response_sha256", "labels"}:
                raise RowError("needs id, response_sha256 and labels", path=str(file), line=line)
            checked = parse_example(
                {"prompt": "", "response": "", "labels": row["labels"]}, path=str(file), line=line
            )
            self._labels[str(row["id"]), str(row["response_sha256"])] = checked.labels

    def of(self, example: Example) -> dict[str, Mapping[str, int]]:
        """Return what goes into the row's `meta`: nothing where its text has no labels of ours."""
        labels = self._labels.get((example.id, text_digest(example.response).hex()))
        return {} if labels is None else {SECOND_LABELS: labels}
