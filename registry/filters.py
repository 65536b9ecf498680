"""Filters of the asset list, for the API and the library page."""

from __future__ import annotations

from typing import Any

from django.db.models import Q, QuerySet
from django_filters import rest_framework as filters

from registry.models import MODEL_TYPE_CHOICES, Asset, AssetStatus


class AssetFilter(filters.FilterSet):
    type = filters.ChoiceFilter(field_name="asset_type", choices=MODEL_TYPE_CHOICES)
    status = filters.ChoiceFilter(choices=AssetStatus.choices)
    base_model = filters.CharFilter(
        method="by_base_model", max_length=100, help_text="A base model or a family."
    )
    source = filters.CharFilter(field_name="source_type", max_length=32)
    search = filters.CharFilter(
        method="by_text", max_length=200, help_text="In name, file name, creator and version."
    )

    class Meta:
        model = Asset
        fields = ("type", "status", "base_model", "source", "search")

    def by_base_model(self, rows: QuerySet[Asset], name: str, value: Any) -> QuerySet[Asset]:
        return rows.filter(Q(base_model__iexact=value) | Q(base_model_family__iexact=value))

    def by_text(self, rows: QuerySet[Asset], name: str, value: Any) -> QuerySet[Asset]:
        """Every word must occur somewhere."""
        for word in str(value).split()[:10]:
            rows = rows.filter(
                Q(name__icontains=word)
                | Q(relative_path__icontains=word)
                | Q(creator__icontains=word)
                | Q(version_name__icontains=word)
            )
        return rows
