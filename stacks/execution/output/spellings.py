"""How programs write a secret: quoted for a language or a page, in URLs, in base64 and hex."""

import base64
import html
import json
import re
from urllib.parse import quote, quote_plus

# Terraform's jsonencode, like all that is written in Go, escapes what HTML gives a meaning.
_AS_GO_WRITES_JSON = {ord(one): f"\\u{ord(one):04x}" for one in "<>&\u2028\u2029"}
# https://pkg.go.dev/strconv#Quote, with which Terraform shows a text of one line.
_AS_GO_QUOTES = {
    '"': r"\"", "\\": r"\\", "\a": r"\a", "\b": r"\b", "\f": r"\f", "\n": r"\n", "\r": r"\r",
    "\t": r"\t", "\v": r"\v",
}  # fmt: skip
# An output may be JSON that holds JSON, and a plan is listed as JSON again.
_JSON_IN_JSON = 3
# What is left as it is in a path, by JavaScript's encodeURIComponent, and in Go's user names.
_LEFT_IN_URLS = ("", "/", "!'()*", "$&+,;=")
# Longer secrets are known in the most likely forms alone, their lines in all.
LONGEST_IN_ALL = 64 * 1024
# GNU base64 breaks lines here.
_BASE64_LINE = 76
# What a backslash comes before: all but word characters, what Python's shlex and bash's
# printf %q find unsafe, and what has a meaning in double quotes.
_ESCAPED_IN_SHELLS = (
    re.compile(r"[^\w]"),
    re.compile(r"[^\w@%+=:,./-]"),
    re.compile(r"""[ \t'"\\|&;()<>!{}*\[\]?^$`,]"""),
    re.compile(r'[$`"\\]'),
)
_PERCENT = re.compile("%[0-9A-F]{2}")


def spellings(secret: str) -> set[str]:
    """Return the forms in which a secret may be printed, itself among them."""
    encoded = _in_base64(secret.encode()) | _in_hex(secret.encode())
    if len(secret) > LONGEST_IN_ALL:
        return {secret, json.dumps(secret)[1:-1]} | encoded
    quoted = _in_json_and_hcl(secret) | _in_html(secret) | _in_shells(secret)
    return quoted | _in_urls(secret) | encoded | _in_base64_twice(secret.encode()) | {secret[::-1]}


def _in_json_and_hcl(secret: str) -> set[str]:
    """Return how a secret looks in quotes, also within JSON that is itself a text."""
    forms = {secret, secret.replace("${", "$${").replace("%{", "%%{")}
    if not secret.isprintable():
        forms |= {"".join(map(_as_go_quotes, one)) for one in forms}
    for _ in range(_JSON_IN_JSON):
        quoted = {json.dumps(one, ensure_ascii=False)[1:-1] for one in forms}
        forms |= quoted | {json.dumps(one)[1:-1] for one in forms}
        forms |= {one.translate(_AS_GO_WRITES_JSON) for one in quoted}
    return forms


def _as_go_quotes(one: str) -> str:
    """Return how Go writes a character between quotes."""
    if one in _AS_GO_QUOTES or one.isprintable():
        return _AS_GO_QUOTES.get(one, one)
    number = ord(one)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number <= 0xFFFF else f"\\U{number:08x}"


def _in_html(secret: str) -> set[str]:
    """Return how a secret looks in HTML and XML, whose quotes have several names."""
    escaped = html.escape(secret, quote=False)
    names = (("&quot;", "&#x27;"), ("&quot;", "&#39;"), ("&#34;", "&#39;"), ("&quot;", "&apos;"))
    return {escaped} | {escaped.replace('"', one).replace("'", other) for one, other in names}


def _in_shells(secret: str) -> set[str]:
    """Return how a secret looks quoted for a shell, and in Python's `repr`."""
    return {
        secret.replace("'", "'\"'\"'"),
        secret.replace("'", r"'\''"),
        *(escaped.sub(r"\\\g<0>", secret) for escaped in _ESCAPED_IN_SHELLS),
        # bash's $'…'
        secret.encode("unicode_escape").decode().replace("'", r"\'"),
        "".join(map(_as_go_quotes, secret)).replace(r"\"", '"').replace("'", r"\'"),
        repr(secret)[1:-1],
    }


def _in_urls(secret: str) -> set[str]:
    """Return how a secret looks in a URL: a space as %20 or +, digits of either case."""
    forms = {quote(secret, safe) for safe in _LEFT_IN_URLS}
    forms |= {quote_plus(secret, safe) for safe in _LEFT_IN_URLS}
    forms |= {quote(one, "") for one in forms}
    return forms | {_PERCENT.sub(lambda found: found[0].lower(), one) for one in forms}


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


def _in_base64_twice(secret: bytes) -> set[str]:
    """Return how base64 of a secret, in one line or several, looks in base64."""
    once = base64.b64encode(secret).decode()
    lines = [once[at : at + _BASE64_LINE] for at in range(0, len(once), _BASE64_LINE)]
    inner = _in_base64(secret) | {"\n".join(lines)}
    return set().union(*(_in_base64(one.rstrip("=").encode()) for one in inner))


def _in_hex(secret: bytes) -> set[str]:
    """Return how a secret looks in hexadecimal digits, also with colons between bytes."""
    forms = {secret.hex(), secret.hex(":")}
    return forms | {one.upper() for one in forms}
