"""What lies on disk, and where things go: roots, assets with their companions, placement rules."""

from __future__ import annotations

from pathlib import PurePosixPath

from django.conf import settings
from django.db import models
from django.db.models.functions import Lower

from registry.placement import virtual_path
from sources.resolution import ModelType

MODEL_TYPE_CHOICES = [(kind.value, kind.value.replace("_", " ")) for kind in ModelType]


class Root(models.Model):
    """A directory that holds models. The first is `MODELYARD_MODELS_DIR`; rules write below it.

    A marker file of the row's `marker` lies in every root: a directory without it is not mounted.
    """

    path = models.CharField(max_length=1024, unique=True)
    label = models.CharField(max_length=100)
    writable = models.BooleanField(default=True)
    is_default = models.BooleanField(default=False)
    marker = models.UUIDField(unique=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=("is_default",), condition=models.Q(is_default=True), name="one_default_root"
            ),
        )

    def __str__(self) -> str:
        return self.label


class AssetStatus(models.TextChoices):
    ACTIVE = "active", "active"
    FLAGGED = "flagged", "flagged"
    MISSING = "missing", "missing"
    CORRUPT = "corrupt", "corrupt"
    DELETING = "deleting", "deleting"


class Verification(models.TextChoices):
    VERIFIED = "verified", "verified"
    UNVERIFIED = "unverified", "unverified"
    MISMATCH = "mismatch", "mismatch"
    ACCEPTED = "accepted", "accepted"


class Safety(models.TextChoices):
    """What the scan of the bytes said; pickles are scanned, never loaded."""

    SAFE = "safe", "safe format"
    HARMLESS_PICKLE = "harmless_pickle", "pickle, harmless"
    SUSPICIOUS = "suspicious", "suspicious"
    DANGEROUS = "dangerous", "dangerous"


class AssetQuerySet(models.QuerySet["Asset"]):
    def active(self) -> AssetQuerySet:
        return self.filter(status=AssetStatus.ACTIVE)

    def at(self, root: Root, path_key: str) -> AssetQuerySet:
        """Whoever holds that place, whatever its status."""
        return self.filter(root=root, path_key=path_key)

    def with_digest(self, digest: str) -> AssetQuerySet:
        """Assets whose digest of any algorithm is `digest`: the length says which it can be."""
        digest = digest.strip().lower()
        columns = DIGEST_COLUMNS.get(len(digest), ())
        wanted = models.Q(pk__in=())
        for column in columns:
            wanted |= models.Q(**{column: digest})
        return self.filter(wanted)


#: Number of hex digits → columns that may hold such a digest. Ten digits are CivitAI's AutoV2, the
#: beginning of the SHA-256.
DIGEST_COLUMNS: dict[int, tuple[str, ...]] = {
    8: ("crc32",),
    10: ("checksum_sha256__startswith",),
    12: ("autov3",),
    40: ("git_sha1",),
    64: ("checksum_sha256", "blake3", "autov3"),
}


