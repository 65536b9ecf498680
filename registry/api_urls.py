from __future__ import annotations

from django.urls import URLPattern, URLResolver, path

from registry import api

urlpatterns: list[URLPattern | URLResolver] = [
    path("assets", api.AssetListView.as_view(), name="asset-list"),
    path("assets/refresh", api.RefreshManyView.as_view(), name="asset-refresh-many"),
    path("assets/by-hash/<str:digest>", api.ByHashView.as_view(), name="asset-by-hash"),
    path("assets/<id:pk>", api.AssetView.as_view(), name="asset-detail"),
    path("assets/<id:pk>/refresh", api.RefreshView.as_view(), name="asset-refresh"),
    path("assets/<id:pk>/preview", api.PreviewView.as_view(), name="asset-preview"),
    path("assets/<id:pk>/verify", api.VerifyView.as_view(), name="asset-verify"),
    path("assets/<id:pk>/accept", api.AcceptView.as_view(), name="asset-accept"),
    path(
        "assets/<id:pk>/previews/<id:position>",
        api.PreviewFileView.as_view(),
        name="asset-preview-file",
    ),
    path("previews", api.ThumbnailView.as_view(), name="preview-thumbnail"),
    path("admin/placement-rules", api.RuleListView.as_view(), name="placement-rule-list"),
    path(
        "admin/placement-rules/preview",
        api.RulePreviewView.as_view(),
        name="placement-rule-preview",
    ),
    path("admin/placement-rules/<id:pk>", api.RuleView.as_view(), name="placement-rule-detail"),
]
