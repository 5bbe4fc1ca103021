"""Mask secrets in what a job prints: whole and in part, in the forms that programs write.

The time grows only with the length of the text: a long form is split into pieces of LONGEST_PIECE
characters, each of which is masked as a secret.
"""

import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from stacks.execution.output.secret_parts import parts_of
from stacks.execution.output.spellings import spellings
from stacks.execution.output.squeezing import Squeezed, squeeze, squeezed, wrapped_forms
from stacks.execution.output.terminal import COLOR, harmless

MASK = "********"
# Shorter ones would hide half of every log.
SHORTEST_SECRET = 4
# What a value holds is more often an ordinary word than a whole value is: true, sa, 1433. So it
# has to be as long as a secret that is entered.
SHORTEST_PART = 6
# Finding them all takes a few seconds at most, and memory for some forty spellings of each.
MOST_PARTS = 10_000
MOST_CHARACTERS = 300_000
# Shorter forms are too often made of ordinary words by leaving out the spaces between them.
SHORTEST_WITH_GAPS = 8
LONGEST_PIECE = 32
LOOKED_BACK = 2048


class Masker:
    """Replaces secrets, their parts, and the forms in which programs like to print them.

    `has_more` says whether the secrets have more parts than are masked one by one.
    """

    def __init__(self, secrets: Iterable[str]) -> None:
        """Secrets that come first have their parts masked first."""
        wholes = list(dict.fromkeys(secrets))
        parts = chain.from_iterable(parts_of(one, SHORTEST_PART) for one in wholes)
        chosen = set(_limited(parts))
        self.has_more = next(parts, None) is not None
        self._pieces: set[str] = set()
        # By the first characters, so that text is read once, however many secrets there are.
        self._lengths: dict[str, list[int]] = {}
        self._without_gaps: dict[str, set[str]] = {}
        sparse: set[str] = set()
        for whole in wholes:
            self._know([whole, *whole.splitlines()], SHORTEST_SECRET, sparse)
        for one in chosen.union(wholes):
            self._know(spellings(one), SHORTEST_PART, sparse)
        for lengths in self._lengths.values():
            lengths.sort(reverse=True)
        patterns = (r"\s+".join(map(re.escape, one.split())) for one in sorted(sparse))
        self._sparse = re.compile("|".join(patterns)) if sparse else None

    def mask(self, text: str) -> str:
        """Return a text, which has to be harmless, without secrets."""
        return self.mask_up_to(len(text), text)[0]

    def mask_up_to(
        self, end: int, text: str, covered: int = 0, *, is_line_start: bool = True
    ) -> tuple[str, int]:
        """Return a text up to a place, without secrets, and how far beyond it the last one goes.

        The first `covered` characters belong to a secret that is masked already.
        """
        shown = _colors_of(text[:covered])
        reached = covered
        for start, stop in self._spans(text, is_line_start):
            if start >= max(end, reached):
                break
            if start >= reached:
                shown += [text[reached:start], MASK]
            shown += _colors_of(text[max(start, reached) : stop])
            reached = max(reached, stop)
        return "".join([*shown, text[reached:end]]), max(0, reached - end)

    def cut(self, text: str) -> int:
        """Return the length of a text without its end, where a secret may begin that goes on."""
        if not self._pieces:
            return len(text)
        size = LOOKED_BACK
        while True:
            # From a line's start on, as what comes before it is no part of a secret.
            begin = max(0, text.rfind("\n", 0, max(0, len(text) - size)))
            end = Squeezed(text[begin:], prefixes=False)
            if len(end.text) >= LONGEST_PIECE:
                return begin + end.original(len(end.text) - LONGEST_PIECE) + 1
            if begin == 0:
                return 0
            size *= 4

    def _spans(self, text: str, is_line_start: bool) -> list[tuple[int, int]]:
        """Return where secrets are in a text; those that overlap as one."""
        before = "\n" if is_line_start else ""
        found = list(self._sparse.finditer(text)) if self._sparse else []
        spans = [one.span() for one in found]
        for one in squeezed(before + text) if self._pieces else ():
            for start, stop in self._spans_in(one, before + text):
                first, last = one.original_span(start, stop)
                spans.append((first - len(before), last - len(before)))
        return _merged(sorted(spans))

    def _spans_in(self, squeezed: Squeezed, original: str) -> list[tuple[int, int]]:
        """Return where pieces are in a squeezed text; those that overlap as one."""
        found: list[tuple[int, int]] = []
        text, pieces, lengths_of = squeezed.text, self._pieces, self._lengths.get
        first = last = 0
        for start in range(len(text) - SHORTEST_SECRET + 1):
            lengths = lengths_of(text[start : start + SHORTEST_SECRET])
            if lengths is None:
                continue
            for length in lengths:
                piece = text[start : start + length]
                if piece not in pieces:
                    continue
                stop = start + len(piece)
                if length < SHORTEST_WITH_GAPS and piece in self._without_gaps:
                    begin, end = squeezed.original_span(start, stop)
                    if not _is_one_of(self._without_gaps[piece], original[begin:end]):
                        continue
                if start < last:
                    last = max(last, stop)
                else:
                    found.append((first, last))
                    first, last = start, stop
                break
        found.append((first, last))
        return [span for span in found if span[1]]

    def _know(self, forms: Iterable[str], shortest: int, sparse: set[str]) -> None:
        """Add forms that are long enough, without spaces around them, which need no mask.

        Those that are hardly more than spaces are added to `sparse`.
        """
        for form in forms:
            text = harmless(form.replace("\r", "\n")).strip()
            if len(text) < shortest:
                continue
            key = squeeze(text)
            if len(key) < SHORTEST_SECRET:
                sparse.add(text)
                continue
            if len(key) < SHORTEST_WITH_GAPS:
                self._without_gaps.setdefault(key, set()).update(wrapped_forms(text))
            for piece in _pieces(key):
                if piece not in self._pieces:
                    self._pieces.add(piece)
                    lengths = self._lengths.setdefault(piece[:SHORTEST_SECRET], [])
                    if len(piece) not in lengths:
                        lengths.append(len(piece))


def _limited(parts: Iterator[str]) -> Iterator[str]:
    """Yield as many parts as are masked one by one."""
    left = MOST_CHARACTERS
    for part in islice(parts, MOST_PARTS):
        left -= len(part)
        yield part
        if left <= 0:
            return


def _colors_of(text: str) -> list[str]:
    return [found[0] for found in COLOR.finditer(text)]


def _is_one_of(forms: set[str], text: str) -> bool:
    return text in forms or not forms.isdisjoint(wrapped_forms(text))


def _pieces(text: str) -> Iterator[str]:
    """Yield the pieces of a text, which overlap, so that what they cover has no gaps."""
    for start in range(0, len(text) - LONGEST_PIECE, LONGEST_PIECE - 1):
        yield text[start : start + LONGEST_PIECE]
    yield text[-LONGEST_PIECE:]


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return sorted spans, those that overlap as one."""
    merged: list[tuple[int, int]] = []
    for start, stop in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(stop, merged[-1][1]))
        else:
            merged.append((start, stop))
    return merged
