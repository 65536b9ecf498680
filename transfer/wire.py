"""Connections that cannot reach what the policy forbids, whoever uses them.

urllib3's connection classes with three differences: `_new_conn` resolves, checks and connects by
itself (the checked address is the one connected to, and is compared with `getpeername` before a
byte is sent; Host and TLS name stay those of the URL), answers are read through a `_Wire` with a
cap for headers and a deadline, and `abort` works from any thread at any moment.
"""

from __future__ import annotations

import contextlib
import functools
import http.client
import io
import socket
import ssl
import threading
import time
from typing import Any

import certifi
import urllib3.connection

from transfer.addresses import parse_sockaddr
from transfer.errors import ConnectFailed, Interrupted, UrlNotAllowed
from transfer.policy import OutboundPolicy, SockAddr
from transfer.urls import NOT_ALLOWED, Origin

MAX_HEADER_BYTES = 64 * 1024
IDLE_SECONDS = 15.0
MAX_IDLE_PER_ORIGIN = 16
_READ_AHEAD_BYTES = 64 * 1024


class _Wire(io.RawIOBase):
    """The reading end of a socket, with a cap while headers are read and a deadline."""

    def __init__(self, sock: socket.socket, deadline: float | None) -> None:
        self._sock = sock
        self._io = sock.makefile("rb", buffering=0)
        self._idle_timeout_s = sock.gettimeout()
        self._deadline = deadline
        # The first read may bring a part of the body along with the headers.
        self.header_room: int | None = MAX_HEADER_BYTES + _READ_AHEAD_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._deadline is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError("the deadline has passed")
            idle = self._idle_timeout_s
            self._sock.settimeout(left if idle is None else min(left, idle))
        n_read = self._io.readinto(buffer) or 0
        if self.header_room is not None:
            self.header_room -= n_read
            if self.header_room < 0:
                raise http.client.LineTooLong("headers")
        return n_read

    def set_deadline(self, deadline: float | None) -> None:
        """Raise TimeoutError out of reads after this moment of `time.monotonic`."""
        self._deadline = deadline
        self._sock.settimeout(self._idle_timeout_s)

    def close(self) -> None:
        self._io.close()
        super().close()


