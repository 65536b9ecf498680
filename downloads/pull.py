"""One link from a terminal: the row it becomes or goes on with, run here to its end.

Nothing else has to run. An unfinished row of the same user and the same bytes is gone on with, so
the same command can be given again after anything that stopped it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from downloads import answers, inline, services
from downloads.enqueue import Resolved, key_of
from downloads.exit_codes import ExitCode, exit_code_of
from downloads.models import Download
from downloads.progress import OnProgress
from downloads.serializers import DownloadSerializer
from downloads.states import DownloadStatus
from registry.models import AssetStatus
from registry.placement import virtual_path
from registry.previews import fetch_previews

S = DownloadStatus

#: A retry that is due sooner is waited for; a later one is left to the next call.
PATIENCE_SECONDS = 30.0
#: Pictures are a bonus: no further one is begun after so long.
PICTURES_SECONDS = 10.0
#: What a person says about the model; the rest of the options is about the queue.
_EDITS = ("model_name", "model_type", "base_model", "folder")
_ABOUT_THE_LINK = (*_EDITS, "file_id", "files", "expected_hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What came of it: for people `sentence`, for programs `as_dict`, for the shell `exit_code`."""

    exit_code: ExitCode
    sentence: str
    values: Mapping[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {**self.values, "exit_code": int(self.exit_code), "message": self.sentence}


def preview(*, user: Any, url: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """What a pull would do, as `POST /api/downloads/resolve` answers it. Changes nothing."""
    return answers.resolve_answer(_resolve(user, url, options))


def pull(
    *,
    user: Any,
    url: str,
    options: Mapping[str, Any],
    should_stop: Callable[[], bool],
    on_start: Callable[[Download], None],
    on_progress: OnProgress,
) -> Report:
    """Bring the file of `url` into the library. Raises what `services.enqueue` raises."""
    resolved = _resolve(user, url, options)
    download = _unfinished(user, resolved)
    if download is None:
        download = services.enqueue(user=user, url=url, send=False, resolved=resolved, **options)
    else:
        _go_on(download, user, options)
    on_start(download)
    inline.run(
        download, should_stop=should_stop, on_progress=on_progress, patience_s=PATIENCE_SECONDS
    )
    _finish_review(download, user, options)
    until = time.monotonic() + PICTURES_SECONDS
    for file in _files(download):
        if file.status == S.COMPLETED and file.asset_id is not None:
            fetch_previews(file.asset_id, until=until)
    return report(download, stopped=should_stop())


def report(download: Download, *, stopped: bool = False) -> Report:
    """How a download ended; of a bundle the worst file counts."""
    download.refresh_from_db()
    files = _files(download)
    ends = [_end(file, stopped=stopped) for file in files]
    exit_code, sentence = max(ends, key=lambda end: end[0])
    if download.is_bundle and exit_code is ExitCode.DONE:
        sentence = _whole(download, files)
    values = {**DownloadSerializer(download).data, "path": _path(download)}
    if download.is_bundle:
        values["files"] = [{**DownloadSerializer(file).data, "path": _path(file)} for file in files]
    return Report(exit_code=exit_code, sentence=sentence, values=values)


def _resolve(user: Any, url: str, options: Mapping[str, Any]) -> Resolved:
    said = {name: options[name] for name in _ABOUT_THE_LINK if name in options}
    return services.resolve_reference(user=user, url=url, **said)


def _unfinished(user: Any, resolved: Resolved) -> Download | None:
    """The user's own row for the same bytes that has not come to an end, the newest first."""
    wanted = key_of(resolved)
    mine = Download.objects.top_level().filter(initiated_by=user, source_key=wanted)
    return mine.exclude(status__in=[S.COMPLETED, S.CANCELLED]).order_by("-pk").first()


def _go_on(download: Download, user: Any, options: Mapping[str, Any]) -> None:
    """Wake what waits for a person: calling again is the person's word."""
    for file in _files(download):
        if file.status == S.FAILED:
            services.retry(download=file, user=user)
        elif file.status == S.PAUSED:
            services.resume(download=file, user=user)
        elif file.status == S.RETRY_WAITING:
            services.pause(download=file, user=user)
            services.resume(download=file, user=user)


def _finish_review(download: Download, user: Any, options: Mapping[str, Any]) -> None:
    """A type or base model given on the command line is the decision that a review waits for."""
    decided = {name: options[name] for name in _EDITS if name in options}
    if options.get("review") or not ({"model_type", "base_model"} & decided.keys()):
        return
    for file in _files(download):
        if file.status == S.REVIEW:
            services.finalize(download=file, user=user, **decided)
            inline.run(file)
    download.refresh_from_db()


def _files(download: Download) -> list[Download]:
    rows = Download.objects.select_related("asset__root", "publish_root")
    return list(rows.filter(parent=download).order_by("pk")) or [rows.get(pk=download.pk)]


def _whole(bundle: Download, files: list[Download]) -> str:
    """Where all files of a bundle are, and whether every one of them was compared."""
    folders = [(file.target_path or "").rpartition("/")[0] for file in files]
    shared = os.path.commonpath(folders) if all(folders) else ""
    words = sorted({file.verification or "linked" for file in files})
    return f"{len(files)} files of {bundle.model_name} are in {shared} ({', '.join(words)})."


def _end(file: Download, *, stopped: bool) -> tuple[ExitCode, str]:
    message = file.error_message or file.status
    if file.status == S.COMPLETED:
        return _arrived(file)
    if file.status == S.CANCELLED and file.error_code == "duplicate":
        return ExitCode.DONE, message
    if file.status == S.REVIEW:
        return _in_review(file)
    if stopped or file.status == S.PAUSED:
        return ExitCode.INTERRUPTED, "Interrupted; the bytes are kept. Call again to go on."
    again = " Call again to go on." if file.status == S.RETRY_WAITING else ""
    if file.error_code == "too_large" and file.file_size_bytes is not None:
        return ExitCode.INTEGRITY, message  # Larger than its source lists it.
    return exit_code_of(file.error_code), f"{message}{again}"


def _arrived(file: Download) -> tuple[ExitCode, str]:
    asset = file.asset
    where = virtual_path(asset.relative_path) if asset is not None else file.target_path
    if asset is not None and asset.status != AssetStatus.ACTIVE:
        why = (asset.flag_reason or asset.status).rstrip(".")
        return ExitCode.INTEGRITY, (
            f"{file.file_name} is in quarantine: {why}. Accept it as asset {asset.pk} in the "
            "console, or download it again."
        )
    if file.hash_mismatch:
        return ExitCode.INTEGRITY, (
            f"{file.file_name} has another digest than the expected one. Its bytes were here "
            f"before, at {where}."
        )
    return ExitCode.DONE, f"{file.file_name} is at {where} ({file.verification or 'linked'})."


def _in_review(file: Download) -> tuple[ExitCode, str]:
    if file.review:
        return ExitCode.DONE, f"{file.file_name} waits for a review, as was asked for."
    return ExitCode.INTEGRITY, (
        f"{file.file_name} waits for a review: {' '.join(file.warnings)} Call again with --type "
        "and --base-model to say what it is, or finish it on the page."
    )


def _path(file: Download) -> str | None:
    """Where the file lies on this machine: for the person at its terminal, never for the API."""
    if file.asset_id is None or file.asset is None or file.asset.status != AssetStatus.ACTIVE:
        return None
    return str(Path(file.asset.root.path) / file.asset.relative_path)
