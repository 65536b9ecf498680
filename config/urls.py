"""All routes: pages, the API, the console. Every package has its own, in two files."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.decorators import login_required
from django.urls import include, path

from config import converters
from config.views import DocsView, SchemaView
from tokens.login import console_login

converters.register()

urlpatterns = [
    path("", include("downloads.page_urls")),
    path("", include("registry.page_urls")),
    path("", include("tokens.page_urls")),
    path("api/", include("downloads.api_urls")),
    path("api/", include("registry.api_urls")),
    path("api/", include("tokens.api_urls")),
    path("", include("ops.api_urls")),
    path("api/schema", SchemaView.as_view(), name="schema"),
    path("api/docs", login_required(DocsView.as_view(url_name="schema")), name="api-docs"),
    path("admin/login/", console_login),
    path("admin/", admin.site.urls),
]

handler400 = "config.views.bad_request"
handler403 = "config.views.forbidden"
handler404 = "config.views.not_found"
handler500 = "config.views.server_error"
