"""What a terminal obeys, removed from what a job prints."""

import re

COLOR = re.compile(r"\x1b\[([0-9;]*)m")
# Sequences that do anything but color, then the characters that move, hide or turn text.
_ESCAPE = re.compile(
    r"\x1b\[(?![0-9;]*m)[0-?]*[ -/]*[@-~]?"
    r"|\x1b[\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?"
    r"|\x1b(?!\[)[ -/]*[0-~]?"
)
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]"
)


def harmless(text: str) -> str:
    """Return text in which nothing is left that a terminal obeys, except colors."""
    text = _CONTROL.sub("", _ESCAPE.sub("", text))
    # What is left of a sequence that another one was hidden in.
    return re.sub(r"\x1b(?!\[[0-9;]*m)", "", text)
