"""From a link to rows: resolve, choose files, note duplicates, place, insert.

One file becomes one row; several become a bundle, whose parent holds what the source said and whose
children hold what is theirs.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from downloads import options, permits, tasks, transitions
from downloads.credentials import credential_of, seal_link
from downloads.duplicates import settled_values, snapshot_part
from downloads.errors import InvalidOption
from downloads.limits import check_limits
from downloads.models import Download, OnDuplicate, position_now
from downloads.states import DownloadStatus
from ops import audit
from registry import services as registry_services
from registry.models import AssetStatus
from registry.services import DuplicateReport, Placement
from sources.errors import ReferenceNotUnderstood
from sources.families import family_of
from sources.parse import parse_reference
from sources.refs import Reference
from sources.resolution import FileRole, ModelType, Resolution, SourceFile
from tokens import clients
from tokens.models import Service
from transfer.errors import RedirectRefused, TooLarge, UrlNotAllowed

logger = logging.getLogger(__name__)

S = DownloadStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the person said besides the link; checked."""

    model_name: str | None = None
    model_type: ModelType | None = None
    base_model: str | None = None
    folder: str = ""
    expected_hash: str = ""
    on_duplicate: OnDuplicate = OnDuplicate.LINK
    review: bool = False
    priority: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlacement:
    """One chosen file, the type it is filed as, where it goes and what is here already."""

    file: SourceFile
    model_type: ModelType
    placement: Placement
    duplicate: DuplicateReport


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a download of this link would do. `chosen` has the main file first."""

    reference: Reference
    resolution: Resolution
    name: str
    #: Of the whole: the one folder of a snapshot follows it, whatever type each of its files has.
    model_type: ModelType
    base_model: str
    base_model_family: str
    chosen: tuple[FilePlacement, ...]
    has_credential: bool

    @property
    def main(self) -> FilePlacement:
        return self.chosen[0]

    @property
    def is_bundle(self) -> bool:
        return len(self.chosen) > 1

    @property
    def bundle_folder(self) -> str:
        """The folder of a snapshot; files that only belong together lie in their types' folders."""
        return self.resolution.folder if self.is_bundle else ""

    @property
    def duplicate(self) -> DuplicateReport:
        return self.main.duplicate

    @property
    def target_path(self) -> str:
        return self.main.placement.virtual_path


def resolve_reference(
    *,
    user: Any,
    url: str,
    file_id: str | None = None,
    files: Sequence[str] | None = None,
    model_name: str | None = None,
    model_type: str | None = None,
    base_model: str | None = None,
    expected_hash: str | None = None,
    folder: str = "",
) -> Resolved:
    """What `url` names, which files would come, where they go, and what is here already.

    Asks the source (at most RESOLVE_TIMEOUT_SECONDS) with the user's own token. Raises the errors
    of `sources`, UrlNotAllowed, InvalidOption, PlacementNotPossible; changes nothing.
    """
    wish = _wish(
        model_name=model_name,
        model_type=model_type,
        base_model=base_model,
        expected_hash=expected_hash,
        folder=folder,
    )
    return _resolve(user, url, _wanted_ids(file_id, files), wish)


def enqueue(
    *,
    user: Any,
    url: str,
    file_id: str | None = None,
    files: Sequence[str] | None = None,
    model_name: str | None = None,
    model_type: str | None = None,
    base_model: str | None = None,
    expected_hash: str | None = None,
    on_duplicate: str = OnDuplicate.LINK,
    review: bool = False,
    priority: int = 2,
    folder: str = "",
    send: bool = True,
    resolved: Resolved | None = None,
) -> Download:
    """Resolve `url` and insert the download (or a bundle with children) into the queue.

    Always gives a row of the user's own: with `on_duplicate` link and the file here already it is
    completed and has the asset, with skip it is cancelled with the code `duplicate`. Raises what
    `resolve_reference` raises, QueueFull, UserNotPermitted. `send` False leaves the dispatching to
    the caller; `resolved` is what `resolve_reference` made of the same words a moment ago.
    """
    permits.check_user(user)
    wish = _wish(
        model_name=model_name,
        model_type=model_type,
        base_model=base_model,
        expected_hash=expected_hash,
        folder=folder,
        on_duplicate=on_duplicate,
        review=review,
        priority=priority,
    )
    if resolved is None:
        resolved = _resolve(user, url, _wanted_ids(file_id, files), wish)
    with transaction.atomic():
        # The user's row is the lock under which their rows are counted and added.
        get_user_model().objects.select_for_update(no_key=True).get(pk=user.pk)
        check_limits(user, is_bundle=resolved.is_bundle)
        download = _insert(user, resolved, wish)
        if wish.on_duplicate == OnDuplicate.OVERWRITE and resolved.duplicate.is_duplicate:
            audit.record("download.overwrite_requested", actor=user, target=download)
        if send:
            tasks.dispatch_on_commit()
    download.refresh_from_db()
    return download


