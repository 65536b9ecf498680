"""Unfinished bytes on disk: one file, one writer.

    <directory>/<32 hex digits>.part     mode 0600, never followed through a link

The writer holds `flock` on it. A row's fence cannot stop a worker that is frozen inside a write, so
who does not get the lock copies the durable ranges into a file of its own and leaves the old inode,
unlinked, to whoever still writes there.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from transfer.errors import DiskError, NoSpace, StopRequested, TransferError

#: Left free on the file system, for the database and for everybody else.
RESERVE_BYTES = 64 * 1024 * 1024
_COPY_BYTES = 16 * 1024 * 1024
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC


class PartialBusyError(Exception):
    """Somebody else holds the lock; never leaves `transfer`."""


def disk_error(error: OSError) -> TransferError:
    """NoSpace for a full or limited disk, DiskError for everything else."""
    if error.errno in _FULL:
        return NoSpace("The disk is full. Make room, then retry; nothing that came is lost.")
    name = errno.errorcode.get(error.errno or 0, "unknown")
    return DiskError(f"The disk refuses to work ({name}). Ask your admin to look at it.")


def check_space(directory: Path, needed_bytes: int) -> None:
    """Raise NoSpace, which says how much is missing, unless this many bytes and a reserve fit."""
    free_bytes = free_space(directory)
    missing = needed_bytes + RESERVE_BYTES - free_bytes
    if needed_bytes and missing > 0:
        raise NoSpace(
            f"The file needs {needed_bytes} more bytes and {free_bytes} are free. "
            f"Free {missing} bytes, then retry.",
            needed_bytes=needed_bytes,
            free_bytes=free_bytes,
            missing_bytes=missing,
        )


def free_space(directory: Path) -> int:
    """Bytes that this process may still write on the directory's file system."""
    try:
        found = os.statvfs(directory)
    except OSError as error:
        raise disk_error(error) from error
    return found.f_bavail * found.f_frsize


class Partial:
    """An open partial with its lock. Reads and writes are safe from several threads."""

    def __init__(self, directory: Path, name: str, fd: int) -> None:
        self.name = name
        self.path = directory / name
        self._fd = fd
        self._lock = threading.Lock()
        self._in_use = 0
        self._closed = False

    @classmethod
    def create(cls, directory: Path, name: str) -> Partial:
        """A new, empty file that is ours."""
        try:
            fd = os.open(directory / name, _FLAGS | os.O_CREAT | os.O_EXCL, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise disk_error(error) from error
        _sync_directory(directory)
        return cls(directory, name, fd)

    @classmethod
    def take_over(cls, directory: Path, name: str) -> Partial | None:
        """The file that an earlier attempt left; None when there is none that can be used.

        Raises PartialBusyError when another writer holds it.
        """
        try:
            fd = os.open(directory / name, _FLAGS)
        except OSError as error:
            if error.errno in {errno.ENOENT, errno.ELOOP, errno.EISDIR}:
                return None
            raise disk_error(error) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(fd)
            raise PartialBusyError from error
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            os.close(fd)
            return None
        return cls(directory, name, fd)

    def write(self, view: memoryview, offset: int) -> None:
        """All of it; raises NoSpace, DiskError."""
        with self._used() as fd:
            done = 0
            try:
                while done < len(view):
                    done += os.pwrite(fd, view[done:], offset + done)
            except OSError as error:
                raise disk_error(error) from error

    def read_into(self, view: memoryview, offset: int) -> int:
        """How many bytes came; 0 at the end of the file."""
        with self._used() as fd:
            try:
                return os.preadv(fd, [view], offset)
            except OSError as error:
                raise disk_error(error) from error

    def sync(self) -> None:
        """Everything that was written is on the disk. An error is final: pages that could not be
        written are forgotten by the kernel, and a second fsync would say yes."""
        with self._used() as fd:
            try:
                os.fsync(fd)
            except OSError as error:
                raise disk_error(error) from error

    def truncate(self, size_bytes: int) -> None:
        with self._used() as fd:
            try:
                os.ftruncate(fd, size_bytes)
            except OSError as error:
                raise disk_error(error) from error

    @property
    def size_bytes(self) -> int:
        with self._used() as fd:
            return os.fstat(fd).st_size

    def discard(self) -> None:
        """Remove the name; the file goes with its last descriptor."""
        self.path.unlink(missing_ok=True)

    def copy_from(
        self, source: Path, ranges: Iterable[tuple[int, int]], should_stop: Callable[[], bool]
    ) -> None:
        """Copy ranges of another file to the same places, without a byte through this process
        where the file system can share them; as far as that file goes.

        Raises StopRequested, DiskError, NoSpace.
        """
        with self._used() as fd:
            try:
                from_fd = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError as error:
                raise disk_error(error) from error
            try:
                for start, end in ranges:
                    _copy_range(from_fd, fd, start, end, should_stop)
            except OSError as error:
                raise disk_error(error) from error
            finally:
                os.close(from_fd)

    def close(self) -> None:
        """Give the lock back, as soon as the last call of another thread has returned."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._close_if_idle()

    @contextlib.contextmanager
    def _used(self) -> Iterator[int]:
        with self._lock:
            if self._closed:
                # A late thread must never write into a descriptor that is somebody else's by now.
                raise StopRequested("The transfer has ended.")
            self._in_use += 1
        try:
            yield self._fd
        finally:
            with self._lock:
                self._in_use -= 1
                self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._closed and self._in_use == 0:
            os.close(self._fd)


def new_name() -> str:
    return f"{uuid.uuid4().hex}.part"


def _copy_range(
    from_fd: int, to_fd: int, start: int, end: int, should_stop: Callable[[], bool]
) -> None:
    while start < end:
        if should_stop():
            raise StopRequested("The transfer was asked to stop.")
        n_copied = _copy_some(from_fd, to_fd, start, min(_COPY_BYTES, end - start))
        if n_copied == 0:
            return
        start += n_copied


def _copy_some(from_fd: int, to_fd: int, offset: int, n_bytes: int) -> int:
    copy_file_range = getattr(os, "copy_file_range", None)  # Linux; shares blocks where it can
    if copy_file_range is not None:
        with contextlib.suppress(OSError):
            n_copied: int = copy_file_range(from_fd, to_fd, n_bytes, offset, offset)
            return n_copied
    return os.pwrite(to_fd, os.pread(from_fd, min(n_bytes, 1024 * 1024), offset), offset)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError as error:
        raise disk_error(error) from error
    finally:
        os.close(fd)
