"""What a job prints, made harmless, without secrets; and the log of a run, in chunks."""

import codecs
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

from django.conf import settings
from django.db.models import Sum
from django.db.models.functions import Length
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from stacks.execution.output.masking import Masker
from stacks.execution.output.terminal import COLOR, harmless
from stacks.execution.retries import with_retries
from stacks.models import LogChunk, Run

CHUNK = 32 * 1024  # characters
FLUSH_EVERY = 0.7  # seconds
# How long the end of what was printed waits for the rest of a secret that may begin there.
WAIT_FOR_REST = 2
# An escape sequence that is longer is not obeyed.
LONGEST_SEQUENCE = 256
_COLORS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


class Writer:
    """Writes what a job prints, as far as there is room; a subclass says where to."""

    def __init__(self, masker: Masker, megabytes: int, written: int = 0) -> None:
        """Some megabytes are kept, of which so many characters are written already."""
        self.masker = masker
        self.megabytes = megabytes
        self.left = megabytes * 1024 * 1024 - written
        # What is masked counts in full: else a job could keep the worker busy for ever.
        self._unread = self.left
        self._is_closed = self.left <= 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""  # the line that has no end yet
        self._harmless = ""  # not masked yet
        self._covered = 0  # this much of it belongs to a secret that is masked already
        self._is_line_start = True
        self._ready = ""
        self._written_at = 0.0
        self._flushed_at = 0.0

    def say(self, sentence: str) -> None:
        """Add a line of ours."""
        self.write(f"\x1b[1m{sentence}\x1b[0m\n".encode())
        self.flush()

    def write(self, printed: bytes) -> None:
        """Add what was printed; it is stored soon."""
        if self.left <= 0:
            return
        # What the log has no room for is not searched for secrets.
        printed = printed[: 4 * self._unread + CHUNK]
        self._raw += self._decoder.decode(printed).replace("\r\n", "\n").replace("\r", "\n")
        end = self._raw.rfind("\n") + 1
        if len(self._raw) - end > CHUNK:  # a line without an end
            end = len(self._raw) - LONGEST_SEQUENCE
        if end:
            self._make_harmless(end)
            self._make_ready(self._safe_end())
        self._written_at = time.monotonic()
        self.tick()

    def tick(self) -> None:
        """Store what waits, when it is time to."""
        now = time.monotonic()
        if self._harmless and now > self._written_at + WAIT_FOR_REST:
            self._make_ready(len(self._harmless))
        if len(self._ready) >= CHUNK or now > self._flushed_at + FLUSH_EVERY:
            self._store()

    def flush(self) -> None:
        """Store everything, as nothing follows."""
        self._raw += self._decoder.decode(b"", final=True)
        self._make_harmless(len(self._raw))
        self._make_ready(len(self._harmless))
        self._store()

    def _make_harmless(self, end: int) -> None:
        self._harmless += harmless(self._raw[:end])
        self._raw = self._raw[end:]

    def _safe_end(self) -> int:
        """Return up to where no secret may go on: whole lines, unless they are long."""
        end = self.masker.cut(self._harmless)
        line = self._harmless.rfind("\n", 0, end) + 1
        # Spaces and line breaks alone are no secret, however many there are.
        return max(line if end - line <= CHUNK else end, len(self._harmless) - 2 * CHUNK)

    def _make_ready(self, end: int) -> None:
        if end <= 0:
            return
        shown, self._covered = self.masker.mask_up_to(
            end, self._harmless, self._covered, is_line_start=self._is_line_start
        )
        self._ready += shown
        self._unread -= end
        self._is_line_start = self._harmless[end - 1] == "\n"
        self._harmless = self._harmless[end:]

    def _store(self) -> None:
        self._flushed_at = time.monotonic()
        while self._ready and self.left > 0:
            end = CHUNK if len(self._ready) > CHUNK else len(self._ready)
            if (line := self._ready.rfind("\n", 0, end)) > 0:
                end = line + 1
            text, self._ready = self._ready[:end][: self.left], self._ready[end:]
            self.left -= len(text)
            self._save(text)
        if not self._is_closed and min(self.left, self._unread) <= 0:
            self._is_closed, self.left, self._ready = True, 0, ""
            self._save(f"\x1b[0m\nThe log is cut here: it has {self.megabytes} MB.\n")

    def _save(self, text: str) -> None:
        raise NotImplementedError