def _wish(**said: Any) -> Wish:
    return Wish(
        model_name=_unless_none(options.checked_name, said.get("model_name")),
        model_type=_unless_none(options.checked_type, said.get("model_type")),
        base_model=_unless_none(options.checked_base_model, said.get("base_model")),
        folder=options.checked_folder(said.get("folder") or ""),
        expected_hash=options.checked_hash(said.get("expected_hash") or ""),
        on_duplicate=options.checked_on_duplicate(said.get("on_duplicate", OnDuplicate.LINK)),
        review=bool(said.get("review", False)),
        priority=options.checked_priority(said.get("priority", 2)),
    )


def _unless_none(check: Any, value: Any) -> Any:
    return None if value is None else check(value)


def _wanted_ids(file_id: str | None, files: Sequence[str] | None) -> tuple[str, ...]:
    if file_id is not None and files is not None:
        raise InvalidOption("files", "Give either file_id or files, not both.")
    if files is not None and not files:
        raise InvalidOption("files", "Name at least one file.")
    wanted = tuple(files) if files is not None else (file_id,) if file_id is not None else ()
    return tuple(dict.fromkeys(wanted))


def _resolve(user: Any, url: str, wanted: tuple[str, ...], wish: Wish) -> Resolved:
    with _naming_the_link():
        reference = parse_reference(url, clients.endpoints())
        credential = credential_of(user, reference.source_type)
        resolution = clients.resolver().resolve(
            reference, credential=credential, deadline_s=settings.RESOLVE_TIMEOUT_SECONDS
        )
    files = _choose(resolution, wanted)
    base_model = resolution.base_model if wish.base_model is None else wish.base_model
    family = resolution.base_model_family if wish.base_model is None else family_of(wish.base_model)
    folder = resolution.folder if len(files) > 1 else ""
    whole = wish.model_type or (resolution.model_type if folder else files[0].model_type)
    chosen = []
    for file in files:
        kind = _type_of(file, files[0], resolution, wish, in_folder=bool(folder))
        placement = registry_services.resolve_placement(
            model_type=whole if folder else kind,
            base_model=base_model,
            base_model_family=family,
            file_name=file.name,
            folder=wish.folder,
            bundle_folder=folder,
            bundle_path=file.path if folder else "",
        )
        chosen.append(
            FilePlacement(
                file=file,
                model_type=kind,
                placement=placement,
                duplicate=_duplicate_of(file, resolution, wish if file is files[0] else Wish()),
            )
        )
    return Resolved(
        reference=reference,
        resolution=resolution,
        name=resolution.name if wish.model_name is None else wish.model_name,
        model_type=whole,
        base_model=base_model,
        base_model_family=family,
        chosen=tuple(chosen),
        has_credential=credential is not None,
    )


@contextmanager
def _naming_the_link() -> Iterator[None]:
    """A refusal of the link says which field held it, as those of the other fields do."""
    try:
        yield
    except (ReferenceNotUnderstood, UrlNotAllowed, RedirectRefused) as error:
        error.details.setdefault("url", [error.message])
        raise


def _choose(resolution: Resolution, wanted: tuple[str, ...]) -> list[SourceFile]:
    """The wanted files, weights first in the order given. Raises InvalidOption, TooLarge."""
    files = []
    for file_id in wanted or resolution.chosen:
        try:
            files.append(resolution.file(file_id))
        except KeyError as exc:
            offered = ", ".join(f"{file.file_id} ({file.name})" for file in resolution.files[:20])
            raise InvalidOption(
                "file_id", f"{file_id[:100]!r} is not offered. Offered are: {offered}."
            ) from exc
    for file in files:
        if file.size_bytes is not None and file.size_bytes > settings.MAX_FILE_BYTES:
            raise TooLarge(
                f"{file.name} has {file.size_bytes} bytes; "
                f"at most {settings.MAX_FILE_BYTES} are accepted.",
                size_bytes=file.size_bytes,
            )
    return sorted(files, key=lambda file: file.role != FileRole.WEIGHTS)


def _type_of(
    file: SourceFile, main: SourceFile, resolution: Resolution, wish: Wish, *, in_folder: bool
) -> ModelType:
    """Companions are filed as their main file is; a type that a person says is the main file's.

    In the one folder of a snapshot it is that of the whole, and the parts keep theirs.
    """
    whole = resolution.model_type if in_folder else main.model_type
    belongs = file.role == FileRole.COMPANION or (file.model_type == whole and in_folder)
    if belongs or (file is main and not in_folder):
        return wish.model_type or whole
    return file.model_type


def _duplicate_of(file: SourceFile, resolution: Resolution, wish: Wish) -> DuplicateReport:
    if wish.expected_hash and wish.expected_hash != file.hashes.sha256.lower():
        # Other bytes than the source's are wanted, so what came from there before is no answer.
        return registry_services.find_duplicate(sha256=wish.expected_hash)
    return registry_services.find_duplicate(
        sha256=file.hashes.sha256,
        source_type=resolution.source_type,
        source_version_id=resolution.version_id,
        source_file_id=file.file_id,
    )


