"""What goes wrong on purpose, and the record of what was asked and sent.

    origin.faults.fail("/api/v1/*", status=503, times=2, retry_after=1)
    origin.faults.drop("/cdn/*", at=100_000)               # once; at a byte of the file
    slow = origin.faults.slow("*.safetensors", 200_000)    # bytes per second and connection
    slow.remove()

`match` is a shell pattern on `/<site><path>` (sites: civitai, huggingface, cdn, direct), on the
path alone, or on the name of the file that is sent. A rule with `times` is used up by the answers
that it changed: one with an offset only by those whose bytes reach the offset.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from fnmatch import fnmatchcase


@dataclass(eq=False)
class Fault:
    """One rule. What is None or False changes nothing; `times` None means always.

    Offsets (`drop_at`, `stall_at`, `flip_at`) are bytes of the file, not of the answer, so a
    resumed request beyond them is not hit again. `drop_after` counts bytes of the answer.
    """

    match: str
    method: str | None = None
    times: int | None = None
    skip: int = 0  # leave that many matching answers alone first
    delay_s: float = 0.0
    status: int | None = None
    retry_after: str | int | None = None
    body: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)  # None takes a header away
    bytes_per_second: int | None = None
    drop_at: int | None = None
    drop_after: int | None = None
    reset: bool = False  # a dropped connection ends with RST instead of FIN
    stall_at: int | None = None
    flip_at: int | None = None
    ignore_range: bool = False
    etag: str | None = None  # "" takes it away, 'W/"x"' is weak
    location: str | None = None
    hits: int = 0
    _owner: Faults | None = field(default=None, repr=False)

    def remove(self) -> None:
        """End this rule; a connection that it stalls goes on."""
        if self._owner is not None:
            self._owner.discard(self)

    @property
    def at_offset(self) -> bool:
        return any(at is not None for at in (self.drop_at, self.stall_at, self.flip_at))

    def use(self) -> bool:
        self.hits += 1
        used = self.hits - self.skip
        return used > 0 and (self.times is None or used <= self.times)

    @property
    def active(self) -> bool:
        return self._owner is not None and self._owner.has(self)


class Faults:
    """The rules that hold now; all methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        fault._owner = self
        with self._lock:
            self._rules.append(fault)
        return fault

    def fail(
        self, match: str, *, status: int = 503, times: int | None = 1,
        retry_after: str | int | None = None, body: bytes | None = None, method: str | None = None,
    ) -> Fault:  # fmt: skip
        """Answer the next `times` requests with `status`."""
        return self.add(
            Fault(
                match, method=method, times=times, status=status, retry_after=retry_after, body=body
            )
        )

    def slow(self, match: str, bytes_per_second: int) -> Fault:
        return self.add(Fault(match, bytes_per_second=bytes_per_second))

    def delay(self, match: str, seconds: float, *, times: int | None = None) -> Fault:
        """Wait before the answer begins."""
        return self.add(Fault(match, delay_s=seconds, times=times))

    def drop(self, match: str, *, at: int, times: int | None = 1, reset: bool = False) -> Fault:
        """Cut the connection when the byte `at` of the file would be sent."""
        return self.add(Fault(match, drop_at=at, times=times, reset=reset, method="GET"))

    def stall(self, match: str, *, at: int = 0, times: int | None = None) -> Fault:
        """Send nothing from byte `at` on, until the rule is removed or the client leaves."""
        return self.add(Fault(match, stall_at=at, times=times, method="GET"))

    def flip(self, match: str, *, at: int, times: int | None = 1) -> Fault:
        """Send one wrong byte: what arrives has another digest."""
        return self.add(Fault(match, flip_at=at, times=times))

    def ignore_range(self, match: str, *, times: int | None = None) -> Fault:
        return self.add(Fault(match, ignore_range=True, times=times))

    def change_etag(self, match: str, etag: str) -> Fault:
        return self.add(Fault(match, etag=etag))

    def discard(self, fault: Fault) -> None:
        with self._lock:
            if fault in self._rules:
                self._rules.remove(fault)

    def has(self, fault: Fault) -> bool:
        with self._lock:
            return fault in self._rules

    def clear(self) -> None:
        with self._lock:
            self._rules.clear()

    def take(self, site: str, method: str, path: str, file_name: str = "") -> list[Fault]:
        """The rules that apply to this answer, counted. Called by the server."""
        with self._lock:
            found = [rule for rule in self._rules if _matches(rule, site, method, path, file_name)]
            return [rule for rule in found if rule.at_offset or rule.use()]

    def bites(self, rule: Fault) -> bool:
        """Whether a rule with an offset still applies, now that its offset is reached."""
        with self._lock:
            return rule in self._rules and rule.use()


def _matches(rule: Fault, site: str, method: str, path: str, file_name: str) -> bool:
    if rule.method is not None and rule.method != method:
        return False
    candidates = (f"/{site}{path}", path, file_name)
    return any(fnmatchcase(candidate, rule.match) for candidate in candidates)


@dataclass(eq=False)
class Entry:
    """One request as it came, and what became of it. Headers are kept whole, in memory only."""

    site: str
    method: str
    path: str
    query: str
    headers: Message
    at: float = field(default_factory=time.monotonic)
    status: int = 0
    file_name: str = ""
    start: int = 0  # first byte of the file that was sent
    bytes_sent: int = 0
    finished: bool = False

    @property
    def authorization(self) -> str:
        return self.headers.get("Authorization", "")

    def __repr__(self) -> str:
        sent = (
            f" {self.file_name} from {self.start}: {self.bytes_sent} bytes"
            if self.file_name
            else ""
        )
        return f"<{self.site} {self.method} {self.path} {self.status}{sent}>"


class Log:
    """Every request to every site, in order of arrival."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        self._sent: Counter[str] = Counter()

    def add(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def count(self, entry: Entry, n_bytes: int) -> None:
        with self._lock:
            entry.bytes_sent += n_bytes
            self._sent[entry.file_name] += n_bytes

    @property
    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def find(
        self, *, site: str | None = None, method: str | None = None, match: str = "*",
        status: int | None = None, file_name: str | None = None,
    ) -> list[Entry]:  # fmt: skip
        """The requests so far; `match` is a shell pattern on the path."""
        return [
            entry
            for entry in self.entries
            if (site is None or entry.site == site)
            and (method is None or entry.method == method)
            and (status is None or entry.status == status)
            and (file_name is None or entry.file_name == file_name)
            and fnmatchcase(entry.path, match)
        ]

    def bytes_sent(self, file_name: str) -> int:
        """Body bytes of that file over all answers; what was sent twice counts twice."""
        with self._lock:
            return self._sent[file_name]

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()
            self._sent.clear()
