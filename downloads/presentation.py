"""The queue in words: which group a row stands in, what its state means, what to do next.

Pure functions from rows to frozen values that templates print; no query is made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.utils import timezone

from config import wording
from downloads.models import Download
from downloads.states import DownloadStatus as S
from registry.models import AssetStatus
from registry.words import TYPE_NAMES
from tokens.models import Service


class Group(StrEnum):
    ATTENTION = "attention"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"


GROUP_TITLES = {
    Group.ATTENTION: "Needs you",
    Group.RUNNING: "Running",
    Group.WAITING: "Waiting",
    Group.DONE: "Done today",
}


class Tone(StrEnum):
    """What a colour means; an icon and a word always stand beside it."""

    MOVING = "moving"
    DONE = "done"
    WAITING = "waiting"
    ATTENTION = "attention"
    FAILED = "failed"


_GROUPS = {
    S.REVIEW: Group.ATTENTION,
    S.FAILED: Group.ATTENTION,
    S.DOWNLOADING: Group.RUNNING,
    S.VERIFYING: Group.RUNNING,
    S.REGISTERING: Group.RUNNING,
    S.QUEUED: Group.WAITING,
    S.PAUSED: Group.WAITING,
    S.RETRY_WAITING: Group.WAITING,
    S.PARKED: Group.WAITING,
    S.COMPLETED: Group.DONE,
    S.CANCELLED: Group.DONE,
}
#: Bytes that stopped coming for this long are worth a word.
_SILENCE = timedelta(seconds=8)

SOURCE_NAMES = {"civitai": "CivitAI", "huggingface": "HuggingFace", "direct": "Direct link"}


@dataclass(frozen=True, slots=True)
class Action:
    """Something a person may do with a row; `name` is the last part of its address."""

    name: str
    label: str
    icon: str


PAUSE = Action("pause", "Pause", "pause")
RESUME = Action("resume", "Resume", "play")
RETRY = Action("retry", "Try again", "retry")
NOW = Action("now", "Try now", "retry")
AGAIN = Action("retry", "Download again", "retry")
CANCEL = Action("cancel", "Cancel", "cancel")
FIRST = Action("first", "Move to the front", "top")
VERIFY = Action("verify", "Verify again", "verified")
DISMISS = Action("dismiss", "Remove from this list", "cancel")


class Next(StrEnum):
    """The one right thing to do with a row that needs somebody."""

    RETRY = "retry"
    DOWNLOAD_AGAIN = "again"
    TOKEN = "token"  # noqa: S105  (a field for one, no secret)
    LICENCE = "licence"
    SOURCE = "source"
    REVIEW = "review"
    ASSET = "asset"


#: What helps depends on what went wrong; trying again helps with the rest.
_NEXT_BY_CODE = {
    "token_required": Next.TOKEN,
    "token_rejected": Next.TOKEN,
    "token_unreadable": Next.TOKEN,
    "auth_required": Next.TOKEN,
    "licence_required": Next.LICENCE,
    "early_access": Next.SOURCE,
    "not_found_at_source": Next.SOURCE,
    "not_downloadable": Next.SOURCE,
    "too_large_for_http": Next.SOURCE,
    "remote_gone": Next.SOURCE,
    "not_a_model_file": Next.SOURCE,
    "hash_mismatch": Next.DOWNLOAD_AGAIN,
    "size_mismatch": Next.SOURCE,
    "duplicate": Next.ASSET,
}


@dataclass(frozen=True, slots=True)
class State:
    """The state of a row: a word, its tone and icon, a sentence where there is more to say."""

    word: str
    tone: Tone
    icon: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Meter:
    """How far: `percent` is None while the size is unknown; empty texts are not shown."""

    percent: int | None
    amount: str
    speed: str = ""
    left: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    pk: int
    group: Group
    status: str
    state: State
    name: str
    version: str
    file_name: str
    source: str
    source_name: str
    source_url: str
    badges: tuple[str, ...]
    picture: str
    mature: bool
    meter: Meter | None
    actions: tuple[Action, ...]
    menu: tuple[Action, ...]
    next: Next | None = None
    service: str = ""
    code: str = ""
    asset_id: int | None = None
    target_path: str = ""
    sha256: str = ""
    is_bundle: bool = False
    children_done: int = 0
    children_total: int = 0
    children: tuple[Row, ...] = ()
    review_form: ReviewFields | None = None
    owner: str = ""
    fresh: bool = True  # False: the page has it already, so it is not printed again


@dataclass(frozen=True, slots=True)
class ReviewFields:
    """What a person looks at, and may change, before a file is registered."""

    name: str
    model_type: str
    base_model: str
    folder: str
    warnings: tuple[str, ...]


def group_of(status: str, *, is_flagged: bool = False) -> Group:
    """`is_flagged`: the row is completed, and its asset waits for somebody to accept it."""
    if status == S.COMPLETED and is_flagged:
        return Group.ATTENTION
    return _GROUPS[S(status)]


def state_of(download: Download, *, now: datetime, ahead: int | None = None) -> State:
    """The row's state in words. `ahead` is how many rows are served before a queued one."""
    match S(download.status):
        case S.QUEUED:
            return State("waiting", Tone.WAITING, "clock", _place_in_line(ahead))
        case S.DOWNLOADING:
            return _downloading(download, now)
        case S.RETRY_WAITING | S.PARKED:
            return _waits_for_a_moment(download, now)
        case S.COMPLETED:
            return _completed(download)
        case S.CANCELLED | S.FAILED:
            return _given_up(download)
        case status:
            return _PLAIN_STATES[status]


