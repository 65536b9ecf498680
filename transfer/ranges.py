"""Byte ranges: sets of them, and what Content-Range says (RFC 9110 14.4).

Ranges are half-open (start, end) everywhere; only the wire counts to the last byte.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_CONTENT_RANGE = re.compile(
    r"\s*bytes\s+(?:(?P<start>\d{1,18})\s*-\s*(?P<last>\d{1,18})|\*)\s*/\s*(?P<total>\d{1,18}|\*)\s*",
    re.ASCII | re.IGNORECASE,
)


class ContentRange(NamedTuple):
    """`start` and `end` are None in the answer to a range that cannot be had (416)."""

    start: int | None
    end: int | None
    total: int | None


def parse_content_range(text: str | None) -> ContentRange | None:
    """What the header says, None when it says nothing usable."""
    match = _CONTENT_RANGE.fullmatch(text or "")
    if match is None:
        return None
    total = None if match["total"] == "*" else int(match["total"])
    if match["start"] is None:
        return ContentRange(None, None, total)
    start, end = int(match["start"]), int(match["last"]) + 1
    if end <= start or (total is not None and end > total):
        return None
    return ContentRange(start, end, total)


class RangeSet:
    """Disjoint ranges in order; those that touch are one."""

    def __init__(self, ranges: Iterable[tuple[int, int]] = ()) -> None:
        self._ranges: list[tuple[int, int]] = []
        for start, end in ranges:
            self.add(start, end)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(self._ranges)

    def __bool__(self) -> bool:
        return bool(self._ranges)

    @property
    def n_bytes(self) -> int:
        return sum(end - start for start, end in self._ranges)

    @property
    def front(self) -> int:
        """How many bytes from the beginning are all there."""
        return self._ranges[0][1] if self._ranges and self._ranges[0][0] == 0 else 0

    @property
    def end(self) -> int:
        return self._ranges[-1][1] if self._ranges else 0

    def add(self, start: int, end: int) -> None:
        if end <= start:
            return
        at = bisect_left(self._ranges, (start, start))
        if at and self._ranges[at - 1][1] >= start:
            at -= 1
            start = self._ranges[at][0]
        stop = at
        while stop < len(self._ranges) and self._ranges[stop][0] <= end:
            end = max(end, self._ranges[stop][1])
            stop += 1
        self._ranges[at:stop] = [(start, end)]

    def missing(self, end: int) -> list[tuple[int, int]]:
        """The gaps between 0 and `end`."""
        gaps, at = [], 0
        for start, stop in self._ranges:
            if start >= end:
                break
            if start > at:
                gaps.append((at, start))
            at = stop
        return [*gaps, (at, end)] if at < end else gaps

    def clipped(self, end: int) -> RangeSet:
        """The part before `end`."""
        return RangeSet((start, min(stop, end)) for start, stop in self._ranges if start < end)

    def without(self, other: RangeSet) -> list[tuple[int, int]]:
        """What is here and not there."""
        return [
            (max(start, low), min(stop, high))
            for start, stop in self._ranges
            for low, high in other.missing(stop)
            if max(start, low) < min(stop, high)
        ]