class Log(Writer):
    """Writes what a run prints, after what its log has. It is cut at RUN_LOG_MB, and says so."""

    def __init__(self, run: Run, masker: Masker) -> None:
        self.run = run
        self.phase: str = LogChunk.Phase.FETCHING
        self.number = 0
        self._line = 1
        self._is_in_line = False
        if last := run.log.last():
            self.phase, self.number, self._line = last.phase, last.number, last.first_line
            self._move_on(last.text)
        self._style = Style()
        size = run.log.aggregate(size=Sum(Length("text")))["size"]
        super().__init__(masker, settings.RUN_LOG_MB, size or 0)

    def enter(self, phase: LogChunk.Phase) -> None:
        """Store what is written so far, and count what follows, from a new line, to a phase."""
        self.flush()
        if self._is_in_line:
            self._save("\n")
        self.phase = phase

    def _save(self, text: str) -> None:
        self.number += 1
        chunk = LogChunk(
            run=self.run,
            phase=self.phase,
            number=self.number,
            first_line=self._line,
            # Each chunk can be shown without those before it.
            text=self._style.sequence + text,
        )
        with_retries(chunk.save)
        self._style = self._style.after(text)
        self._move_on(text)

    def _move_on(self, text: str) -> None:
        self._line += text.count("\n")
        if plain := as_text(text):  # a color alone begins no line
            self._is_in_line = not plain.endswith("\n")


@dataclass(frozen=True)
class Style:
    """How text looks: a color, and whether it is bold, dim or underlined."""

    color: str = ""
    is_bold: bool = False
    is_dim: bool = False
    is_underlined: bool = False

    def obey(self, codes: str) -> "Style":
        """Return the style after a sequence with these codes; those not known change nothing."""
        style = self
        numbers = [int(code[:4]) if code else 0 for code in codes.split(";")]
        if numbers[0] in {38, 48}:  # one of 256 colors, or of all
            return style
        for number in numbers:
            if number == 0:
                style = Style()
            elif number == 1:
                style = replace(style, is_bold=True)
            elif number == 2:
                style = replace(style, is_dim=True)
            elif number == 4:
                style = replace(style, is_underlined=True)
            elif number == 22:
                style = replace(style, is_bold=False, is_dim=False)
            elif number == 24:
                style = replace(style, is_underlined=False)
            elif number == 39:
                style = replace(style, color="")
            elif 30 <= number <= 37 or 90 <= number <= 97:
                style = replace(style, color=_COLORS[number % 10])
        return style

    def after(self, text: str) -> "Style":
        """Return the style that text leaves behind."""
        style = self
        for found in COLOR.finditer(text):
            style = style.obey(found[1])
        return style

    @property
    def sequence(self) -> str:
        """Return the sequence that makes this style of the plain one."""
        codes = [str(30 + _COLORS.index(self.color))] if self.color else []
        codes += [
            code
            for code, is_on in (("1", self.is_bold), ("2", self.is_dim), ("4", self.is_underlined))
            if is_on
        ]
        return f"\x1b[{';'.join(codes)}m" if codes else ""

    @property
    def classes(self) -> str:
        names = [f"log-{self.color}"] if self.color else []
        names += ["log-bold"] if self.is_bold else []
        names += ["log-dim"] if self.is_dim else []
        names += ["log-underlined"] if self.is_underlined else []
        return " ".join(names)


def lines_as_html(text: str) -> Iterator[SafeString]:
    """Yield the lines of a chunk as HTML, their colors as classes; a color goes on in the next."""
    style = Style()
    for line in text.split("\n"):
        parts: list[str] = []
        for number, piece in enumerate(COLOR.split(line)):
            if number % 2:
                style = style.obey(piece)
            elif piece and style.classes:
                parts.append(format_html('<span class="{}">{}</span>', style.classes, piece))
            else:
                parts.append(escape(piece))
        yield mark_safe("".join(parts))  # noqa: S308 - each part is escaped above


def as_text(text: str) -> str:
    """Return a chunk's text without colors."""
    return COLOR.sub("", text)