_PLAIN_STATES = {
    S.VERIFYING: State("verifying", Tone.MOVING, "verified", "comparing digest and contents"),
    S.REGISTERING: State("registering", Tone.MOVING, "folder", "putting it in its folder"),
    S.PAUSED: State("paused", Tone.WAITING, "pause"),
    S.REVIEW: State("ready for review", Tone.ATTENTION, "eye", "all bytes are here"),
}


def next_step(download: Download) -> Next | None:
    """The one button that a row in *Needs you* shows; None for the others."""
    if download.status == S.REVIEW:
        return Next.REVIEW
    if download.status == S.COMPLETED:
        return Next.ASSET if _is_flagged(download) else None
    if download.status != S.FAILED:
        return None
    step = _NEXT_BY_CODE.get(download.error_code, Next.RETRY)
    if step is Next.TOKEN and download.source_type not in Service.values:
        return Next.SOURCE
    if step is Next.ASSET and download.asset_id is None:
        return Next.RETRY
    return step


def actions_of(download: Download) -> tuple[Action, ...]:
    """The buttons that stand on the row: what `j k space r` reach, too."""
    return {
        S.QUEUED: (PAUSE, CANCEL),
        S.DOWNLOADING: (PAUSE, CANCEL),
        S.RETRY_WAITING: (NOW, CANCEL),
        S.PARKED: (PAUSE, CANCEL),
        S.PAUSED: (RESUME, CANCEL),
        S.REVIEW: (CANCEL,),
        S.FAILED: (DISMISS,),
        S.CANCELLED: (AGAIN,),
    }.get(S(download.status), ())


def menu_of(download: Download) -> tuple[Action, ...]:
    """What is rarer: behind the row's menu."""
    match S(download.status):
        case S.QUEUED:
            return (FIRST,)
        case S.RETRY_WAITING:
            return (PAUSE,)
        case S.FAILED:
            return (RETRY,)
        case S.COMPLETED:
            return (VERIFY, DISMISS) if download.asset_id else (DISMISS,)
        case S.CANCELLED:
            return (DISMISS,)
        case _:
            return ()


