"""Who is asking: `Authorization: Bearer my_<prefix>_<secret>`, or the session of the pages."""

from __future__ import annotations

import hmac
import re
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import AbstractBaseUser
from django.db.models import Q
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework import exceptions
from rest_framework.authentication import BaseAuthentication
from rest_framework.authentication import SessionAuthentication as DrfSessionAuthentication
from rest_framework.request import Request

from tokens.models import ApiKey
from tokens.services import USED_EVERY, hash_key

KEY = re.compile(r"my_(?P<prefix>[a-z0-9]{8})_[A-Za-z0-9_-]{16,200}", re.ASCII)
NOBODY = "0" * 64


class ApiKeyAuthentication(BaseAuthentication):
    """Our own keys. A wrong, revoked or orphaned key is a 401, never a fall back to the session."""

    def authenticate(self, request: Request) -> tuple[AbstractBaseUser, ApiKey] | None:
        scheme, _, text = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = self._find(text.strip())
        if key is None:
            raise exceptions.AuthenticationFailed(
                "This API key is wrong or was revoked, or its user may not sign in. "
                "Make a new one on the settings page."
            )
        _note_use(key)
        return key.user, key

    def _find(self, text: str) -> ApiKey | None:
        form = KEY.fullmatch(text)
        key = (
            ApiKey.objects.select_related("user").filter(prefix=form["prefix"]).first()
            if form
            else None
        )
        same = hmac.compare_digest(hash_key(text), key.key_hash if key else NOBODY)
        if key is None or not same or key.revoked_at is not None or not key.user.is_active:
            return None
        return key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="Modelyard"'


def _note_use(key: ApiKey, every: timedelta = USED_EVERY) -> None:
    now = timezone.now()
    if key.last_used_at is not None and now - key.last_used_at < every:
        return
    ApiKey.objects.filter(pk=key.pk).filter(
        Q(last_used_at__isnull=True) | Q(last_used_at__lt=now - every)
    ).update(last_used_at=now)


class SessionAuthentication(DrfSessionAuthentication):
    """The pages' session; it needs the CSRF token for everything that changes something."""

    def enforce_csrf(self, request: Any) -> None:
        try:
            super().enforce_csrf(request)
        except exceptions.PermissionDenied as exc:
            raise exceptions.PermissionDenied(
                "The CSRF token is missing or old. Load the page again, "
                "or send an API key instead of a session.",
                code="csrf_failed",
            ) from exc


class ApiKeyScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tokens.authentication.ApiKeyAuthentication"
    name = "apiKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {
            "type": "http",
            "scheme": "bearer",
            "description": "`manage.py create_api_key USER`",
        }


class SessionScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    target_class = "tokens.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid"}
