"""The queue as a page shows it: in groups, with a summary, from two or three queries.

The first query reads a few columns of every row that may be shown, the second the rows that are
printed, and only those that may have changed since the page was last given them. A third reads the
files of bundles, a fourth the waiting line; both only when there are any.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.urls import reverse
from django.utils import timezone

from config import wording
from downloads import presentation
from downloads.models import Download, DownloadQuerySet
from downloads.presentation import GROUP_TITLES, Group, Row
from downloads.states import FINAL, RUNNING
from downloads.states import DownloadStatus as S
from registry.models import AssetStatus

#: Failed and flagged rows wait this long for somebody.
ATTENTION_DAYS = 14
ROWS_PER_GROUP = 50
MOST_ROWS = 2000
#: Countdowns and places in line are printed again at this pace, bars at every poll.
CLOCK_STEP_S = 5
#: Rows written just before the last answer may have been committed just after it.
MARGIN = timedelta(seconds=3)

_OUTLINE = (
    "pk",
    "status",
    "asset__status",
    "is_bundle",
    "priority",
    "position",
    "created_at",
    "started_at",
    "retry_at",
    "completed_at",
    "updated_at",
    "file_size_bytes",
    "downloaded_bytes",
    "download_speed_bps",
)
_COLUMNS = (
    "status",
    "source_type",
    "source_url",
    "model_name",
    "model_type",
    "base_model",
    "file_name",
    "bundle_path",
    "file_size_bytes",
    "downloaded_bytes",
    "download_speed_bps",
    "progress_at",
    "target_path",
    "target_folder",
    "actual_hash",
    "hash_mismatch",
    "verification",
    "error_code",
    "error_message",
    "warnings",
    "retry_at",
    "owner",
    "is_bundle",
    "updated_at",
    "asset__status",
    "asset__flag_reason",
    "initiated_by__username",
    "parent",
)


@dataclass(frozen=True, slots=True)
class GroupView:
    key: str
    title: str
    total: int
    rows: tuple[Row, ...]

    @property
    def hidden(self) -> int:
        return self.total - len(self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """What `templates/downloads/queue.html` prints. `next_ms` is when to ask again, 0 for never."""

    groups: tuple[GroupView, ...]
    stamp: str
    next_ms: int
    speed_bps: int
    speed: str
    running: int
    waiting: int
    left: str
    limit: str
    can_pause: bool
    can_resume: bool
    notice: str = ""
    notice_tone: str = "failed"
    examples: tuple[Example, ...] = ()


@dataclass(frozen=True, slots=True)
class Example:
    url: str
    source: str
    title: str
    note: str


EXAMPLES = (
    Example(
        "https://civitai.com/models/122359/detail-tweaker-xl",
        "civitai",
        "Detail Tweaker XL",
        "a LoRA from CivitAI, 228 MB",
    ),
    Example(
        "https://huggingface.co/madebyollin/sdxl-vae-fp16-fix/blob/main/sdxl_vae.safetensors",
        "huggingface",
        "SDXL VAE fp16 fix",
        "one file of a HuggingFace repository, 335 MB",
    ),
    Example(
        "https://github.com/xinntao/Real-ESRGAN/releases/download/v0.1.0/RealESRGAN_x4plus.pth",
        "direct",
        "RealESRGAN x4plus",
        "an upscaler by direct link, 67 MB",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What the page asks for: bundles to unfold, a group to show whole, the age of what it has."""

    unfolded: Collection[int] = ()
    whole: str = ""
    dismissed: Collection[int] = ()
    since: datetime | None = None


def board_of(user: Any, look: Look, *, notice: str = "") -> Board:
    """The queue of what this user may see."""
    now = timezone.now()
    outlines = _outlines(user, look, now)
    grouped = _in_groups(outlines)
    shown = {
        group: items[: MOST_ROWS if look.whole == group else ROWS_PER_GROUP]
        for group, items in grouped.items()
    }
    visible = [item for items in shown.values() for item in items]
    wanted = [item["pk"] for item in visible if _is_fresh(item, look, now)]
    rows = _rows(user, wanted)
    children = _children([item["pk"] for item in visible if item["is_bundle"]])
    ahead = _places_in_line(visible, children)
    printer = _Printer(rows, children, ahead, user.pk, look, now)
    views = tuple(
        GroupView(
            group.value,
            title,
            len(grouped[group]),
            tuple(printer.row(item) for item in shown[group]),
        )
        for group, title in GROUP_TITLES.items()
        if grouped[group]
    )
    return _summed_up(outlines, views, children, now, notice)


