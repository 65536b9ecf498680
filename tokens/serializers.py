"""Secrets go in; what comes out says which one it is."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from config.api import StrictSerializer
from tokens.models import ApiKey, ApiToken, Service, Validity


class SaveTokenSerializer(StrictSerializer):
    #: A plain text, so that a token pasted here by mistake is not repeated as "not a valid choice".
    service_name = serializers.CharField(
        max_length=32, help_text=f"One of {', '.join(Service.values)}."
    )
    token = serializers.CharField(
        trim_whitespace=False, allow_blank=True, write_only=True, help_text="Never shown again."
    )


class TokenSerializer(serializers.ModelSerializer[ApiToken]):
    validity = serializers.ChoiceField(choices=Validity.choices)

    class Meta:
        model = ApiToken
        fields = (
            "service_name",
            "token_hint",
            "is_valid",
            "validity",
            "account",
            "last_used_at",
            "checked_at",
            "created_at",
            "updated_at",
        )
        read_only_fields = fields


class CreateKeySerializer(StrictSerializer):
    name = serializers.CharField(max_length=100, allow_blank=True, default="")


class KeySerializer(serializers.ModelSerializer[ApiKey]):
    class Meta:
        model = ApiKey
        fields = ("id", "name", "prefix", "created_at", "last_used_at")
        read_only_fields = fields


class NewKeySerializer(serializers.ModelSerializer[ApiKey]):
    key = serializers.SerializerMethodField(help_text="The whole key; shown this once.")

    class Meta:
        model = ApiKey
        fields = (*KeySerializer.Meta.fields, "key")
        read_only_fields = fields

    def get_key(self, _key: ApiKey) -> str:
        plain: Any = self.context["plain"]
        return str(plain)
