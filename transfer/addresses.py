"""Which internet addresses we connect to: our own table, over every form an address can take.

`ipaddress.is_global` alone is no guard. Python 3.11.7 calls 6to4 and NAT64 forms of 127.0.0.1,
`fec0::1` and multicast global, and patch releases change its tables (CVE-2024-4032). So: an IPv4
address is public unless a network below holds it; an IPv6 address is public only inside 2000::/3,
outside the networks below, and when its interface identifier does not tunnel IPv4 (ISATAP).
"""

from __future__ import annotations

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA special-purpose registry, plus what clouds answer on.
_FORBIDDEN_V4 = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",  # "this network"; Linux connects 0.0.0.0 to itself
        "10.0.0.0/8",
        "100.64.0.0/10",  # carrier-grade NAT, metadata of one cloud
        "127.0.0.0/8",
        "168.63.129.16/32",  # the host's own service in one cloud; looks public
        "169.254.0.0/16",  # link-local, metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # IETF protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
# Everything else that is not public (::, ::1, v4-mapped, 64:ff9b::/96 and 64:ff9b:1::/48 of NAT64,
# fc00::/7, fe80::/10, fec0::/10, ff00::/8) lies outside 2000::/3.
_FORBIDDEN_V6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments: Teredo 2001::/32, benchmarks, ORCHID
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
# RFC 5214 6.1: the interface identifier of ISATAP is [0|2]00:5efe and an IPv4 address.
_ISATAP = frozenset({0x00005EFE, 0x02005EFE})


def is_public(address: Address) -> bool:
    """True if anybody on the internet may use this address and it stands for no other one."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _FORBIDDEN_V4)
    if address.scope_id is not None or address not in _PUBLIC_V6:
        return False
    if int(address) >> 32 & 0xFFFFFFFF in _ISATAP:
        return False
    return not any(address in network for network in _FORBIDDEN_V6)


def parse_sockaddr(sockaddr: tuple[str | int | bytes, ...]) -> Address:
    """The address of what `getaddrinfo` or `getpeername` gave, its scope id included.

    Raises ValueError when it is no internet address.
    """
    text = str(sockaddr[0])
    scope = sockaddr[3] if len(sockaddr) == 4 else 0
    if scope and "%" not in text:
        text = f"{text}%{scope!s}"
    return ipaddress.ip_address(text)
