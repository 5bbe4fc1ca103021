"""Where a request comes from, for slowing down wrong passwords."""

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """Return the visitor's IP address, as the proxy saw it where there is one.

    A proxy appends the address it saw to X-Forwarded-For, so the last one is its word; what
    stands before it is the visitor's own.
    """
    forwarded: str = request.META.get("HTTP_X_FORWARDED_FOR", "")
    if settings.SECURE_PROXY_SSL_HEADER and forwarded:
        return forwarded.rpartition(",")[2].strip()[:45]
    address: str = request.META.get("REMOTE_ADDR", "")
    return address
