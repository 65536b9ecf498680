"""One request and its answer while it lasts: reading the body, ending it from another thread."""

from __future__ import annotations

import threading
from email.message import Message

from transfer.answers import LIBRARY_ERRORS, library_error
from transfer.errors import Interrupted
from transfer.urls import ParsedUrl
from transfer.wire import Connections, GuardedConnection, WireResponse


class Aborter:
    """Ends a request from another thread, whatever it waits for, and every later one with it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: GuardedConnection | None = None
        self.is_aborted = False

    def abort(self) -> None:
        with self._lock:
            self.is_aborted = True
            if self._connection is not None:
                self._connection.abort()

    def watch(self, connection: GuardedConnection | None) -> None:
        """The connection that is used from now on; None when it is no longer ours."""
        with self._lock:
            self._connection = connection
            if self.is_aborted and connection is not None:
                connection.abort()


class Answer:
    """One answer whose body is read as it comes.

    `headers` is case-insensitive; `url` is where the answer came from after `hops` redirects, and
    may be signed: it is for asking again, never for showing.
    """

    def __init__(
        self, connection: GuardedConnection, wire: WireResponse, url: ParsedUrl, aborter: Aborter
    ) -> None:
        self._connection = connection
        self._wire = wire
        self._aborter = aborter
        self.parsed_url = url
        self.status = wire.status
        self.headers: Message = wire.headers
        self.hops = 0

    @property
    def url(self) -> str:
        return str(self.parsed_url)

    @property
    def host(self) -> str:
        return self.parsed_url.origin.host

    @property
    def raw(self) -> Answer:
        """Something with `read` and `readinto`: the answer itself."""
        return self

    @property
    def length(self) -> int | None:
        """Bytes of the body that are still to come, when the server said how many there are."""
        return None if self._wire.chunked else self._wire.length

    @property
    def is_length_certain(self) -> bool:
        """False when only the end of the connection ends the body, so a cut looks like an end."""
        return bool(self._wire.chunked) or self._wire.length is not None

    def readinto(self, view: memoryview) -> int:
        """What one read brings, at least one byte; 0 at the end. Raises Interrupted when the body
        is shorter than announced, BadAnswer when its framing is wrong."""
        try:
            n_read = self._wire.readinto_now(view)
        except LIBRARY_ERRORS as error:
            raise library_error(error, self.host, connecting=False) from error
        if n_read == 0 and self._aborter.is_aborted:
            raise Interrupted(f"The connection to {self.host} was given up.", host=self.host)
        return n_read

    def read(self, max_bytes: int) -> bytes:
        """The body up to this many bytes, waited for."""
        buffer = bytearray(max_bytes)
        filled = 0
        with memoryview(buffer) as view:
            while filled < max_bytes and (n_read := self.readinto(view[filled:])):
                filled += n_read
        return bytes(buffer[:filled])

    def set_deadline(self, deadline: float | None) -> None:
        """Reads after this moment of `time.monotonic` raise Interrupted."""
        self._wire.wire.set_deadline(deadline)

    def abort(self) -> None:
        """End it from another thread: a reader gets Interrupted at once."""
        self._aborter.abort()

    def close(self, connections: Connections | None = None) -> None:
        """Let go of it; the connection is kept only if the body was read to its end."""
        self._aborter.watch(None)
        is_read = self._wire.isclosed()
        self._wire.close()
        if is_read and connections is not None:
            connections.give_back(self._connection)
        else:
            self._connection.dispose()
