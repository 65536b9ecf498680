"""What the queue refuses.

DownloadError
├── IllegalTransition   the row's status forbids the move; names the status
├── LostClaim           another attempt owns the row; whoever gets this stops without writing
├── QueueFull           a limit of the user or of the system; knows when to come back
├── InvalidOption       a field of the request that does not fit
├── UserNotPermitted    the user is disabled, gone, or may not request content any more
├── WorkerCrashed       three workers died with this row
├── PartialLost         the unfinished bytes are not where the ledger says           (retryable)
└── DatabaseAway        the database did not answer in the middle of a stage         (retryable)
"""

from __future__ import annotations

from typing import Any

from config.errors import ModelyardError


class DownloadError(ModelyardError):
    code = "download_error"


class IllegalTransition(DownloadError):
    """The row is in a state from which the asked move is not allowed; `details.status` names it."""

    code = "illegal_transition"
    http_status = 409


class LostClaim(DownloadError):
    """Another attempt owns the row now; whoever gets this stops without writing anything."""

    code = "lost_claim"
    http_status = 409


class QueueFull(DownloadError):
    code = "queue_full"
    http_status = 429

    def __init__(self, message: str, *, retry_after_s: float | None = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.retry_after_s = retry_after_s


class InvalidOption(DownloadError):
    """A field of the request that does not fit; `details` holds the field's name and why."""

    code = "invalid"

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(f"{field}: {reason}", **{field: [reason]})
        self.field = field


class UserNotPermitted(DownloadError):
    code = "user_not_permitted"
    http_status = 403


class WorkerCrashed(DownloadError):
    code = "worker_crashed"
    http_status = 500


class PartialLost(DownloadError):
    code = "partial_lost"
    http_status = 500
    retryable = True


class DatabaseAway(DownloadError):
    code = "database_away"
    http_status = 503
    retryable = True
