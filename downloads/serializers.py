"""What the API of the queue accepts and answers."""

from __future__ import annotations

import re
from typing import Any

from rest_framework import serializers

from config.api import StrictSerializer
from downloads import services
from downloads.models import Download, OnDuplicate, Priority
from registry.models import MODEL_TYPE_CHOICES

SHA256 = re.compile(r"[0-9a-f]{64}")
#: More files than any model of the sources has; a bound, not a rule.
MAX_FILES = 500
NO_DIGEST = "0" * 64
USER_PRIORITIES = [(int(p), p.label) for p in (Priority.USER, Priority.EXPANSION)]


class Sha256Field(serializers.CharField):
    """64 hex digits in any case; answers lower case."""

    def to_internal_value(self, data: Any) -> str:
        text = super().to_internal_value(data).lower()
        if not SHA256.fullmatch(text) or text == NO_DIGEST:
            raise serializers.ValidationError("A SHA-256 has 64 hexadecimal digits.")
        return str(text)


class FileIdField(serializers.CharField):
    """The `file_id` of a resolved file: CivitAI's are numbers, HuggingFace's are paths."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=1024, **kwargs)


class LinkSerializer(StrictSerializer):
    url = serializers.CharField(
        max_length=2048, help_text="A CivitAI, HuggingFace or direct link, an AIR, or owner/name."
    )
    file_id = FileIdField(required=False, help_text="One file instead of the chosen ones.")
    files = serializers.ListField(
        child=FileIdField(),
        required=False,
        allow_empty=False,
        max_length=MAX_FILES,
        help_text="Several files instead of the chosen ones; they become one bundle.",
    )
    model_name = serializers.CharField(max_length=300, required=False)
    model_type = serializers.ChoiceField(MODEL_TYPE_CHOICES, required=False)
    base_model = serializers.CharField(max_length=100, required=False, allow_blank=True)
    folder = serializers.CharField(
        max_length=500, required=False, help_text="A folder below the models directory."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if "file_id" in attrs and "files" in attrs:
            raise serializers.ValidationError({"files": "Give file_id or files, not both."})
        return attrs


class ResolveInput(LinkSerializer):
    expected_hash = Sha256Field(required=False)


class CreateInput(LinkSerializer):
    expected_hash = Sha256Field(required=False, help_text="The SHA-256 that the file must have.")
    on_duplicate = serializers.ChoiceField(
        OnDuplicate.choices, required=False, default=OnDuplicate.LINK
    )
    review = serializers.BooleanField(
        required=False, default=False, help_text="Wait for a person before registering."
    )
    priority = serializers.ChoiceField(
        USER_PRIORITIES, required=False, default=Priority.USER, help_text="2 before 3."
    )


class ReorderInput(StrictSerializer):
    priority = serializers.ChoiceField(USER_PRIORITIES, required=False)
    position = serializers.IntegerField(
        required=False,
        min_value=0,
        max_value=2**31 - 1,
        help_text="Place among your own waiting downloads, 0 is the front.",
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if not attrs:
            raise serializers.ValidationError("Give priority, position, or both.")
        return attrs


class FinalizeInput(StrictSerializer):
    model_name = serializers.CharField(max_length=300, required=False)
    model_type = serializers.ChoiceField(MODEL_TYPE_CHOICES, required=False)
    base_model = serializers.CharField(max_length=100, required=False, allow_blank=True)
    folder = serializers.CharField(max_length=500, required=False)


class EmptyInput(StrictSerializer):
    """A command without options."""


class DuplicateInput(StrictSerializer):
    """Exactly one of them."""

    expected_hash = Sha256Field(required=False)
    hash = Sha256Field(required=False)
    sha256 = Sha256Field(required=False)
    url = serializers.CharField(max_length=2048, required=False)

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        if len(attrs) != 1:
            raise serializers.ValidationError("Give one of expected_hash, hash, sha256 or url.")
        return attrs


class DownloadSerializer(serializers.ModelSerializer[Download]):
    """One row, as lists and commands answer it."""

    progress = serializers.FloatField(read_only=True, allow_null=True)
    eta_seconds = serializers.IntegerField(read_only=True, allow_null=True)
    parent_id = serializers.IntegerField(read_only=True, allow_null=True)
    asset_id = serializers.IntegerField(read_only=True, allow_null=True)
    initiated_by = serializers.SlugRelatedField[Any](
        slug_field="username", read_only=True, allow_null=True
    )

    class Meta:
        model = Download
        fields: tuple[str, ...] = (
            "id",
            "status",
            "source_type",
            "source_url",
            "source_reference",
            "source_model_id",
            "source_version_id",
            "source_file_id",
            "model_name",
            "model_type",
            "base_model",
            "base_model_family",
            "file_name",
            "file_role",
            "file_size_bytes",
            "downloaded_bytes",
            "download_speed_bps",
            "eta_seconds",
            "progress",
            "target_path",
            "expected_hash",
            "actual_hash",
            "hash_verified",
            "hash_mismatch",
            "verification",
            "asset_id",
            "error_code",
            "error_message",
            "warnings",
            "retry_count",
            "crash_count",
            "auto_retry_count",
            "retry_at",
            "priority",
            "position",
            "on_duplicate",
            "review",
            "is_bundle",
            "parent_id",
            "initiated_by",
            "started_at",
            "completed_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class DownloadDetailSerializer(DownloadSerializer):
    """One row with everything that the source said."""

    source_metadata = serializers.DictField(read_only=True)
    verdict = serializers.DictField(read_only=True)
    queue_position = serializers.SerializerMethodField(
        help_text="Place in the whole queue, 1 is next; null unless queued."
    )

    class Meta(DownloadSerializer.Meta):
        fields = (*DownloadSerializer.Meta.fields, "source_metadata", "verdict", "queue_position")
        read_only_fields = fields

    def get_queue_position(self, download: Download) -> int | None:
        return services.queue_position(download)


class ExistingAssetSerializer(serializers.Serializer[Any]):
    asset_id = serializers.IntegerField()
    asset_name = serializers.CharField()
    file_path = serializers.CharField(help_text="Below /models/, never the machine's path.")
    status = serializers.CharField()


class DuplicateSerializer(serializers.Serializer[Any]):
    is_duplicate = serializers.BooleanField()
    existing_asset = ExistingAssetSerializer(allow_null=True)
    reason = serializers.CharField(help_text="same_hash, same_source or empty.")
    message = serializers.CharField(help_text="The same in words; empty without a duplicate.")


class ResolvedFileSerializer(serializers.Serializer[Any]):
    file_id = serializers.CharField()
    name = serializers.CharField()
    path = serializers.CharField()
    model_type = serializers.CharField()
    role = serializers.CharField()
    kind = serializers.CharField()
    format = serializers.CharField()
    precision = serializers.CharField()
    size_class = serializers.CharField()
    quantization = serializers.CharField()
    size_bytes = serializers.IntegerField(allow_null=True)
    hashes = serializers.DictField(child=serializers.CharField())
    primary = serializers.BooleanField()
    required = serializers.BooleanField()  # type: ignore[assignment]  # a field, no option
    chosen = serializers.BooleanField()
    pickle_scan = serializers.CharField()
    virus_scan = serializers.CharField()
    scanned_at = serializers.CharField()


class ResolvedSerializer(serializers.Serializer[Any]):
    source_type = serializers.CharField()
    reference = serializers.CharField()
    source_url = serializers.CharField()
    model_name = serializers.CharField()
    model_type = serializers.CharField()
    model_id = serializers.CharField()
    version_id = serializers.CharField()
    version_name = serializers.CharField()
    versions = serializers.ListField(child=serializers.DictField())
    base_model = serializers.CharField()
    base_model_family = serializers.CharField()
    description = serializers.CharField(help_text="Sanitised HTML.")
    trigger_words = serializers.ListField(child=serializers.CharField())
    previews = serializers.ListField(child=serializers.DictField())
    tags = serializers.ListField(child=serializers.CharField())
    creator = serializers.CharField()
    licence = serializers.DictField()
    nsfw = serializers.BooleanField()
    nsfw_level = serializers.IntegerField()
    file_id = serializers.CharField(help_text="Of the main chosen file.")
    file_name = serializers.CharField()
    file_size_bytes = serializers.IntegerField(allow_null=True)
    total_size_bytes = serializers.IntegerField(
        allow_null=True, help_text="Of all chosen files; null when one is unknown."
    )
    expected_hash = serializers.CharField(allow_null=True)
    files = ResolvedFileSerializer(many=True)
    is_bundle = serializers.BooleanField()
    target_path = serializers.CharField()
    target_reason = serializers.CharField()
    free_bytes = serializers.IntegerField(allow_null=True)
    needs_token = serializers.CharField()
    early_access = serializers.BooleanField()
    early_access_until = serializers.DateTimeField(allow_null=True)
    warnings = serializers.ListField(child=serializers.CharField())


class ResolveAnswer(serializers.Serializer[Any]):
    resolved = ResolvedSerializer()
    duplicate = DuplicateSerializer()


class QueueStatusSerializer(serializers.Serializer[Any]):
    counts = serializers.DictField(
        child=serializers.IntegerField(),
        help_text="Files per status; a bundle counts as its files.",
    )
    active = serializers.IntegerField()
    waiting = serializers.IntegerField()
    speed_bps = serializers.IntegerField()
    remaining_bytes = serializers.IntegerField()


class LimitSerializer(serializers.Serializer[Any]):
    name = serializers.CharField()
    used = serializers.IntegerField()
    maximum = serializers.IntegerField()
    resets_at = serializers.DateTimeField(allow_null=True, help_text="When there is room again.")