def _outlines(user: Any, look: Look, now: datetime) -> list[dict[str, Any]]:
    midnight = timezone.localtime(now).replace(hour=0, minute=0, second=0, microsecond=0)
    recent = now - timedelta(days=ATTENTION_DAYS)
    rows = (
        Download.objects.of_user(user)
        .top_level()
        .filter(
            ~Q(status__in=FINAL)
            | Q(status=S.FAILED, updated_at__gte=recent)
            | Q(status=S.COMPLETED, completed_at__gte=midnight)
            | Q(status=S.COMPLETED, asset__status=AssetStatus.FLAGGED, updated_at__gte=recent)
            | Q(status=S.CANCELLED, updated_at__gte=midnight)
        )
        .exclude(pk__in=list(look.dismissed), status__in=FINAL)
    )
    return list(rows.order_by("pk").values(*_OUTLINE)[:MOST_ROWS])


def _in_groups(outlines: Iterable[dict[str, Any]]) -> dict[Group, list[dict[str, Any]]]:
    groups: dict[Group, list[dict[str, Any]]] = defaultdict(list)
    for item in outlines:
        is_flagged = item["asset__status"] == AssetStatus.FLAGGED
        groups[presentation.group_of(item["status"], is_flagged=is_flagged)].append(item)
    for group, items in groups.items():
        items.sort(key=_ORDERS[group])
    return groups


def _waiting_order(item: Mapping[str, Any]) -> tuple[Any, ...]:
    """First the line as it is served, then what wakes by itself, then what a person paused."""
    rank = {S.QUEUED: 0, S.RETRY_WAITING: 1, S.PARKED: 2}.get(item["status"], 3)
    due = item["retry_at"].timestamp() if rank in {1, 2} else 0
    return (rank, due, item["priority"], item["position"], item["created_at"], item["pk"])


_ORDERS: dict[Group, Any] = {
    Group.ATTENTION: lambda item: (item["status"] != S.REVIEW, -item["updated_at"].timestamp()),
    Group.RUNNING: lambda item: ((item["started_at"] or item["created_at"]), item["pk"]),
    Group.WAITING: _waiting_order,
    Group.DONE: lambda item: -(item["completed_at"] or item["updated_at"]).timestamp(),
}


def _is_fresh(item: Mapping[str, Any], look: Look, now: datetime) -> bool:
    """Whether the row has to be printed: the page has none, or what it has may be old."""
    if look.since is None or item["status"] in RUNNING or item["pk"] in look.unfolded:
        return True
    if item["status"] in {S.QUEUED, S.RETRY_WAITING, S.PARKED} and (
        int(now.timestamp()) // CLOCK_STEP_S != int(look.since.timestamp()) // CLOCK_STEP_S
    ):
        return True
    return bool(item["updated_at"] >= look.since - MARGIN)


def _rows(user: Any, pks: Sequence[int]) -> dict[int, Download]:
    rows = _printable(Download.objects.of_user(user).filter(pk__in=pks)).annotate(
        version_name=KeyTextTransform("version_name", "source_metadata"),
        preview_kind=_first_preview("kind"),
        preview_level=_first_preview("nsfw_level"),
    )
    return {row.pk: row for row in rows}


def _first_preview(key: str) -> KeyTextTransform:
    return KeyTextTransform(key, KeyTransform("0", KeyTransform("previews", "source_metadata")))


def _printable(rows: DownloadQuerySet) -> DownloadQuerySet:
    return rows.select_related("asset", "initiated_by").only(*_COLUMNS)