class WireResponse(http.client.HTTPResponse):
    """An answer whose headers are bounded and whose body can be read as it comes."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float | None, **kw: Any) -> None:
        super().__init__(sock, *args, **kw)
        self.fp.close()
        self.wire = _Wire(sock, deadline)
        self.fp = io.BufferedReader(self.wire, _READ_AHEAD_BYTES)

    def begin(self) -> None:
        super().begin()
        self.wire.header_room = None
        size = sum(len(name) + len(value) + 4 for name, value in self.headers.items())
        if size > MAX_HEADER_BYTES:
            raise http.client.LineTooLong("headers")

    def readinto_now(self, view: memoryview) -> int:
        """At least one byte, without waiting for a full buffer; 0 at the end of the body.

        Raises http.client.IncompleteRead when the body is shorter than it was said to be.
        """
        if self.fp is None:
            return 0
        if self.chunked:
            data = self.read1(len(view))
            view[: len(data)] = data
            return len(data)
        if self.length == 0:
            self._close_conn()
            return 0
        n_read: int = self.fp.readinto1(view if self.length is None else view[: self.length])
        if n_read == 0:
            self._close_conn()
            if self.length:
                raise http.client.IncompleteRead(b"", self.length)
        elif self.length is not None:
            self.length -= n_read
            if self.length == 0:
                self._close_conn()
        return n_read

    def _close_conn(self) -> None:
        # http.client's own name for "the body is over": the connection may be used again.
        fp, self.fp = self.fp, None  # type: ignore[assignment]
        if fp is not None:
            fp.close()


class _Guarded(urllib3.connection.HTTPConnection):
    """Mixed into both connection classes; see the module's docstring."""

    def __init__(self, origin: Origin, policy: OutboundPolicy, **kwargs: Any) -> None:
        super().__init__(origin.host, origin.port, timeout=policy.idle_timeout_s, **kwargs)
        self.origin = origin
        self._policy = policy
        self._control: socket.socket | None = None
        self._aborted = threading.Event()

    def connect(self) -> None:
        super().connect()
        self.sock.settimeout(self._policy.idle_timeout_s)

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        for family, sockaddr in self._policy.resolve(self.origin.host, self.origin.port):
            try:
                return self._dial(family, sockaddr)
            except OSError as error:
                failure = error
        raise ConnectFailed(
            f"Could not connect to {self.origin.host}: {_reason(failure)}.", host=self.origin.host
        ) from failure

    def _dial(self, family: socket.AddressFamily, sockaddr: SockAddr) -> socket.socket:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._policy.connect_timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._take_control(sock)
            sock.connect(sockaddr)
            peer = sock.getpeername()
            if parse_sockaddr(peer) != parse_sockaddr(sockaddr) or peer[1] != sockaddr[1]:
                raise UrlNotAllowed(NOT_ALLOWED)
        except BaseException:
            sock.close()
            raise
        return sock

    def _take_control(self, sock: socket.socket) -> None:
        """Keep a second descriptor: TLS takes the first one over in the middle of connecting."""
        self._drop_control()
        self._control = sock.dup()
        if self._aborted.is_set():
            raise Interrupted(f"The connection to {self.origin.host} was given up.")

    def _drop_control(self) -> None:
        control, self._control = self._control, None
        if control is not None:
            control.close()

    def answer(self, *, deadline: float | None, idle_timeout_s: float) -> WireResponse:
        """The answer to the request that was sent; its headers must be here by `deadline`."""
        self.sock.settimeout(idle_timeout_s)
        self.response_class = functools.partial(  # type: ignore[assignment]
            WireResponse, deadline=deadline
        )
        # urllib3's own wrapper logs whole URLs when headers are odd, and copies every byte.
        return http.client.HTTPConnection.getresponse(self)  # type: ignore[return-value]

    def abort(self) -> None:
        """End whatever waits on this connection, now. Callable from any thread, at any time."""
        self._aborted.set()
        control = self._control
        if control is not None:
            # Not connected yet, or closed already: then nothing waits that has no time-out.
            with contextlib.suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)

    def dispose(self) -> None:
        """Close for good. `close` alone is what http.client calls when the answer is the last one
        of this connection, and its body is still to be read."""
        self.close()
        self._drop_control()

    @property
    def can_be_used_again(self) -> bool:
        """True if it waits for a request and the other side has neither closed nor sent more."""
        return not self._aborted.is_set() and self.sock is not None and self.is_connected


class PlainConnection(_Guarded):
    pass


class TlsConnection(_Guarded, urllib3.connection.HTTPSConnection):
    pass


GuardedConnection = PlainConnection | TlsConnection


class Connections:
    """Makes connections, and keeps those that may be used again for a few seconds."""

    def __init__(self, policy: OutboundPolicy) -> None:
        self._policy = policy
        self._lock = threading.Lock()
        self._idle: dict[Origin, list[tuple[float, GuardedConnection]]] = {}

    @functools.cached_property
    def _tls(self) -> ssl.SSLContext:
        """The system's certificates and certifi's; made when it is first needed, it is slow."""
        context = ssl.create_default_context()
        context.load_verify_locations(certifi.where())
        return context

    def new(self, origin: Origin) -> GuardedConnection:
        """A connection that connects when it is used."""
        if origin.scheme == "https":
            return TlsConnection(origin, self._policy, ssl_context=self._tls)
        return PlainConnection(origin, self._policy)

    def take(self, origin: Origin) -> GuardedConnection | None:
        """One that is open already; the caller owns it."""
        while True:
            with self._lock:
                idle = self._idle.get(origin)
                if not idle:
                    return None
                since, connection = idle.pop()
            if time.monotonic() - since < IDLE_SECONDS and connection.can_be_used_again:
                return connection
            connection.dispose()

    def give_back(self, connection: GuardedConnection) -> None:
        """Keep it for the next request, if it is fit and there is room."""
        if connection.can_be_used_again:
            with self._lock:
                idle = self._idle.setdefault(connection.origin, [])
                if len(idle) < MAX_IDLE_PER_ORIGIN:
                    idle.append((time.monotonic(), connection))
                    return
        connection.dispose()

    def close(self) -> None:
        """Close what is idle; what is in use is closed by whoever uses it."""
        with self._lock:
            idle = [entry for entries in self._idle.values() for entry in entries]
            self._idle.clear()
        for _since, connection in idle:
            connection.dispose()


def _reason(error: OSError | None) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return "the network is not reachable"
