"""The work on one download: fetch, verify, register, distribute. One function per stage.

Each stage claims the row by its status, does its work outside of transactions, and ends with one
UPDATE that moves the row and gives it back. Every step may be done again after a crash.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db.models import F, Sum
from django.db.models.functions import Coalesce

from config.errors import ModelyardError
from downloads import claims, crash, partials, permits, verify
from downloads.ledger import DatabaseLedger
from downloads.models import Download, PartialFile
from downloads.progress import OnProgress, ProgressWriter
from downloads.registering import register_work
from downloads.sourcing import Source, resolution_of
from downloads.stages import Outcome, Run, run_stage
from downloads.states import DownloadStatus
from downloads.throttle import throttle
from downloads.verify import Next
from registry.errors import NotAModelFile
from registry.inspect import inspect_file
from registry.inspect.verdict import NOT_A_MODEL_FILE, Verdict
from registry.models import Root
from registry.roots import default_root, partials_dir
from sources.errors import TokenRequired
from sources.refs import CIVITAI, HUGGINGFACE
from sources.resolution import FileRole
from tokens import clients
from transfer.errors import AuthRequired, DigestMismatch, NoSpace, RemoteGone
from transfer.fetch import Fetched, FetchLimits, FilePlan, fetch

S = DownloadStatus

CIVITAI_PAUSE_SECONDS = 1.0
LENGTH_UNKNOWN = (
    "The server did not say how long the file is and published no digest, so a file that was cut "
    "off cannot be told from a whole one by its length."
)
DIFFERS = "The file differs from the digest that was expected, also after a second download."

Asked = Callable[[], bool] | None


def fetch_stage(
    download_id: int, *, asked: Asked = None, on_progress: OnProgress | None = None
) -> Outcome:
    """From downloading to verifying: bring the bytes into the partial, with their digest."""
    return run_stage(download_id, S.DOWNLOADING, _fetch, asked=asked, on_progress=on_progress)


def verify_stage(download_id: int, *, asked: Asked = None) -> Outcome:
    """From verifying to registering, review, or queued for the one full re-download."""
    return run_stage(download_id, S.VERIFYING, _verify, asked=asked)


def register_stage(download_id: int, *, asked: Asked = None) -> Outcome:
    """From registering to completed: publish the file and write its asset."""
    return run_stage(download_id, S.REGISTERING, register_work, asked=asked)


def distribute_stage(download_id: int) -> Outcome:
    """A nudge for the worker pool, which does not exist yet: there is nothing to send."""
    return Outcome.NEXT


def _fetch(run: Run) -> Outcome:
    download = run.download
    permits.check_download(download)
    crash.point("fetch:claimed")
    root = _root_of(download)
    directory = partials_dir(root)
    _check_space(download, directory)
    fetched = _fetch_patiently(run, root, directory)
    crash.point("fetch:done")
    warnings = download.warnings
    if not fetched.size_certain:
        warnings = [*warnings, LENGTH_UNKNOWN]
    run.move(
        S.VERIFYING,
        actual_hash=fetched.sha256,
        actual_git_sha1=fetched.git_sha1,
        # Nothing is asked when every byte was here already.
        content_type=fetched.content_type[:200] or download.content_type,
        warnings=list(dict.fromkeys(warnings)),
        downloaded_bytes=fetched.size_bytes,
        file_size_bytes=fetched.size_bytes,
        download_speed_bps=None,
        pickup_deadline=claims.pickup(),
    )
    return Outcome.NEXT


def _root_of(download: Download) -> Root:
    """Where the partial lies already, else the default root."""
    partial = PartialFile.objects.select_related("root").filter(download=download).first()
    return partial.root if partial is not None else default_root()


def _check_space(download: Download, directory: Path) -> None:
    """Refuse what cannot fit beside what the other running downloads still need."""
    if download.file_size_bytes is None:
        return
    others = (
        Download.objects.running()
        .exclude(pk=download.pk)
        .filter(file_size_bytes__gt=F("downloaded_bytes"))
        .aggregate(left=Coalesce(Sum(F("file_size_bytes") - F("downloaded_bytes")), 0))["left"]
    )
    needed = max(0, download.file_size_bytes - download.downloaded_bytes)
    free = shutil.disk_usage(directory).free
    if needed + others > free:
        raise NoSpace(
            f"The file needs {needed} more bytes, other downloads still need {others}, and "
            f"{free} are free. Make room, then retry.",
            needed=needed,
            reserved=others,
            free=free,
        )


def _fetch_patiently(run: Run, root: Root, directory: Path) -> Fetched:
    """Fetch; where CivitAI says 404, ask for the metadata again, up to three addresses in all."""
    source = Source.of(run.download)
    plan = source.plan()
    while True:
        try:
            return _fetch_once(run, source, plan, root, directory)
        except AuthRequired as error:
            raise source.refusal(error) from error
        except RemoteGone as error:
            other = source.by_revision(plan)
            if other is not None and error.status == 404:
                plan = other
                continue
            kind = run.download.source_type
            if kind == HUGGINGFACE or (kind == CIVITAI and error.status != 404):
                raise source.refusal(error) from error
            if error.status != 404 or not source.may_ask_again:
                raise
            run.keeper.wait(CIVITAI_PAUSE_SECONDS)
            run.stop_if_asked()
            plan = source.located()


def _fetch_once(run: Run, source: Source, plan: FilePlan, root: Root, directory: Path) -> Fetched:
    return fetch(
        plan,
        client=clients.guarded_client(),
        directory=directory,
        ledger=DatabaseLedger(run.claim, root),
        limits=FetchLimits(
            connections=settings.CONNECTIONS_PER_FILE,
            minimum_bps=settings.MINIMUM_BYTES_PER_SECOND,
            slow_window_s=settings.SLOW_WINDOW_SECONDS,
            idle_timeout_s=settings.IDLE_TIMEOUT_SECONDS,
        ),
        on_progress=ProgressWriter(run.claim, run.download.parent_id, run.on_progress),
        should_stop=run.keeper.check,
        refresh=source.located if source.may_be_refreshed else None,
        throttle=throttle(),
    )


def _verify(run: Run) -> Outcome:
    download = run.download
    path = partials.path_of(download)
    verdict = inspect_file(
        path,
        file_name=download.file_name,
        model_type=download.model_type,
        role=download.file_role,
        content_type=download.content_type,
        base_model=download.base_model or "",
    )
    crash.point("verify:inspected")
    run.stop_if_asked()
    comparison = verify.compare(
        expected_sha256=download.expected_hash or "",
        actual_sha256=download.actual_hash or "",
        expected_git_sha1=download.expected_git_sha1,
        actual_git_sha1=download.actual_git_sha1,
    )
    following = verify.judge(
        comparison=comparison,
        verdict=verdict,
        mismatches_before=download.mismatch_count,
        wants_review=download.review,
        reviewed=download.reviewed,
    )
    if following is Next.FETCH_AGAIN:
        return _fetch_again(run)
    warnings = _warnings(download, verdict.warnings)
    values = {
        "hash_verified": comparison.hash_verified,
        "hash_mismatch": comparison.hash_mismatch,
        "verification": comparison.verification,
        "verdict": verdict.as_dict(),
        "warnings": warnings,
    }
    if following is Next.REFUSE:
        claims.write(run.claim, **values)
        # Bytes that can never become a model are no use for a retry.
        partials.discard(download)
        raise _refusal(download, verdict)
    if comparison.hash_mismatch:
        warnings.append(DIFFERS)
        _refuse_as_companion(run, values)
    if following is Next.REVIEW:
        run.move(S.REVIEW, **values)
        return Outcome.LEFT
    run.move(S.REGISTERING, pickup_deadline=claims.pickup(), **values)
    return Outcome.NEXT


def _fetch_again(run: Run) -> Outcome:
    """The one full re-download after a mismatch; it costs no retry."""
    partials.discard(run.download)
    crash.point("verify:discarded")
    run.move(
        S.QUEUED,
        mismatch_count=F("mismatch_count") + 1,
        downloaded_bytes=0,
        actual_hash=None,
        actual_git_sha1="",
    )
    return Outcome.LEFT


def _refuse_as_companion(run: Run, values: dict[str, Any]) -> None:
    """A config has no asset that could be flagged, so it is not placed; a retry fetches it."""
    if run.download.file_role != FileRole.COMPANION:
        return
    claims.write(run.claim, **values)
    partials.discard(run.download)
    raise DigestMismatch(f"{DIFFERS} It was not placed.")


def _refusal(download: Download, verdict: Verdict) -> ModelyardError:
    """Why these bytes become no model; a page in place of what needs a token is a login."""
    needs_token = str(resolution_of(download).get("needs_token") or "")
    if verdict.code == NOT_A_MODEL_FILE and needs_token:
        return TokenRequired(f"{needs_token} {verdict.reason}")
    return NotAModelFile(verdict.reason, reason=verdict.code)


def _warnings(download: Download, found: tuple[str, ...]) -> list[str]:
    return list(dict.fromkeys([*download.warnings, *found]))
