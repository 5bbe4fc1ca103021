"""Where an IP address leads, however an IPv4 address is written into an IPv6 one."""

from ipaddress import ip_address

import pytest

from core.network.ip_addresses import is_public

WITHIN = {
    "mapped": "::ffff:{}",
    "NAT64": "64:ff9b::{}",
    "6to4": "2002:{}::1",
}


def within(form: str, address: str) -> str:
    digits = ip_address(address).packed.hex()
    return form.format(f"{digits[:4]}:{digits[4:]}")


@pytest.mark.parametrize("form", ["{}", *WITHIN.values()], ids=["alone", *WITHIN])
@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("8.8.8.8", True),
        ("20.42.5.5", True),
        ("10.0.0.1", False),
        ("127.0.0.1", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.1.2.3", False),
    ],
)
def test_an_ipv4_address_within_an_ipv6_address_decides(
    form: str, address: str, expected: bool
) -> None:
    written = address if form == "{}" else within(form, address)
    assert is_public(ip_address(written)) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("2603:1030::5", True),
        ("::1", False),
        ("fd00::1", False),
        ("fe80::1", False),
        ("ff0e::1", False),
        ("::8.8.8.8", False),  # an old form of an IPv4 address (RFC 4291, 2.5.5.1)
        ("64:ff9b:1::8.8.8.8", False),  # a gateway of a network's own (RFC 8215)
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", False),  # Teredo
    ],
)
def test_an_ipv6_address_is_public_or_not(address: str, expected: bool) -> None:
    assert is_public(ip_address(address)) == expected
