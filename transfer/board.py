"""What the threads of one transfer share: which bytes are there and who fetches which."""

from __future__ import annotations

import threading
import time
from bisect import insort

from transfer.ranges import RangeSet

Piece = tuple[int, int | None]


class Board:
    """Pieces are given out in order, so that the digest stays close behind the writers.

    A file of unknown size is one piece without an end.
    """

    def __init__(
        self, size_bytes: int | None, done: RangeSet, piece_bytes: int, closing: threading.Event
    ) -> None:
        self._lock = threading.Lock()
        self._closing = closing
        self.size_bytes = size_bytes
        self.came_bytes = 0  # since the start of this run
        self._hold_until = 0.0
        self._done = RangeSet(done)
        self._finished = RangeSet(done)
        self._n_done = done.n_bytes
        self._todo: list[tuple[int, int | None]] = []
        if size_bytes is None:
            self._todo = [(done.front, None)]
        else:
            for start, end in done.missing(size_bytes):
                self._todo += [
                    (at, min(at + piece_bytes, end)) for at in range(start, end, piece_bytes)
                ]

    def claim(self) -> Piece | None:
        """The first piece that nobody fetches."""
        with self._lock:
            return self._todo.pop(0) if self._todo else None

    def claim_at(self, start: int) -> Piece | None:
        """The piece that begins here, if nobody fetches it."""
        with self._lock:
            for at, piece in enumerate(self._todo):
                if piece[0] == start:
                    return self._todo.pop(at)
            return None

    def give_back(self, start: int, end: int | None) -> None:
        """The rest of a piece that somebody else has to fetch."""
        if end is None or start < end:
            with self._lock:
                insort(self._todo, (start, end), key=lambda piece: piece[0])

    def open_end(self, start: int) -> int | None:
        """Where the pieces that begin at `start` and follow each other end: as far as one answer
        can be used by one reader."""
        with self._lock:
            for at, end in self._todo:
                if at == start and end is not None:
                    start = end
            return start

    def wrote(self, start: int, end: int) -> None:
        """These bytes are in the file, perhaps not yet on the disk."""
        with self._lock:
            self._done.add(start, end)
            self._n_done += end - start
            self.came_bytes += end - start

    def finish(self, start: int, end: int) -> None:
        """A piece is complete."""
        with self._lock:
            self._finished.add(start, end)

    def end_at(self, size_bytes: int) -> None:
        """The body without a length has ended here."""
        with self._lock:
            self.size_bytes = size_bytes

    @property
    def front(self) -> int:
        with self._lock:
            return self._done.front

    @property
    def n_done(self) -> int:
        with self._lock:
            return self._n_done

    @property
    def is_complete(self) -> bool:
        with self._lock:
            return self.size_bytes is not None and self._done.front >= self.size_bytes

    @property
    def n_waiting(self) -> int:
        with self._lock:
            return len(self._todo)

    def done(self) -> RangeSet:
        with self._lock:
            return RangeSet(self._done)

    def finished(self) -> RangeSet:
        with self._lock:
            return RangeSet(self._finished)

    def hold(self, seconds: float) -> None:
        """Nobody reads for so long."""
        self._hold_until = time.monotonic() + seconds

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self._hold_until

    def wait_for_go(self) -> None:
        """Sleep through a hold, or until it is over."""
        while (left := self._hold_until - time.monotonic()) > 0 and not self._closing.wait(left):
            continue
