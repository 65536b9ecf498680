"""Before a download: where would it go, and is it here already?"""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q

from registry.errors import PathTaken, PlacementNotPossible
from registry.files import exists_below
from registry.models import Asset, Companion, PlacementRule, Root
from registry.placement import Candidate, Choice, Rule, choose, clean_directory, virtual_path
from registry.roots import default_root, root_path
from sources.families import family_of
from sources.resolution import ModelType
from transfer.names import numbered, path_key, safe_name, safe_relative_path

MAX_NUMBERED_NAMES = 1000
MAX_PATH_CHARS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacementPreview:
    """Where a file would go and why; says nothing about what is there already.

    `candidates` are all rules of the type in their order, with what became of each.
    """

    relative_path: str
    virtual_path: str
    rule_id: int | None
    reason: str
    candidates: tuple[Candidate, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """The place of one file in a root.

    `taken_by` is the asset that has this place (names that differ in case or Unicode form only are
    the same); `taken` is also True for a companion or a file on disk that is not registered.
    """

    root: Root
    relative_path: str
    virtual_path: str
    rule: PlacementRule | None
    reason: str
    taken: bool = False
    taken_by: Asset | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicateReport:
    """Advice, never a refusal. `reason` is `same_hash`, `same_source` or ""."""

    is_duplicate: bool
    existing_asset: Asset | None = None
    reason: str = ""

    @property
    def message(self) -> str:
        if self.existing_asset is None:
            return ""
        return f"This model is already registered as {self.existing_asset.name!r}. Download anyway?"


def preview_placement(
    *,
    model_type: str,
    base_model: str = "",
    base_model_family: str = "",
    file_name: str,
    folder: str = "",
    bundle_folder: str = "",
    bundle_path: str = "",
) -> PlacementPreview:
    """Where the rules put such a file.

    `folder` is a person's choice instead of the rule's; a file of a snapshot goes to
    `bundle_folder/bundle_path` below it. Raises PlacementNotPossible, UnsafePath.
    """
    if model_type not in set(ModelType):
        raise PlacementNotPossible(
            f"{model_type!r} is no model type. Known are: {', '.join(ModelType)}.",
            field="model_type",
        )
    if folder:
        directory = clean_directory(folder, field="folder")
        choice = Choice(directory=directory, rule=None, reason="The folder was chosen by hand.")
    else:
        choice = choose(
            _rules(model_type),
            model_type=model_type,
            base_model=base_model,
            family=base_model_family or family_of(base_model),
        )
    relative_path = _join(choice.directory, file_name, bundle_folder, bundle_path)
    return PlacementPreview(
        relative_path=relative_path,
        virtual_path=virtual_path(relative_path),
        rule_id=choice.rule.rule_id if choice.rule else None,
        reason=choice.reason,
        candidates=choice.candidates,
    )


def resolve_placement(
    *,
    model_type: str,
    base_model: str = "",
    base_model_family: str = "",
    file_name: str,
    folder: str = "",
    bundle_folder: str = "",
    bundle_path: str = "",
    keep_both: bool = False,
) -> Placement:
    """The place of a file in the default root, and who has it already.

    With `keep_both` a taken name gets the first free number: `x-2.safetensors`.
    Raises PlacementNotPossible, UnsafePath, RootUnavailable, PathTaken (no free number).
    """
    preview = preview_placement(
        model_type=model_type,
        base_model=base_model,
        base_model_family=base_model_family,
        file_name=file_name,
        folder=folder,
        bundle_folder=bundle_folder,
        bundle_path=bundle_path,
    )
    root = default_root()
    relative_path = preview.relative_path
    if keep_both:
        relative_path = free_path(root, relative_path)
    taken_by = Asset.objects.at(root, path_key(relative_path)).first()
    return Placement(
        root=root,
        relative_path=relative_path,
        virtual_path=virtual_path(relative_path),
        rule=PlacementRule.objects.filter(pk=preview.rule_id).first() if preview.rule_id else None,
        reason=preview.reason,
        taken=taken_by is not None or is_taken(root, relative_path),
        taken_by=taken_by,
    )


def is_taken(root: Root, relative_path: str) -> bool:
    """True when an asset, a companion or any file on disk has that place."""
    key = path_key(relative_path)
    return (
        Asset.objects.at(root, key).exists()
        or Companion.objects.filter(root=root, path_key=key).exists()
        or exists_below(root_path(root), relative_path)
    )


def free_path(root: Root, relative_path: str) -> str:
    """`relative_path`, or its first free numbered form. Raises PathTaken after a thousand."""
    if not is_taken(root, relative_path):
        return relative_path
    directory, _, name = relative_path.rpartition("/")
    for number in range(2, MAX_NUMBERED_NAMES):
        candidate = "/".join(filter(None, (directory, numbered(name, number))))
        if not is_taken(root, candidate):
            return candidate
    raise PathTaken(
        f"There are already {MAX_NUMBERED_NAMES} files named like {name!r}. Choose another name.",
        path=virtual_path(relative_path),
    )


def find_duplicate(
    *,
    sha256: str = "",
    source_type: str = "",
    source_version_id: str = "",
    source_file_id: str = "",
) -> DuplicateReport:
    """The active asset with the same bytes, else the one from the same file of the same version.

    Only active assets count: what is flagged, missing or damaged is no reason not to download.
    """
    usable = Asset.objects.active().order_by("pk")
    digest = sha256.strip().lower()
    if digest and (asset := usable.filter(checksum_sha256=digest).first()):
        return DuplicateReport(is_duplicate=True, existing_asset=asset, reason="same_hash")
    if source_type and source_version_id and source_file_id:
        same = Q(
            source_type=source_type,
            source_version_id=source_version_id,
            source_file_id=source_file_id,
        )
        if asset := usable.filter(same).first():
            return DuplicateReport(is_duplicate=True, existing_asset=asset, reason="same_source")
    return DuplicateReport(is_duplicate=False)


def _rules(model_type: str) -> list[Rule]:
    return [
        Rule(
            rule_id=row.pk,
            model_type=row.model_type,
            base_model=row.base_model or "",
            target_directory=row.target_directory,
            priority=row.priority,
            is_active=row.is_active,
        )
        for row in PlacementRule.objects.filter(model_type=model_type)
    ]


def _join(directory: str, file_name: str, bundle_folder: str, bundle_path: str) -> str:
    parts = [directory] if directory else []
    if bundle_folder:
        parts.append(safe_name(bundle_folder))
    if bundle_path:
        parts.append(safe_relative_path(bundle_path))
    else:
        parts.append(safe_name(file_name))
    path = "/".join(parts)
    if len(path) > MAX_PATH_CHARS:
        raise PlacementNotPossible(
            f"The path would be longer than {MAX_PATH_CHARS} characters. Choose a shorter folder.",
            field="folder",
        )
    return path
