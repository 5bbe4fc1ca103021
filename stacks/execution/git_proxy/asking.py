"""Read a request of git strictly: what is not exactly what git sends to fetch is refused.

Nothing of a request is passed on but its body, and which of a few known words it says. So no
header, path or framing that programs read differently reaches the host.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

LONGEST_LINE = 8192
MOST_HEADERS = 50
# What git wants and has, 50 bytes each.
LONGEST_BODY = 16 * 1024 * 1024
TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,100}")
VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
# What RFC 3986 lets a path have, without ; and what leads out of a segment.
SEGMENT = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%[0-9A-Fa-f]{2})+")
TARGET = re.compile(
    r"/(?P<place>0|[1-9][0-9]?)/(?P<rest>[^?#]+)/"
    r"(?:(?P<refs>info/refs\?service=git-upload-pack)|git-upload-pack)"
)
PROTOCOL = re.compile(r"version=[0-2]")
ASKED_TYPE = "application/x-git-upload-pack-request"


class Refusal(Exception):
    """A request is not answered; the status, and a sentence for people."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Asked:
    """What git asks for: a repository's refs, or objects of it.

    `place` is the number of the address's beginning, and `rest` what comes after it, as git gave
    it. `body` is None where refs are asked for.
    """

    place: int
    rest: str
    protocol: str
    body: bytes | None
    is_gzip: bool


@dataclass(frozen=True)
class Head:
    """A request before its body, with the names of its headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]


def read_head(stream: BinaryIO) -> Head:
    """Read a request up to its body. Raises Refusal."""
    words = _line(stream).decode("latin-1").split(" ")
    if len(words) != 3 or words[2] != "HTTP/1.1":
        raise Refusal(400, "This is no request of git.")
    headers: dict[str, str] = {}
    while line := _line(stream):
        name, colon, value = line.partition(b":")
        if not colon or not TOKEN.fullmatch(name) or not VALUE.fullmatch(value):
            raise Refusal(400, "A header is malformed.")
        key = name.decode().lower()
        if key in headers or len(headers) == MOST_HEADERS:
            raise Refusal(400, "There are too many headers, or one of them twice.")
        headers[key] = value.decode("latin-1").strip(" \t")
    return Head(words[0], words[1], headers)


def read_asked(head: Head, stream: BinaryIO) -> Asked:
    """Read what is asked for, with the body. Raises Refusal."""
    match = TARGET.fullmatch(head.target)
    method = "GET" if match and match["refs"] else "POST"
    if not match or head.method != method:
        raise Refusal(403, "Only fetching is possible here: git-upload-pack.")
    _check_path(match["rest"])
    protocol = head.headers.get("git-protocol", "")
    if protocol and not PROTOCOL.fullmatch(protocol):
        raise Refusal(400, "This version of git's protocol is not known.")
    encoding = head.headers.get("content-encoding", "")
    if encoding not in {"", "gzip"}:
        raise Refusal(415, "The body's encoding is not known.")
    if match["refs"]:
        if "transfer-encoding" in head.headers or head.headers.get("content-length", "0") != "0":
            raise Refusal(400, "A question for refs has no body.")
        body = None
    else:
        if head.headers.get("content-type") != ASKED_TYPE:
            raise Refusal(415, "The body is no request of git-upload-pack.")
        body = _body(head.headers, stream)
    return Asked(int(match["place"]), match["rest"], protocol, body, bool(encoding))


def _check_path(path: str) -> None:
    """Raise Refusal where a path could be read in more than one way."""
    for segment in path.split("/"):
        try:
            name = unquote_to_bytes(segment).decode()
        except UnicodeDecodeError:
            name = ""
        is_plain = SEGMENT.fullmatch(segment) and name.isprintable()
        if not is_plain or name.strip(" .") == "" or set(name) & set("/\\%;?#"):
            raise Refusal(403, "The address has a part that is read differently by others.")


def _body(headers: Mapping[str, str], stream: BinaryIO) -> bytes:
    """Read a body by its one framing. Raises Refusal."""
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if coding is not None and length is None:
        if coding != "chunked":
            raise Refusal(400, "The body's framing is not known.")
        return _chunks(stream)
    if coding is not None or length is None or not re.fullmatch(r"[0-9]{1,10}", length):
        raise Refusal(400, "The body needs exactly one length.")
    return _exactly(stream, int(length))


def _chunks(stream: BinaryIO) -> bytes:
    body = bytearray()
    while True:
        size = _line(stream)
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size):
            raise Refusal(400, "The body's framing is malformed.")
        if int(size, 16) == 0:
            break
        body += _exactly(stream, int(size, 16), len(body))
        if _line(stream):
            raise Refusal(400, "The body's framing is malformed.")
    if _line(stream):
        raise Refusal(400, "Trailers are not read.")
    return bytes(body)


def _exactly(stream: BinaryIO, size: int, before: int = 0) -> bytes:
    if before + size > LONGEST_BODY:
        raise Refusal(413, "The request is too large.")
    found = stream.read(size)
    if len(found) < size:
        raise Refusal(400, "The body ends too early.")
    return found


def _line(stream: BinaryIO) -> bytes:
    """Read a line without its end, which is CR LF and nothing else."""
    line = stream.readline(LONGEST_LINE)
    if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
        raise Refusal(400, "This is no request of git, or a line of it is too long.")
    return line[:-2]
