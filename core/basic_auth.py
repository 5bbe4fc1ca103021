"""Basic authentication: names and passwords in an Authorization header (RFC 7617)."""

import base64
import binascii


def read_basic(authorization: str) -> tuple[bytes, bytes] | None:
    """Return user name and password of a header's value, None if it is no Basic one."""
    scheme, _, encoded = authorization.strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    username, _, password = decoded.partition(b":")
    return username, password


def write_basic(username: str, password: str) -> str:
    """Return the value of the header."""
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()
