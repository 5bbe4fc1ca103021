"""What differs between two values of JSON, path by path, and how people read it.

A value that is sensitive or not known yet is replaced by what stands for it before anything is
compared or shown. JSON within a string, as policies have it, is compared by its parts.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from core import bounded_json

# A string that says more than that is compared as text.
MOST_PARTS_OF_STRING = 10_000
LONGEST_DECODED = 200_000  # characters
LONGEST_ON_LINES = 20_000
# What is sensitive is hidden elsewhere, too, unless it is as short as many ordinary words; in a
# longer text it has to be longer.
SHORTEST_HIDDEN = 4
SHORTEST_HIDDEN_WITHIN = 8
MOST_HIDDEN = 100

_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\xa0\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e0fff]"
)

Path = tuple[Any, ...]


@dataclass(frozen=True, repr=False)
class Sensitive:
    """A value that is compared and never shown."""

    value: Any

    def __str__(self) -> str:
        return "(sensitive)"


class Unknown:
    """A value that only the apply decides."""

    def __str__(self) -> str:
        return "(known after apply)"


class Decoded:
    """A step of a path, from a string to the JSON in it."""


UNKNOWN = Unknown()
DECODED = Decoded()


@dataclass(frozen=True)
class Difference:
    """A path with its old and its new value, either of which may be None: there is none."""

    path: Path
    old: Any
    new: Any


def with_unknown(value: Any, unknown: Any) -> Any:
    """Return a value with UNKNOWN where a tree of the same shape says true."""
    if unknown is True:
        return UNKNOWN
    if not unknown:
        return value
    if isinstance(unknown, dict):
        known = value if isinstance(value, dict) else {}
        return known | {name: with_unknown(known.get(name), one) for name, one in unknown.items()}
    if isinstance(unknown, list):
        known_items = value if isinstance(value, list) else []
        padded = [*known_items, *[None] * (len(unknown) - len(known_items))]
        trees = [*unknown, *[None] * (len(padded) - len(unknown))]
        return [with_unknown(one, tree) for one, tree in zip(padded, trees, strict=True)]
    return value


def with_sensitive(value: Any, *trees: Any) -> Any:
    """Return a value with Sensitive where one of some trees of its shape says true.

    Where such a tree has another shape than the value, all of that part is sensitive.
    """
    trees = tuple(filter(None, trees))
    if value is None or not trees:
        return value
    is_parted = isinstance(value, dict | list)
    others = [tree for tree in trees if not (is_parted and isinstance(tree, type(value)))]
    if any(map(_says_true, others)):
        return Sensitive(value)
    same = [tree for tree in trees if isinstance(tree, type(value))]
    if isinstance(value, dict):
        return {
            name: with_sensitive(one, *(tree.get(name) for tree in same))
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [
            with_sensitive(one, *(tree[index] for tree in same if index < len(tree)))
            for index, one in enumerate(value)
        ]
    return value


def hide_again(values: list[Any]) -> list[Any]:
    """Return values in which a string is hidden that is sensitive elsewhere in one of them.

    A provider may copy a sensitive value to an attribute that is not marked.
    """
    texts = dict.fromkeys(text for value in values for text in _hidden_texts(value))
    hidden = list(texts)[:MOST_HIDDEN]
    return [_hide(value, hidden) for value in values] if hidden else values


def differences(
    old: Any, new: Any, path: Path = (), *, decodes: bool = True
) -> Iterator[Difference]:
    """Yield what differs between two values."""
    if old is None and new is None:
        return
    if decodes and (pair := _decoded(old, new)):
        found = list(differences(*pair, (*path, DECODED), decodes=False))
        # Strings that differ only in their layout are shown as they are.
        yield from found or [Difference(path, old, new)]
        return
    if _fit(old, new, dict) and (old or new):
        yield from _differences_of_objects(old or {}, new or {}, path, decodes)
    elif _fit(old, new, list) and (old or new):
        yield from _differences_of_lists(old or [], new or [], path, decodes)
    elif not _are_same(old, new):
        yield Difference(path, old, new)


def fits_below(path: Path, other: Path) -> bool:
    """Say whether one of two paths begins with the other."""
    return all(step == one for step, one in zip(path, other, strict=False))


def path_text(path: Path) -> str:
    """Return a path as expressions name it, like `tags["a.b"]` or `rules[0].port`."""
    text = ""
    for step in path:
        if step is DECODED:
            text = f"jsondecode({text})"
        elif isinstance(step, str) and step.isidentifier():
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False, default=str)}]"
    return _visible(text)


def value_text(value: Any) -> str | None:
    """Return a value as one reads it: text of several lines as it is, all else as JSON.

    Each part of a list or an object is on a line of its own, unless it is long, and no character
    is invisible.
    """
    if value is None:
        return None
    if isinstance(value, Sensitive | Unknown):
        return str(value)
    if isinstance(value, str) and "\n" in value.strip("\n"):
        return _visible(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    # Spaces before each line could take a hundred times as much as what they are before.
    if isinstance(value, dict | list) and len(text) <= LONGEST_ON_LINES:
        text = json.dumps(value, ensure_ascii=False, default=str, indent=2)
    return _visible(text)


def _visible(text: str) -> str:
    """Return a text with HCL's escapes for what nobody sees, or what turns the text around it."""
    return _INVISIBLE.sub(lambda found: _escaped(ord(found[0])), text)


