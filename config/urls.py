"""All routes: pages, the API, the console. Every package has its own, in two files."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

urlpatterns = [
    path("", include("downloads.page_urls")),
    path("", include("registry.page_urls")),
    path("", include("tokens.page_urls")),
    path("api/", include("downloads.api_urls")),
    path("api/", include("registry.api_urls")),
    path("api/", include("tokens.api_urls")),
    path("", include("ops.api_urls")),
    path("api/schema", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs", SpectacularSwaggerView.as_view(url_name="schema"), name="api-docs"),
    path("admin/", admin.site.urls),
]
