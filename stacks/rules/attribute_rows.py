"""The rows of a table of attributes: what differs, and line by line where it is a text."""

from collections.abc import Iterable
from dataclasses import dataclass

from stacks.rules.line_diff import Line, LineDiff


@dataclass(frozen=True)
class AttributeRow:
    """What differs at one path; `lines` where a text of several lines has an old and a new one."""

    path: str
    old: str | None
    new: str | None
    forces: bool = False
    lines: list[Line] | None = None


def rows_of(found: Iterable[tuple[str, str | None, str | None, bool]]) -> list[AttributeRow]:
    """Return rows of path, old value, new value, and whether it forces a replacement."""
    diff = LineDiff()
    rows = []
    for path, old, new, forces in found:
        lines = None
        if old is not None and new is not None and "\n" in old + new:
            lines = diff.compare(old, new)
        rows.append(AttributeRow(path, old, new, forces, lines))
    return rows