def _escaped(code: int) -> str:
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _differences_of_objects(
    old: dict[str, Any], new: dict[str, Any], path: Path, decodes: bool
) -> Iterator[Difference]:
    for name in sorted({*old, *new}):
        yield from differences(old.get(name), new.get(name), (*path, name), decodes=decodes)


def _differences_of_lists(
    old: list[Any], new: list[Any], path: Path, decodes: bool
) -> Iterator[Difference]:
    """Yield what differs between lists once what they begin and end with alike is set aside.

    As many items on both sides are compared one by one; else the old ones went and the new came.
    """
    shorter = min(len(old), len(new))
    begin = next((i for i in range(shorter) if not _are_same(old[i], new[i])), shorter)
    rest = range(shorter - begin)
    end = next((i for i in rest if not _are_same(old[-1 - i], new[-1 - i])), len(rest))
    were, are = old[begin : len(old) - end], new[begin : len(new) - end]
    if len(were) == len(are):
        for index, (one, other) in enumerate(zip(were, are, strict=True), begin):
            yield from differences(one, other, (*path, index), decodes=decodes)
        return
    for index, one in enumerate(were, begin):
        yield from differences(one, None, (*path, index), decodes=decodes)
    for index, one in enumerate(are, begin):
        yield from differences(None, one, (*path, index), decodes=decodes)


def _fit(old: Any, new: Any, kind: type) -> bool:
    """Say whether two values can be compared part by part; one of them may not be there."""
    return all(value is None or isinstance(value, kind) for value in (old, new))


def _are_same(old: Any, new: Any) -> bool:
    """Compare as JSON does, to which 1, 1.0 and true are not the same."""
    if type(old) is not type(new) or old != new:
        return False
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_are_same(old[name], new[name]) for name in old)
    if isinstance(old, list):
        return len(old) == len(new) and all(map(_are_same, old, new))
    return not isinstance(old, Sensitive) or _are_same(old.value, new.value)


def _decoded(old: Any, new: Any) -> tuple[Any, Any] | None:
    """Return the JSON in two different strings, one of which may not be there; None if in none."""
    if not _fit(old, new, str) or old == new:
        return None
    before, after = _decode(old), _decode(new)
    is_json = (before or old is None) and (after or new is None)
    return (before, after) if is_json else None


def _decode(text: Any) -> Any:
    """Return the object or list that a string holds; None if it holds none, or an empty one."""
    if not isinstance(text, str) or len(text) > LONGEST_DECODED:
        return None
    if text.lstrip()[:1] not in {"{", "["}:
        return None
    try:
        return bounded_json.loads(
            text.encode(errors="surrogatepass"),
            MOST_PARTS_OF_STRING,
            object_pairs_hook=_without_repetition,
        )
    except ValueError:
        return None


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse an object that has a name twice: which of its values counts, its reader decides."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("A name is there twice.")
    return found


def _says_true(tree: Any) -> bool:
    if isinstance(tree, dict):
        return any(map(_says_true, tree.values()))
    if isinstance(tree, list):
        return any(map(_says_true, tree))
    return bool(tree)


def _hidden_texts(value: Any) -> Iterator[str]:
    """Yield the strings in a value that are sensitive, and long enough to be known again."""
    if isinstance(value, Sensitive):
        yield from (text for text in _texts(value.value) if len(text) >= SHORTEST_HIDDEN)
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _hidden_texts(one)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def _hide(value: Any, hidden: list[str]) -> Any:
    if isinstance(value, str):
        return Sensitive(value) if any(_holds(value, text) for text in hidden) else value
    if isinstance(value, dict):
        return {name: _hide(one, hidden) for name, one in value.items()}
    if isinstance(value, list):
        return [_hide(one, hidden) for one in value]
    return value


def _holds(value: str, hidden: str) -> bool:
    return value == hidden or (len(hidden) >= SHORTEST_HIDDEN_WITHIN and hidden in value)
