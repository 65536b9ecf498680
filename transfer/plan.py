"""What is asked of `fetch`, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from transfer.http import Credential


@dataclass(frozen=True)
class FilePlan:
    """One file to fetch.

    `size_bytes` with `size_exact` must be what comes; without it, it is only a hint (CivitAI
    publishes sizes in rounded kilobytes) and the server's own size counts. `sha256` and `git_sha1`
    are what the source published, "" when nothing; `fetch` does not compare them, but a file that
    can be checked in the end may be resumed without a strong validator. `max_bytes` is the largest
    file allowed at all.
    """

    url: str = field(repr=False)
    size_bytes: int | None = None
    size_exact: bool = False
    sha256: str = ""
    git_sha1: str = ""
    credential: Credential | None = None
    max_bytes: int = 1 << 44
    declared_name: str = ""

    @property
    def exact_bytes(self) -> int | None:
        """The size that must be met, None when there is none."""
        return self.size_bytes if self.size_exact else None

    @property
    def has_digest(self) -> bool:
        return bool(self.sha256 or self.git_sha1)


@dataclass(frozen=True)
class FetchLimits:
    """Slower than `minimum_bps` (bytes per second) for a whole window is too slow; 0 is never."""

    connections: int = 8
    minimum_bps: int = 1024
    slow_window_s: float = 60
    idle_timeout_s: float = 30


@dataclass(frozen=True)
class Fetched:
    """A complete file, still under its partial name.

    The digests are of the bytes as read back from the file. `size_certain` is False when only the
    end of the connection ended the body and nothing else says how long it should be: then only a
    published digest tells a whole file from a cut one. `head` is the first 64 KiB. `content_type`
    is "" when every byte was here already.
    """

    path: Path
    size_bytes: int
    sha256: str
    git_sha1: str
    suggested_name: str
    content_type: str
    etag: str
    size_certain: bool
    head: bytes = field(repr=False)
