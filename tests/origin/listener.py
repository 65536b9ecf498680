"""One listening site: HTTP/1.1 on a loopback socket, a thread per connection, faults on the way out.

A site answers a `Request` with a `Response`; ranges, conditional requests, pacing and cutting are
done here, the same for all of them. Stopping closes every connection and joins every thread.
"""

from __future__ import annotations

import contextlib
import itertools
import select
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.origin.content import CHUNK_BYTES, Content
from tests.origin.faults import Entry, Fault, Faults, Log

LAST_MODIFIED = "Fri, 07 Jul 2023 10:00:00 GMT"


@dataclass(frozen=True)
class Request:
    method: str
    path: str  # decoded
    raw_path: str
    query_text: str
    headers: Message
    body: bytes = b""

    @property
    def query(self) -> dict[str, list[str]]:
        return parse_qs(self.query_text, keep_blank_values=True)

    def argument(self, name: str) -> str | None:
        values = self.query.get(name)
        return values[-1] if values else None

    @property
    def bearer(self) -> str:
        """The token of the Authorization header, "" when there is none."""
        kind, _, token = self.headers.get("Authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""


@dataclass
class Response:
    """`content` is sent with ranges and validators, `body` as it is."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""
    content: Content | None = None
    etag: str = ""
    ranges: bool = True
    length: bool = True
    last_modified: str = LAST_MODIFIED

    def with_header(self, name: str, value: str | None) -> None:
        self.headers = [pair for pair in self.headers if pair[0].lower() != name.lower()]
        if value is not None:
            self.headers.append((name, value))


class _Cut(Exception):
    """The connection is to end here."""


class Site(ThreadingHTTPServer):
    """One origin: `answer` makes the responses. `url` has no slash at its end."""

    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(
        self,
        name: str,
        answer: Callable[[Request], Response],
        *,
        log: Log,
        faults: Faults,
        port: int = 0,
    ) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.site_name = name
        self.answer = answer
        self.log = log
        self.faults = faults
        self.closing = threading.Event()
        self.problems: list[BaseException] = []
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()
        self._thread = threading.Thread(
            target=self.serve_forever, kwargs={"poll_interval": 0.02}, name=f"origin-{name}"
        )
        self._thread.start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._open_lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._open_lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left is no problem; anything else is one of ours and fails the test."""
        error = sys.exc_info()[1]
        if error is not None and not isinstance(error, OSError):
            self.problems.append(error)

    def drop_connections(self) -> None:
        """End every open connection, as a server that restarts does."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)

    def stop(self) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.drop_connections()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 120
    server: Site

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        request = Request(
            self.command, unquote(parts.path), parts.path, parts.query, self.headers,
            self.rfile.read(length) if length else b"",
        )  # fmt: skip
        entry = Entry(
            self.server.site_name, request.method, request.path, parts.query, self.headers
        )
        self.server.log.add(entry)
        response = self.server.answer(request)
        if response.content is not None:
            entry.file_name = response.content.name
        rules = self.server.faults.take(entry.site, request.method, request.path, entry.file_name)
        try:
            self._send(request, response, rules, entry)
            entry.finished = True
        except (_Cut, ConnectionError):
            self.close_connection = True

    do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = do_GET  # noqa: N815

    # --- Headers ---------------------------------------------------------------------------------
    def _send(self, request: Request, response: Response, rules: list[Fault], entry: Entry) -> None:
        for rule in rules:
            self._wait(rule.delay_s)
            response = _changed(response, rule)
        start, end = 0, len(response.body)
        if response.content is not None:
            start, end = self._select(request, response, rules)
        entry.status, entry.start = response.status, start
        for rule in rules:
            for name, value in rule.headers.items():
                response.with_header(name, value)
            if rule.location is not None:
                response.with_header("Location", rule.location)
        chunked = not response.length and request.method != "HEAD"
        self._send_head(response, end - start, rules, chunked=chunked)
        if request.method != "HEAD" and response.status != 304:
            self._send_body(response, start, end, rules, entry, chunked=chunked)

    def _send_head(
        self, response: Response, length: int, rules: list[Fault], *, chunked: bool
    ) -> None:
        names = {name.lower() for name, _ in response.headers}
        ruled = {name.lower() for rule in rules for name in rule.headers}
        self.send_response_only(response.status)
        if "date" not in names:
            self.send_header("Date", formatdate(usegmt=True))
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif "content-length" in ruled - names:
            self.close_connection = True  # taken away by a rule: the end of the line is the end
        elif "content-length" not in names and response.length and response.status != 304:
            self.send_header("Content-Length", str(length))
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()

    def _select(self, request: Request, response: Response, rules: list[Fault]) -> tuple[int, int]:
        """The range of the file to send; sets status and validators on the response."""
        assert response.content is not None
        size = response.content.size_bytes
        etag = next((rule.etag for rule in rules if rule.etag is not None), response.etag)
        if etag:
            response.with_header("ETag", etag)
        if response.last_modified:
            response.with_header("Last-Modified", response.last_modified)
        if response.ranges:
            response.with_header("Accept-Ranges", "bytes")
        allowed = response.ranges and not any(rule.ignore_range for rule in rules)
        asked = request.headers.get("Range", "")
        if response.status != 200 or not asked or not allowed:
            return 0, size
        condition = request.headers.get("If-Range")
        if condition is not None and not _holds(condition, etag, response.last_modified):
            return 0, size
        span = parse_range(asked, size)
        if span is None:
            return 0, size
        if span == (0, 0):
            response.status, response.content = 416, None
            response.with_header("Content-Range", f"bytes */{size}")
            response.with_header("Content-Disposition", None)
            return 0, 0
        start, end = span
        response.status = 206
        response.with_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        return start, end

    # --- Body ------------------------------------------------------------------------------------
    def _send_body(
        self,
        response: Response,
        start: int,
        end: int,
        rules: list[Fault],
        entry: Entry,
        *,
        chunked: bool,
    ) -> None:
        position, began = start, time.monotonic()
        speed = min((rule.bytes_per_second for rule in rules if rule.bytes_per_second), default=0)
        for piece in self._pieces(response, start, end, speed, rules):
            data = piece
            for rule in rules:
                data = self._disturbed(rule, data, position, start)
            if chunked:
                self.wfile.write(b"%x\r\n" % len(data))
            self.wfile.write(data)
            if chunked:
                self.wfile.write(b"\r\n")
            self.server.log.count(entry, len(data))
            position += len(data)
            if speed:
                self._wait(began + (position - start) / speed - time.monotonic())
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _pieces(
        self, response: Response, start: int, end: int, speed: int, rules: list[Fault]
    ) -> Iterator[memoryview]:
        """The body in pieces none of which crosses an offset where a rule acts."""
        marks = {start + rule.drop_after for rule in rules if rule.drop_after is not None}
        for rule in rules:
            marks |= {at for at in (rule.drop_at, rule.stall_at, rule.flip_at) if at is not None}
        step = min(CHUNK_BYTES, max(1, speed // 20)) if speed else CHUNK_BYTES
        edges = [start, *sorted(mark for mark in marks if start < mark < end), end]
        body = memoryview(response.body)
        for first, last in itertools.pairwise(edges):
            source: Iterable[bytes | memoryview] = (
                response.content.chunks(first, last)
                if response.content is not None
                else [body[first:last]]
            )
            for chunk in source:
                view = memoryview(chunk)
                yield from (view[offset : offset + step] for offset in range(0, len(view), step))

    def _disturbed(self, rule: Fault, data: memoryview, at: int, start: int) -> memoryview:
        """The piece that begins at `at`, as the rule lets it through; a cut raises."""
        if rule.flip_at == at and self.server.faults.bites(rule):
            changed = bytearray(data)
            changed[0] ^= 0xFF
            data = memoryview(changed)
        if rule.stall_at == at and self.server.faults.bites(rule):
            self._stall(rule)
        if rule.drop_at == at and self.server.faults.bites(rule):
            self._cut(reset=rule.reset)
        if rule.drop_after is not None and at - start >= rule.drop_after:
            self._cut(reset=rule.reset)
        return data

    def _wait(self, seconds: float) -> None:
        if seconds > 0 and self.server.closing.wait(seconds):
            raise _Cut

    def _stall(self, rule: Fault) -> None:
        """Hold still until the rule is removed, the client leaves or the origin stops."""
        while rule.active and not self.server.closing.is_set():
            readable, _, _ = select.select([self.connection], [], [], 0.05)
            if readable:
                raise _Cut
        if self.server.closing.is_set():
            raise _Cut

    def _cut(self, *, reset: bool) -> None:
        if reset:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Cut


def _changed(response: Response, rule: Fault) -> Response:
    if rule.status is None and rule.body is None:
        return response
    status = rule.status if rule.status is not None else response.status
    body = rule.body if rule.body is not None else _phrase(status)
    headers = [("Content-Type", "text/plain; charset=utf-8")]
    if rule.retry_after is not None:
        headers.append(("Retry-After", str(rule.retry_after)))
    return Response(status, headers, body)


def _phrase(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b"Error"


def _holds(condition: str, etag: str, last_modified: str) -> bool:
    """RFC 9110 13.1.5: If-Range compares strongly, so a weak validator never holds."""
    if condition.startswith(('"', "W/")):
        return condition == etag and not etag.startswith("W/")
    return condition == last_modified


def parse_range(text: str, size: int) -> tuple[int, int] | None:
    """`[start, end)` of a single byte range; (0, 0) when none can be sent, None when not understood."""
    unit, _, spec = text.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or "," in spec:
        return None
    try:
        if not first:
            start, end = max(0, size - int(last)), size
        else:
            start, end = int(first), min(size, int(last) + 1) if last else size
    except ValueError:
        return None
    return (start, end) if start < end else (0, 0)
