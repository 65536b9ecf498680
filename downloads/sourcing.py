"""From a row to the plan of its file: the URL, who may see the token, and what a refusal means."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from config.errors import ModelyardError
from downloads.credentials import credential_of, open_link
from downloads.models import Download
from sources.errors import EarlyAccess, LicenceRequired, TokenRejected, TokenRequired
from sources.parse import parse_reference
from sources.refs import DirectReference, Reference
from tokens import clients
from tokens.models import Service
from transfer.errors import AuthRequired, RemoteChanged
from transfer.fetch import FilePlan
from transfer.http import Credential


def resolution_of(download: Download) -> dict[str, Any]:
    """What the source said, as it is kept in the row, or in its bundle's. {} when nothing is."""
    holder = download.parent if download.parent is not None else download
    metadata: dict[str, Any] = holder.source_metadata
    return metadata


def source_file_of(download: Download) -> dict[str, Any]:
    """What the source said about this file. {} when nothing is kept."""
    own: dict[str, Any] | None = download.source_metadata.get("file")
    if own is not None:
        return own
    files = resolution_of(download).get("files", [])
    return next((file for file in files if file["file_id"] == download.source_file_id), {})


@dataclass(slots=True)
class Source:
    """Where the bytes of one row come from, with its user's token; lives for one attempt only."""

    download: Download
    reference: Reference
    credential: Credential | None

    @classmethod
    def of(cls, download: Download) -> Source:
        return cls(
            download,
            reference_of(download),
            credential_of(download.initiated_by, download.source_type),
        )

    def plan(self) -> FilePlan:
        """The plan from what is kept; the source is not asked."""
        file = source_file_of(self.download)
        return self._plan_for(str(file.get("url", "")), file.get("size_bytes"))

    def located(self) -> FilePlan:
        """The plan from what the source says now, past every cache.

        Raises the errors of `sources`, and RemoteChanged when it publishes another digest now.
        """
        if isinstance(self.reference, DirectReference):
            return self.plan()
        fresh = clients.resolver().locate(
            self.reference, file_id=self.download.source_file_id, credential=self.credential
        )
        known = (self.download.expected_hash or "").lower()
        published = str(source_file_of(self.download).get("hashes", {}).get("sha256", "")).lower()
        if fresh.hashes.sha256 and known == published != fresh.hashes.sha256.lower():
            raise RemoteChanged(
                "The source offers another file under this id now. Add it again to get that one."
            )
        return self._plan_for(fresh.url, fresh.size_bytes)

    def refusal(self, error: AuthRequired) -> ModelyardError:
        """What a 401 or 403 of the download route means for the user, and what to do about it."""
        if self.download.source_type not in Service.values:
            return error
        kept = resolution_of(self.download)
        name = Service(self.download.source_type).label
        if kept.get("early_access") or kept.get("early_access_until"):
            return _early_access(kept)
        if self.credential is None:
            return TokenRequired(
                f"{name} gives this file only to a token. Save your {name} token in Settings, "
                "then retry.",
                service=self.download.source_type,
            )
        if error.status == 401:
            return TokenRejected(
                f"{name} refused your token. Renew it in Settings, then retry.",
                service=self.download.source_type,
            )
        return LicenceRequired(
            f"{name} does not let this account download the file. Open its page, accept the "
            "licence or buy the access, then retry.",
            service=self.download.source_type,
        )

    def _plan_for(self, url: str, size_bytes: int | None) -> FilePlan:
        if isinstance(self.reference, DirectReference) and self.reference.has_secret:
            url = self.reference.url
        return FilePlan(
            url=url,
            size_bytes=size_bytes,
            # CivitAI publishes KiB, rounded.
            size_exact=self.download.source_type == Service.HUGGINGFACE,
            sha256=self.download.expected_hash or "",
            git_sha1=self.download.expected_git_sha1,
            credential=self.credential,
            max_bytes=settings.MAX_FILE_BYTES,
            declared_name=self.download.file_name,
        )


def reference_of(download: Download) -> Reference:
    """The reference with its secret, which only the worker reads. Raises TokenUnreadable."""
    text = open_link(download) or download.source_reference
    return parse_reference(text, clients.endpoints())


def _early_access(kept: dict[str, Any]) -> EarlyAccess:
    text = kept.get("early_access_until")
    if not text:
        return EarlyAccess(
            "This file is in paid early access. Buy it on its page with the account of your "
            "token, then retry."
        )
    until = datetime.fromisoformat(text)
    return EarlyAccess(
        f"In early access until {until:%Y-%m-%d %H:%M} UTC; the download starts then.", until=until
    )