class Asset(models.Model):
    """One registered model file. `relative_path` is POSIX, below the root.

    A flagged asset's bytes lie at `quarantine_path`, relative to the root's quarantine, until they
    are accepted.
    """

    root = models.ForeignKey(Root, on_delete=models.PROTECT, related_name="assets")
    relative_path = models.CharField(max_length=1024)
    #: NFC and case-folded: two names that one file system would take for one are one here.
    path_key = models.CharField(max_length=1024)
    quarantine_path = models.CharField(max_length=1024, default="", blank=True)

    name = models.CharField(max_length=300)
    asset_type = models.CharField(max_length=32, choices=MODEL_TYPE_CHOICES)
    status = models.CharField(
        max_length=16, choices=AssetStatus.choices, default=AssetStatus.ACTIVE
    )
    flag_reason = models.TextField(default="", blank=True)
    verification = models.CharField(
        max_length=16, choices=Verification.choices, default=Verification.UNVERIFIED
    )
    safety = models.CharField(max_length=16, choices=Safety.choices, default=Safety.SAFE)
    warnings = models.JSONField(default=list, blank=True)

    checksum_sha256 = models.CharField(max_length=64, db_index=True)
    expected_sha256 = models.CharField(max_length=64, default="", blank=True)
    git_sha1 = models.CharField(max_length=40, default="", blank=True)
    blake3 = models.CharField(max_length=64, default="", blank=True, db_index=True)
    autov3 = models.CharField(max_length=64, default="", blank=True, db_index=True)
    crc32 = models.CharField(max_length=8, default="", blank=True)
    file_size_bytes = models.BigIntegerField()
    mtime_ns = models.BigIntegerField(null=True, blank=True)
    inode = models.BigIntegerField(null=True, blank=True)

    base_model = models.CharField(max_length=100, default="", blank=True)
    base_model_family = models.CharField(max_length=100, default="", blank=True)
    version_name = models.CharField(max_length=300, default="", blank=True)
    format = models.CharField(max_length=32, default="", blank=True)
    precision = models.CharField(max_length=32, default="", blank=True)
    description = models.TextField(default="", blank=True)
    trigger_words = models.JSONField(default=list, blank=True)
    tags = models.JSONField(default=list, blank=True)
    creator = models.CharField(max_length=200, default="", blank=True)
    licence = models.JSONField(default=dict, blank=True)
    nsfw = models.BooleanField(default=False)
    nsfw_level = models.IntegerField(default=0)

    source_type = models.CharField(max_length=32, default="", blank=True)
    source_url = models.CharField(max_length=2048, default="", blank=True)
    source_reference = models.CharField(max_length=2048, default="", blank=True)
    source_model_id = models.CharField(max_length=300, default="", blank=True)
    source_version_id = models.CharField(max_length=300, default="", blank=True)
    source_file_id = models.CharField(max_length=1024, default="", blank=True)
    #: `source_metadata` (the resolution) and `inspection` (what the file's own header says).
    metadata = models.JSONField(default=dict, blank=True)
    #: Columns that a person has changed: a refresh from the source leaves them alone.
    edited_fields = models.JSONField(default=list, blank=True)

    added_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    verified_at = models.DateTimeField(null=True, blank=True)
    #: Wishes that a task answers; one that is still set after a while is sent again.
    verify_requested_at = models.DateTimeField(null=True, blank=True)
    refresh_requested_at = models.DateTimeField(null=True, blank=True)
    refresh_error = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = AssetQuerySet.as_manager()

    class Meta:
        indexes = (
            models.Index(fields=("source_type", "source_version_id", "source_file_id")),
            models.Index(fields=("asset_type", "base_model_family")),
            models.Index(fields=("-created_at",)),
        )
        constraints = (
            models.UniqueConstraint(fields=("root", "path_key"), name="one_asset_per_path"),
            models.CheckConstraint(
                condition=models.Q(status__in=[*AssetStatus]), name="asset_status_known"
            ),
            models.CheckConstraint(
                condition=models.Q(asset_type__in=[*ModelType]), name="asset_type_known"
            ),
            models.CheckConstraint(
                condition=models.Q(verification__in=[*Verification]),
                name="asset_verification_known",
            ),
            models.CheckConstraint(
                condition=models.Q(file_size_bytes__gte=0), name="asset_size_not_negative"
            ),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def file_name(self) -> str:
        return PurePosixPath(self.relative_path).name

    @property
    def virtual_path(self) -> str:
        """Where the file is for people: below `/models/`, never the machine's path."""
        return virtual_path(self.relative_path)


class Companion(models.Model):
    """A file that belongs to a model but is no model: configs, tokenizers, workflow notes.

    `bundle_key` joins the files of one snapshot until `asset` is known.
    """

    asset = models.ForeignKey(
        Asset, null=True, blank=True, on_delete=models.CASCADE, related_name="companions"
    )
    root = models.ForeignKey(Root, on_delete=models.PROTECT, related_name="companions")
    relative_path = models.CharField(max_length=1024)
    path_key = models.CharField(max_length=1024)
    bundle_key = models.CharField(max_length=64, default="", blank=True, db_index=True)
    checksum_sha256 = models.CharField(max_length=64)
    file_size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=("root", "path_key"), name="one_companion_per_path"),
        )

    def __str__(self) -> str:
        return self.relative_path

    @property
    def virtual_path(self) -> str:
        return virtual_path(self.relative_path)


class PreviewStatus(models.TextChoices):
    PENDING = "pending", "pending"
    READY = "ready", "ready"
    FAILED = "failed", "failed"


class AssetPreview(models.Model):
    """A picture of an asset, re-encoded by us and served from our own path."""

    asset = models.ForeignKey(Asset, on_delete=models.CASCADE, related_name="previews")
    source_url = models.CharField(max_length=2048)
    status = models.CharField(
        max_length=16, choices=PreviewStatus.choices, default=PreviewStatus.PENDING
    )
    file_name = models.CharField(max_length=200, default="", blank=True)
    width = models.IntegerField(null=True, blank=True)
    height = models.IntegerField(null=True, blank=True)
    nsfw_level = models.IntegerField(default=0)
    position = models.IntegerField(default=0)
    error_message = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ("position", "pk")
        constraints = (
            models.UniqueConstraint(fields=("asset", "source_url"), name="one_preview_per_url"),
        )

    def __str__(self) -> str:
        return f"preview {self.position} of {self.asset}"


class PlacementRule(models.Model):
    """Type and base model → directory. A leading `/models/` is the models directory itself.

    Of the active rules that match, the highest `priority` wins; then an exact base model beats its
    family, which beats a rule for any base model.
    """

    model_type = models.CharField(max_length=32, choices=MODEL_TYPE_CHOICES, db_index=True)
    base_model = models.CharField(
        max_length=100, null=True, blank=True, help_text="Empty: any base model."
    )
    target_directory = models.CharField(max_length=500)
    priority = models.IntegerField(default=0, help_text="The higher one is tried first.")
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        ordering = ("model_type", "-priority", Lower("base_model"))
        indexes = (
            models.Index(
                fields=("is_active",), condition=models.Q(is_active=True), name="active_rules"
            ),
        )

    def __str__(self) -> str:
        return f"{self.model_type}, {self.base_model or 'any'} → {self.target_directory}"