def _children(bundles: Sequence[int]) -> dict[int, list[Download]]:
    found: dict[int, list[Download]] = defaultdict(list)
    if bundles:
        for child in _printable(Download.objects.filter(parent__in=bundles)).order_by(
            "position", "pk"
        ):
            found[child.parent_id or 0].append(child)
    return found


def _places_in_line(
    visible: Iterable[Mapping[str, Any]], children: Mapping[int, Sequence[Download]]
) -> dict[int, int]:
    """How many files are served before each waiting one, everybody's counted."""
    waits = any(item["status"] == S.QUEUED for item in visible) or any(
        child.status == S.QUEUED for files in children.values() for child in files
    )
    if not waits:
        return {}
    line = Download.objects.waiting().in_queue_order().values_list("pk", flat=True)[:MOST_ROWS]
    return {pk: place for place, pk in enumerate(line)}


@dataclass(frozen=True, slots=True)
class _Printer:
    rows: Mapping[int, Download]
    children: Mapping[int, Sequence[Download]]
    ahead: Mapping[int, int]
    viewer_id: int
    look: Look
    now: datetime

    def row(self, item: Mapping[str, Any]) -> Row:
        row = self.rows.get(item["pk"])
        if row is None:
            return presentation.kept_row(item["pk"], item["status"])
        has_picture = getattr(row, "preview_kind", None) == "image"
        return presentation.row_of(
            row,
            now=self.now,
            children=self.children.get(row.pk, ()),
            positions=self.ahead,
            unfold=row.pk in self.look.unfolded,
            picture=reverse("downloads:picture", args=[row.pk]) if has_picture else "",
            viewer_id=self.viewer_id,
        )


def _summed_up(
    outlines: Sequence[Mapping[str, Any]],
    groups: tuple[GroupView, ...],
    children: Mapping[int, Sequence[Download]],
    now: datetime,
    notice: str,
) -> Board:
    statuses = [item["status"] for item in outlines]
    files = [item for item in outlines if not item["is_bundle"]]
    files += [
        {
            "status": child.status,
            "file_size_bytes": child.file_size_bytes,
            "downloaded_bytes": child.downloaded_bytes,
            "download_speed_bps": child.download_speed_bps,
        }
        for siblings in children.values()
        for child in siblings
    ]
    speed = sum(
        item["download_speed_bps"] or 0 for item in files if item["status"] == S.DOWNLOADING
    )
    left = sum(
        max(0, (item["file_size_bytes"] or 0) - item["downloaded_bytes"])
        for item in files
        if item["status"] in {S.DOWNLOADING, S.QUEUED}
    )
    limit = settings.MAX_BYTES_PER_SECOND
    return Board(
        groups=groups,
        stamp=now.isoformat(),
        next_ms=_ask_again_ms(outlines, now),
        speed_bps=speed,
        speed=wording.speed_in_words(speed) if speed else "0 MB/s",
        running=sum(status in RUNNING for status in statuses),
        waiting=sum(presentation.group_of(status) is Group.WAITING for status in statuses),
        left=_left_in_words(left, speed),
        limit=wording.speed_in_words(limit) if limit else "none",
        can_pause=any(status in {S.DOWNLOADING, S.QUEUED} for status in statuses),
        can_resume=S.PAUSED in statuses,
        notice=notice,
        examples=() if groups else EXAMPLES,
    )


def _left_in_words(left: int, speed: int) -> str:
    if not left:
        return ""
    size = wording.bytes_in_words(left)
    return f"{size}, {wording.duration_in_words(left / speed)}" if speed else size


def _ask_again_ms(outlines: Sequence[Mapping[str, Any]], now: datetime) -> int:
    """A second while bytes move; until the next due time while only clocks run; else not at all."""
    statuses = {item["status"] for item in outlines}
    if statuses & RUNNING:
        return 1000
    if S.QUEUED in statuses:
        return 2000
    due = [
        (item["retry_at"] - now).total_seconds()
        for item in outlines
        if item["status"] in {S.RETRY_WAITING, S.PARKED} and item["retry_at"]
    ]
    if not due:
        return 0
    return int(1000 * min(30.0, max(1.0, min(due) + 0.5)))
