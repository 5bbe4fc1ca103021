"""JSON from outside, read only where what it becomes in memory is bounded.

An empty list takes three bytes of a text and sixty of memory. So the parts are counted first, by
functions that are as fast as reading the text.
"""

import json
import re
from typing import Any

DEEPEST = 100
OPENING, CLOSING = frozenset(b"[{"), frozenset(b"]}")
_STRUCTURE = b'"[]{},'
_ALL_ELSE = bytes(set(range(256)) - set(_STRUCTURE))


class TooMuch(ValueError):
    """The text has more parts, or nests them more deeply, than anything that is asked for."""


def loads(text: bytes, most_parts: int, **options: Any) -> Any:
    """Return what a JSON text in UTF-8 says; it may have that many values, lists and objects.

    The options are those of `json.loads`. Raises TooMuch, and ValueError where it is no JSON.
    """
    decoded = text.decode("utf-8-sig", "surrogatepass")
    _refuse_too_much(text, most_parts)
    try:
        return json.loads(decoded, **options)
    except RecursionError:
        raise TooMuch from None


def _refuse_too_much(text: bytes, most_parts: int) -> None:
    kept = text.replace(rb"\\", b"").replace(rb"\"", b"").translate(None, _ALL_ELSE)
    # A part has at most a name and a value, each between two quotes.
    if kept.count(b'"') > 4 * most_parts:
        raise TooMuch
    structure = re.sub(rb'"[^"]*"', b"", kept)
    if len(structure) - structure.count(b"]") - structure.count(b"}") > most_parts:
        raise TooMuch
    depth = 0
    for character in structure:
        if character in OPENING:
            depth += 1
        elif character in CLOSING:
            depth -= 1
        if depth > DEEPEST:
            raise TooMuch
