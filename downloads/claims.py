"""Who runs a stage: the claim on a row, its lease, and the thread that keeps it.

A claim is one UPDATE that sets an owner of its own (`host:pid:random`) where there is none. The
lease is counted by the database's clock and renewed every quarter of its length. Pause and cancel
change the row at once; the thread reads it every 0.4 s, so a stage lets go within a second.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.conf import settings
from django.db import Error as DatabaseError
from django.db import connection
from django.db.models.functions import Now

from downloads import shutdown
from downloads.models import Download
from downloads.states import DownloadStatus
from downloads.transitions import Claim, lost_claim

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.4


class Stop(StrEnum):
    """Why a running stage shall stop."""

    SHUTDOWN = "shutdown"  # this process ends
    COMMAND = "command"  # somebody paused, cancelled or changed the row
    LOST = "lost"  # the lease could not be renewed, or another worker has the row
    ASKED = "asked"  # whoever runs it inline


def new_owner() -> str:
    return f"{socket.gethostname()[:60]}:{os.getpid()}:{secrets.token_hex(6)}"


def lease() -> Any:
    """The moment at which a lease taken now runs out, by the database's clock."""
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


def pickup() -> Any:
    """Until when a worker should have picked up what is sent now."""
    return Now() + timedelta(seconds=settings.PICKUP_SECONDS)


def take(download_id: int, status: DownloadStatus) -> Claim | None:
    """Become the owner of a row in `status` that has none; None when there is nothing to take."""
    owner = new_owner()
    taken = (
        Download.objects.files()
        .filter(pk=download_id, status=status, owner="")
        .update(owner=owner, lease_expires_at=lease(), pickup_deadline=None)
    )
    if not taken:
        return None
    attempt = Download.objects.values_list("attempt", flat=True).get(pk=download_id)
    return Claim(download_id=download_id, owner=owner, attempt=attempt)


def owned(claim: Claim) -> Any:
    """The rows that this claim may write: one, or none when it was lost."""
    return Download.objects.filter(pk=claim.download_id, owner=claim.owner, attempt=claim.attempt)


def write(claim: Claim, **values: Any) -> None:
    """Write columns of a claimed row. Raises LostClaim."""
    if not owned(claim).update(**values):
        raise lost_claim(claim.download_id)


def let_go(claim: Claim, **values: Any) -> bool:
    """Give the row back; False when it was not ours any more."""
    return bool(owned(claim).update(owner="", lease_expires_at=None, **values))


class Keeper:
    """Keeps a claim alive and listens for a reason to stop. `check` is cheap; call it often."""

    def __init__(self, claim: Claim, status: DownloadStatus, asked: Any = None) -> None:
        self.claim = claim
        self.reason: Stop | None = None
        self._status = status
        self._asked = asked
        self._done = threading.Event()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="lease", daemon=True)

    def check(self) -> bool:
        """True when the stage shall stop; `reason` says why."""
        if self.reason is None and shutdown.is_requested():
            self._end(Stop.SHUTDOWN)
        if self.reason is None and self._asked is not None and self._asked():
            self._end(Stop.ASKED)
        return self.reason is not None

    def wait(self, seconds: float) -> bool:
        """Wait, or less when the stage shall stop: then True."""
        until = time.monotonic() + seconds
        while not self.check() and (left := until - time.monotonic()) > 0:
            self._stop.wait(min(left, 0.2))
        return self.reason is not None

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        self._done.set()
        self._thread.join()

    def _end(self, reason: Stop) -> None:
        if self.reason is None:
            self.reason = reason
            self._stop.set()

    def _keep(self) -> None:
        renew_every = settings.LEASE_SECONDS / 4
        renewed = time.monotonic()
        try:
            while not self._done.wait(POLL_SECONDS) and self.reason is None:
                try:
                    self._look()
                    if time.monotonic() - renewed >= renew_every:
                        self._renew()
                        renewed = time.monotonic()
                except DatabaseError:
                    # A short absence is survived: the lease still stands. A long one is not.
                    logger.warning(
                        "The lease of download %s is not renewed", self.claim.download_id
                    )
                    connection.close()
                    if time.monotonic() - renewed > settings.LEASE_SECONDS * 0.8:
                        self._end(Stop.LOST)
        finally:
            connection.close()

    def _look(self) -> None:
        seen = (
            Download.objects.filter(pk=self.claim.download_id)
            .values_list("status", "owner", "attempt")
            .first()
        )
        if seen is None or seen[1:] != (self.claim.owner, self.claim.attempt):
            self._end(Stop.LOST)
        elif seen[0] != self._status:
            self._end(Stop.COMMAND)

    def _renew(self) -> None:
        if not owned(self.claim).update(lease_expires_at=lease()):
            self._end(Stop.LOST)


@contextmanager
def kept(claim: Claim, status: DownloadStatus, asked: Any = None) -> Iterator[Keeper]:
    """Run a stage with its lease renewed and its row watched."""
    keeper = Keeper(claim, status, asked)
    keeper.start()
    try:
        yield keeper
    finally:
        keeper.finish()
