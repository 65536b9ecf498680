"""Who must never be connected to, and how a test knows that nobody was.

Two witnesses. Real sockets listen on forbidden addresses, among them the ports of Redis and
PostgreSQL: a connection waits in their backlog from the moment it is made, so no thread and no time
is needed to see it. And every `connect` of this process is noted, which also shows what nobody
listens for.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import urlsplit

#: Hosts on which the open port is tried, and those on which ports of services are looked for.
FORBIDDEN_HOSTS = ("127.0.0.1", "127.0.0.2", "::1")
REDIS_PORT, POSTGRES_PORT = 6379, 5432


class Listeners:
    """Sockets that nobody may reach. `port` is the same one on every forbidden host."""

    def __init__(self) -> None:
        self.port = 0
        self.sockets: list[socket.socket] = []
        for host in FORBIDDEN_HOSTS:
            opened = _listen(host, self.port)
            if opened is not None:
                self.sockets.append(opened)
                self.port = opened.getsockname()[1]
        #: Where a service's own port was free: next to the real one, which may run here.
        self.services: dict[int, str] = {}
        for port in (REDIS_PORT, POSTGRES_PORT):
            for host in (*(f"127.0.0.{n}" for n in range(1, 9)), "::1"):
                opened = _listen(host, port)
                if opened is not None:
                    self.sockets.append(opened)
                    self.services[port] = f"[{host}]" if ":" in host else host
                    break

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        for one in self.sockets:
            one.close()

    @property
    def addresses(self) -> set[tuple[str, int]]:
        return {one.getsockname()[:2] for one in self.sockets}

    def visits(self) -> list[tuple[str, int]]:
        """Where somebody came since the last look."""
        found = []
        for one in self.sockets:
            with contextlib.suppress(BlockingIOError):
                while True:
                    visitor, _peer = one.accept()
                    visitor.close()
                    found.append(one.getsockname()[:2])
        return found


def _listen(host: str, port: int) -> socket.socket | None:
    """None where the port is taken, or the machine has no such address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        opened = socket.create_server((host, port), family=family, backlog=64)
    except OSError:
        return None
    opened.setblocking(False)
    return opened


@dataclass
class Journal:
    """Every address that this process connected to while it was kept."""

    places: list[tuple[str, int]] = field(default_factory=list)

    def beyond(self, allowed: set[tuple[str, int]]) -> set[tuple[str, int]]:
        return set(self.places) - allowed - own_services()


@contextlib.contextmanager
def journal() -> Iterator[Journal]:
    kept, real = Journal(), socket.socket.connect

    def connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple):
            kept.places.append((str(address[0]), int(address[1])))
        real(self, address)

    socket.socket.connect = connect  # type: ignore[method-assign,assignment]
    try:
        yield kept
    finally:
        socket.socket.connect = real  # type: ignore[method-assign]


def own_services() -> set[tuple[str, int]]:
    """Database and broker of the suite: the product talks to them by itself."""
    found = set()
    for name in ("DATABASE_URL", "REDIS_URL"):
        parts = urlsplit(os.environ.get(name, ""))
        if parts.hostname and parts.port:
            names = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
            found |= {(str(entry[4][0]), parts.port) for entry in names}
            found.add((parts.hostname, parts.port))
    return found
