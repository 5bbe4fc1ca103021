"""IP addresses: where they lead, and whether anybody on the internet reaches that."""

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address
# What follows is the IPv4 address that a gateway of the network translates to (RFC 6052).
NAT64 = IPv6Network("64:ff9b::/96")


def destination_of(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address leads to; any other address as it is."""
    if isinstance(address, IPv4Address):
        return address
    if address in NAT64:
        return IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour or address


def is_loopback(host: str) -> bool:
    """Say whether a host is this machine as only its own programs reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_public(address: Address) -> bool:
    """Whether an address leads to one host of the internet, and into no private network."""
    destination = destination_of(address)
    # Reserved are, among others, forms of old and of local gateways to IPv4.
    is_special = destination.is_multicast or destination.is_reserved
    return destination.is_global and not is_special