def meter_of(download: Download) -> Meter | None:
    """The bar; None where it would say nothing (not begun, or over)."""
    status = S(download.status)
    if status in (S.COMPLETED, S.CANCELLED, S.REVIEW):
        return Meter(None, wording.bytes_in_words(download.file_size_bytes), "", "")
    if not download.downloaded_bytes and status != S.DOWNLOADING:
        return Meter(None, wording.bytes_in_words(download.file_size_bytes), "", "")
    percent = None if download.progress is None else int(download.progress * 100)
    amount = wording.share_in_words(download.downloaded_bytes, download.file_size_bytes)
    if status is not S.DOWNLOADING:
        return Meter(percent, amount)
    eta = download.eta_seconds
    return Meter(
        percent,
        amount,
        wording.speed_in_words(download.download_speed_bps) if download.download_speed_bps else "",
        f"{wording.duration_in_words(eta)} left" if eta is not None else "",
    )


def badges_of(download: Download) -> tuple[str, ...]:
    suffix = download.file_name.rpartition(".")[2].lower() if "." in download.file_name else ""
    parts = (
        TYPE_NAMES.get(download.model_type, download.model_type),
        download.base_model or "",
        suffix if len(suffix) <= 11 and not download.is_bundle else "",
    )
    return tuple(part for part in parts if part)


def _is_flagged(download: Download) -> bool:
    return download.asset is not None and download.asset.status == AssetStatus.FLAGGED


def _place_in_line(ahead: int | None) -> str:
    if ahead is None:
        return ""
    return "next in line" if ahead == 0 else f"{ahead} ahead of it"


def _downloading(download: Download, now: datetime) -> State:
    if download.progress_at is None or not download.owner:
        return State("starting", Tone.MOVING, "downloads")
    silence = now - download.progress_at
    if silence > _SILENCE:
        words = wording.duration_in_words(silence.total_seconds())
        return State("stalled", Tone.ATTENTION, "warning", f"no bytes for {words}")
    return State("downloading", Tone.MOVING, "downloads")


def _waits_for_a_moment(download: Download, now: datetime) -> State:
    due = download.retry_at or now
    if download.status == S.PARKED:
        when = wording.moment_in_words(timezone.localtime(due), timezone.localtime(now))
        return State("early access", Tone.WAITING, "clock", f"starts by itself {when}")
    wait = (due - now).total_seconds()
    when = f"in {wording.duration_in_words(wait)}" if wait > 0 else "now"
    return State(f"tries again {when}", Tone.WAITING, "clock", download.error_message or "")


def _given_up(download: Download) -> State:
    if download.status == S.FAILED:
        return State("failed", Tone.FAILED, "failed", download.error_message or "")
    if download.error_code == "duplicate":
        return State("skipped", Tone.WAITING, "check", "it was already here")
    return State("cancelled", Tone.WAITING, "cancel")


def _completed(download: Download) -> State:
    if _is_flagged(download):
        return State("flagged", Tone.ATTENTION, "warning", _flag_reason(download))
    if download.asset_id and not download.downloaded_bytes and not download.is_bundle:
        return State("linked", Tone.DONE, "link", "it was already here")
    return _VERIFICATIONS.get(download.verification, State("done", Tone.DONE, "check"))


_VERIFICATIONS = {
    "verified": State("verified", Tone.DONE, "verified"),
    "accepted": State("accepted", Tone.DONE, "verified", "an admin accepted it"),
    "unverified": State("done", Tone.DONE, "check", "no published digest to compare with"),
    "mismatch": State("done", Tone.ATTENTION, "warning", "its digest differs from the published"),
}


def _flag_reason(download: Download) -> str:
    if download.hash_mismatch:
        return "its digest differs from the published one; it waits in quarantine"
    reason = download.asset.flag_reason if download.asset else ""
    return reason or "it waits in quarantine until an admin looks at it"


