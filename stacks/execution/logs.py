"""The log of a run: what a job prints, made harmless, without secrets, in chunks."""

import codecs
import re
import time
from dataclasses import dataclass, replace

from django.conf import settings
from django.db.models import Max, Sum
from django.db.models.functions import Length
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from stacks.execution.masking import Masker
from stacks.execution.patience import patiently
from stacks.execution.terminal import harmless
from stacks.models import LogChunk, Run

CHUNK = 32 * 1024  # characters
FLUSH_EVERY = 0.7  # seconds
COLOUR = re.compile(r"\x1b\[([0-9;]*)m")
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


class Log:
    """Writes what one phase of a run prints. It is cut at RUN_LOG_MB, and says so."""

    def __init__(self, run: Run, phase: str, masker: Masker) -> None:
        self.run = run
        self.phase = phase
        self.masker = masker
        stored = run.log.aggregate(last=Max("number"), size=Sum(Length("text")))
        self.number = stored["last"] or 0
        self.left = settings.RUN_LOG_MB * 1024 * 1024 - (stored["size"] or 0)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._raw = ""  # not masked yet
        self._ready = ""
        self._style = Style()
        self._flushed_at = 0.0

    def say(self, sentence: str) -> None:
        """Add a line of ours."""
        self.write(f"\x1b[1m{sentence}\x1b[0m\n".encode())
        self.flush()

    def write(self, printed: bytes) -> None:
        """Add what was printed; it is stored soon."""
        if self.left <= 0:
            return
        self._raw += self._decoder.decode(printed).replace("\r\n", "\n").replace("\r", "\n")
        end = self._raw.rfind("\n") + 1
        if len(self._raw) - end > CHUNK:  # a line without an end
            end = self.masker.cut(self._raw)
        self._make_ready(end)
        self.tick()

    def tick(self) -> None:
        """Store what waits, when it is time to."""
        if len(self._ready) >= CHUNK or time.monotonic() > self._flushed_at + FLUSH_EVERY:
            self._store()

    def flush(self) -> None:
        """Store everything, as nothing follows."""
        self._raw += self._decoder.decode(b"", final=True)
        self._make_ready(len(self._raw))
        self._store()

    def _make_ready(self, end: int) -> None:
        self._ready += self.masker.mask(harmless(self._raw[:end]))
        self._raw = self._raw[end:]

    def _store(self) -> None:
        self._flushed_at = time.monotonic()
        while self._ready and self.left > 0:
            end = CHUNK if len(self._ready) > CHUNK else len(self._ready)
            if (line := self._ready.rfind("\n", 0, end)) > 0:
                end = line + 1
            text, self._ready = self._ready[:end][: self.left], self._ready[end:]
            self.left -= len(text)
            if self.left <= 0:
                text += f"\x1b[0m\nThe log is cut here: it has {settings.RUN_LOG_MB} MB.\n"
            self.number += 1
            chunk = LogChunk(
                run=self.run,
                phase=self.phase,
                number=self.number,
                # Each chunk can be shown without those before it.
                text=self._style.sequence + text,
            )
            patiently(chunk.save)
            self._style = self._style.after(text)
        if self.left <= 0:
            self._ready = ""


@dataclass(frozen=True)
class Style:
    """How text looks: a colour, and whether it is bold, dim or underlined."""

    colour: str = ""
    is_bold: bool = False
    is_dim: bool = False
    is_underlined: bool = False

    def obey(self, codes: str) -> "Style":
        """Return the style after a sequence with these codes; those not known change nothing."""
        style = self
        numbers = [int(code[:4]) if code else 0 for code in codes.split(";")]
        if numbers[0] in {38, 48}:  # one of 256 colours, or of all
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
                style = replace(style, colour="")
            elif 30 <= number <= 37 or 90 <= number <= 97:
                style = replace(style, colour=_COLOURS[number % 10])
        return style

    def after(self, text: str) -> "Style":
        """Return the style that text leaves behind."""
        style = self
        for found in COLOUR.finditer(text):
            style = style.obey(found[1])
        return style

    @property
    def sequence(self) -> str:
        """Return the sequence that makes this style of the plain one."""
        codes = [str(30 + _COLOURS.index(self.colour))] if self.colour else []
        codes += [
            code
            for code, is_on in (("1", self.is_bold), ("2", self.is_dim), ("4", self.is_underlined))
            if is_on
        ]
        return f"\x1b[{';'.join(codes)}m" if codes else ""

    @property
    def classes(self) -> str:
        names = [f"log-{self.colour}"] if self.colour else []
        names += ["log-bold"] if self.is_bold else []
        names += ["log-dim"] if self.is_dim else []
        names += ["log-underlined"] if self.is_underlined else []
        return " ".join(names)


def as_html(text: str) -> SafeString:
    """Return a chunk's text as HTML, its colours as classes."""
    style = Style()
    parts: list[str] = []
    for number, piece in enumerate(COLOUR.split(text)):
        if number % 2:
            style = style.obey(piece)
        elif piece and style.classes:
            parts.append(format_html('<span class="{}">{}</span>', style.classes, piece))
        else:
            parts.append(escape(piece))
    return mark_safe("".join(parts))  # noqa: S308 - each part is escaped above


def as_text(text: str) -> str:
    """Return a chunk's text without colours."""
    return COLOUR.sub("", text)
