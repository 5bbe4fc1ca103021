"""Where a request comes from, for slowing down wrong passwords."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the visitor's IP address, as the proxy saw it where there is one.

    A proxy appends the address it saw to X-Forwarded-For, so the last one is its word; what
    stands before it is the visitor's own.
    """
    address: str = request.META.get("REMOTE_ADDR", "")
    forwarded: str = request.META.get("HTTP_X_FORWARDED_FOR", "")
    if settings.SECURE_PROXY_SSL_HEADER and forwarded:
        seen = forwarded.rpartition(",")[2].strip()
        return _plain(seen) or address
    return address


def _plain(text: str) -> str:
    """Return an IP address without the port that some proxies add; empty if it is none."""
    without_port = text.rpartition(":")[0] if text.count(":") == 1 else text
    try:
        return str(ipaddress.ip_address(without_port.strip("[]")))
    except ValueError:
        return ""
