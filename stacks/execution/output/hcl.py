"""Terraform's language on its surface: the values in a text, and what a file sets.

What is read here was written by anybody, so no grammar is followed: any text is read, in time
proportional to its length, and nothing raises. JSON is near enough to be read the same way.
"""

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"""
    (?P<comment> \#[^\n]* | //[^\n]* | /\*(?s:.*?)(?:\*/|\Z) )
    | <<-?(?P<mark>[^\W\d][\w-]*)[ \t]*\r?\n
    | "(?P<text>(?:[^"\\\n]|\\[^\n])*+)"?
    | (?P<open>[\[{(])
    | (?P<close>[\]})])
    | (?P<word>-?\w[\w.+-]*+)
    """,
    re.VERBOSE,
)
_IS_SET = re.compile(r"\s*=(?![=>])")
_IS_KEY = re.compile(r"\s*[:=](?!=)")
_NUMBER = re.compile(r"-?\d[\d.eE+-]*")
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))|([$%])\4\{", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "f": "\f"}


def values_in(text: str) -> Iterator[str]:
    """Yield each string, heredoc and number in an HCL or JSON text; keys and comments are not."""
    for token, heredoc in _tokens(text):
        if heredoc is not None:
            yield heredoc
        elif token["text"] is not None:
            if not _IS_KEY.match(text, token.end()):
                yield _unescaped(token["text"])
        elif token["word"] and _NUMBER.fullmatch(token["word"]):
            yield token["word"]


def names_set_in(text: str) -> set[str]:
    """Return the names that a file of variables sets, as in `name = value` outside of brackets."""
    names = set()
    depth = 0
    for token, _ in _tokens(text):
        depth += bool(token["open"]) - bool(token["close"])
        if token["word"] and depth == 0 and _IS_SET.match(text, token.end()):
            names.add(token["word"])
    return names


def required_versions(text: str) -> list[str]:
    """Return each `required_version` of the `terraform` blocks in a file of code, as it is written.

    "Terraform block" in Terraform's documentation: only literal values are allowed in it.
    """
    found = []
    opened: list[str] = []  # the word before each bracket that is open
    word, is_set = "", False
    for token, _ in _tokens(text):
        if token["comment"]:
            continue
        if token["open"]:
            opened.append(word)
        elif token["close"]:
            del opened[-1:]
        elif is_set and token["text"] is not None and opened == ["terraform"]:
            found.append(_unescaped(token["text"]))
        word = token["word"] or ""
        is_set = word == "required_version" and bool(_IS_SET.match(text, token.end()))
    return found


def _tokens(text: str) -> Iterator[tuple["re.Match[str]", str | None]]:
    """Yield the tokens of a text; with one that begins a heredoc, what it holds."""
    position = 0
    has_heredocs = True
    while token := _TOKEN.search(text, position):
        position = token.end()
        end = _end_of_heredoc(text, token) if token["mark"] and has_heredocs else None
        # One without an end has no heredoc after it either.
        has_heredocs &= not token["mark"] or end is not None
        yield token, None if end is None else text[position:end]
        position = position if end is None else end + len(token["mark"])


def _end_of_heredoc(text: str, token: "re.Match[str]") -> int | None:
    """Return where the line that ends a heredoc begins; None if there is none."""
    position = token.end()
    while position < len(text):
        end = text.find("\n", position)
        line = text[position : end if end >= 0 else len(text)]
        if line.strip() == token["mark"]:
            return position
        position += len(line) + 1
    return None


def _unescaped(text: str) -> str:
    """Return what a quoted text means: the escapes of HCL and JSON, and doubled `${` and `%{`."""
    plain = _ESCAPE.sub(_meaning, text)
    # JSON writes what UTF-16 does in two halves. Half of one is no character.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _meaning(escape: "re.Match[str]") -> str:
    short, long, letter, template = escape.groups()
    if template:
        return f"{template}{{"
    if letter:
        return _ESCAPED.get(letter, letter)
    number = int(short or long, 16)
    return chr(number) if number <= 0x10FFFF else "\ufffd"
