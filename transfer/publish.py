"""From a verified partial to a name in a models directory: whole, durable, never over another file.

    open every directory below the root without following links, making those that are missing
    fsync the file ──► link it to its name ──► read-only, fsync the directory ──► unlink the partial

A link does not overwrite: whoever is second finds EEXIST and looks at what is there. A crash
between any two steps leaves either the partial or the published file, and doing it again adopts
what it finds. On another file system the bytes are copied beside the name first and read back.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from transfer.digest import file_sha256
from transfer.errors import DiskError, TargetExists, UnsafePath
from transfer.partial import disk_error

__all__ = ["Published", "file_sha256", "open_parent", "publish"]

#: What is published is read by other users and changed by nobody.
FILE_MODE = 0o444
DIRECTORY_MODE = 0o755
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Published:
    path: Path
    size_bytes: int
    mtime_ns: int
    inode: int


def publish(
    partial: Path,
    *,
    root: Path,
    relative_path: str,
    sha256: str,
    replace: bool = False,
    trash: Path | None = None,
) -> Published:
    """Give the verified file at `partial` its name below `root`; the old name is gone afterwards.

    A file that is there already is adopted when it has the digest `sha256` (also when `partial` is
    gone: then an earlier call died after its last step but one). Any other file stays, unless
    `replace` is set: then it gets a second name in `trash`, a directory of the same file system,
    and is swapped in one step.
    Raises TargetExists, UnsafePath, NoSpace, DiskError.
    """
    with _translated(), open_parent(root, relative_path, create=True) as (directory, name):
        source = _open_source(partial)
        if source is None:
            status = _adopt(directory, name, sha256, None)
        else:
            try:
                placing = _Placing(source, partial, directory, name, sha256)
                status = placing.swap(trash) if replace else placing.link()
                placing.protect(status)
                os.fsync(directory)
                placing.check(root, relative_path, status)
                placing.drop_partial()
            finally:
                os.close(source)
    return Published(root / relative_path, status.st_size, status.st_mtime_ns, status.st_ino)


@contextmanager
def open_parent(
    root: Path, relative_path: str, *, create: bool = False
) -> Iterator[tuple[int, str]]:
    """A descriptor of the directory that holds the path, and the last name.

    The root itself may be reached through links; below it every step is one real directory.
    Raises UnsafePath.
    """
    parts = relative_path.split("/")
    if any(part in {"", ".", ".."} or "\0" in part for part in parts):
        raise UnsafePath("This path cannot be used below a models directory.")
    directory = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for part in parts[:-1]:
            step = _step(directory, part, create=create)
            os.close(directory)
            directory = step
        yield directory, parts[-1]
    finally:
        os.close(directory)


def _step(directory: int, part: str, *, create: bool) -> int:
    try:
        return os.open(part, _DIRECTORY, dir_fd=directory)
    except FileNotFoundError:
        if not create:
            raise
    with contextlib.suppress(FileExistsError):  # somebody was faster
        os.mkdir(part, DIRECTORY_MODE, dir_fd=directory)
        os.fsync(directory)
    return os.open(part, _DIRECTORY, dir_fd=directory)


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ELOOP, errno.ENOTDIR, errno.ENAMETOOLONG}:
            raise UnsafePath(
                "A part of this path is a link, a file or too long. Choose another folder."
            ) from error
        raise disk_error(error) from error


def _open_source(partial: Path) -> int | None:
    try:
        descriptor = os.open(partial, _FILE)
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafePath("What should be placed is no file.")
    return descriptor


@dataclass(frozen=True)
class _Placing:
    """One file on its way to one name; `source` and `directory` are descriptors."""

    source: int
    partial: Path
    directory: int
    name: str
    sha256: str

    def link(self) -> os.stat_result:
        """Give the file its name, or adopt what has it."""
        os.fsync(self.source)
        try:
            self._link_as(self.name)
        except FileExistsError:
            return _adopt(self.directory, self.name, self.sha256, self.source)
        return _status(self.directory, self.name)

    def swap(self, trash: Path | None) -> os.stat_result:
        """The old file gets a name in the trash, then the new one takes its place in one step."""
        if trash is None:
            raise RuntimeError("A file is replaced only when the old one has somewhere to go.")
        existing = _look(self.directory, self.name)
        if existing is None:
            return self.link()
        if os.path.samestat(existing, os.fstat(self.source)):
            return existing  # An earlier call got that far.
        if not stat.S_ISREG(existing.st_mode):
            raise TargetExists("Something that is no file has this name already.", name=self.name)
        os.fsync(self.source)
        hidden = _hidden_name()
        self._link_as(hidden)
        try:
            kept = trash / f"{uuid.uuid4().hex}-{self.name}"
            os.link(self.name, kept, src_dir_fd=self.directory, follow_symlinks=False)
            _sync_directory(trash)
            os.rename(hidden, self.name, src_dir_fd=self.directory, dst_dir_fd=self.directory)
        except BaseException:
            os.unlink(hidden, dir_fd=self.directory)
            raise
        return _status(self.directory, self.name)

    def check(self, root: Path, relative_path: str, status: os.stat_result) -> None:
        """The path must lead to the file: a directory may have been exchanged meanwhile."""
        with contextlib.suppress(OSError), open_parent(root, relative_path) as (again, last):
            if os.path.samestat(_status(again, last), status):
                return
        if os.path.samestat(os.fstat(self.source), status):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name, dir_fd=self.directory)
        raise UnsafePath("The folder was exchanged while the file was placed. Retry the download.")

    def drop_partial(self) -> None:
        """Remove the old name, unless it is the new one."""
        parent = os.open(self.partial.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            is_here = os.path.samestat(os.fstat(parent), os.fstat(self.directory))
            if not (is_here and self.partial.name == self.name):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self.partial.name, dir_fd=parent)
        finally:
            os.close(parent)

    def protect(self, status: os.stat_result) -> None:
        """Read-only from now on, and not earlier: a partial that stays one is written again."""
        if os.path.samestat(os.fstat(self.source), status):
            os.fchmod(self.source, FILE_MODE)

    def _link_as(self, name: str) -> None:
        """Raises FileExistsError when the name is taken."""
        try:
            os.link(self.partial, name, dst_dir_fd=self.directory, follow_symlinks=False)
        except OSError as error:
            if error.errno in _NO_LINKS:
                raise DiskError(
                    "This file system has no hard links, so no file can be placed safely. "
                    "Use another one for models."
                ) from error
            if error.errno != errno.EXDEV:
                raise
            self._copy_as(name)
            return
        if not os.path.samestat(_status(self.directory, name), os.fstat(self.source)):
            os.unlink(name, dir_fd=self.directory)
            raise UnsafePath("The file was exchanged while it was placed. Retry the download.")

    def _copy_as(self, name: str) -> None:
        """Across file systems: copy beside the name, read back, compare, link."""
        with _beside(self.directory) as (descriptor, hidden):
            _copy(self.source, descriptor)
            os.fchmod(descriptor, FILE_MODE)
            os.fsync(descriptor)
            if _digest(descriptor) != self.sha256.lower():
                raise DiskError(
                    "The copy of the file differs from it. Ask your admin to look at the disk."
                )
            os.link(
                hidden,
                name,
                src_dir_fd=self.directory,
                dst_dir_fd=self.directory,
                follow_symlinks=False,
            )


def _look(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _status(directory: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=directory, follow_symlinks=False)


def _adopt(directory: int, name: str, sha256: str, source: int | None) -> os.stat_result:
    """What is there counts as published if it holds the same bytes."""
    existing = _look(directory, name)
    if existing is None:
        raise DiskError("The file that should be placed is gone. Retry the download.")
    if not stat.S_ISREG(existing.st_mode):
        raise TargetExists("Something that is no file has this name already.", name=name)
    if source is not None and os.path.samestat(existing, os.fstat(source)):
        return existing
    descriptor = os.open(name, _FILE, dir_fd=directory)
    try:
        if _digest(descriptor) != sha256.lower():
            raise TargetExists("Another file has this name already.", name=name)
        os.fsync(descriptor)
        return os.fstat(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _beside(directory: int) -> Iterator[tuple[int, str]]:
    """A hidden file in the same directory, whose name is gone at the end."""
    hidden = _hidden_name()
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(hidden, flags, 0o600, dir_fd=directory)
    try:
        yield descriptor, hidden
    finally:
        os.close(descriptor)
        os.unlink(hidden, dir_fd=directory)


def _hidden_name() -> str:
    return f".modelyard-{uuid.uuid4().hex}.tmp"


def _copy(source: int, target: int) -> None:
    offset = 0
    while chunk := os.pread(source, _CHUNK_BYTES, offset):
        view = memoryview(chunk)
        while view:
            n_written = os.write(target, view)
            offset += n_written
            view = view[n_written:]


def _digest(descriptor: int) -> str:
    sha256, offset = hashlib.sha256(), 0
    while chunk := os.pread(descriptor, _CHUNK_BYTES, offset):
        sha256.update(chunk)
        offset += len(chunk)
    return sha256.hexdigest()


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
