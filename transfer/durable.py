"""From written to durable: fsync in a thread of its own, then the ledger, from the run's thread.

A range goes into the ledger only after an fsync that began after its last byte was written.
"""

from __future__ import annotations

import queue
import threading
import time

from config.errors import ModelyardError, boundary
from transfer.board import Board
from transfer.partial import Partial
from transfer.protocols import Ledger
from transfer.ranges import RangeSet

#: Noted as soon as so many bytes of whole pieces are written, or after so many seconds.
NOTE_BYTES = 16 * 1024 * 1024
NOTE_SECONDS = 5.0
#: Between two fsyncs of one file, whatever the speed.
PAUSE_SECONDS = 0.25
JOIN_SECONDS = 0.5


class Notary:
    """Brings what the board calls written into the ledger. Only `_sync` runs in its thread."""

    def __init__(self, partial: Partial, ledger: Ledger, board: Board, durable: RangeSet) -> None:
        self._partial = partial
        self._ledger = ledger
        self._board = board
        self._durable = RangeSet(durable)
        self._last = time.monotonic()
        self._asked: queue.Queue[RangeSet | None] = queue.Queue()
        self._synced: queue.Queue[RangeSet | ModelyardError] = queue.Queue()
        self._is_busy = False
        self._is_broken = False
        self._thread = threading.Thread(target=self._sync, name="transfer-fsync", daemon=True)
        self._thread.start()

    def tick(self) -> None:
        """Note what became durable, and ask for more when it is time. Raises what fsync raised."""
        self._collect(wait_s=None)
        waited = time.monotonic() - self._last
        if self._is_busy or waited < PAUSE_SECONDS:
            return
        is_due = waited >= NOTE_SECONDS
        written = self._board.done() if is_due else self._board.finished()
        n_new = sum(end - start for start, end in written.without(self._durable))
        if n_new >= NOTE_BYTES or (is_due and n_new):
            self._is_busy = True
            self._asked.put(written)

    def settle(self) -> None:
        """Make everything that is written durable and note it. Call it when nobody writes.

        After an fsync that failed it does nothing: the next one would say yes without having
        written a page.
        """
        while self._is_busy:
            self._collect(wait_s=1.0)
        written = self._board.done()
        if not self._is_broken and written.without(self._durable):
            self._is_broken = True
            self._partial.sync()
            self._is_broken = False
            self._note(written)

    def close(self) -> None:
        """End the thread; one that hangs in an fsync is not waited for."""
        self._asked.put(None)
        self._thread.join(JOIN_SECONDS)

    def _collect(self, wait_s: float | None) -> None:
        try:
            result = self._synced.get(block=wait_s is not None, timeout=wait_s)
        except queue.Empty:
            return
        self._is_busy = False
        if isinstance(result, ModelyardError):
            self._is_broken = True
            raise result
        self._note(result)

    def _note(self, written: RangeSet) -> None:
        for start, end in written.without(self._durable):
            self._ledger.add_range(start, end)
            self._durable.add(start, end)
        self._last = time.monotonic()

    def _sync(self) -> None:
        while (written := self._asked.get()) is not None:
            with boundary("Syncing a partial", self._synced.put):
                self._partial.sync()
                self._synced.put(written)