def source_key(reference: Reference, resolution: Resolution, file: SourceFile) -> str:
    """One text for the same bytes of the same source, whoever asks and however it was named."""
    if resolution.source_type == Service.CIVITAI:
        # One file id occurs under many versions.
        parts = [resolution.source_type, file.file_id]
    elif resolution.source_type == Service.HUGGINGFACE:
        parts = [
            resolution.source_type,
            resolution.model_id,
            resolution.version_id,
            file.file_id,
        ]
    else:
        parts = [resolution.source_type, str(reference), file.file_id]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def key_of(resolved: Resolved) -> str:
    """The source key of the row that `resolved` would make: of its file, or of the bundle."""
    key = source_key(resolved.reference, resolved.resolution, resolved.main.file)
    if not resolved.is_bundle:
        return key
    return hashlib.sha256(f"bundle\0{key}".encode()).hexdigest()


def _insert(user: Any, resolved: Resolved, wish: Wish) -> Download:
    common = _common(user, resolved, wish)
    metadata = resolved.resolution.as_dict()
    if not resolved.is_bundle:
        return _insert_file(resolved, resolved.main, wish, metadata=metadata, **common)
    main = resolved.main
    parent = Download.objects.create(
        **common,
        is_bundle=True,
        source_metadata=metadata,
        source_file_id="",
        source_key=key_of(resolved),
        model_name=resolved.name,
        model_type=resolved.model_type,
        file_name=(resolved.bundle_folder or main.file.name)[:255],
        file_size_bytes=_sum_or_none([item.file.size_bytes for item in resolved.chosen]),
        target_path=resolved.target_path,
    )
    for number, item in enumerate(resolved.chosen):
        child = dict(common, position=parent.position + number)
        _insert_file(
            resolved,
            item,
            wish,
            parent=parent,
            metadata={"file": asdict(item.file)},
            **child,
        )
    transitions.refresh_bundle(parent.pk)
    return parent


def _common(user: Any, resolved: Resolved, wish: Wish) -> dict[str, Any]:
    resolution = resolved.resolution
    return {
        "initiated_by": user,
        "source_type": resolution.source_type,
        "source_url": resolution.source_url,
        "source_reference": resolved.reference.display,
        "source_model_id": resolution.model_id or None,
        "source_version_id": resolution.version_id or None,
        "base_model": resolved.base_model or None,
        "base_model_family": resolved.base_model_family,
        "target_folder": wish.folder,
        "bundle_folder": resolved.bundle_folder,
        "priority": wish.priority,
        "position": position_now(),
        "on_duplicate": wish.on_duplicate,
        "review": wish.review,
    }


def _insert_file(
    resolved: Resolved,
    item: FilePlacement,
    wish: Wish,
    *,
    metadata: dict[str, Any],
    parent: Download | None = None,
    **common: Any,
) -> Download:
    file, is_main = item.file, item is resolved.main
    row = Download(
        **common,
        parent=parent,
        source_metadata=metadata,
        source_file_id=file.file_id,
        source_key=source_key(resolved.reference, resolved.resolution, file),
        model_name=resolved.name if is_main else f"{resolved.name}: {file.path or file.name}"[:300],
        model_type=item.model_type,
        file_name=file.name,
        file_role=file.role,
        file_size_bytes=file.size_bytes,
        bundle_path=file.path if resolved.bundle_folder else "",
        target_path=item.placement.virtual_path,
        expected_hash=((is_main and wish.expected_hash) or file.hashes.sha256.lower()) or None,
        expected_git_sha1=file.hashes.git_sha1.lower(),
        warnings=_warnings(resolved.resolution, wish) if is_main else [],
    )
    if resolved.reference.has_secret:
        row.source_secret = seal_link(row, str(resolved.reference))
    _settle_at_once(row, resolved, item)
    row.save()
    return row


def _warnings(resolution: Resolution, wish: Wish) -> list[str]:
    """The source's, without the doubts about a type that a person has answered."""
    return [
        warning
        for warning in resolution.warnings
        if wish.model_type is None or not warning.endswith("check the type.")
    ]


def _settle_at_once(row: Download, resolved: Resolved, item: FilePlacement) -> None:
    """A row whose file is here already needs no bytes; one in early access waits for its moment."""
    asset = item.duplicate.existing_asset if item.duplicate.is_duplicate else None
    if row.bundle_folder:
        asset = snapshot_part(row)
    if asset is not None and asset.status == AssetStatus.ACTIVE:
        values = settled_values(row, asset)
        for name, value in values.items():
            setattr(row, name, value)
        if values:
            return
    until = resolved.resolution.early_access_until
    if until is not None and until > timezone.now() and not resolved.has_credential:
        row.status, row.retry_at = S.PARKED, until
        row.error_code = "early_access"
        row.error_message = f"In early access until {until:%Y-%m-%d %H:%M} UTC; it starts then."


def _sum_or_none(sizes: list[int | None]) -> int | None:
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None
