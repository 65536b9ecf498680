"""Who signed in, who did not, who left: for the audit log."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import signals
from django.dispatch import receiver

from ops import audit


def _address(request: Any) -> str:
    return str(request.META.get("REMOTE_ADDR", "")) if request is not None else ""


@receiver(signals.user_logged_in, dispatch_uid="audit-login")
def on_login(sender: Any, request: Any, user: Any, **_kwargs: Any) -> None:
    audit.record("login", actor=user, target=user, address=_address(request))


@receiver(signals.user_logged_out, dispatch_uid="audit-logout")
def on_logout(sender: Any, request: Any, user: Any, **_kwargs: Any) -> None:
    if user is not None:
        audit.record("logout", actor=user, target=user, address=_address(request))


@receiver(signals.user_login_failed, dispatch_uid="audit-login-failed")
def on_failure(sender: Any, credentials: Any, request: Any = None, **_kwargs: Any) -> None:
    name = str(credentials.get("username", ""))[:150]
    audit.record("login.failed", username=name, address=_address(request))
