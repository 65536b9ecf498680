"""One run at a file: from the first answer to the last byte, or to the error that ends it.

The run lives in the thread that called `fetch`; everything that is not a socket, an fsync or a
digest happens there, so that ledgers, callbacks and throttles need no locks.

    open ──► first answer ──► readers fetch pieces ──► hashing and fsync catch up ──► Fetched
               │  begin the ledger, make room           │ error of one reader: again, or fewer
               └─ StartOver ────────────────────────────┴─► the caller starts the next run
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from transfer.board import Board
from transfer.digest import FrontHasher
from transfer.durable import Notary
from transfer.errors import (
    BadAnswer,
    ConnectFailed,
    DiskError,
    Interrupted,
    NoSpace,
    RemoteBusy,
    RemoteChanged,
    RemoteStatus,
    SizeMismatch,
    TooLarge,
    TransferError,
)
from transfer.http import GuardedClient
from transfer.partial import Partial, check_space, new_name
from transfer.plan import FetchLimits, FilePlan
from transfer.protocols import Ledger, Throttle
from transfer.pulse import Patience, Pulse
from transfer.ranges import RangeSet
from transfer.reader import Ended, Opened, Reader, Target
from transfer.remote import Known, Offer, StartOver

PIECE_BYTES = 16 * 1024 * 1024
#: Smaller files come over one connection.
SPLIT_BYTES = 32 * 1024 * 1024
POLL_SECONDS = 0.05
JOIN_SECONDS = 0.5


@dataclass(frozen=True)
class Surroundings:
    """What all runs of one `fetch` share."""

    client: GuardedClient
    directory: Path
    ledger: Ledger
    limits: FetchLimits
    on_progress: Callable[[int, int | None], None]
    should_stop: Callable[[], bool]
    refresh: Callable[[], FilePlan] | None
    throttle: Throttle | None


@dataclass
class Beginning:
    """What is here before the run: the bytes that count, and whose they are (None: nobody's)."""

    durable: RangeSet
    known: Known | None
    partial: Partial | None


class Run:
    """Also the `Workplace` of its readers. After an error, what came is durable and noted."""

    def __init__(
        self, plan: FilePlan, around: Surroundings, beginning: Beginning, *, straight: bool
    ) -> None:
        self.plan = plan
        self.client = around.client
        self.target = Target(plan.url, plan.credential)
        self.events: queue.Queue[Opened | Ended] = queue.Queue()
        self.closing = threading.Event()
        self.single = True
        self.straight = straight
        self.known = beginning.known
        self.offer: Offer | None = None
        self.idle_timeout_s = around.limits.idle_timeout_s
        self._around = around
        self._durable = beginning.durable
        self._partial = beginning.partial
        self._board: Board | None = None
        self._hasher: FrontHasher | None = None
        self._notary: Notary | None = None
        self._readers: set[Reader] = set()
        self._wanted = 1
        self._may_refresh = around.refresh is not None
        self._patience = Patience()
        self._pulse = Pulse(around.limits, around.on_progress, around.should_stop, around.throttle)

    # What readers use besides the plain attributes.

    @property
    def board(self) -> Board:
        if self._board is None:
            raise RuntimeError("Nobody reads before the first answer was accepted.")
        return self._board

    @property
    def partial(self) -> Partial:
        if self._partial is None:
            raise RuntimeError("Nobody writes before the first answer was accepted.")
        return self._partial

    @property
    def limit_bytes(self) -> int:
        return self.plan.exact_bytes or self.plan.max_bytes

    @property
    def expected_bytes(self) -> int | None:
        return self.plan.exact_bytes

    # The run itself.

    def execute(self) -> str:
        """Fetch what is missing; the SHA-256 of the file, whose size `board` knows then.

        Raises StartOver when what is here cannot be continued, else TransferError.
        """
        try:
            self._fetch()
            digest = self._catch_up()
            self._end_threads()
            if self._notary is not None:
                self._notary.settle()
            return digest
        except StartOver:
            raise
        except DiskError:
            self._end_threads()
            self._distrust()
            raise
        except (TransferError, KeyboardInterrupt):
            self._end_threads()
            self._save()
            raise
        finally:
            self._end_threads()
            if self._notary is not None:
                self._notary.close()

    def close(self) -> None:
        """Give the partial's lock back."""
        if self._partial is not None:
            self._partial.close()

    def _fetch(self) -> None:
        size_bytes = self.known.size_bytes if self.known is not None else None
        if size_bytes is not None and self._durable.front >= size_bytes:
            self._furnish(size_bytes)  # A crash after the last byte: nothing to ask for.
        else:
            self._spawn(first=True)
        while self._board is None or not self._board.is_complete:
            self._tick()
            try:
                event = self.events.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(event, Opened):
                self._opened(event)
            else:
                self._ended(event)
        if self.offer is not None and self.offer.file.size_bytes is None:
            self._check_size(self.offer, self._board.size_bytes)

    def _catch_up(self) -> str:
        """Wait for the digest of the last byte."""
        if self._hasher is None or self.board.size_bytes is None:
            raise RuntimeError("A run without an answer has no end.")
        while self._hasher.position < self.board.size_bytes:
            self._tick()
            self.closing.wait(POLL_SECONDS)
        self._pulse.report(self.board.n_done, self.board.size_bytes)
        return self._hasher.hexdigest()

    def _tick(self) -> None:
        self._pulse.stop_if_asked()
        if self._board is None or self._notary is None or self._hasher is None:
            return
        self._hasher.advance(self._board.front)
        if self._hasher.error is not None:
            raise self._hasher.error
        self._notary.tick()
        self._pulse.tick(self._board, self._board.size_bytes or self.plan.size_bytes)
        if time.monotonic() >= self._patience.not_before:
            while len(self._readers) < min(
                self._wanted, len(self._readers) + self._board.n_waiting
            ):
                self._spawn()
            if not self._readers and not self._board.n_waiting and not self._board.is_complete:
                raise RuntimeError("Nobody fetches the rest of a file.")

    def _spawn(self, *, first: bool = False) -> None:
        reader = Reader(self, start=self._durable.front if first else None)
        self._readers.add(reader)
        reader.start()

    def _opened(self, event: Opened) -> None:
        """The first answer: settle what the file is, before its first byte."""
        offer = event.offer
        if self._durable and offer.start == 0 and not offer.has_ranges:
            self._give_up_what_is_here(offer)
        file = offer.file.completed_by(self.known)
        self._check_size(offer, file.size_bytes)
        check_space(self._around.directory, max(0, (file.size_bytes or 0) - self._durable.n_bytes))
        if self.known is None:
            self._begin(offer)
        self.offer, self.known = offer, file
        self.target = replace(self.target, url=offer.url)
        self._furnish(file.size_bytes)
        if file.size_bytes is not None and self.can_continue:
            self._split(file.size_bytes)
        event.reader.go(self.target, self.board.claim_at(offer.start))

    def _give_up_what_is_here(self, offer: Offer) -> None:
        if offer.may_be_page:
            raise BadAnswer(
                "The server sent a web page instead of the file; a token is probably missing.",
                reason="web_page",
            )
        self._around.ledger.reset("no_ranges")
        self._durable = RangeSet()
        self.known = None

    def _check_size(self, offer: Offer, total: int | None) -> None:
        exact = self.plan.exact_bytes
        if total is None:
            return
        # What looks like a page is small, and its bytes tell the caller what went wrong.
        if exact is not None and total != exact and not offer.may_be_page:
            kind = TooLarge if total > exact else SizeMismatch
            raise kind(
                f"The source lists {exact} bytes and the server offers {total}. Look at the "
                "source: the file may have been replaced.",
                expected_bytes=exact,
                actual_bytes=total,
            )
        if total > self.plan.max_bytes:
            raise TooLarge(
                f"The file has {total} bytes, and {self.plan.max_bytes} are allowed.",
                actual_bytes=total,
                max_bytes=self.plan.max_bytes,
            )

    def _begin(self, offer: Offer) -> None:
        """Name and validators go into the ledger before the file exists and holds a byte."""
        file = offer.file
        name = self._partial.name if self._partial is not None else new_name()
        self._around.ledger.begin(name, file.size_bytes, file.etag, file.last_modified)
        if self._partial is None:
            self._partial = Partial.create(self._around.directory, name)
        else:
            self._partial.truncate(0)

    def _furnish(self, size_bytes: int | None) -> None:
        self._board = Board(size_bytes, self._durable, PIECE_BYTES, self.closing)
        self._notary = Notary(self.partial, self._around.ledger, self._board, self._durable)
        self._hasher = FrontHasher(self.partial)
        self._hasher.start()
        self._pulse.restart_window()

    def _split(self, size_bytes: int) -> None:
        missing = size_bytes - self._durable.n_bytes
        if missing >= SPLIT_BYTES:
            self._wanted = max(1, self._around.limits.connections)
        self.single = self._wanted == 1

    @property
    def can_continue(self) -> bool:
        """True if a request from the middle brings bytes of the same file, or a digest will tell
        in the end."""
        return (
            self.offer is not None
            and self.offer.has_ranges
            and self.known is not None
            and (bool(self.known.strong_etag) or self.plan.has_digest)
        )

    def _ended(self, event: Ended) -> None:
        """A reader is gone: another one takes its place, or its error is the run's."""
        self._readers.discard(event.reader)
        error = event.error
        if error is None:
            return
        if isinstance(error, RemoteStatus):
            self._find_again(event.reader.target, error)
        elif isinstance(error, RemoteBusy) and self._readers:
            self._wanted = len(self._readers)
        elif isinstance(error, Interrupted | ConnectFailed) and self._board is not None:
            self._try_again(self._board, error)
        else:
            raise error

    def _try_again(self, board: Board, error: TransferError) -> None:
        where = f"{board.n_done} of {board.size_bytes or 'unknown'} bytes"
        if not self.can_continue:
            raise Interrupted(
                f"Connection lost at {where}, and the server cannot continue a file. "
                "It starts from the beginning next time.",
                reason="no_resume_support",
            ) from error
        if self._patience.is_over(board.came_bytes):
            if not self._readers:
                raise Interrupted(f"Connection lost at {where}.") from error
            self._wanted = len(self._readers)

    def _find_again(self, target: Target, error: RemoteStatus) -> None:
        """A signed address ran out: ask for a new one where the first came from, then at the
        source, once. Raises the error when that is no explanation or no help."""
        if target.generation < self.target.generation:
            return
        if self._board is None and not error.details.get("hops"):
            raise error
        if self.target.url != self.plan.url:
            self.target = Target(self.plan.url, self.plan.credential, target.generation + 1)
        elif self._may_refresh and self._around.refresh is not None:
            self._may_refresh = False
            self._adopt(self._around.refresh())
        else:
            raise error
        if self._board is None:
            self._spawn(first=True)

    def _adopt(self, plan: FilePlan) -> None:
        before, self.plan = self.plan, plan
        if before.sha256 and plan.sha256 and before.sha256.lower() != plan.sha256.lower():
            raise RemoteChanged("The source gives out another file now. Start a new download.")
        now = plan.exact_bytes
        if now is not None and self.known is not None and self.known.size_bytes not in {None, now}:
            raise StartOver("changed")
        self.target = Target(plan.url, plan.credential, self.target.generation + 1)

    def _end_threads(self) -> None:
        """Nobody reads, writes or hashes any more. A thread that hangs in the resolver is left to
        itself: it finds the doors closed."""
        self.closing.set()
        for reader in self._readers:
            reader.abort()
        deadline = time.monotonic() + JOIN_SECONDS
        for reader in self._readers:
            reader.join(max(0.0, deadline - time.monotonic()))
        self._readers.clear()
        if self._hasher is not None:
            self._hasher.stop()
            self._hasher.join(JOIN_SECONDS)

    def _save(self) -> None:
        """Make durable what came before an error."""
        try:
            if self._notary is not None:
                self._notary.settle()
        except NoSpace:
            return  # What was noted earlier stays; the error that is under way says more.
        except DiskError:
            self._distrust()
            raise

    def _distrust(self) -> None:
        """The disk failed: nobody knows what the partial holds."""
        if self._partial is not None:
            self._around.ledger.reset("disk_error")
            self._partial.discard()
