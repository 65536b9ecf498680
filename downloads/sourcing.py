"""From a row to the plan of its file: the URL, who may see the token, and what a refusal means."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from django.conf import settings

from config.errors import ModelyardError
from downloads.credentials import credential_of, open_link
from downloads.models import Download
from sources.parse import parse_reference
from sources.refs import (
    CIVITAI,
    HUGGINGFACE,
    DirectReference,
    HuggingFaceReference,
    Reference,
)
from sources.refusals import explain
from tokens import clients
from transfer.errors import RemoteChanged, RemoteStatus
from transfer.fetch import FilePlan
from transfer.http import Credential

CIVITAI_TRIES = 3


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
    #: How many addresses it has given; CivitAI's 404 is believed after three.
    given: int = 0

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

    def by_revision(self, plan: FilePlan) -> FilePlan | None:
        """The same file by the branch or tag that was named, for a mirror that knows no commits.

        None when there is no other name for it, or no digest that would tell other bytes.
        """
        if not isinstance(self.reference, HuggingFaceReference) or not plan.has_digest:
            return None
        pinned, named = (
            f"/resolve/{quote(revision, safe='')}/"
            for revision in (self.download.source_version_id or "", self.reference.revision)
        )
        url = plan.url.replace(pinned, named, 1)
        return None if url == plan.url else replace(plan, url=url)

    def refusal(self, error: RemoteStatus) -> ModelyardError:
        """What a refusal of the download route means for the user, and what to do about it."""
        return explain(
            error,
            self.download.source_type,
            had_token=self.credential is not None,
            page_url=self.download.source_url,
        )

    @property
    def may_ask_again(self) -> bool:
        """CivitAI's download route sometimes answers 404 for a file that is there."""
        return self.download.source_type == CIVITAI and self.given < CIVITAI_TRIES

    @property
    def may_be_refreshed(self) -> bool:
        """A signed address that ran out is asked for again; but not the third one."""
        return self.download.source_type != CIVITAI or self.may_ask_again

    def _plan_for(self, url: str, size_bytes: int | None) -> FilePlan:
        self.given += 1
        if isinstance(self.reference, DirectReference) and self.reference.has_secret:
            url = self.reference.url
        return FilePlan(
            url=url,
            size_bytes=size_bytes,
            # CivitAI publishes KiB, rounded.
            size_exact=self.download.source_type == HUGGINGFACE,
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
