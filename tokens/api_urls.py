from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from tokens.api import KeyListView, KeyView, TokenListView, TokenView

urlpatterns: list[URLPattern | URLResolver] = [
    path("user/api-tokens", TokenListView.as_view(), name="api-tokens"),
    path("user/api-tokens/<str:service>", TokenView.as_view(), name="api-token"),
    path("user/api-keys", KeyListView.as_view(), name="api-keys"),
    path("user/api-keys/<int:key_id>", KeyView.as_view(), name="api-key"),
]
