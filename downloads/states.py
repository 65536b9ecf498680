"""The states of a download, and who may become what.

              ┌──────────────────────── retry ───────────────────────┐
              ▼                                                      │
   new ──► queued ──► downloading ──► verifying ──► registering ──► completed    failed, cancelled
            │ ▲           │ │            │  │           ▲
            │ │           │ │            │  └─► review ─┘  (finalize)
      pause │ │ resume    │ │            └─► queued  (digest differs: one full re-download)
            ▼ │           │ └─► parked  (early access until a moment) ──(due)──► queued
           paused ◄───────┤
                          └─► retry_waiting ──(due)──► queued
   pause:  from queued, downloading, retry_waiting, parked.
   cancel: from these, and from paused and review.
   fail, retry_waiting: from every running state.
   A lease that ran out: downloading → queued; verifying and registering are claimed again.
   A file that is here already: queued → completed (linked) or cancelled (skipped).

A bundle (a download with children) takes its status from them, in `transitions.refresh_bundle`.
"""

from __future__ import annotations

from enum import StrEnum


class DownloadStatus(StrEnum):
    QUEUED = "queued"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    REGISTERING = "registering"
    COMPLETED = "completed"
    PAUSED = "paused"
    RETRY_WAITING = "retry_waiting"
    PARKED = "parked"
    REVIEW = "review"
    FAILED = "failed"
    CANCELLED = "cancelled"


S = DownloadStatus

#: For each state, the states that it may come from.
ALLOWED_FROM: dict[DownloadStatus, frozenset[DownloadStatus]] = {
    S.QUEUED: frozenset(
        {S.DOWNLOADING, S.VERIFYING, S.PAUSED, S.RETRY_WAITING, S.PARKED, S.FAILED, S.CANCELLED}
    ),
    S.DOWNLOADING: frozenset({S.QUEUED}),
    S.VERIFYING: frozenset({S.DOWNLOADING}),
    S.REGISTERING: frozenset({S.VERIFYING, S.REVIEW}),
    # From queued only by linking to an asset that is already here.
    S.COMPLETED: frozenset({S.REGISTERING, S.QUEUED}),
    S.PAUSED: frozenset({S.QUEUED, S.DOWNLOADING, S.RETRY_WAITING, S.PARKED}),
    S.RETRY_WAITING: frozenset({S.DOWNLOADING, S.VERIFYING, S.REGISTERING}),
    S.PARKED: frozenset({S.DOWNLOADING}),
    S.REVIEW: frozenset({S.VERIFYING}),
    S.FAILED: frozenset({S.DOWNLOADING, S.VERIFYING, S.REGISTERING}),
    S.CANCELLED: frozenset(
        {S.QUEUED, S.DOWNLOADING, S.RETRY_WAITING, S.PARKED, S.PAUSED, S.REVIEW}
    ),
}

FINAL = frozenset({S.COMPLETED, S.FAILED, S.CANCELLED})
#: A worker may hold these; they need a free or expired owner to be claimed.
RUNNING = frozenset({S.DOWNLOADING, S.VERIFYING, S.REGISTERING})
