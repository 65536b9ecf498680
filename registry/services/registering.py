"""From a verified file to a row: assets and the companions of snapshots."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from ops import audit
from registry import facts
from registry.errors import PathTaken
from registry.files import move_away
from registry.inspect.report import storable
from registry.inspect.verdict import Verdict
from registry.models import (
    Asset,
    AssetPreview,
    AssetStatus,
    Companion,
    PreviewStatus,
    Root,
    Verification,
)
from registry.placement import virtual_path
from registry.roots import quarantine_dir, root_path, trash_dir
from registry.services.placing import Placement, free_path
from registry.services.sending import send
from registry.tasks import fetch_previews
from sources.reading import as_text
from transfer.names import path_key
from transfer.publish import Published

#: A row in one of these gives its place to a good file from the same source.
_REPLACEABLE = frozenset({AssetStatus.FLAGGED, AssetStatus.MISSING, AssetStatus.CORRUPT})


def register_file(
    *,
    placement: Placement,
    name: str,
    model_type: str,
    size_bytes: int,
    sha256: str,
    verdict: Verdict,
    verification: str,
    resolution: Mapping[str, Any] | None = None,
    source_file: Mapping[str, Any] | None = None,
    base_model: str = "",
    base_model_family: str = "",
    expected_sha256: str = "",
    published: Published | None = None,
    quarantine_path: str = "",
    added_by: Any = None,
    replace: Asset | None = None,
    edited: Collection[str] = (),
) -> Asset:
    """The asset of a file that lies at `placement`, or in quarantine at `quarantine_path`.

    `name`, `model_type`, `base_model` are what counts in the end; `edited` names those of them that
    a person chose against the source. Called again for the same place and digest it returns the
    same asset (a crash came between publishing and here). `replace` keeps its id and takes over the
    new file; a flagged file never replaces anything, it gets a numbered place.
    Raises PathTaken when another file has the place, ValueError for a verdict that refused.
    """
    if not verdict.accepted:
        raise ValueError("A refused file cannot be registered.")
    source_file = source_file or {}
    columns = {
        **facts.source_columns(resolution or {}),
        **facts.file_columns(source_file, verdict),
        **_own_columns(verdict, verification, expected_sha256, sha256, quarantine_path),
        **_file_state(published),
        "name": as_text(name, 300) or placement.relative_path.rpartition("/")[2],
        "asset_type": model_type,
        "file_size_bytes": size_bytes,
        "checksum_sha256": sha256.strip().lower(),
        "metadata": facts.metadata(resolution or {}, source_file, verdict),
    }
    facts.fill_from_file(columns, verdict)
    if verification == Verification.VERIFIED:
        columns.update(facts.published_digests(source_file))
    for column, value in (("base_model", base_model), ("base_model_family", base_model_family)):
        if value or column in edited:
            columns[column] = as_text(value, 100)
    wanted = _Wanted(placement.root, placement.relative_path, columns, sorted(edited), added_by)
    try:
        asset, action = wanted.write(replace)
    except IntegrityError:  # Another process took the place between the look and the insert.
        asset, action = wanted.write(replace)
    if action:
        _note_previews(asset, resolution or {})
    return asset


class _Wanted:
    """A row about to be written; `write` may be tried again."""

    def __init__(
        self,
        root: Root,
        relative_path: str,
        columns: dict[str, Any],
        edited: list[str],
        added_by: Any,
    ) -> None:
        self.root = root
        self.relative_path = relative_path
        self.columns = columns
        self.edited = edited
        self.added_by = added_by

    @property
    def is_flagged(self) -> bool:
        return bool(self.columns["status"] == AssetStatus.FLAGGED)

    @transaction.atomic
    def write(self, replace: Asset | None) -> tuple[Asset, str]:
        """The asset and what happened to it: registered, flagged, replaced, "" for nothing."""
        key = path_key(self.relative_path)
        holder = Asset.objects.at(self.root, key).first()
        if holder is not None and self._is_same(holder):
            return holder, self._adopt(holder)
        if self.is_flagged:
            return self._insert(free_path(self.root, self.relative_path)), "flagged"
        row = replace or (holder if holder is not None and self._may_take(holder) else None)
        if row is not None and holder in (None, row):
            self._put_in_place(row)
            return row, "replaced"
        if holder is not None or Companion.objects.filter(root=self.root, path_key=key).exists():
            raise _path_taken(holder, self.relative_path)
        return self._insert(self.relative_path), "registered"

    def _is_same(self, holder: Asset) -> bool:
        return bool(
            holder.checksum_sha256 == self.columns["checksum_sha256"]
            and holder.status != AssetStatus.DELETING
        )

    def _adopt(self, holder: Asset) -> str:
        """The bytes are those the row has already: only what is on disk is brought up to date."""
        if holder.status == AssetStatus.ACTIVE or self.is_flagged:
            names = [name for name in ("mtime_ns", "inode") if self.columns.get(name) is not None]
            for name in names:
                setattr(holder, name, self.columns[name])
            holder.save(update_fields=[*names, "updated_at"])
            return ""
        self._put_in_place(holder)
        return "replaced"

    def _may_take(self, holder: Asset) -> bool:
        """A damaged row gives way to a good file of the same source file or published digest."""
        if holder.status not in _REPLACEABLE:
            return False
        # Only CivitAI and HuggingFace have versions; for a direct link the reference is all.
        key = "source_version_id" if holder.source_version_id else "source_reference"
        same_file = all(
            getattr(holder, name) == self.columns[name] != ""
            for name in ("source_type", key, "source_file_id")
        )
        return same_file or bool(holder.expected_sha256 == self.columns["expected_sha256"] != "")

    def _insert(self, relative_path: str) -> Asset:
        asset = Asset.objects.create(
            root=self.root,
            relative_path=relative_path,
            path_key=path_key(relative_path),
            added_by=self.added_by,
            edited_fields=self.edited,
            **self.columns,
        )
        self._audit("asset.flagged" if self.is_flagged else "asset.registered", asset)
        return asset

    def _put_in_place(self, row: Asset) -> None:
        old_digest, old_quarantine, old_root = row.checksum_sha256, row.quarantine_path, row.root
        old_path = row.relative_path
        for name, value in self.columns.items():
            setattr(row, name, value)
        row.root = self.root
        row.relative_path = self.relative_path
        row.path_key = path_key(self.relative_path)
        row.edited_fields = self.edited
        row.save()
        if old_quarantine:
            transaction.on_commit(lambda: _drop_quarantined(old_root, old_quarantine), robust=True)
        elif (old_root.pk, old_path) != (row.root.pk, row.relative_path):
            transaction.on_commit(lambda: _drop_published(old_root, old_path), robust=True)
        self._audit("asset.replaced", row, old_sha256=old_digest)

    def _audit(self, action: str, asset: Asset, **details: Any) -> None:
        audit.record(
            action,
            actor=self.added_by,
            target=asset,
            path=asset.virtual_path,
            sha256=asset.checksum_sha256,
            verification=asset.verification,
            reason=asset.flag_reason,
            **details,
        )


def register_companion(
    *,
    placement: Placement,
    size_bytes: int,
    sha256: str,
    bundle_key: str = "",
    asset: Asset | None = None,
) -> Companion:
    """A file that belongs to a model but is no model; `bundle_key` joins it to one later.

    Repeating it for the same place is harmless. Raises PathTaken when an asset has the place.
    """
    key = path_key(placement.relative_path)
    holder = Asset.objects.at(placement.root, key).first()
    if holder is not None:
        raise _path_taken(holder, placement.relative_path)
    companion, _created = Companion.objects.update_or_create(
        root=placement.root,
        path_key=key,
        defaults={
            "relative_path": placement.relative_path,
            "bundle_key": bundle_key,
            "checksum_sha256": sha256.strip().lower(),
            "file_size_bytes": size_bytes,
            **({"asset": asset} if asset is not None else {}),
        },
    )
    return companion


def attach_companions(bundle_key: str, asset: Asset) -> int:
    """Give the companions of a bundle that have no asset yet to `asset`; returns how many."""
    if not bundle_key:
        return 0
    waiting = Companion.objects.filter(bundle_key=bundle_key, asset__isnull=True)
    return waiting.update(asset=asset)


def _own_columns(
    verdict: Verdict, verification: str, expected_sha256: str, sha256: str, quarantine_path: str
) -> dict[str, Any]:
    mismatch = verification == Verification.MISMATCH
    is_flagged = bool(quarantine_path) or mismatch or verdict.needs_quarantine
    reasons = []
    if mismatch:
        reasons.append(
            f"The published SHA-256 is {expected_sha256.lower()}, the file's is {sha256.lower()}."
        )
    if verdict.needs_quarantine:
        reasons.append(storable(verdict.reason) or f"The scan calls it {verdict.safety}.")
    return {
        "status": AssetStatus.FLAGGED if is_flagged else AssetStatus.ACTIVE,
        "flag_reason": " ".join(reasons),
        "verification": verification,
        "expected_sha256": expected_sha256.strip().lower(),
        "quarantine_path": quarantine_path,
        "warnings": storable(verdict.warnings),
        "verified_at": timezone.now() if verification == Verification.VERIFIED else None,
        "verify_requested_at": None,
    }


def _file_state(published: Published | None) -> dict[str, Any]:
    if published is None:
        return {"mtime_ns": None, "inode": None}
    return {"mtime_ns": published.mtime_ns, "inode": published.inode}


def _note_previews(asset: Asset, resolution: Mapping[str, Any]) -> None:
    """Rows for the pictures of the source; they are fetched after the commit."""
    rows = facts.preview_rows(resolution)
    known = set(asset.previews.values_list("source_url", flat=True))
    AssetPreview.objects.bulk_create(
        [AssetPreview(asset=asset, **row) for row in rows if row["source_url"] not in known],
        ignore_conflicts=True,
    )
    if asset.previews.filter(status=PreviewStatus.PENDING).exists():
        send(fetch_previews, asset.pk)


def _drop_quarantined(root: Root, quarantine_path: str) -> None:
    move_away(quarantine_dir(root), quarantine_path, trash_dir(root))


def _drop_published(root: Root, relative_path: str) -> None:
    move_away(root_path(root), relative_path, trash_dir(root))


def _path_taken(holder: Asset | None, relative_path: str) -> PathTaken:
    who = f"The model {holder.name!r}" if holder else "Another file"
    return PathTaken(
        f"{who} is already at {virtual_path(relative_path)}. Choose another name or folder, "
        "replace it, or keep both.",
        asset=holder.pk if holder else None,
        path=virtual_path(relative_path),
    )
