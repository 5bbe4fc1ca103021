"""The errors in what a program printed: what people see of a failed run without its log."""

import re
from collections.abc import Callable, Sequence
from itertools import pairwise

from stacks.execution.output.logs import as_text
from stacks.execution.output.terminal import harmless

# How much of the end of what a program printed is searched, in bytes.
SEARCHED = 1024 * 1024
MOST_LINES = 30
LONGEST_LINE = 500
# Terraform draws a box around each error and warning, unless it prints without colors.
_BOX = re.compile(r"^╷\n((?:│.*\n)*)╵", re.MULTILINE)
_RULE = re.compile(r"^ *├─+$")
_INNER = re.compile(r"^( +)│ ")
_BEGINS = re.compile(r"^(?:Error|Warning): |^(?:panic|fatal error): ", re.MULTILINE)
_CRASH = ("panic: ", "fatal error: ")
# The words are those of both tools; the name is one of the code's.
_MISSING_INPUT = re.compile(r'input variable "([\w-]+)" is not set, and has no\s+default')
MOST_NAMED = 5
# Precedes the errors of the code during `init`, and says only that they follow.
_PREAMBLE = re.compile(r"^Error: \w+ encountered problems during initiali[sz]ation")
# "Receiving objects:  50% (1/2)", of git and of git-lfs.
_PROGRESS = re.compile(r"\d+% \(\d+/\d+\)")


class Tail:
    """Keeps the end of what is printed."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._is_cut = False

    def clear(self) -> None:
        self._kept, self._is_cut = bytearray(), False

    @property
    def is_cut(self) -> bool:
        """Whether more was printed than is kept."""
        return self._is_cut or len(self._kept) > SEARCHED

    def write(self, printed: bytes) -> None:
        self._kept += printed
        # Not before twice as much is there: else all of it would be moved with each line.
        if len(self._kept) > 2 * SEARCHED:
            self._cut()

    @property
    def text(self) -> str:
        """The whole lines of it, harmless and without colors."""
        self._cut()
        text = self._kept.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
        if self._is_cut:
            text = text.partition("\n")[2]
        return as_text(harmless(text))

    def _cut(self) -> None:
        self._is_cut = self._is_cut or len(self._kept) > SEARCHED
        del self._kept[:-SEARCHED]


def terraform_errors(text: str, mask: Callable[[str], str]) -> str:
    """Return the errors that Terraform printed, each with its place; empty if there are none.

    They are masked, have no boxes, and no more than MOST_LINES lines in all.
    """
    return _shortened([_masked(block, mask) for block in error_blocks(text)])


def error_blocks(text: str) -> list[list[str]]:
    """Return the lines of each error that Terraform printed, not masked, without boxes."""
    blocks = _boxed(text) or _plain(text)
    return [one for one in blocks if not _PREAMBLE.match(one[0])] or blocks


def what_to_do(errors: str) -> str:
    """Return what to do about errors whose advice is for a command line; empty if that is known."""
    missing = list(dict.fromkeys(_MISSING_INPUT.findall(errors)))
    if not missing:
        return ""
    names = ", ".join(f"TF_VAR_{name}" for name in missing[:MOST_NAMED])
    return f"Set {names} in the stack's environment, or name a variable file in its arguments."


def last_lines(text: str, mask: Callable[[str], str]) -> str:
    """Return what a program said last, masked, each line once; empty if it said nothing."""
    lines = [one.rstrip() for one in text.split("\n") if one.strip() and not _PROGRESS.search(one)]
    return "\n".join([*dict.fromkeys(_masked(lines, mask))][-MOST_LINES:]) if lines else ""


def _boxed(text: str) -> list[list[str]]:
    """Return the errors that have a box around them, each as lines without it."""
    found = []
    for box in _BOX.findall(text):
        lines = [line.removeprefix("│").removeprefix(" ") for line in box.splitlines()]
        if lines and lines[0].startswith("Error: "):
            found.append(_tidy(lines))
    if found:
        # Where a provider crashed, what it printed itself has no box.
        found += [block for block in _plain(text) if block[0].startswith(_CRASH)]
    return found


def _plain(text: str) -> list[list[str]]:
    """Return the errors and crashes that have no box; each extends to the next, or to the end."""
    starts = [found.start() for found in _BEGINS.finditer(text)]
    found = []
    for start, end in pairwise([*starts, len(text)]):
        block = text[start:end]
        if block.startswith(_CRASH):
            block = block.partition("\n\n")[0]  # what follows is a trace of Terraform's own code
        if not block.startswith("Warning"):
            found.append(_tidy(block.split("\n")))
    return found


def _tidy(lines: Sequence[str]) -> list[str]:
    """Return lines without the inner box of values, and without empty ones at the end."""
    kept = [_INNER.sub(r"\1", line) for line in lines if not _RULE.match(line)]
    return "\n".join(line.rstrip() for line in kept).rstrip().split("\n")


def _masked(block: list[str], mask: Callable[[str], str]) -> list[str]:
    """Return an error without secrets, also where Terraform wrapped one, its lines cut."""
    lines = mask("\n".join(block)).split("\n")
    return [line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…" for line in lines]


def _shortened(blocks: Sequence[Sequence[str]]) -> str:
    """Return each error once, cut to MOST_LINES lines; the last says what is left out."""
    different = list(dict.fromkeys(map(tuple, blocks)))
    lines: list[str] = []
    begins = []
    for block in different:
        # What is longer than a line has an empty line before it.
        lines += ["", *block] if lines and len(block) > 1 else block
        begins.append(len(lines) - len(block))
    if len(lines) <= MOST_LINES:
        return "\n".join(lines)
    shown = "\n".join(lines[: MOST_LINES - 1]).rstrip()
    rest = sum(begin >= MOST_LINES - 1 for begin in begins)
    more = f"{rest} more error{'' if rest == 1 else 's'}" if rest else "more of it"
    return f"{shown}\n… the log has {more}."
