"""Text without what programs put between the characters of a value when they print it.

Secrets are matched in squeezed text, so that colors, line breaks, indentation and the boxes that
Terraform draws around errors hide none of them.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator

from stacks.execution.output.terminal import COLOR

_BOX = "│╷╵├─"
_NOISE = re.compile(rf"(?:{COLOR.pattern}|[\s{_BOX}])+")
# What Terraform writes before each line that a provisioner prints, and marks changed lines with.
_LINE_PREFIX = r"(?:[^\n]{1,500}?\((?:local|remote)-exec\):|(?:-/\+|\+/-|[-+~])(?=[ \t\x1b]))"
_PREFIX = re.compile(rf"\n(?:{COLOR.pattern}|[ \t{_BOX}])*+{_LINE_PREFIX}")
_NOISE_AND_PREFIX = re.compile(
    rf"(?:{COLOR.pattern}|[\s{_BOX}])*\n(?:{COLOR.pattern}|[ \t{_BOX}])*+{_LINE_PREFIX}"
    rf"|{_NOISE.pattern}"
)
_WRAP = re.compile(rf"[ \t]*[\r\n][\s{_BOX}]*")


def squeeze(text: str) -> str:
    """Return a text without colors, white space and boxes."""
    return _NOISE.sub("", text)


def wrapped_forms(text: str) -> set[str]:
    """Return a text without colors in which each line break is nothing, or a space."""
    plain = COLOR.sub("", _PREFIX.sub("\n", text))
    return {_WRAP.sub("", plain), _WRAP.sub(" ", plain)}


class Squeezed:
    """A squeezed text, and where its characters are in the original.

    Without `prefixes`, what Terraform puts before lines is removed, too.
    """

    def __init__(self, text: str, *, prefixes: bool) -> None:
        kept: list[str] = []
        self._starts: list[int] = []
        self._originals: list[int] = []
        end = size = 0
        noise = _NOISE if prefixes else _NOISE_AND_PREFIX
        for gap in [*(found.span() for found in noise.finditer(text)), (len(text), len(text))]:
            if gap[0] > end:
                kept.append(text[end : gap[0]])
                self._starts.append(size)
                self._originals.append(end)
                size += gap[0] - end
            end = gap[1]
        self.text = "".join(kept)

    def original(self, position: int) -> int:
        """Return where a character of the squeezed text is in the original."""
        run = bisect_right(self._starts, position) - 1
        return self._originals[run] + position - self._starts[run]

    def original_span(self, start: int, stop: int) -> tuple[int, int]:
        return self.original(start), self.original(stop - 1) + 1


def squeezed(text: str) -> Iterator[Squeezed]:
    """Yield a text squeezed, again without prefixes if it has some.

    Both count: somebody may print a secret that looks like a prefix.
    """
    yield Squeezed(text, prefixes=True)
    if _PREFIX.search(text):
        yield Squeezed(text, prefixes=False)
