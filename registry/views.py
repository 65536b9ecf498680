"""The library: what is here, one asset's page, and the placement rules."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Prefetch, Q, QuerySet, Sum
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from config.errors import ModelyardError
from config.pages import PageRequest, page, page_for, say
from ops.models import AuditEvent
from registry import services
from registry.errors import RegistryError
from registry.models import (
    MODEL_TYPE_CHOICES,
    Asset,
    AssetPreview,
    AssetStatus,
    PlacementRule,
    PreviewStatus,
)
from registry.words import TYPE_NAMES, words_of

CHANGE_ASSET = "registry.change_asset"
CHANGE_RULES = "registry.change_placementrule"
PAGE_SIZE = 60
HISTORY_ROWS = 50
#: CivitAI's mask: from R (4) on a picture is blurred until somebody asks for it.
MATURE_LEVEL = 4

ORDERS = {
    "new": ("-created_at", "-pk"),
    "name": ("name", "pk"),
    "size": ("-file_size_bytes", "pk"),
}
ORDER_NAMES = {"new": "Newest first", "name": "By name", "size": "Largest first"}
TYPE_CHOICES = [(value, TYPE_NAMES.get(value, label)) for value, label in MODEL_TYPE_CHOICES]


# --- The list -------------------------------------------------------------------------------------


@require_safe
@page
def library(request: PageRequest) -> HttpResponse:
    asked = {name: request.GET.get(name, "") for name in ("q", "type", "family", "status")}
    order = request.GET.get("order", "new")
    order = order if order in ORDERS else "new"
    rows = _filtered(asked).order_by(*ORDERS[order])
    totals = rows.aggregate(count=Count("pk"), size=Sum("file_size_bytes"))
    ready = AssetPreview.objects.filter(status=PreviewStatus.READY)
    shown = Paginator(
        rows.defer("metadata", "description").prefetch_related(
            Prefetch("previews", queryset=ready, to_attr="pictures")
        ),
        PAGE_SIZE,
    ).get_page(request.GET.get("page"))
    others = request.GET.copy()
    others.pop("page", None)
    context = {
        "section": "library",
        "rows": [(asset, words_of(asset), _first_picture(asset)) for asset in shown],
        "shown": shown,
        "totals": totals,
        "asked": asked,
        "is_filtered": any(asked.values()),
        "order": order,
        "orders": ORDER_NAMES.items(),
        "as_grid": request.GET.get("view") == "grid",
        "families": _families(),
        "types": _types_in_use(),
        "statuses": AssetStatus.choices,
        "query_without_page": others.urlencode(),
    }
    return render(request, "registry/library.html", context)


def _filtered(asked: dict[str, str]) -> QuerySet[Asset]:
    rows = Asset.objects.all()
    if text := asked["q"].strip()[:200].replace("\0", ""):
        rows = rows.filter(
            Q(name__icontains=text)
            | Q(relative_path__icontains=text)
            | Q(creator__icontains=text)
            | Q(checksum_sha256__startswith=text.lower())
        )
    if asked["type"]:
        rows = rows.filter(asset_type=asked["type"])
    if asked["family"]:
        rows = rows.filter(base_model_family=asked["family"])
    if asked["status"]:
        rows = rows.filter(status=asked["status"])
    return rows


def _families() -> list[str]:
    families = Asset.objects.exclude(base_model_family="").values_list(
        "base_model_family", flat=True
    )
    return sorted(set(families.distinct()))


def _types_in_use() -> list[tuple[str, str]]:
    used = set(Asset.objects.values_list("asset_type", flat=True).distinct())
    return [(value, label) for value, label in TYPE_CHOICES if value in used]


def _first_picture(asset: Asset) -> AssetPreview | None:
    pictures: list[AssetPreview] = getattr(asset, "pictures", [])
    return pictures[0] if pictures else None


# --- One asset ------------------------------------------------------------------------------------


@require_safe
@page
def asset_page(request: PageRequest, pk: int) -> HttpResponse:
    return _asset(request, get_object_or_404(Asset.objects.select_related("added_by"), pk=pk))


def _asset(
    request: PageRequest, asset: Asset, *, error: ModelyardError | None = None
) -> HttpResponse:
    may_see_history = request.user.has_perm("ops.view_auditevent")
    history = AuditEvent.objects.filter(object_type="registry.asset", object_id=str(asset.pk))
    context = {
        "section": "library",
        "asset": asset,
        "words": words_of(asset),
        "digests": _digests(asset),
        "companions": asset.companions.order_by("relative_path"),
        "pictures": [
            (picture, picture.nsfw_level >= MATURE_LEVEL)
            for picture in asset.previews.filter(status=PreviewStatus.READY)
        ],
        "licence": _licence(asset.licence),
        "versions": _versions(asset),
        "history": history[:HISTORY_ROWS] if may_see_history else None,
        "may_change": request.user.has_perm(CHANGE_ASSET),
        "type_choices": TYPE_CHOICES,
        "words_lines": "\n".join(map(str, asset.trigger_words)),
        "tags_lines": "\n".join(map(str, asset.tags)),
        "error": error,
    }
    status = error.http_status if error is not None else 200
    return render(request, "registry/asset.html", context, status=status)


def _digests(asset: Asset) -> list[tuple[str, str]]:
    pairs = [
        ("SHA-256", asset.checksum_sha256),
        ("Published SHA-256", asset.expected_sha256),
        ("git SHA-1", asset.git_sha1),
        ("BLAKE3", asset.blake3),
        ("AutoV3", asset.autov3),
        ("CRC32", asset.crc32),
    ]
    return [
        (name, digest)
        for name, digest in pairs
        if digest and not (name.startswith("Published") and digest == asset.checksum_sha256)
    ]


def _licence(licence: dict[str, Any]) -> list[tuple[str, str]]:
    uses = [str(use) for use in licence.get("commercial_use") or () if use != "None"]
    facts = [("Licence", str(licence.get("name") or ""))]
    if licence.get("commercial_use"):
        facts.append(("Commercial use", ", ".join(uses) or "no"))
    for key, label in (("credit_required", "Credit required"), ("derivatives", "Derivatives")):
        if licence.get(key) is not None:
            facts.append((label, "yes" if licence[key] else "no"))
    return [(name, value) for name, value in facts if value]


def _versions(asset: Asset) -> list[dict[str, Any]]:
    said = asset.metadata.get("source_metadata") or {}
    return [item for item in said.get("versions") or () if isinstance(item, dict)][:60]


def _verify(request: PageRequest, asset: Asset) -> str:
    services.request_verify(asset=asset, user=request.user)
    return "Its bytes are read again; the result will stand here."


def _refresh(request: PageRequest, asset: Asset) -> str:
    services.request_refresh(asset=asset, user=request.user)
    return "The source is asked again."


def _pictures(request: PageRequest, asset: Asset) -> str:
    services.request_previews(asset=asset, user=request.user)
    return "The pictures are fetched again."


def _accept(request: PageRequest, asset: Asset) -> str:
    reason = request.POST.get("reason", "")
    if not reason.strip():
        raise RegistryError("Say why it may be used: the reason stays in the audit log.")
    services.accept_asset(asset=asset, user=request.user, reason=reason)
    return "Accepted and put in its place."


def _edit(request: PageRequest, asset: Asset) -> str:
    form = request.POST
    changes: dict[str, Any] = {
        name: form[name] for name in ("name", "asset_type", "base_model") if name in form
    }
    for name in ("trigger_words", "tags"):
        if name in form:
            changes[name] = [line.strip() for line in form[name].splitlines()]
    if not str(changes.get("name", asset.name)).strip():
        raise RegistryError("It needs a name.")
    if changes.get("asset_type", asset.asset_type) not in dict(MODEL_TYPE_CHOICES):
        raise RegistryError("That is no type of model.")
    services.edit_asset(asset=asset, user=request.user, changes=changes)
    return "Saved. A refresh from the source leaves what you changed alone."


COMMANDS: dict[str, Callable[[PageRequest, Asset], str]] = {
    "verify": _verify,
    "refresh": _refresh,
    "pictures": _pictures,
    "accept": _accept,
    "edit": _edit,
}


@require_POST
@page_for(CHANGE_ASSET)
def asset_command(request: PageRequest, pk: int, action: str) -> HttpResponse:
    asset = get_object_or_404(Asset, pk=pk)
    if action not in COMMANDS:
        raise Http404
    try:
        done = COMMANDS[action](request, asset)
    except ModelyardError as error:
        asset.refresh_from_db()
        return _asset(request, asset, error=error)
    say(request, done)
    return redirect("asset", pk)


@require_POST
@page_for(CHANGE_ASSET)
def asset_delete(request: PageRequest, pk: int) -> HttpResponse:
    asset = get_object_or_404(Asset, pk=pk)
    name = asset.name
    try:
        services.delete_asset(asset=asset, user=request.user)
    except ModelyardError as error:
        asset.refresh_from_db()
        return _asset(request, asset, error=error)
    say(request, f"{name} is gone; its file is in the trash of its directory.")
    return redirect("library")


# --- Placement rules ------------------------------------------------------------------------------


@require_safe
@page_for(CHANGE_RULES)
def placement(request: PageRequest) -> HttpResponse:
    return _placement(request)


def _placement(
    request: PageRequest, *, error: ModelyardError | None = None, edited: int = 0
) -> HttpResponse:
    context = {
        "section": "settings",
        "tab": "placement",
        "rules": [
            (rule, TYPE_NAMES.get(rule.model_type, rule.model_type))
            for rule in PlacementRule.objects.all()
        ],
        "type_choices": TYPE_CHOICES,
        "error": error,
        "edited": edited,
        "tried": request.POST if error is not None else None,
        **_where(request),
    }
    status = error.http_status if error is not None else 200
    return render(request, "registry/placement.html", context, status=status)


@require_safe
@page_for(CHANGE_RULES)
def placement_where(request: PageRequest) -> HttpResponse:
    """The answer of the box "where would … go?"; nothing is changed."""
    return render(request, "registry/where.html", _where(request))


def _where(request: PageRequest) -> dict[str, Any]:
    wanted = {
        "model_type": request.GET.get("model_type", "lora"),
        "base_model": request.GET.get("base_model", "SDXL 1.0")[:100],
        "file_name": request.GET.get("file_name", "").strip()[:255] or "model.safetensors",
    }
    try:
        answer = services.preview_placement(**wanted)
    except ModelyardError as error:
        return {"wanted": wanted, "where_error": error.message}
    return {"wanted": wanted, "where": answer}


def _rule_fields(request: PageRequest) -> dict[str, Any]:
    form = request.POST
    if form.get("model_type") not in dict(MODEL_TYPE_CHOICES):
        raise RegistryError("That is no type of model.")
    try:
        priority = int(form.get("priority") or 0)
    except ValueError as exc:
        raise RegistryError("The priority is a whole number.") from exc
    if not -(2**31) <= priority < 2**31:
        raise RegistryError("The priority is too large a number.")
    return {
        "model_type": form["model_type"],
        "base_model": form.get("base_model", "")[:100],
        "target_directory": form.get("target_directory", ""),
        "priority": priority,
        "is_active": "is_active" in form,
    }


@require_POST
@page_for(CHANGE_RULES)
def rule_create(request: PageRequest) -> HttpResponse:
    try:
        services.create_rule(user=request.user, **_rule_fields(request))
    except ModelyardError as error:
        return _placement(request, error=error)
    say(request, "The rule is there; new downloads follow it.")
    return redirect("placement")


@require_POST
@page_for(CHANGE_RULES)
def rule_change(request: PageRequest, pk: int, action: str) -> HttpResponse:
    rule = get_object_or_404(PlacementRule, pk=pk)
    try:
        if action == "edit":
            services.update_rule(rule=rule, user=request.user, **_rule_fields(request))
        elif action == "toggle":
            services.update_rule(rule=rule, user=request.user, is_active=not rule.is_active)
        elif action == "delete":
            services.delete_rule(rule=rule, user=request.user)
        else:
            raise Http404
    except ModelyardError as error:
        return _placement(request, error=error, edited=pk)
    return redirect("placement")
