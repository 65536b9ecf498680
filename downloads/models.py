"""The queue: a download is a row, and the row is the truth."""

from __future__ import annotations

import time
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from downloads.states import FINAL, RUNNING, DownloadStatus
from registry.models import MODEL_TYPE_CHOICES, Asset, Root, Verification
from sources.resolution import FileRole

STATUS_CHOICES = [(status.value, status.value.replace("_", " ")) for status in DownloadStatus]


class OnDuplicate(models.TextChoices):
    LINK = "link", "use the file that is here"
    SKIP = "skip", "do not download"
    OVERWRITE = "overwrite", "replace it"
    KEEP = "keep", "keep both"


class Priority(models.IntegerChoices):
    REPAIR = 1, "repair"
    USER = 2, "user"
    EXPANSION = 3, "expansion"


def position_now() -> int:
    return time.time_ns() // 1000


class DownloadQuerySet(models.QuerySet["Download"]):
    def of_user(self, user: Any) -> DownloadQuerySet:
        """What this user may see: their own; everything for who may see figures and activity."""
        if user.has_perm("ops.view_analytics"):
            return self
        return self.filter(initiated_by=user)

    def commanded_by(self, user: Any) -> DownloadQuerySet:
        """What this user may pause, cancel or finish: their own; everything for admins, who run
        jobs. To see a download is not to command it: operators watch."""
        if user.has_perm("ops.run_job"):
            return self
        return self.filter(initiated_by=user)

    def top_level(self) -> DownloadQuerySet:
        return self.filter(parent__isnull=True)

    def files(self) -> DownloadQuerySet:
        """Rows that move bytes: everything but bundles."""
        return self.filter(is_bundle=False)

    def unfinished(self) -> DownloadQuerySet:
        return self.exclude(status__in=FINAL)

    def running(self) -> DownloadQuerySet:
        return self.files().filter(status__in=RUNNING)

    def waiting(self) -> DownloadQuerySet:
        """Files that wait for a slot."""
        return self.files().filter(status=DownloadStatus.QUEUED)

    def unowned(self) -> DownloadQuerySet:
        """Nobody holds them: no owner, or one whose lease ran out by the database's clock."""
        return self.filter(models.Q(owner="") | models.Q(lease_expires_at__lt=Now()))

    def in_queue_order(self) -> DownloadQuerySet:
        return self.order_by("priority", "position", "created_at", "pk")


