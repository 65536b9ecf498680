"""What the engine needs from whoever runs it. Implementations live with their owners: the service
keeps the ledger in its database, an agent in a file beside the partial.

All of these are called from the thread that called `fetch`, never from a reader.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class LedgerState:
    """What is known to be durable of a partial.

    `ranges` are half-open (start, end) in bytes, in any order. `restarts` counts the `reset`s since
    the download was asked for: a server that never lets us resume must not be asked for ever.
    """

    file_name: str
    size_bytes: int | None
    etag: str
    last_modified: str
    ranges: tuple[tuple[int, int], ...] = ()
    restarts: int = 0


class Ledger(Protocol):
    """The record of one partial; every call is durable when it returns."""

    def load(self) -> LedgerState | None:
        """The state; None if nothing was ever begun. After a `reset` it still says `restarts`."""

    def begin(self, file_name: str, size_bytes: int | None, etag: str, last_modified: str) -> None:
        """A new file starts; called before its first byte is written. No range is durable."""

    def add_range(self, start: int, end: int) -> None:
        """Bytes `start` to `end` (exclusive) are fsynced. May touch or overlap earlier ranges."""

    def reset(self, reason: str) -> None:
        """Nothing of the partial counts any more: forget ranges and validators, restarts + 1."""

    def rename(self, file_name: str) -> None:
        """The same ranges are now in another file of the same directory."""


class Throttle(Protocol):
    """A budget of bytes per second, shared by whoever shares the object behind it."""

    def take(self, n_bytes: int) -> float:
        """Note bytes that have come; answers for how many seconds none should be read."""
