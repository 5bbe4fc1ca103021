"""One POST to an address that an admin entered: https, to no private network, bounded in time.

The host is resolved once, and the connection goes to an address that was checked: a name may lead
elsewhere a moment later. Redirects are not followed, and nothing of the answer but its status and
Retry-After is read.
"""

import ipaddress
import os
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException, HTTPResponse, HTTPSConnection
from pathlib import Path
from threading import Event, Timer
from urllib.parse import urlsplit

import requests.utils
from django.conf import settings

from core.network.ip_addresses import destination_of, is_public

SECONDS_TO_CONNECT = 5
SECONDS_IN_ALL = 10
LONGEST_ADDRESS = 2000
LONGEST_HOST = 253


class NotPosted(Exception):
    """A sentence on why something did not arrive; `retry_after` is in seconds, where given."""

    def __init__(self, sentence: str, retry_after: int | None = None) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after


def why_unusable(url: str) -> str:
    """Return why an address can't be posted to, and what to do; else empty. It asks nobody."""
    try:
        parts = urlsplit(url)
        has_port = parts.port != 0
    except ValueError:
        return "This is not a valid address. Copy it once more."
    if len(parts.hostname or "") > LONGEST_HOST:
        return "This is not a valid address. Copy it once more."
    if parts.scheme != "https" or not parts.hostname or not has_port:
        return "Enter an address that begins with https://."
    if "@" in parts.netloc or not url.isascii() or not url.isprintable() or " " in url:
        return "Enter the address as it was given: without user name, spaces and other characters."
    return ""


def post(url: str, body: bytes, headers: Mapping[str, str]) -> None:
    """Post a body to an address. Raises NotPosted unless the answer is 2xx."""
    if why := why_unusable(url):
        raise NotPosted(why)
    parts = urlsplit(url)
    host, port = str(parts.hostname), parts.port or 443
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        with _connected(host, port) as raw:
            answer = _answer(raw, (host, port), target, body, headers)
    except ssl.SSLCertVerificationError as error:
        raise NotPosted(f"The certificate of {host} is not trusted.") from error
    except TimeoutError as error:
        raise NotPosted(f"{host} did not answer in time.") from error
    except (OSError, HTTPException, ValueError) as error:
        raise NotPosted(f"{host} could not be reached ({type(error).__name__}).") from error
    if answer.status in {301, 302, 303, 307, 308}:
        raise NotPosted(f"{host} redirects (HTTP {answer.status}), which is not followed.")
    if not 200 <= answer.status < 300:
        raise NotPosted(f"{host} answered HTTP {answer.status}.", _retry_after(answer))


def _connected(host: str, port: int) -> socket.socket:
    """Return a connection to the first address of a host that accepts one.

    Raises NotPosted where any of its addresses is not allowed, and OSError.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotPosted(f"{host} has no address.") from error
    addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
    if not all(map(_is_allowed, addresses)):
        raise NotPosted(
            f"{host} is in a private network. The operator can allow it in NOTIFICATION_NETWORKS."
        )
    failure: OSError = OSError()
    for address in addresses[:3]:
        try:
            return socket.create_connection((address, port), SECONDS_TO_CONNECT)
        except OSError as error:
            failure = error
    raise failure


def _is_allowed(text: str) -> bool:
    address = ipaddress.ip_address(text.partition("%")[0])
    either = address, destination_of(address)
    if any(one in network for one in either for network in settings.NOTIFICATION_NETWORKS):
        return True
    return is_public(address)


def _answer(
    raw: socket.socket,
    host_and_port: tuple[str, int],
    target: str,
    body: bytes,
    headers: Mapping[str, str],
) -> HTTPResponse:
    """Return the head of the answer. Raises OSError and HTTPException."""
    host, port = host_and_port
    trusted = os.environ.get("REQUESTS_CA_BUNDLE") or requests.utils.DEFAULT_CA_BUNDLE_PATH
    file, folder = (None, trusted) if Path(trusted).is_dir() else (trusted, None)
    context = ssl.create_default_context(cafile=file, capath=folder)
    secure = context.wrap_socket(raw, server_hostname=host, do_handshake_on_connect=False)
    connection = HTTPSConnection(host, port)
    # A timeout of the socket does not bound what comes byte by byte.
    is_over = Event()
    end = Timer(SECONDS_IN_ALL, _cut, [secure, is_over])
    end.start()
    try:
        secure.settimeout(SECONDS_IN_ALL)
        secure.do_handshake()
        connection.sock = secure
        connection.request("POST", target, body, dict(headers))
        answer = connection.getresponse()
    except (OSError, HTTPException):
        if is_over.is_set():
            raise TimeoutError from None
        raise
    finally:
        end.cancel()
        connection.close()
        secure.close()
    if is_over.is_set():  # what was cut can look like the whole head of an answer
        raise TimeoutError
    return answer


def _cut(secure: ssl.SSLSocket, is_over: Event) -> None:
    """End a connection that another thread uses; SSLSocket's own way would confuse that."""
    is_over.set()
    with suppress(OSError):
        socket.socket.shutdown(secure, socket.SHUT_RDWR)


def _retry_after(answer: HTTPResponse) -> int | None:
    value = answer.headers.get("Retry-After", "")
    return int(value) if value.isascii() and value.isdigit() and len(value) < 6 else None
