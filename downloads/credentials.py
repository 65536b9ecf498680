"""The secrets that a download needs: its user's token, and a link that is one itself."""

from __future__ import annotations

from typing import Any

from downloads.models import Download
from tokens import services as token_services
from tokens.models import Service
from transfer.http import Credential


def credential_of(user: Any, source_type: str) -> Credential | None:
    """The user's token of that source; None for sources that know no tokens."""
    if source_type not in Service.values:
        return None
    return token_services.credential_for(user=user, service_name=source_type)


def seal_link(download: Download, url: str) -> bytes:
    return token_services.seal_text(url, context=context_of(download))


def open_link(download: Download) -> str:
    """The full link of a row, "" when it holds no secret. Raises TokenUnreadable."""
    if not download.source_secret:
        return ""
    return token_services.open_text(bytes(download.source_secret), context=context_of(download))


def context_of(download: Download) -> str:
    """What a sealed link is bound to: it opens for its own row only."""
    return f"download:{download.public_id}"
