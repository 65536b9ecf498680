"""Digests of files: while they grow, and of those that are here."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from config.errors import ModelyardError, boundary
from transfer.errors import DiskError, StopRequested
from transfer.partial import Partial, disk_error

CHUNK_BYTES = 1024 * 1024


class FrontHasher(threading.Thread):
    """SHA-256 of a growing file, following the part that is complete from the beginning.

    It reads back what was written, so the digest is of the file and not of what the network
    brought; that close behind the writers the pages are still in memory. After a restart it reads
    the durable prefix the same way.
    """

    def __init__(self, partial: Partial) -> None:
        super().__init__(name="transfer-hasher", daemon=True)
        self._partial = partial
        self._sha256 = hashlib.sha256()
        self._changed = threading.Condition()
        self._front = 0
        self._stopped = False
        self.position = 0
        self.error: ModelyardError | None = None

    def advance(self, front: int) -> None:
        """Everything before `front` may be read."""
        with self._changed:
            self._front = max(self._front, front)
            self._changed.notify()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def hexdigest(self) -> str:
        """Of the first `position` bytes."""
        return self._sha256.hexdigest()

    def run(self) -> None:
        with boundary("Hashing a partial", self._fail), memoryview(bytearray(CHUNK_BYTES)) as view:
            while (room := self._wait()) > 0:
                n_read = self._partial.read_into(view[: min(room, CHUNK_BYTES)], self.position)
                if n_read == 0:
                    raise DiskError("The partial file became shorter while it was written.")
                self._sha256.update(view[:n_read])
                self.position += n_read

    def _wait(self) -> int:
        """How many bytes may be read now; 0 when it is over."""
        with self._changed:
            while not self._stopped and self._front <= self.position:
                self._changed.wait()
            return 0 if self._stopped else self._front - self.position

    def _fail(self, error: ModelyardError) -> None:
        self.error = error


def file_sha256(
    path: Path,
    on_progress: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
) -> str:
    """SHA-256 of a file that is no link. `on_progress` gets the bytes read so far.

    Raises StopRequested, DiskError.
    """
    sha256 = hashlib.sha256()
    _read_through(path, sha256.update, on_progress, should_stop)
    return sha256.hexdigest()


def git_blob_sha1(path: Path, should_stop: Callable[[], bool] | None = None) -> str:
    """What git names the file's content: SHA-1 of "blob", its size, a NUL and the content.

    Only files outside of LFS, a few megabytes at most, are published with it, so a second reading
    costs nothing. Raises StopRequested, DiskError.
    """
    try:
        size_bytes = path.stat(follow_symlinks=False).st_size
    except OSError as error:
        raise disk_error(error) from error
    sha1 = hashlib.sha1(b"blob %d\0" % size_bytes, usedforsecurity=False)
    _read_through(path, sha1.update, None, should_stop)
    return sha1.hexdigest()


def _read_through(
    path: Path,
    update: Callable[[memoryview], None],
    on_progress: Callable[[int], None] | None,
    should_stop: Callable[[], bool] | None,
) -> None:
    total = 0
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with open(fd, "rb", buffering=0) as file, memoryview(bytearray(CHUNK_BYTES)) as view:  # noqa: PTH123 - a descriptor
            while n_read := file.readinto(view):
                if should_stop is not None and should_stop():
                    raise StopRequested("Hashing was asked to stop.")
                update(view[:n_read])
                total += n_read
                if on_progress is not None:
                    on_progress(total)
    except OSError as error:
        raise disk_error(error) from error
