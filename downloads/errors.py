"""What the queue refuses."""

from __future__ import annotations

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


class InvalidOption(DownloadError):
    """A field of the request that does not fit; `details.field` names it."""

    code = "invalid"


class WorkerCrashed(DownloadError):
    code = "worker_crashed"
    http_status = 500


class Duplicate(DownloadError):
    code = "duplicate"
    http_status = 409
