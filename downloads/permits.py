"""May this user have bytes fetched: asked when a row is made, and again before each stage acts."""

from __future__ import annotations

from typing import Any

from downloads.errors import UserNotPermitted
from downloads.models import Download, Priority

PERMISSION = "downloads.request_content"


def check_user(user: Any) -> None:
    """Raises UserNotPermitted (403) for a disabled user, or one without the permission."""
    if user is None or not user.is_active or not user.has_perm(PERMISSION):
        raise UserNotPermitted(
            "This account may not request downloads. Ask an admin for the group creator."
        )


def check_download(download: Download) -> None:
    """A row acts with the rights of whoever made it, as they are now; repairs are the system's."""
    if download.priority == Priority.REPAIR and download.initiated_by is None:
        return
    check_user(download.initiated_by)
