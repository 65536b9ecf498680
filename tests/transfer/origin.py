"""A scripted HTTP origin on a raw loopback socket: it lies, stalls and drops the line as it is told.

origin.serve("/x", ServedFile(content))      a file with Range, ETag and If-Range, whose
                                             attributes say how it misbehaves
origin.on("/y", lambda req, out: out.answer(200, {}, b"..."))
origin.once("/x", handler)                   the next request only; several queue up
"""

from __future__ import annotations

import collections
import contextlib
import re
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

Handler = Callable[["Request", "Out"], None]
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class HangUp(Exception):
    """The handler has ended the connection."""


@dataclass
class Request:
    method: str
    target: str
    headers: dict[str, str]
    lines: list[str]

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def range(self) -> tuple[int, int | None] | None:
        match = _RANGE.fullmatch(self.headers.get("range", ""))
        return (int(match[1]), int(match[2]) if match[2] else None) if match else None


class Out:
    """The writing end of one connection."""

    def __init__(self, sock: socket.socket, stopped: threading.Event) -> None:
        self._sock = sock
        self._stopped = stopped

    def raw(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError:
            raise HangUp from None

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in headers.items())]
        self.raw("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def answer(self, status: int, headers: Mapping[str, str], body: bytes = b"") -> None:
        self.head(status, {"Content-Length": str(len(body)), **headers})
        self.raw(body)

    def close(self) -> None:
        raise HangUp

    def reset(self) -> None:
        """RST instead of FIN."""
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise HangUp

    def stall(self) -> None:
        """Say nothing more until the client hangs up or the origin stops."""
        self._sock.settimeout(0.05)
        while not self._stopped.is_set():
            try:
                if not self._sock.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        raise HangUp

    def trickle(self, data: bytes, every_s: float, chunk: int = 1) -> None:
        for at in range(0, len(data), chunk):
            if self._stopped.wait(every_s):
                raise HangUp
            self.raw(data[at : at + chunk])


@dataclass
class ServedFile:
    """A file and the manners of the server that gives it out."""

    content: bytes
    etag: str = '"v1"'
    last_modified: str = "Mon, 02 Nov 2026 10:00:00 GMT"
    ranges: bool = True
    if_range: bool = True  # False: honours Range although the validator differs
    extra: dict[str, str] = field(default_factory=dict)
    with_length: bool = True
    #: After how many body bytes each next answer is cut (None: not at all).
    cuts: collections.deque[int | None] = field(default_factory=collections.deque)
    #: Chunk size and seconds between chunks.
    pace: tuple[int, float] | None = None
    sent: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, request: Request, out: Out) -> None:
        start, end, status = 0, len(self.content), 200
        asked = request.range if self.ranges else None
        condition = request.headers.get("if-range")
        if asked and (condition is None or condition == self.etag or not self.if_range):
            start, last = asked
            if start >= len(self.content):
                out.answer(416, {"Content-Range": f"bytes */{len(self.content)}"}, b"no such range")
                return
            end = min(len(self.content), last + 1 if last is not None else end)
            status = 206
        out.head(status, self._headers(status, start, end))
        self._body(out, memoryview(self.content)[start:end])
        if not self.with_length:
            out.close()

    def _headers(self, status: int, start: int, end: int) -> dict[str, str]:
        headers = {"Content-Type": "application/octet-stream"}
        if self.etag:
            headers["ETag"] = self.etag
        if self.last_modified:
            headers["Last-Modified"] = self.last_modified
        if self.with_length:
            headers["Content-Length"] = str(end - start)
        else:
            headers["Connection"] = "close"
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(self.content)}"
        return headers | self.extra

    def _body(self, out: Out, body: memoryview) -> None:
        with self.lock:
            cut = self.cuts.popleft() if self.cuts else None
        chunk, every_s = self.pace or (65536, 0.0)
        limit = len(body) if cut is None else min(cut, len(body))
        for at in range(0, limit, chunk):
            piece = bytes(body[at : min(at + chunk, limit)])
            if every_s:
                out.trickle(piece, every_s, len(piece))
            else:
                out.raw(piece)
            with self.lock:
                self.sent += len(piece)
        if cut is not None and cut < len(body):
            out.close()


class Origin:
    """Listens until it is closed; every request that came is in `requests`."""

    def __init__(self, host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self._listener.settimeout(0.05)
        # What `sendall` took counts as sent, so the kernel must not take much.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        self._tls = tls
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self.requests: list[Request] = []
        self.connections = 0
        self._routes: dict[str, Handler] = {}
        self._once: dict[str, collections.deque[Handler]] = {}
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    @property
    def pair(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, path: str, host: str = "") -> str:
        return f"{'https' if self._tls else 'http'}://{host or self.pair.rpartition(':')[0]}:{self.port}{path}"

    def on(self, path: str, handler: Handler) -> None:
        self._routes[path] = handler

    def serve(self, path: str, served: ServedFile) -> ServedFile:
        self._routes[path] = served
        return served

    def once(self, path: str, *handlers: Handler) -> None:
        self._once.setdefault(path, collections.deque()).extend(handlers)

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path]

    def close(self) -> None:
        self._stopped.set()
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _start(self, target: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                sock, _peer = self._listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            self._start(self._talk, sock)

    def _talk(self, plain: socket.socket) -> None:
        sock = plain
        with contextlib.suppress(OSError, HangUp):
            sock.settimeout(10)
            if self._tls:
                sock = self._tls.wrap_socket(plain, server_side=True)
            while (request := self._read(sock)) is not None:
                self.requests.append(request)
                queue = self._once.get(request.path)
                handler = queue.popleft() if queue else self._routes.get(request.path)
                out = Out(sock, self._stopped)
                if handler is None:
                    out.answer(404, {}, b'{"error": "no such page"}')
                else:
                    handler(request, out)
        sock.close()
        plain.close()

    def _read(self, sock: socket.socket) -> Request | None:
        data = b""
        sock.settimeout(0.05)
        while b"\r\n\r\n" not in data:
            try:
                more = sock.recv(65536)
            except TimeoutError:
                if self._stopped.is_set():
                    return None
                continue
            if not more:
                return None
            data += more
        sock.settimeout(10)
        first, *lines = data.decode("latin-1").split("\r\n")
        method, target, _version = first.split(" ", 2)
        lines = [line for line in lines if line]
        headers = {line.partition(":")[0].lower(): line.partition(":")[2].strip() for line in lines}
        return Request(method, target, headers, lines)


@contextmanager
def running(host: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> Iterator[Origin]:
    origin = Origin(host, tls)
    try:
        yield origin
    finally:
        origin.close()


def redirect(location: str, status: int = 302, body: bytes = b"moved") -> Handler:
    return lambda request, out: out.answer(status, {"Location": location}, body)


def answer(status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Handler:
    return lambda request, out: out.answer(status, headers or {}, body)
