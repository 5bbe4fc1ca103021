"""Parts of a secret value that are secrets themselves: a password in JSON, a line of a key.

Code takes values apart, with `jsondecode` or `split`, and prints what it likes of them.
"""

import base64
import re
from collections import deque
from collections.abc import Iterator
from textwrap import dedent
from urllib.parse import unquote

from stacks.execution.output.hcl import values_in

# JSON in JSON in base64 in a line is deep enough.
DEEPEST = 4
# Every expression below is bounded, so that none takes longer than a text's length explains.
_TELLING = r"(?:pass|pwd|pw|secret|key|token|sig|auth|cred)"
_TELLING_NAME = re.compile(_TELLING, re.IGNORECASE)
_FIELD = re.compile(
    rf"""
    (?: {_TELLING}[\w-]{{0,40}}["']?[ \t]{{0,20}}[=:][ \t]{{0,20}} | (?:bearer|basic)[ \t]{{1,20}} )
    (?: "([^"\n]*)" | '([^'\n]*)' | \{{([^}}\n]*)\}} | (?=([^;\n]{{1,200}})) ([^;,&\s"'}}]+) )
    """,
    re.VERBOSE | re.IGNORECASE,
)
_LINE = re.compile(
    r"^[ \t]*(?:-[ \t]+|export[ \t]+|set[ \t]+)?"
    r"[\"']?(\w[\w .\-/]{0,100}?)[\"']?[ \t]{0,20}[=:](.*)$",
    re.MULTILINE,
)
_ORDINARY = re.compile(r"[A-Za-z]+|[\d.]+")
_USERINFO = re.compile(
    r"://([^\s\"'<>@:/]{0,500})(?::(?=([^\s\"'<>/]{0,500})@)([^\s\"'<>@]{1,500}))?@"
)
_BASE64 = re.compile(r"[A-Za-z0-9+/]{8,}={0,2}")


def parts_of(secret: str, shortest: int) -> Iterator[str]:
    """Yield the parts of a secret that have at least that many characters, each once.

    Those are its lines; the strings and numbers of JSON and HCL, whose keys are names and no
    secrets; what lines like `NAME=value`, connection strings and URLs give as a password; what
    base64 of a text says; and the parts of each of those.
    """
    seen = {secret}
    waiting = deque([(secret, 0)])
    while waiting:
        text, depth = waiting.popleft()
        for part in _parts_at_once(text):
            if len(part.strip()) < shortest or part in seen:
                continue
            seen.add(part)
            yield part
            if depth < DEEPEST:
                waiting.append((part, depth + 1))


def _parts_at_once(text: str) -> Iterator[str]:
    yield text.strip()
    for line in text.splitlines():
        yield line.strip()
    for value in values_in(text):
        yield value
        yield dedent(value)
    yield from _values_of_fields(text)
    yield from _values_of_lines(text)
    yield from _parts_of_urls(text)
    yield _from_base64(text)


def _values_of_fields(text: str) -> Iterator[str]:
    """Yield what is given under names like Password in connection strings, headers and queries."""
    for found in _FIELD.finditer(text):
        for value in filter(None, found.groups()):
            yield value
            yield unquote(value)


def _values_of_lines(text: str) -> Iterator[str]:
    """Yield the values of dotenv, INI and YAML lines, but for words like `true` and `require`."""
    for found in _LINE.finditer(text):
        name, value = found[1], found[2].strip()
        if _ORDINARY.fullmatch(value) and not _TELLING_NAME.search(name):
            continue
        yield value
        yield value.partition(" #")[0].strip()
        if value[:1] in {'"', "'"}:
            yield value[1:].rpartition(value[0])[0]


def _parts_of_urls(text: str) -> Iterator[str]:
    """Yield users and passwords of URLs; a user may be a token, but not a word like `postgres`."""
    for user, whole, password in _USERINFO.findall(text):
        if not _ORDINARY.fullmatch(user):
            yield unquote(user)
        for value in (whole, password):
            yield value
            yield unquote(value)


def _from_base64(text: str) -> str:
    """Return the text that a base64 text encodes; empty if it is none."""
    packed = "".join(text.split()).replace("-", "+").replace("_", "/")
    if not _BASE64.fullmatch(packed):
        return ""
    packed = packed.rstrip("=")
    try:
        plain = base64.b64decode(packed + "=" * (-len(packed) % 4)).decode()
    except ValueError:
        return ""
    return plain if all(one.isprintable() or one.isspace() for one in plain) else ""
