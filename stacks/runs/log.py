"""A run's log as its page shows it: a part in numbered lines, its phases, and what is found."""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple

from django.db.models import Min
from django.http import QueryDict
from django.utils.safestring import SafeString, mark_safe

from stacks.execution.output.logs import as_text, lines_as_html
from stacks.models import LogChunk, Run, oldest_kept

# What a page shows of a log at once, in characters, with the markup of each line and piece.
LOG_SHOWN = 256 * 1024
MARKUP = 100
MATCHES_SHOWN = 200
LONGEST_SEARCH = 200
# What links within a log with times say, too; ready, as each line has one.
WITH_TIMES = mark_safe("times&amp;")
# How many characters are shown before and after a match.
AROUND_MATCH = 80
# As Terraform and OpenTofu print an error, in a box or without colors.
_ERROR = "Error: "
_ERROR_LINE = re.compile(rf"(?:│ )?{_ERROR}")


class Line(NamedTuple):
    """A line; `is_rest` where the piece before has its begin, and its number."""

    number: int
    html: SafeString
    is_rest: bool


class Piece(NamedTuple):
    """What was stored at once, and when; `heading` names the phase that begins with it, if any."""

    heading: str
    written_at: datetime
    lines: list[Line]


class Phase(NamedTuple):
    """A phase, and the number of its first line."""

    label: str
    line: int


class Match(NamedTuple):
    """A line that was searched for: its number, its phase, and the text around what was found."""

    number: int
    phase: str
    before: str
    found: str
    after: str


class LogPart:
    """As much of a log as a page shows: its end, or what is before or after a piece.

    `earlier` is the number of its first piece where there is something before it.
    """

    def __init__(self, run: Run, before: int | None = None, after: int | None = None) -> None:
        rows = run.log.order_by("-number")
        if before is not None:
            rows = rows.filter(number__lt=before)
        if after is not None:
            rows = rows.filter(number__gte=after)
        read: list[LogChunk] = []
        ahead = None  # the piece before those that are shown
        room = LOG_SHOWN
        for chunk in rows[: LOG_SHOWN // MARKUP + 2].iterator(chunk_size=8):
            room -= _size(chunk)
            if chunk.number == after or (read and room < 0):
                ahead = chunk
                break
            read.append(chunk)
        read.reverse()
        first, last = (read[0].number, read[-1].number) if read else (0, 0)
        phase = ahead.phase if ahead and after is not None else ""
        self.pieces = list(_pieces(read, phase, _last_line(ahead) if ahead else 0))
        self.last = last or after or 0
        self.earlier = first if first > 1 and after is None else None
        self.is_end = before is None
        self.is_whole = self.is_end and first <= 1
        self.has_gap = after is not None and first > after + 1

    @property
    def phases(self) -> list[Phase]:
        """The phases that begin in this part, each once."""
        firsts: dict[str, int] = {}
        for piece in self.pieces:
            if piece.heading and piece.lines:
                firsts.setdefault(piece.heading, piece.lines[0].number)
        return [Phase(label, line) for label, line in firsts.items()]


def shown(run: Run, query: QueryDict) -> dict[str, Any]:
    """Return what a page shows of a log, by its query: `line`, or `before` a piece; and `find`.

    With `times` it shows when each piece was written.
    """
    line = number_in(query, "line")
    before = number_in(query, "before") if line is None else _end(run, line)
    wanted = query.get("find", "")[:LONGEST_SEARCH]
    matches = search(run, wanted) if wanted else []
    part = LogPart(run, before=before)
    return {
        "log": part,
        "also": also_in_links(query),
        "phases": part.phases if part.is_whole else phases_of(run),
        "wanted": wanted,
        "matches": matches[:MATCHES_SHOWN],
        "has_more_matches": len(matches) > MATCHES_SHOWN,
        "is_log_pruned": run.has_ended and run.moved_at < oldest_kept(),
    }


def also_in_links(query: QueryDict) -> str:
    """Return how links within a log begin, by its query: empty unless it shows times."""
    return WITH_TIMES if "times" in query else ""


def number_in(query: QueryDict, name: str) -> int | None:
    """Return a number from a query; an invalid one counts as none."""
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def phases_of(run: Run) -> list[Phase]:
    """Return the phases that a log has, in the order in which they first began."""
    firsts = run.log.order_by().values("phase").annotate(line=Min("first_line"))
    found = [Phase(LogChunk.Phase(one["phase"]).label, one["line"]) for one in firsts]
    return sorted(found, key=lambda one: one.line)


def line_of_first_error(run: Run) -> int | None:
    """Return the number of the line with which Terraform's first error begins; None without one."""
    for chunk in run.log.filter(text__contains=_ERROR).iterator(chunk_size=8):
        for number, line in _rows(chunk):
            if _ERROR_LINE.match(as_text(line)):
                return number
    return None


def search(run: Run, text: str) -> list[Match]:
    """Return the first lines with a text, in either case: MATCHES_SHOWN, and one if there are more.

    A line that was stored in two pieces is two lines to it.
    """
    wanted = _folded(text)
    matches: list[Match] = []
    for chunk in run.log.iterator(chunk_size=8):
        if wanted not in _folded(as_text(chunk.text)):
            continue
        for number, row in _rows(chunk):
            line = as_text(row)
            begin = _folded(line).find(wanted)
            if begin < 0:
                continue
            end = begin + len(wanted)
            before = line[max(0, begin - AROUND_MATCH) : begin]
            after = line[end : end + AROUND_MATCH]
            matches.append(Match(number, chunk.get_phase_display(), before, line[begin:end], after))
            if len(matches) > MATCHES_SHOWN:
                return matches
    return matches


def _folded(text: str) -> str:
    """Return text in lower case, and as long as it was: only İ would become longer."""
    return text.replace("\u0130", "i").lower()


def _end(run: Run, line: int) -> int | None:
    """Return the number of the piece before which a part ends that has a line in its middle.

    None where that part reaches to the end of the log.
    """
    holder = run.log.filter(first_line__lte=line).values_list("number", flat=True).last() or 0
    room = LOG_SHOWN // 2
    for chunk in run.log.filter(number__gte=holder).iterator(chunk_size=8):
        room -= _size(chunk)
        if room < 0 and chunk.number > holder:
            return chunk.number
    return None


def _size(chunk: LogChunk) -> int:
    """Return about how many characters a piece takes on a page."""
    return len(chunk.text) + MARKUP * (chunk.text.count("\n") + 1)


def _pieces(chunks: list[LogChunk], phase: str, shown_to: int) -> Iterator[Piece]:
    """Yield pieces as they are shown after a phase, and after a line that may go on in them."""
    for chunk in chunks:
        heading = "" if chunk.phase == phase else chunk.get_phase_display()
        rows = zip(_rows(chunk), lines_as_html(chunk.text), strict=False)
        lines = [Line(number, html, number <= shown_to) for (number, _), html in rows]
        yield Piece(heading, chunk.written_at, lines)
        phase, shown_to = chunk.phase, max(shown_to, _last_line(chunk))


def _last_line(chunk: LogChunk) -> int:
    rows = _rows(chunk)
    return rows[-1][0] if rows else 0


def _rows(chunk: LogChunk) -> list[tuple[int, str]]:
    """Return the lines of a piece with their numbers; a color alone is no line."""
    rows = list(enumerate(chunk.text.split("\n"), chunk.first_line))
    return rows if as_text(rows[-1][1]) else rows[:-1]
