"""Where bytes may come from: the policy that every outbound connection is checked against.

Ports: 80, 443 and everything from 1024 up, except the known ports of services that speak no HTTP
or should not be spoken to (`SERVICE_PORTS`). Mirrors run on odd ports, so this is a list of what
is refused; a pair on the allow list is exempt.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Any

from transfer.addresses import is_public, parse_sockaddr
from transfer.errors import ConnectFailed, UrlNotAllowed
from transfer.urls import NOT_ALLOWED, Origin, ParsedUrl, parse_host

WEB_PORTS = frozenset({80, 443})
FIRST_FREE_PORT = 1024
SERVICE_PORTS = frozenset(
    {
        1080,  # socks
        1433, 1521, 3306, 5432, 27017,  # databases
        1719, 1720, 5060, 5061,  # telephony
        1723, 3128, 3389, 5900,  # tunnels, proxies, desktops
        2049, 4045,  # nfs
        2375, 2376, 2379, 2380, 6443, 10250,  # containers and clusters
        4369, 5671, 5672, 9092,  # brokers
        5985, 5986,  # remote management
        6000, 6379, 6380, 6566, 6665, 6666, 6667, 6668, 6669, 6697, 7001,
        9042, 9200, 9300, 11211, 50070, 61616,  # stores and brokers
    }
)  # fmt: skip
# Names that only mean something inside somebody's network. Their addresses would be refused as
# well; refusing the name asks no resolver.
_INNER_SUFFIXES = (
    "localhost", "localdomain", "local", "internal", "intranet", "lan", "home.arpa", "private",
)  # fmt: skip

MAX_ADDRESSES = 4  # tried per connection
SockAddr = tuple[Any, ...]


@dataclass(frozen=True)
class OutboundPolicy:
    """`allow` holds exact (host, port) pairs that may have any address; times are in seconds."""

    allow: frozenset[tuple[str, int]] = frozenset()
    connect_timeout_s: float = 10
    idle_timeout_s: float = 30
    max_hops: int = 5

    @classmethod
    def from_allow_list(cls, pairs: tuple[str, ...], **limits: Any) -> OutboundPolicy:
        """`("10.0.0.5:9000", "[::1]:8080", "mirror.lan:80")`; ValueError names the wrong one."""
        return cls(allow=frozenset(parse_pair(pair) for pair in pairs), **limits)

    def check(self, url: ParsedUrl) -> None:
        """What can be said of a URL without asking a resolver; raises UrlNotAllowed."""
        origin = url.origin
        if (origin.host, origin.port) in self.allow:
            return
        literal = url.literal
        if not _port_is_usual(origin.port) or (
            not is_public(literal) if literal is not None else _is_inner_name(origin.host)
        ):
            raise UrlNotAllowed(NOT_ALLOWED)

    def resolve(self, host: str, port: int) -> list[tuple[socket.AddressFamily, SockAddr]]:
        """The addresses to connect to, asked for once: what is checked is what is used.

        One forbidden answer refuses them all: a name that has both is an attack (A6).
        Raises UrlNotAllowed, ConnectFailed.
        """
        try:
            answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ConnectFailed(
                f"Could not find the host {host}. Check the link, or try again later.", host=host
            ) from error
        found: list[tuple[socket.AddressFamily, SockAddr]] = [
            (family, sockaddr) for family, _type, _proto, _name, sockaddr in answers
        ]
        if (host, port) not in self.allow and not all(_is_public(addr) for _, addr in found):
            raise UrlNotAllowed(NOT_ALLOWED)
        return found[:MAX_ADDRESSES]


def parse_pair(text: str) -> tuple[str, int]:
    """`host:port` of an allow list; an IPv6 address stands in brackets. Raises ValueError."""
    host, colon, port = text.strip().rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{text!r} is not host:port.")
    try:
        return parse_host(host), int(port)
    except UrlNotAllowed:
        raise ValueError(f"{text!r} is not host:port.") from None


def pair_of(origin: Origin) -> tuple[str, int]:
    """What an allow list would have to name."""
    return origin.host, origin.port


def _port_is_usual(port: int) -> bool:
    return port in WEB_PORTS or (port >= FIRST_FREE_PORT and port not in SERVICE_PORTS)


def _is_inner_name(host: str) -> bool:
    return "." not in host or any(host.endswith(f".{suffix}") for suffix in _INNER_SUFFIXES)


def _is_public(sockaddr: SockAddr) -> bool:
    try:
        return is_public(parse_sockaddr(sockaddr))
    except ValueError:
        return False
