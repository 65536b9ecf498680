"""From a plan to a complete file with its digest, however often the line is cut.

    load the ledger ──► take the partial over ──► run ──► Fetched
                          │ busy: copy it          └─► StartOver: reset, run from the first byte

What is on the disk and in the ledger is enough to go on after a stop, a crash or a kill -9. The
file is never spliced from two: bytes are continued only for a strong validator, or when a digest
will tell in the end. A server that made us start over three times is asked for the whole file in
one go, without ranges; that one go may still finish.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from transfer.digest import git_blob_sha1
from transfer.http import GuardedClient
from transfer.names import name_from_headers, safe_name
from transfer.partial import Partial, PartialBusyError, new_name
from transfer.plan import Fetched, FetchLimits, FilePlan
from transfer.protocols import Ledger, LedgerState, Throttle
from transfer.ranges import RangeSet
from transfer.remote import Known, StartOver
from transfer.run import Beginning, Run, Surroundings

__all__ = ["FetchLimits", "Fetched", "FilePlan", "fetch"]

MAX_RESTARTS = 3
HEAD_BYTES = 64 * 1024


def fetch(
    plan: FilePlan,
    *,
    client: GuardedClient,
    directory: Path,
    ledger: Ledger,
    limits: FetchLimits,
    on_progress: Callable[[int, int | None], None],
    should_stop: Callable[[], bool],
    refresh: Callable[[], FilePlan] | None = None,
    throttle: Throttle | None = None,
) -> Fetched:
    """Bring what `ledger` still lacks into a partial in `directory`.

    `on_progress` gets (bytes on disk, size or None) at most ten times a second; `should_stop` is
    asked five times a second, also while nothing comes, and its yes ends the transfer within a
    second. `refresh` is asked at most once per start for a plan with a new address, when a signed
    one has run out. All callbacks, the ledger and the throttle are used from this thread only; what
    they raise goes through.

    Memory stays below 16 MiB for 8 connections, whatever the size. After any TransferError what
    came is durable and noted; only after a DiskError the partial is gone, because nobody knows
    what it holds.

    Raises StopRequested; Interrupted, ConnectFailed, TooSlow, RemoteBusy, BadAnswer, RemoteChanged
    (retryable); AuthRequired, RemoteGone, RemoteRefused, RedirectRefused, UrlNotAllowed, TlsFailed,
    TooLarge, NoSpace, DiskError. A digest that differs from the plan's is not raised.
    """
    around = Surroundings(
        client, directory, ledger, limits, on_progress, should_stop, refresh, throttle
    )
    client.check_url(plan.url)
    without_ranges, starts = False, 0
    while True:
        starts += 1
        state = ledger.load()
        straight = without_ranges or (state is not None and state.restarts >= MAX_RESTARTS)
        run = Run(plan, around, _begin(plan, around, state, straight=straight), straight=straight)
        try:
            sha256 = run.execute()
            return _fetched(run, sha256, should_stop)
        except StartOver as error:
            ledger.reset(error.reason)
            plan, without_ranges = run.plan, error.without_ranges
            if straight or starts > MAX_RESTARTS + 1:
                raise
        finally:
            run.close()


def _begin(
    plan: FilePlan, around: Surroundings, state: LedgerState | None, *, straight: bool
) -> Beginning:
    """Find out what of an earlier attempt may be used, and get hold of its file."""
    if state is None:
        return Beginning(RangeSet(), None, None)
    known = Known(state.size_bytes, state.etag, state.last_modified)
    ranges = RangeSet(state.ranges)
    if ranges and not straight:
        refusal = _refusal(plan, known)
        if refusal:
            around.ledger.reset(refusal)
            ranges = RangeSet()
    if not ranges or straight:
        return Beginning(RangeSet(), None, _emptied(around.directory, state.file_name))
    return _resume(around, state, known, ranges)


def _refusal(plan: FilePlan, known: Known) -> str:
    """Why bytes of this file must not be continued; "" when they may."""
    if not known.strong_etag and not plan.has_digest:
        return "no_validator"
    if known.size_bytes is not None and plan.exact_bytes not in {None, known.size_bytes}:
        return "changed"
    return ""


def _emptied(directory: Path, name: str) -> Partial | None:
    """The earlier file to be written anew; None, and the name gone, when it cannot be had."""
    try:
        partial = Partial.take_over(directory, name) if name else None
    except PartialBusyError:
        partial = None
    if partial is None and name:
        # A frozen writer keeps the inode that it holds; nobody will publish it.
        (directory / name).unlink(missing_ok=True)
    return partial


def _resume(around: Surroundings, state: LedgerState, known: Known, ranges: RangeSet) -> Beginning:
    try:
        partial = Partial.take_over(around.directory, state.file_name)
    except PartialBusyError:
        return _copy(around, state, known, ranges)
    if partial is None:
        around.ledger.reset("partial_missing")
        return Beginning(RangeSet(), None, None)
    return _checked(around, known, ranges, partial)


def _checked(around: Surroundings, known: Known, ranges: RangeSet, partial: Partial) -> Beginning:
    """Trust no more than the file holds: it may have been cut while nobody looked."""
    kept = ranges.clipped(partial.size_bytes)
    if kept.n_bytes == ranges.n_bytes:
        return Beginning(ranges, known, partial)
    try:
        around.ledger.reset("partial_cut")
        if not kept:
            return Beginning(kept, None, partial)
        around.ledger.begin(partial.name, known.size_bytes, known.etag, known.last_modified)
        for start, end in kept:
            around.ledger.add_range(start, end)
    except BaseException:
        partial.close()
        raise
    return Beginning(kept, known, partial)


def _copy(around: Surroundings, state: LedgerState, known: Known, ranges: RangeSet) -> Beginning:
    """Somebody still holds the file: go on in a new one with the durable ranges."""
    old = around.directory / state.file_name
    partial = Partial.create(around.directory, new_name())
    try:
        partial.copy_from(old, ranges, around.should_stop)
        partial.sync()
        around.ledger.rename(partial.name)
    except BaseException:
        partial.discard()
        partial.close()
        raise
    old.unlink(missing_ok=True)
    return _checked(around, known, ranges, partial)


def _fetched(run: Run, sha256: str, should_stop: Callable[[], bool]) -> Fetched:
    plan, offer, size_bytes = run.plan, run.offer, run.board.size_bytes
    if size_bytes is None:
        raise RuntimeError("A complete file has a size.")
    run.partial.truncate(size_bytes)  # It may have grown while nobody looked.
    is_certain = (
        offer is None
        or offer.is_end_certain
        or plan.exact_bytes == size_bytes
        or plan.sha256.lower() == sha256
    )
    head = memoryview(bytearray(min(HEAD_BYTES, size_bytes)))
    n_head = run.partial.read_into(head, 0) if size_bytes else 0
    fallback = safe_name(plan.declared_name)
    return Fetched(
        path=run.partial.path,
        size_bytes=size_bytes,
        sha256=sha256,
        git_sha1=git_blob_sha1(run.partial.path, should_stop) if plan.git_sha1 else "",
        suggested_name=name_from_headers(offer.disposition if offer else "", plan.url, fallback),
        content_type=offer.content_type if offer else "",
        etag=run.known.etag if run.known else "",
        size_certain=is_certain,
        head=bytes(head[:n_head]),
    )