class Download(models.Model):
    """One requested file, or a bundle whose children are files."""

    status = models.CharField(
        max_length=16, choices=STATUS_CHOICES, default=DownloadStatus.QUEUED, db_index=True
    )
    public_id = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)

    source_type = models.CharField(max_length=32, db_index=True)
    #: What a person would open; queries that may hold secrets are cut off.
    source_url = models.CharField(max_length=2048)
    #: Canonical reference text without secrets; with `source_file_id` it names the bytes.
    source_reference = models.CharField(max_length=2048)
    #: Encrypted full URL of a direct link whose query may be a secret.
    source_secret = models.BinaryField(null=True, blank=True)
    source_model_id = models.CharField(max_length=300, null=True, blank=True)
    source_version_id = models.CharField(max_length=300, null=True, blank=True)
    source_file_id = models.CharField(max_length=1024, default="", blank=True)
    #: SHA-256 over source, version and file: two rows with the same key want the same bytes.
    source_key = models.CharField(max_length=64, db_index=True)
    source_metadata = models.JSONField(default=dict, blank=True)

    model_name = models.CharField(max_length=300)
    model_type = models.CharField(max_length=32, choices=MODEL_TYPE_CHOICES)
    base_model = models.CharField(max_length=100, null=True, blank=True)
    base_model_family = models.CharField(max_length=100, default="", blank=True)
    file_name = models.CharField(max_length=255)
    file_role = models.CharField(
        max_length=16, choices=[(r.value, r.value) for r in FileRole], default=FileRole.WEIGHTS
    )
    file_size_bytes = models.BigIntegerField(null=True, blank=True)
    downloaded_bytes = models.BigIntegerField(default=0)
    download_speed_bps = models.BigIntegerField(null=True, blank=True)
    progress_at = models.DateTimeField(null=True, blank=True)

    #: Virtual path below `/models/`, never the machine's.
    target_path = models.CharField(max_length=1200, null=True, blank=True)
    #: A folder that a person chose instead of the rule's; relative to the models directory.
    target_folder = models.CharField(max_length=500, default="", blank=True)
    #: The folder of a snapshot below the rule's, and the file's path inside it.
    bundle_folder = models.CharField(max_length=200, default="", blank=True)
    bundle_path = models.CharField(max_length=1024, default="", blank=True)

    expected_hash = models.CharField(max_length=64, null=True, blank=True, db_index=True)
    expected_git_sha1 = models.CharField(max_length=40, default="", blank=True)
    actual_hash = models.CharField(max_length=64, null=True, blank=True)
    actual_git_sha1 = models.CharField(max_length=40, default="", blank=True)
    hash_verified = models.BooleanField(default=False)
    hash_mismatch = models.BooleanField(default=False)
    #: What the server called the bytes; the validity gate wants to know.
    content_type = models.CharField(max_length=200, default="", blank=True)
    verification = models.CharField(
        max_length=16, choices=Verification.choices, default="", blank=True
    )
    #: What the validity gate and the scanner said; see `registry.inspect.verdict`.
    verdict = models.JSONField(default=dict, blank=True)

    asset = models.ForeignKey(
        Asset, null=True, blank=True, on_delete=models.SET_NULL, related_name="downloads"
    )
    error_code = models.CharField(max_length=64, default="", blank=True)
    error_message = models.TextField(null=True, blank=True)
    warnings = models.JSONField(default=list, blank=True)

    #: The fence: grows with every claim of a slot.
    attempt = models.IntegerField(default=0)
    #: What the user asked for again.
    retry_count = models.IntegerField(default=0)
    #: Workers that died with this row; three are enough.
    crash_count = models.IntegerField(default=0)
    #: Tries by the retry policy since the last time a person asked.
    auto_retry_count = models.IntegerField(default=0)
    #: One full re-download is made after a mismatch.
    mismatch_count = models.IntegerField(default=0)
    #: Due time of retry_waiting and parked.
    retry_at = models.DateTimeField(null=True, blank=True, db_index=True)

    owner = models.CharField(max_length=100, default="", blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    pickup_deadline = models.DateTimeField(null=True, blank=True)
    #: Noted before publishing: where the file is about to be.
    publish_root = models.ForeignKey(
        Root, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    publish_path = models.CharField(max_length=1024, default="", blank=True)

    priority = models.SmallIntegerField(choices=Priority.choices, default=Priority.USER)
    #: Microseconds at which the row was made: users reorder by exchanging the values of their rows.
    position = models.BigIntegerField(default=position_now)
    on_duplicate = models.CharField(
        max_length=16, choices=OnDuplicate.choices, default=OnDuplicate.LINK
    )
    review = models.BooleanField(default=False)
    reviewed = models.BooleanField(default=False)

    parent = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="children"
    )
    is_bundle = models.BooleanField(default=False)
    initiated_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="downloads",
    )

    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = DownloadQuerySet.as_manager()

    class Meta:
        permissions = (("request_content", "Can request downloads"),)
        indexes = (
            models.Index(fields=("status", "priority", "position", "created_at")),
            models.Index(fields=("status", "lease_expires_at")),
        )
        constraints = (
            models.CheckConstraint(
                condition=models.Q(status__in=[*DownloadStatus]), name="download_status_known"
            ),
            models.CheckConstraint(
                condition=models.Q(downloaded_bytes__gte=0), name="download_bytes_not_negative"
            ),
            models.CheckConstraint(
                condition=~models.Q(status__in=["retry_waiting", "parked"])
                | models.Q(retry_at__isnull=False),
                name="waiting_has_due_time",
            ),
            models.CheckConstraint(
                condition=~models.Q(status="completed") | models.Q(completed_at__isnull=False),
                name="completed_has_time",
            ),
            models.CheckConstraint(
                condition=models.Q(is_bundle=False) | models.Q(owner="", parent__isnull=True),
                name="bundle_is_never_run",
            ),
        )

    def __str__(self) -> str:
        return f"{self.model_name} ({self.file_name})"

    @property
    def is_final(self) -> bool:
        return self.status in FINAL

    @property
    def progress(self) -> float | None:
        """Share of the bytes that are here, 0 to 1; None while the size is unknown."""
        if self.status == DownloadStatus.COMPLETED:
            return 1.0
        if not self.file_size_bytes:
            return None
        return min(1.0, self.downloaded_bytes / self.file_size_bytes)

    @property
    def eta_seconds(self) -> int | None:
        """Seconds until the last byte at the speed of the last few seconds; None when unknown."""
        if (
            self.status != DownloadStatus.DOWNLOADING
            or not self.download_speed_bps
            or self.file_size_bytes is None
        ):
            return None
        return max(0, self.file_size_bytes - self.downloaded_bytes) // self.download_speed_bps


class Slot(models.Model):
    """One of the concurrent transfers; `download` empty means free. Taken by a filtered UPDATE.

    `source_key` is unique, so two slots never fetch the same file of the same source at once.
    """

    number = models.IntegerField(unique=True)
    download = models.OneToOneField(
        Download, null=True, blank=True, on_delete=models.SET_NULL, related_name="slot"
    )
    source_key = models.CharField(max_length=64, null=True, blank=True, unique=True)
    taken_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"slot {self.number}"


class PartialFile(models.Model):
    """The ledger of unfinished bytes: which ranges are durable, and of which version of the file.

    Written per finished range, apart from progress. `file_name` lies in the partials directory of
    `root`; the file's own size says nothing.
    """

    download = models.OneToOneField(Download, on_delete=models.CASCADE, related_name="partial")
    root = models.ForeignKey(Root, on_delete=models.PROTECT, related_name="+")
    file_name = models.CharField(max_length=100)
    size_bytes = models.BigIntegerField(null=True, blank=True)
    etag = models.CharField(max_length=500, default="", blank=True)
    last_modified = models.CharField(max_length=100, default="", blank=True)
    #: Sorted, disjoint [start, end) pairs.
    ranges = models.JSONField(default=list, blank=True)
    restarts = models.IntegerField(default=0)
    updated_at = models.DateTimeField(auto_now=True)

    def __str__(self) -> str:
        return self.file_name


class Sweep(models.Model):
    """A periodic pass, taken with a filtered UPDATE: one process runs it at a time."""

    name = models.CharField(max_length=50, unique=True)
    running_until = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return self.name


class ByteBudget(models.Model):
    """Bytes per second for all processes together; see `downloads.throttle`."""

    name = models.CharField(max_length=50, unique=True)
    #: Everything before this moment is given away.
    spent_until = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
