"""Metadata fetched again, from the origin that plays CivitAI."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User

from ops.models import AuditEvent
from registry import pipeline, services
from registry.models import Asset
from sources.parse import parse_reference
from tests.origin.server import Origin
from tokens.clients import endpoints, resolver

pytestmark = pytest.mark.django_db

Register = Callable[..., Asset]


@pytest.fixture
def asset(register: Register, origin: Origin, settings: Any) -> Asset:
    """A checkpoint of the origin, registered with names that the source does not say any more."""
    settings.CIVITAI_ENDPOINT = origin.civitai_url
    settings.HF_ENDPOINT = origin.huggingface_url
    reference = parse_reference(origin.links.checkpoint, endpoints())
    resolution = resolver(cached=False).resolve(reference)
    plain = resolution.as_dict()
    made = register(
        resolution={**plain, "description": "<p>old</p>", "tags": ("old",)},
        source_file=plain["files"][0],
        name=resolution.name,
        model_type="checkpoint",
        base_model=resolution.base_model,
        base_model_family=resolution.base_model_family,
    )
    made.previews.all().delete()
    return made


def refresh(asset: Asset, user: User) -> Asset:
    services.request_refresh(asset=asset, user=user)
    pipeline.refresh_asset(asset.pk)
    asset.refresh_from_db()
    assert asset.refresh_requested_at is None
    return asset


def test_a_refresh_fills_what_the_source_says_now(asset: Asset, admin_user: User) -> None:
    fresh = refresh(asset, admin_user)
    assert fresh.refresh_error == ""
    assert not fresh.description.startswith("<p>old</p>")
    assert fresh.tags != ["old"]
    assert fresh.previews.exists()
    changed = AuditEvent.objects.get(action="asset.refreshed").details["changed"]
    assert {"description", "tags"} <= set(changed)


def test_a_refresh_leaves_a_persons_edits_alone(asset: Asset, admin_user: User) -> None:
    changes = {"name": "My name", "tags": ["mine"], "base_model": "Pony"}
    services.edit_asset(asset=asset, user=admin_user, changes=changes)
    fresh = refresh(asset, admin_user)
    assert (fresh.name, fresh.tags) == ("My name", ["mine"])
    assert (fresh.base_model, fresh.base_model_family) == ("Pony", "SDXL")
    assert not fresh.description.startswith("<p>old</p>")


def test_a_name_that_was_made_otherwise_stays(asset: Asset, admin_user: User) -> None:
    Asset.objects.filter(pk=asset.pk).update(name="Snapshot: unet")
    assert refresh(asset, admin_user).name == "Snapshot: unet"


def test_what_the_source_refuses_is_noted(asset: Asset, admin_user: User, origin: Origin) -> None:
    Asset.objects.filter(pk=asset.pk).update(
        source_reference="https://civitai.com/models/999999999"
    )
    fresh = refresh(asset, admin_user)
    assert fresh.refresh_error
    assert fresh.status == "active"
    assert fresh.description.startswith("<p>old</p>")
