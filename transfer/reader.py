"""One connection's thread: asks for a piece, writes what comes to its place, asks for the next.

A reader ends at its first error and gives the rest of its piece back; whether another one takes its
place is decided by the run that started it. Everything that came before the error is kept.
"""

from __future__ import annotations

import queue
import threading
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, Self

from config.errors import ModelyardError, boundary
from transfer.board import Board, Piece
from transfer.errors import Interrupted, StopRequested, TooLarge, TransferError
from transfer.http import Aborter, Answer, Credential, GuardedClient
from transfer.partial import Partial
from transfer.remote import Known, Offer, StartOver, judge

BUFFER_BYTES = 1024 * 1024
#: A write is done at least this often, so that slow lines show progress and lose little.
FLUSH_SECONDS = 0.2
#: An answer that brings less than it was asked for, and less than this, counts as a cut.
MIN_ANSWER_BYTES = 64 * 1024
ACCEPTED = (200, 206, 416)


@dataclass(frozen=True)
class Target:
    """Where the bytes are asked for. `generation` grows when the address is found anew."""

    url: str = field(repr=False)
    credential: Credential | None
    generation: int = 0


class Workplace(Protocol):
    """What a reader needs of the run that started it."""

    client: GuardedClient
    target: Target
    known: Known | None
    events: queue.Queue[Opened | Ended]
    closing: threading.Event
    idle_timeout_s: float
    #: One connection only: one answer may bring all that follows.
    single: bool
    #: Ask without Range: the server's ranges are not to be trusted.
    straight: bool

    #: For a body without a length: what it must not exceed, and what it should be (or None).
    @property
    def limit_bytes(self) -> int: ...
    @property
    def expected_bytes(self) -> int | None: ...
    @property
    def board(self) -> Board: ...
    @property
    def partial(self) -> Partial: ...


@dataclass(frozen=True)
class Opened:
    """The first answer is here; the reader waits for `go` before it reads the body."""

    reader: Reader
    offer: Offer


@dataclass(frozen=True)
class Ended:
    """The reader's last word. `error` is None when there was nothing left to fetch."""

    reader: Reader
    error: ModelyardError | None


