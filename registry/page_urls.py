"""The library and the placement rules."""

from __future__ import annotations

from django.urls import path

from registry import views

urlpatterns = [
    path("library", views.library, name="library"),
    path("library/<id:pk>", views.asset_page, name="asset"),
    path("library/<id:pk>/delete", views.asset_delete, name="asset-delete"),
    path("library/<id:pk>/<slug:action>", views.asset_command, name="asset-command"),
    path("settings/placement", views.placement, name="placement"),
    path("settings/placement/where", views.placement_where, name="placement-where"),
    path("settings/placement/rules", views.rule_create, name="rule-create"),
    path("settings/placement/rules/<id:pk>/<slug:action>", views.rule_change, name="rule-change"),
]
