"""A table in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def markdown(columns: Sequence[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table in Markdown; the character | in a cell is escaped."""
    cells = [[text.replace("|", "\\|") for text in row] for row in (columns, *rows)]
    lines = [f"| {' | '.join(row)} |" for row in cells]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])
