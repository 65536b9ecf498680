"""What every stage shares: claim the row, keep the lease, and bring every end into the row.

A stage either leads on to the next one, or the row has left it for another status, or there was
nothing to claim. Whatever is raised inside ends here and nowhere else.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from django.db import InterfaceError, OperationalError, connection
from django.db.models import F
from django.db.models.functions import Now

from config.errors import ModelyardError, boundary
from downloads import claims, partials, retry, transitions
from downloads.claims import Keeper, Stop
from downloads.errors import DatabaseAway, IllegalTransition, LostClaim
from downloads.models import Download
from downloads.progress import OnProgress
from downloads.states import DownloadStatus
from downloads.transitions import Claim
from transfer.errors import DiskError, StopRequested

logger = logging.getLogger(__name__)

S = DownloadStatus


class Outcome(StrEnum):
    NOTHING = "nothing"  # nobody's row, or not in the status that the stage expects
    LEFT = "left"  # the row went elsewhere: paused, waiting, failed, in review
    NEXT = "next"  # the next stage may begin


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a stage."""

    download: Download
    claim: Claim
    keeper: Keeper
    on_progress: OnProgress | None = None

    def move(self, target: DownloadStatus, **values: Any) -> None:
        """Move the row and give it back, in one UPDATE. Raises LostClaim, IllegalTransition."""
        transitions.move(
            self.download, target, claim=self.claim, owner="", lease_expires_at=None, **values
        )

    def stop_if_asked(self) -> None:
        if self.keeper.check():
            raise StopRequested("The stage was asked to stop.")


Work = Callable[[Run], Outcome]


def run_stage(
    download_id: int,
    status: DownloadStatus,
    work: Work,
    *,
    asked: Callable[[], bool] | None = None,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Claim the row in `status` and do the work. A row that cannot be claimed is left alone."""
    claim = claims.take(download_id, status)
    if claim is None:
        return Outcome.NOTHING
    download = Download.objects.select_related("initiated_by", "parent").get(pk=download_id)
    outcome = Outcome.LEFT
    with claims.kept(claim, status, asked) as keeper:
        run = Run(download, claim, keeper, on_progress)
        with boundary(f"Stage {status} of download {download_id}", lambda e: settle(run, e)):
            outcome = _work(work, run)
    return outcome


def _work(work: Work, run: Run) -> Outcome:
    try:
        return work(run)
    except (OperationalError, InterfaceError) as exc:
        connection.close()
        raise DatabaseAway("The database did not answer; the download goes on later.") from exc


def settle(run: Run, error: ModelyardError) -> None:
    """Bring the end of a stage that did not lead on into its row."""
    try:
        if isinstance(error, StopRequested):
            _stop(run)
        elif isinstance(error, IllegalTransition):
            _let_go(run)  # Somebody paused or cancelled it in the last moment.
        elif isinstance(error, LostClaim):
            logger.info("Download %s has another owner now", run.download.pk)
        else:
            _apply(run, error)
    except LostClaim:
        logger.info("Download %s has another owner now", run.download.pk)
    except IllegalTransition:
        _let_go(run)
    except Download.DoesNotExist:
        logger.info("Download %s was deleted", run.download.pk)


def _stop(run: Run) -> None:
    run.download.refresh_from_db(fields=["status"])
    status, reason = S(run.download.status), run.keeper.reason
    if reason in {Stop.SHUTDOWN, Stop.ASKED} and status == S.DOWNLOADING:
        # A terminal that was interrupted keeps the row for itself; a worker gives it back.
        run.move(S.PAUSED if reason is Stop.ASKED else S.QUEUED, download_speed_bps=None)
    elif reason in {Stop.SHUTDOWN, Stop.ASKED}:
        claims.let_go(run.claim, pickup_deadline=Now())
    else:
        _let_go(run)


def _let_go(run: Run) -> None:
    """Give the row back in whatever status a command left it; a cancelled one without its bytes.

    The bytes go first: while the row is ours, nobody begins a new partial for it.
    """
    run.download.refresh_from_db(fields=["status"])
    if run.download.status == S.CANCELLED and claims.owned(run.claim).exists():
        partials.discard(run.download)
    claims.let_go(run.claim, download_speed_bps=None)


def _apply(run: Run, error: ModelyardError) -> None:
    """Retry later, park or fail, as the policy says."""
    download = run.download
    download.refresh_from_db(fields=["auto_retry_count"])
    decision = retry.decide(error, tries_before=download.auto_retry_count)
    logger.info("Download %s: %s, so %s", download.pk, error.code, decision.action)
    values: dict[str, Any] = {
        "error_code": error.code,
        "error_message": decision.message,
        "download_speed_bps": None,
    }
    if isinstance(error, DiskError):
        # After a failed fsync nobody knows which of the bytes are on the disk.
        partials.discard(download)
        values["downloaded_bytes"] = 0
    if decision.action is retry.Action.RETRY:
        run.move(
            S.RETRY_WAITING,
            retry_at=Now() + timedelta(seconds=decision.wait_s),
            auto_retry_count=F("auto_retry_count") + 1,
            **values,
        )
    elif decision.action is retry.Action.PARK:
        run.move(S.PARKED, retry_at=decision.until, **values)
    else:
        run.move(S.FAILED, **values)
