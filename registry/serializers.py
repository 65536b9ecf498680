"""Inputs and answers of the registry's API. An answer never says where a root lies on disk."""

from __future__ import annotations

import re
from typing import Any

from django.urls import reverse
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from config.api import StrictSerializer
from registry.errors import PlacementNotPossible
from registry.models import (
    DIGEST_COLUMNS,
    MODEL_TYPE_CHOICES,
    Asset,
    AssetPreview,
    Companion,
    PlacementRule,
)
from registry.placement import clean_target

MAX_PRIORITY = 1_000_000
HEX = re.compile(r"[0-9a-f]+", re.ASCII)


class PreviewSerializer(serializers.ModelSerializer[AssetPreview]):
    url = serializers.SerializerMethodField(help_text="Our own picture; null until it is there.")

    class Meta:
        model = AssetPreview
        fields = ("position", "status", "url", "width", "height", "nsfw_level", "error_message")

    @extend_schema_field({"type": "string", "nullable": True})
    def get_url(self, preview: AssetPreview) -> str | None:
        if preview.status != "ready":
            return None
        return reverse("asset-preview-file", args=(preview.asset_id, preview.position))


class CompanionSerializer(serializers.ModelSerializer[Companion]):
    file_path = serializers.CharField(source="virtual_path")

    class Meta:
        model = Companion
        fields = ("file_path", "checksum_sha256", "file_size_bytes")


class AssetSerializer(serializers.ModelSerializer[Asset]):
    """One asset in a list. `file_path` is virtual: `/models/` is the models directory."""

    file_path = serializers.CharField(source="virtual_path")
    file_name = serializers.CharField()
    root = serializers.CharField(source="root.label")  # type: ignore[assignment]  # DRF's own
    trigger_words = serializers.ListField(child=serializers.CharField())
    tags = serializers.ListField(child=serializers.CharField())
    warnings = serializers.ListField(child=serializers.CharField())
    edited_fields = serializers.ListField(child=serializers.CharField())
    licence = serializers.DictField()
    added_by = serializers.CharField(source="added_by.username", allow_null=True, default=None)
    previews = PreviewSerializer(many=True)

    class Meta:
        model = Asset
        fields: tuple[str, ...] = (
            "id",
            "name",
            "asset_type",
            "status",
            "flag_reason",
            "verification",
            "safety",
            "warnings",
            "root",
            "file_path",
            "file_name",
            "file_size_bytes",
            "checksum_sha256",
            "expected_sha256",
            "git_sha1",
            "blake3",
            "autov3",
            "crc32",
            "base_model",
            "base_model_family",
            "version_name",
            "format",
            "precision",
            "description",
            "trigger_words",
            "tags",
            "creator",
            "licence",
            "nsfw",
            "nsfw_level",
            "source_type",
            "source_url",
            "source_reference",
            "source_model_id",
            "source_version_id",
            "source_file_id",
            "edited_fields",
            "previews",
            "added_by",
            "verified_at",
            "verify_requested_at",
            "refresh_requested_at",
            "refresh_error",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class AssetDetailSerializer(AssetSerializer):
    """One asset with its companions and all that its source and its own header said."""

    companions = CompanionSerializer(many=True)
    metadata = serializers.DictField()

    class Meta(AssetSerializer.Meta):
        fields = (*AssetSerializer.Meta.fields, "companions", "metadata")
        read_only_fields = fields


class AssetEdit(StrictSerializer):
    name = serializers.CharField(max_length=300, required=False)
    asset_type = serializers.ChoiceField(choices=MODEL_TYPE_CHOICES, required=False)
    base_model = serializers.CharField(max_length=100, required=False, allow_blank=True)
    trigger_words = serializers.ListField(
        child=serializers.CharField(max_length=500), max_length=200, required=False
    )
    description = serializers.CharField(
        max_length=100_000, required=False, allow_blank=True, help_text="HTML; it is sanitised."
    )
    tags = serializers.ListField(
        child=serializers.CharField(max_length=500), max_length=200, required=False
    )


class EmptyInput(StrictSerializer):
    """A command without options."""


class AcceptInput(StrictSerializer):
    reason = serializers.CharField(
        max_length=1000, help_text="Why these bytes are trusted; kept in the audit log."
    )


class RefreshManyInput(StrictSerializer):
    ids = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**53),
        max_length=1000,
        required=False,
        help_text="Assets to refresh; without it every asset that has a source.",
    )


class RefreshManyAnswer(serializers.Serializer[Any]):
    requested = serializers.IntegerField(help_text="How many assets will be refreshed.")


class DigestInput(StrictSerializer):
    """Any digest that an asset can be known by."""

    digest = serializers.CharField(max_length=64)

    def validate_digest(self, value: str) -> str:
        digest = value.strip().lower()
        if len(digest) not in DIGEST_COLUMNS or not HEX.fullmatch(digest):
            raise serializers.ValidationError(
                "Give a SHA-256 or BLAKE3 (64 hex digits), git SHA-1 (40), AutoV3 (12 or 64), "
                "AutoV2 (10) or CRC32 (8)."
            )
        return digest


class RuleSerializer(serializers.ModelSerializer[PlacementRule]):
    class Meta:
        model = PlacementRule
        fields = (
            "id",
            "model_type",
            "base_model",
            "target_directory",
            "priority",
            "is_active",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class RuleInput(StrictSerializer):
    model_type = serializers.ChoiceField(choices=MODEL_TYPE_CHOICES)
    base_model = serializers.CharField(
        max_length=100,
        required=False,
        allow_null=True,
        allow_blank=True,
        help_text="A base model or a family; null: any.",
    )
    target_directory = serializers.CharField(
        max_length=500, help_text="Such as /models/loras/sdxl/; /models/ is the models directory."
    )
    priority = serializers.IntegerField(
        min_value=-MAX_PRIORITY, max_value=MAX_PRIORITY, required=False
    )
    is_active = serializers.BooleanField(required=False)

    def validate_target_directory(self, value: str) -> str:
        try:
            return clean_target(value)
        except PlacementNotPossible as exc:
            raise serializers.ValidationError(exc.message) from exc


class PlacementQuestion(StrictSerializer):
    model_type = serializers.ChoiceField(choices=MODEL_TYPE_CHOICES)
    base_model = serializers.CharField(max_length=100, required=False, allow_blank=True, default="")
    base_model_family = serializers.CharField(
        max_length=100,
        required=False,
        allow_blank=True,
        default="",
        help_text="Found from the base model when it is left out.",
    )
    file_name = serializers.CharField(max_length=255, required=False, default="model.safetensors")
    folder = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")


class RuleValueSerializer(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="rule_id")
    model_type = serializers.ChoiceField(choices=MODEL_TYPE_CHOICES)
    base_model = serializers.CharField(allow_blank=True)
    target_directory = serializers.CharField()
    priority = serializers.IntegerField()
    is_active = serializers.BooleanField()


class CandidateSerializer(serializers.Serializer[Any]):
    rule = RuleValueSerializer()
    match = serializers.SerializerMethodField()
    won = serializers.BooleanField()
    reason = serializers.CharField()

    @extend_schema_field({"type": "string", "enum": ["exact", "family", "any", "none"]})
    def get_match(self, candidate: Any) -> str:
        return str(candidate.match.name.lower())


class PlacementAnswer(serializers.Serializer[Any]):
    target_path = serializers.CharField(source="virtual_path")
    rule_id = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField(help_text="Which rule won and why.")
    candidates = CandidateSerializer(many=True, help_text="Every rule of the type, best first.")
