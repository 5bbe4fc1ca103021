"""Which webhook addresses Azure DevOps delivers to.

Azure DevOps documentation, "Webhooks": Basic authentication needs https, and loopback and
special-range addresses are refused.
"""

import ipaddress
from urllib.parse import urlsplit

from core.network.ip_addresses import destination_of, is_public

NOT_PUBLIC = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".test", ".invalid")


def refuses_endpoint(endpoint: str) -> str:
    """Say why Azure DevOps would not deliver to this URL; empty if it would."""
    parts = urlsplit(endpoint)
    host = (parts.hostname or "").rstrip(".")
    reasons = []
    if parts.scheme != "https":
        reasons.append("it does not begin with https")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        if host == "localhost" or "." not in host or host.endswith(NOT_PUBLIC):
            reasons.append(f"{host} is not a public name")
    else:
        if not is_public(address):
            is_loopback = destination_of(address).is_loopback
            kind = "a loopback" if is_loopback else "a private or special"
            reasons.append(f"{host} is {kind} address")
    return " and ".join(reasons)
