"""Signing in and out, and a person's own settings."""

from __future__ import annotations

from django.contrib.auth.views import LogoutView
from django.urls import path

from tokens import views
from tokens.login import LimitedLoginView

urlpatterns = [
    path("login", LimitedLoginView.as_view(), name="login"),
    path("logout", LogoutView.as_view(), name="logout"),
    path("theme", views.theme, name="theme"),
    path("settings", views.settings_page, name="settings"),
    path("settings/tokens/<slug:service>/save", views.token_save, name="token-save"),
    path("settings/tokens/<slug:service>/check", views.token_check, name="token-check"),
    path("settings/tokens/<slug:service>/delete", views.token_delete, name="token-delete"),
    path("settings/keys", views.key_create, name="key-create"),
    path("settings/keys/<id:pk>/revoke", views.key_revoke, name="key-revoke"),
]
