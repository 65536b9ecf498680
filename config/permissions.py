"""Who may call a view: signed in, and with the Django permission that the view names."""

from __future__ import annotations

from typing import Any

from rest_framework.permissions import IsAuthenticated
from rest_framework.request import Request


class HasPermission(IsAuthenticated):
    """Needs the permission that `view.required_permissions` names for the request's method.

    A method that is not named needs only a signed-in user; `*` stands for every method.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        needed = view.required_permissions
        name = needed.get(request.method, needed.get("*"))
        return name is None or bool(request.user.has_perm(name))
