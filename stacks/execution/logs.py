"""The log of a run: what a job prints, made harmless, without secrets, in chunks."""

import base64
import codecs
import json
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from urllib.parse import quote

from django.conf import settings
from django.db.models import Max, Sum
from django.db.models.functions import Length
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe

from stacks.execution.patience import patiently
from stacks.models import LogChunk, Run

MASK = "********"
# Shorter ones would hide half of every log.
SHORTEST_SECRET = 4
CHUNK = 32 * 1024  # characters
FLUSH_EVERY = 0.7  # seconds
COLOUR = re.compile(r"\x1b\[([0-9;]*)m")
# Sequences that do anything but colour, then the characters that move, hide or turn text.
_ESCAPE = re.compile(
    r"\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    r"|\x1b(?!\[)[ -/]*[0-~]?"
)
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)
# Terraform's jsonencode, like all that is written in Go, escapes what HTML gives a meaning.
_AS_GO_WRITES_JSON = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}
_COLOURS = ("black", "red", "green", "yellow", "blue", "magenta", "cyan", "white")


def harmless(text: str) -> str:
    """Return text in which nothing is left that a terminal obeys, except colours."""
    text = _CONTROL.sub("", _ESCAPE.sub("", text))
    # What is left of a sequence that another one was hidden in.
    return re.sub(r"\x1b(?!\[[0-9;]*m)", "", text)


def _in_json(secret: str) -> set[str]:
    """Return how a secret looks in JSON, and in JSON that is itself a text, as outputs may be."""
    forms = {secret}
    for _ in range(2):
        quoted = {json.dumps(one, ensure_ascii=False)[1:-1] for one in forms}
        forms |= quoted | {json.dumps(one)[1:-1] for one in forms}
        forms |= {one.translate(_AS_GO_WRITES_JSON) for one in quoted}
    return forms


def _in_base64(secret: bytes) -> set[str]:
    """Return how a secret looks in base64, alone and as a part of something longer.

    Every three bytes become four characters, so where it begins decides what it looks like.
    Characters that also hold bits of what is around it are left out of a part.
    """
    forms = {base64.b64encode(secret).decode()}
    for before in range(3):
        encoded = base64.b64encode(bytes(before) + secret).decode().rstrip("=")
        is_cut = (before + len(secret)) % 3 != 0
        forms.add(encoded[(0, 2, 3)[before] : len(encoded) - is_cut])
    return forms | {one.replace("+", "-").replace("/", "_") for one in forms}


class Masker:
    """Replaces secrets, and the forms in which programs like to print them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        forms: set[str] = set()
        for secret in secrets:
            forms |= {secret, *secret.splitlines(), quote(secret, "")}
            forms |= _in_json(secret) | _in_base64(secret.encode())
        known = sorted((one for one in forms if len(one.strip()) >= SHORTEST_SECRET), key=len)
        self.longest = len(known[-1]) if known else 0
        self._pattern = re.compile("|".join(map(re.escape, reversed(known)))) if known else None

    def mask(self, text: str) -> str:
        return self._pattern.sub(MASK, text) if self._pattern else text

    def cut(self, text: str) -> int:
        """Return where text may be cut so that no secret that may go on is cut in two."""
        end = max(0, len(text) - self.longest + 1) if self.longest else len(text)
        for found in self._pattern.finditer(text) if self._pattern else ():
            if found.start() < end < found.end():
                return found.start()
        return end


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