class Reader(threading.Thread):
    """`start` is only given to the first reader of a run, whose answer decides everything."""

    def __init__(self, work: Workplace, start: int | None = None) -> None:
        super().__init__(name="transfer-reader", daemon=True)
        self._work = work
        self._start = start
        self._go = threading.Event()
        self._first_piece: Piece | None = None
        self._error: ModelyardError | None = None
        self._cut: TransferError | None = None
        self._view = memoryview(bytearray(0))
        self.aborter = Aborter()
        self.target = work.target

    def go(self, target: Target, piece: Piece | None) -> None:
        """The run is ready for the first byte of this piece; later ones come from `target`."""
        self.target = target
        self._first_piece = piece
        self._go.set()

    def abort(self) -> None:
        """End now, whatever it waits for."""
        self.aborter.abort()
        self._go.set()

    def run(self) -> None:
        with boundary("Reading a download", self._note):
            self._view = memoryview(bytearray(BUFFER_BYTES))
            if self._start is not None:
                self._first(self._start)
            while (piece := self._work.board.claim()) is not None:
                with Held(self._work.board, piece) as held:
                    self._fetch(held)
        self._work.events.put(Ended(self, self._error))

    def _note(self, error: ModelyardError) -> None:
        self._error = error

    def _first(self, start: int) -> None:
        """Ask openly from `start` on; the answer tells size, validators and whether there are
        ranges at all."""
        headers = {} if self._work.straight else self._range(start, None)
        with self._open(headers) as answer:
            offer = judge(answer, start, None, self._work.known)
            self._work.events.put(Opened(self, offer))
            self._go.wait()
            self._check()
            if self._first_piece is not None:
                with Held(self._work.board, self._first_piece) as held:
                    self._body(answer, held, offer)

    def _fetch(self, held: Held) -> None:
        self._check()
        end = held.end
        if self._work.single and end is not None:
            end = self._work.board.open_end(end)
        with self._open(self._range(held.start, end)) as answer:
            offer = judge(answer, held.start, end, self._work.known)
            if offer.start != held.start:
                raise StartOver("no_ranges", without_ranges=True)
            self._body(answer, held, offer)

    def _open(self, headers: dict[str, str]) -> AbstractContextManager[Answer]:
        target = self.target
        return self._work.client.open(
            target.url,
            credential=target.credential,
            headers=headers,
            accept=ACCEPTED,
            aborter=self.aborter,
            idle_timeout_s=self._work.idle_timeout_s,
        )

    def _range(self, start: int, end: int | None) -> dict[str, str]:
        headers = {"Range": f"bytes={start}-{'' if end is None else end - 1}"}
        if self._work.known is not None and self._work.known.strong_etag:
            headers["If-Range"] = self._work.known.strong_etag
        return headers

    def _check(self) -> None:
        if self._work.closing.is_set():
            raise StopRequested("The transfer has ended.")

    def _body(self, answer: Answer, held: Held, offer: Offer) -> None:
        """Write the body, piece after piece as long as nobody else fetches the next one."""
        began = held.start
        while True:
            self._piece(answer, held, offer)
            if not held.is_finished:
                break
            following = self._work.board.claim_at(held.start)
            if following is None:
                return
            held.piece = following
            if offer.end is not None and held.start >= offer.end:
                return
        if held.start - began < MIN_ANSWER_BYTES:
            raise Interrupted(f"{answer.host} gives out less than it was asked for.")

    def _piece(self, answer: Answer, held: Held, offer: Offer) -> None:
        end = held.end if offer.end is None or held.end is None else min(held.end, offer.end)
        while end is None or held.start < end:
            room = BUFFER_BYTES if end is None else min(BUFFER_BYTES, end - held.start)
            n_read = self._fill(answer, room)
            if n_read == 0:
                if held.end is None:
                    self._end_of_body(answer, held)
                return
            if end is None and held.start + n_read > self._work.limit_bytes:
                raise TooLarge(
                    f"{answer.host} sends more than {self._work.limit_bytes} bytes.",
                    max_bytes=self._work.limit_bytes,
                )
            self._work.partial.write(self._view[:n_read], held.start)
            held.advance(n_read)
            if self._cut is not None:
                raise self._cut

    def _fill(self, answer: Answer, room: int) -> int:
        """Bytes in the buffer; 0 at the end of the body. What came before a cut is kept, and the
        cut is raised when it is written."""
        self._work.board.wait_for_go()
        filled, flush_at = 0, 0.0
        while filled < room:
            try:
                n_read = answer.readinto(self._view[filled:room])
            except TransferError as error:
                if not filled:
                    raise
                self._cut = error
                break
            filled += n_read
            now = time.monotonic()
            flush_at = flush_at or now + FLUSH_SECONDS
            if n_read == 0 or now >= flush_at:
                break
        return filled

    def _end_of_body(self, answer: Answer, held: Held) -> None:
        expected = self._work.expected_bytes
        if expected is not None and held.start < expected and not answer.is_length_certain:
            raise Interrupted(
                f"The connection to {answer.host} was lost at {held.start} of {expected} bytes."
            )
        held.end_here()


class Held:
    """A piece while it is fetched; what is left of it at the end is for others."""

    def __init__(self, board: Board, piece: Piece) -> None:
        self._board = board
        self._ended = False
        self._began = self.start = 0
        self.end: int | None = None
        self.piece = piece

    @property
    def piece(self) -> Piece:
        return self.start, self.end

    @piece.setter
    def piece(self, piece: Piece) -> None:
        self.start, self.end = piece
        self._began = self.start

    @property
    def is_finished(self) -> bool:
        return self._ended or self.start == self.end

    def advance(self, n_bytes: int) -> None:
        """These bytes are written."""
        self._board.wrote(self.start, self.start + n_bytes)
        self.start += n_bytes
        if self.start == self.end:
            self._board.finish(self._began, self.start)

    def end_here(self) -> None:
        """The body is over, and so is the file."""
        self._ended = True
        self._board.finish(self._began, self.start)
        self._board.end_at(self.start)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        if not self.is_finished:
            self._board.give_back(self.start, self.end)
