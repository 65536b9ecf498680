"""Bytes that are known by name, not kept: a file is a list of parts, made up when they are read."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

MIB = 1024 * 1024
CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Noise:
    """`size_bytes` of noise that follow from `seed`; no two mebibytes of it are equal."""

    seed: str
    size_bytes: int

    @cached_property
    def _block(self) -> bytes:
        return hashlib.shake_256(self.seed.encode()).digest(MIB)

    def read(self, start: int, end: int) -> Iterator[bytes | memoryview]:
        block = memoryview(self._block)
        while start < end:
            number, offset = divmod(start, MIB)
            stop = min(MIB, offset + end - start, offset + CHUNK_BYTES)
            if offset < 16:
                # Each mebibyte opens with its number, so that a misplaced one is seen.
                stamp = number.to_bytes(16, "big")
                yield (stamp + bytes(block[16:stop]))[offset:stop]
            else:
                yield block[offset:stop]
            start += stop - offset


@dataclass(frozen=True)
class Literal:
    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    def read(self, start: int, end: int) -> Iterator[bytes | memoryview]:
        view = memoryview(self.data)
        for offset in range(start, end, CHUNK_BYTES):
            yield view[offset : min(end, offset + CHUNK_BYTES)]


@dataclass(frozen=True)
class Content:
    """One file: any range of it and every digest that a source may publish, without keeping it."""

    name: str
    parts: tuple[Literal | Noise, ...]
    content_type: str = "application/octet-stream"
    #: Where the tensors of a safetensors file start; 0 for other files.
    data_start: int = field(default=0, compare=False)

    @cached_property
    def size_bytes(self) -> int:
        return sum(part.size_bytes for part in self.parts)

    def chunks(self, start: int = 0, end: int | None = None) -> Iterator[bytes | memoryview]:
        """The bytes `[start, end)` in pieces of at most 256 KiB."""
        end = self.size_bytes if end is None else min(end, self.size_bytes)
        base = 0
        for part in self.parts:
            first, last = max(start - base, 0), min(end - base, part.size_bytes)
            if first < last:
                yield from part.read(first, last)
            base += part.size_bytes

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        return b"".join(self.chunks(start, end))

    def _digest(self, name: str, start: int = 0, end: int | None = None, head: bytes = b"") -> str:
        digest = hashlib.new(name, head, usedforsecurity=False)
        for chunk in self.chunks(start, end):
            digest.update(chunk)
        return digest.hexdigest()

    @cached_property
    def sha256(self) -> str:
        return self._digest("sha256")

    @cached_property
    def git_sha1(self) -> str:
        r"""The git blob id of the content: SHA-1 over `blob <size>\0<content>`."""
        return self._digest("sha1", head=b"blob %d\0" % self.size_bytes)

    @cached_property
    def lfs_pointer(self) -> bytes:
        return (
            "version https://git-lfs.github.com/spec/v1\n"
            f"oid sha256:{self.sha256}\nsize {self.size_bytes}\n"
        ).encode()

    @cached_property
    def pointer_sha1(self) -> str:
        """The git blob id that a repository shows for an LFS file."""
        pointer = self.lfs_pointer
        blob = b"blob %d\0" % len(pointer) + pointer
        return hashlib.sha1(blob, usedforsecurity=False).hexdigest()

    @cached_property
    def xet_hash(self) -> str:
        """64 hex digits that are not a SHA-256 of the content; only their shape is right."""
        return hashlib.blake2b(self.sha256.encode(), digest_size=32).hexdigest()

    @cached_property
    def autov1(self) -> str:
        return self._digest("sha256", MIB, MIB + 65536)[:8]

    @cached_property
    def autov3(self) -> str:
        """SHA-256 over the tensors alone; of a file without a header, over all of it."""
        return self._digest("sha256", self.data_start)

    @cached_property
    def crc32(self) -> str:
        value = 0
        for chunk in self.chunks():
            value = zlib.crc32(chunk, value)
        return f"{value:08x}"


def literal(name: str, data: bytes, content_type: str = "application/octet-stream") -> Content:
    return Content(name, (Literal(data),), content_type)
