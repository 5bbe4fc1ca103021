"""How programs write a secret: in JSON and HCL, in URLs, in base64."""

import base64
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
_PERCENT = re.compile("%[0-9A-F]{2}")


def spellings(secret: str) -> set[str]:
    """Return the forms in which a secret may be printed, itself among them."""
    return _in_json_and_hcl(secret) | _in_urls(secret) | _in_base64(secret.encode())


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


def _in_urls(secret: str) -> set[str]:
    """Return how a secret looks in a URL: a space as %20 or +, digits of either case."""
    forms = {quote(secret, safe) for safe in _LEFT_IN_URLS} | {quote_plus(secret)}
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
