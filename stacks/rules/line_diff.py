"""What differs between two texts, line by line, as a reader of a plan expects it."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

CONTEXT = 3  # lines
# Comparing takes time with the product of the lines, once what is alike at both ends is set aside.
MOST_COMPARED = 40_000


@dataclass(frozen=True)
class Line:
    """A line of the old text (-), of the new one (+) or of both (empty); a gap has no text."""

    sign: str
    text: str | None = None

    @property
    def word(self) -> str:
        return {"-": "Removed", "+": "Added"}.get(self.sign, "")


class LineDiff:
    """Compares texts as long as there is room; after that, all of a text differs."""

    def __init__(self) -> None:
        self.room = 5 * MOST_COMPARED

    def compare(self, old: str, new: str) -> list[Line]:
        """Return the lines that differ, with some lines around them, and gaps between."""
        return list(_with_gaps(self._lines(old.split("\n"), new.split("\n"))))

    def _lines(self, old: list[str], new: list[str]) -> list[Line]:
        shorter = min(len(old), len(new))
        begin = next((i for i in range(shorter) if old[i] != new[i]), shorter)
        rest = shorter - begin
        end = next((i for i in range(rest) if old[-1 - i] != new[-1 - i]), rest)
        were, are = old[begin : len(old) - end], new[begin : len(new) - end]
        lines = [Line("", text) for text in old[:begin]]
        size = len(were) * len(are)
        if size > MOST_COMPARED or size > self.room:
            lines += [Line("-", text) for text in were] + [Line("+", text) for text in are]
        else:
            self.room -= size
            lines += _compared(were, are)
        return lines + [Line("", text) for text in old[len(old) - end :]]


def _compared(old: list[str], new: list[str]) -> Iterator[Line]:
    matcher = SequenceMatcher(None, old, new, autojunk=False)
    for what, first, last, start, stop in matcher.get_opcodes():
        if what == "equal":
            yield from (Line("", text) for text in old[first:last])
        else:
            yield from (Line("-", text) for text in old[first:last])
            yield from (Line("+", text) for text in new[start:stop])


def _with_gaps(lines: list[Line]) -> Iterator[Line]:
    changed = [index for index, line in enumerate(lines) if line.sign]
    near = {i for index in changed for i in range(index - CONTEXT, index + CONTEXT + 1)}
    was_shown = True
    for index, line in enumerate(lines):
        if index in near:
            yield line
        elif was_shown:
            yield Line("")
        was_shown = index in near