def row_of(
    download: Download,
    *,
    now: datetime,
    children: Sequence[Download] = (),
    positions: Mapping[int, int] | None = None,
    unfold: bool = True,
    picture: str = "",
    viewer_id: int | None = None,
) -> Row:
    """Everything that a template prints about one download.

    `positions` holds how many rows are ahead of each queued one. Children are printed only with
    `unfold`; the counts are always there.
    """
    ahead = (positions or {}).get(download.pk)
    step = next_step(download)
    state = _bundle_state(download, children, now) if download.is_bundle else None
    return Row(
        pk=download.pk,
        group=group_of(download.status, is_flagged=_is_flagged(download)),
        status=download.status,
        state=state or state_of(download, now=now, ahead=ahead),
        name=download.model_name,
        version=getattr(download, "version_name", None) or "",
        file_name=download.bundle_path or download.file_name,
        source=download.source_type if download.source_type in SOURCE_NAMES else "direct",
        source_name=SOURCE_NAMES.get(download.source_type, download.source_type),
        source_url=download.source_url,
        badges=badges_of(download),
        picture=picture,
        mature=_is_mature(download),
        meter=bundle_meter(children) if download.is_bundle else meter_of(download),
        actions=actions_of(download),
        menu=menu_of(download),
        next=step,
        service=download.source_type if step is Next.TOKEN else "",
        code=download.error_code if download.status == S.FAILED else "",
        asset_id=download.asset_id,
        target_path=download.target_path or "",
        sha256=download.actual_hash or "",
        is_bundle=download.is_bundle,
        children_done=sum(child.status == S.COMPLETED for child in children),
        children_total=len(children),
        children=_child_rows(children, now, positions) if unfold else (),
        review_form=_review_fields(download) if step is Next.REVIEW else None,
        owner=_other_owner(download, viewer_id),
    )


def kept_row(pk: int, status: str) -> Row:
    """A row that the page has already: only its place is printed."""
    return Row(
        pk=pk,
        group=group_of(status),
        status=status,
        state=State("", Tone.WAITING, ""),
        name="",
        version="",
        file_name="",
        source="direct",
        source_name="",
        source_url="",
        badges=(),
        picture="",
        mature=False,
        meter=None,
        actions=(),
        menu=(),
        fresh=False,
    )


def _child_rows(
    children: Iterable[Download], now: datetime, positions: Mapping[int, int] | None
) -> tuple[Row, ...]:
    return tuple(row_of(child, now=now, positions=positions) for child in children)


def bundle_meter(children: Sequence[Download]) -> Meter:
    """One bar over all files of a bundle; a file of unknown size leaves the total unknown."""
    done = sum(
        (child.file_size_bytes or child.downloaded_bytes)
        if child.status == S.COMPLETED
        else child.downloaded_bytes
        for child in children
    )
    known = [child.file_size_bytes for child in children if child.file_size_bytes is not None]
    total = sum(known) if len(known) == len(children) and children else None
    speed = sum(
        child.download_speed_bps or 0 for child in children if child.status == S.DOWNLOADING
    )
    left = f"{wording.duration_in_words((total - done) / speed)} left" if speed and total else ""
    percent = min(100, int(100 * done / total)) if total and done < total else None
    return Meter(
        percent,
        wording.share_in_words(done, total)
        if total is None or done < total
        else wording.bytes_in_words(total),
        wording.speed_in_words(speed) if speed else "",
        left,
    )


def _bundle_state(download: Download, children: Sequence[Download], now: datetime) -> State | None:
    """A bundle that runs says what its busiest child does; else its own state has the word."""
    if download.status != S.DOWNLOADING:
        return None
    for status in (S.DOWNLOADING, S.VERIFYING, S.REGISTERING):
        for child in children:
            if child.status == status:
                return state_of(child, now=now)
    return State("waiting", Tone.WAITING, "clock")


def _review_fields(download: Download) -> ReviewFields:
    return ReviewFields(
        download.model_name,
        download.model_type,
        download.base_model or "",
        download.target_folder,
        tuple(str(warning) for warning in download.warnings),
    )


def _other_owner(download: Download, viewer_id: int | None) -> str:
    if viewer_id is None or download.initiated_by_id in (None, viewer_id):
        return ""
    return str(download.initiated_by)


def _is_mature(download: Download) -> bool:
    """By the annotation that the list's query took out of the metadata, see `board`."""
    level = str(getattr(download, "preview_level", None) or "")
    return level.isdecimal() and int(level) >= MATURE_LEVEL


#: CivitAI's mask: 1 PG, 2 PG-13, 4 R, 8 X, 16 XXX. From R on a picture is blurred.
MATURE_LEVEL = 4
