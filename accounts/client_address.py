"""Where a request comes from, for slowing down wrong passwords and for the audit log."""

import ipaddress

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# What one customer of an internet provider is given at least (RFC 6177): each of its addresses is
# theirs to choose.
BITS_OF_ONE_VISITOR = 64


def client_address(request: HttpRequest) -> str:
    """Return the visitor's IP address: the connection's, or the one that trusted proxies name.

    Each proxy appends the address that it saw to X-Forwarded-For. So the header is read from its
    end, as long as a trusted proxy vouches for the entry; what is before that is the visitor's
    own. A loopback address is trusted only as the connection's, and only where the public address
    is no loopback address itself, unless TRUSTED_PROXIES lists it.
    """
    peer: str = request.META.get("REMOTE_ADDR", "")
    address = _read(peer)
    # A connection over a Unix socket has no address, and comes from this machine.
    is_local = not peer or bool(address and address.is_loopback)
    if not (is_local and settings.HAS_LOCAL_PROXY) and not (address and _is_proxy(address)):
        return str(address or "")
    for entry in reversed(request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")):
        seen = _read(entry)
        if seen is None:
            break
        address = seen
        if not _is_proxy(seen):
            break
    return str(address or "")


def throttled_address(request: HttpRequest) -> str:
    """Return what wrong passwords are counted by: an IPv4 address, or an IPv6 one's network."""
    address = client_address(request)
    if ":" not in address:
        return address
    network = ipaddress.ip_network((address, BITS_OF_ONE_VISITOR), strict=False)
    return str(network.network_address)


def _is_proxy(address: Address) -> bool:
    return any(address in network for network in settings.TRUSTED_PROXIES)


def _read(text: str) -> Address | None:
    """Return an IP address without the port that some proxies add; None if it is none."""
    plain = text.strip()
    if plain.startswith("["):
        plain = plain[1:].partition("]")[0]
    elif plain.count(":") == 1:
        plain = plain.partition(":")[0]
    try:
        address = ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return None
    # The same visitor, whichever way the connection came in.
    return getattr(address, "ipv4_mapped", None) or address
