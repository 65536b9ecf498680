from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import User

from ops.models import AuditEvent
from registry import hooks, pipeline, services
from registry.errors import AssetInUse, AssetStateRefused, RootUnavailable
from registry.models import Asset, AssetStatus, Verification
from registry.roots import quarantine_dir, root_path, trash_dir
from tests.registry.test_registering import RESOLUTION
from transfer.errors import DiskError, TargetExists

pytestmark = pytest.mark.django_db

Register = Callable[..., Asset]


@pytest.fixture
def flagged(register: Register) -> Asset:
    return register(
        b"other bytes",
        verification="mismatch",
        expected_sha256="ab" * 32,
        quarantine_path="q-1",
    )


def path_of(asset: Asset) -> Any:
    return root_path(asset.root) / asset.relative_path


# --- Accept ----------------------------------------------------------------------------------------


def test_accepting_publishes_the_quarantined_bytes(flagged: Asset, admin_user: User) -> None:
    asset = services.accept_asset(asset=flagged, user=admin_user, reason="Asked the creator.")
    assert (asset.status, asset.verification) == ("active", Verification.ACCEPTED)
    assert path_of(asset).read_bytes() == b"other bytes"
    assert list(quarantine_dir(asset.root).iterdir()) == []
    assert asset.quarantine_path == ""
    event = AuditEvent.objects.get(action="asset.accepted")
    assert (event.actor, event.details["reason"]) == (admin_user, "Asked the creator.")


def test_accepting_needs_a_reason_and_a_flag(
    flagged: Asset, register: Register, admin_user: User
) -> None:
    with pytest.raises(ValueError, match="reason"):
        services.accept_asset(asset=flagged, user=admin_user, reason=" \x00 ")
    with pytest.raises(AssetStateRefused):
        services.accept_asset(
            asset=register(file_name="y.safetensors"), user=admin_user, reason="Why not."
        )


def test_accepting_does_not_overwrite(flagged: Asset, admin_user: User) -> None:
    path_of(flagged).parent.mkdir(parents=True, exist_ok=True)
    path_of(flagged).write_bytes(b"somebody else's")
    with pytest.raises(TargetExists):
        services.accept_asset(asset=flagged, user=admin_user, reason="I trust it.")
    flagged.refresh_from_db()
    assert flagged.status == AssetStatus.FLAGGED
    assert path_of(flagged).read_bytes() == b"somebody else's"


def test_accepting_goes_on_after_a_crash(flagged: Asset, admin_user: User) -> None:
    path_of(flagged).parent.mkdir(parents=True, exist_ok=True)
    (quarantine_dir(flagged.root) / "q-1").rename(path_of(flagged))
    asset = services.accept_asset(asset=flagged, user=admin_user, reason="Again.")
    assert asset.status == AssetStatus.ACTIVE


def test_accepting_bytes_that_are_gone_is_refused(flagged: Asset, admin_user: User) -> None:
    (quarantine_dir(flagged.root) / "q-1").unlink()
    with pytest.raises(DiskError):
        services.accept_asset(asset=flagged, user=admin_user, reason="Again.")


# --- Delete ----------------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[list[Asset]]:
    seen: list[Asset] = []

    def refuse(asset: Asset) -> None:
        assert asset.status == AssetStatus.DELETING
        seen.append(asset)
        if asset.name == "Busy":
            raise AssetInUse("A worker copies it now. Try again when it is done.")

    hooks.before_delete(refuse)
    yield seen
    hooks.forget(refuse)


def test_deleting_moves_the_file_to_the_trash(
    register: Register, admin_user: User, hook: list[Asset]
) -> None:
    asset = register()
    path = path_of(asset)
    services.delete_asset(asset=asset, user=admin_user)
    assert not path.exists()
    assert not Asset.objects.exists()
    assert [kept.read_bytes() for kept in trash_dir(asset.root).iterdir()] == [b"model bytes"]
    assert len(hook) == 1
    assert AuditEvent.objects.filter(action="asset.deleted", actor=admin_user).count() == 1


def test_an_asset_in_use_stays_what_it_was(
    register: Register, admin_user: User, hook: list[Asset]
) -> None:
    asset = register(name="Busy")
    with pytest.raises(AssetInUse):
        services.delete_asset(asset=asset, user=admin_user)
    asset.refresh_from_db()
    assert asset.status == AssetStatus.ACTIVE
    assert path_of(asset).exists()


def test_deleting_a_flagged_asset_takes_its_quarantined_bytes(
    flagged: Asset, admin_user: User
) -> None:
    services.delete_asset(asset=flagged, user=admin_user)
    assert list(quarantine_dir(flagged.root).iterdir()) == []
    assert not Asset.objects.exists()


def test_deleting_again_after_a_crash_finishes(register: Register, admin_user: User) -> None:
    asset = register()
    Asset.objects.filter(pk=asset.pk).update(status=AssetStatus.DELETING)
    path_of(asset).unlink()
    asset.refresh_from_db()
    services.delete_asset(asset=asset, user=admin_user)
    assert not Asset.objects.exists()


def test_nothing_is_deleted_while_the_root_is_away(register: Register, admin_user: User) -> None:
    asset = register()
    shutil.rmtree(asset.root.path)
    with pytest.raises(RootUnavailable):
        services.delete_asset(asset=asset, user=admin_user)
    asset.refresh_from_db()
    assert asset.status == AssetStatus.ACTIVE


def test_a_link_planted_on_the_way_is_not_followed(
    register: Register, admin_user: User, tmp_path: Any
) -> None:
    asset = register()
    outside = tmp_path / "outside"
    path_of(asset).parent.rename(outside)
    path_of(asset).parent.symlink_to(outside)
    services.delete_asset(asset=asset, user=admin_user)
    assert (outside / "x.safetensors").exists()


# --- Verify again ----------------------------------------------------------------------------------


def verify(asset: Asset, user: User) -> Asset:
    services.request_verify(asset=asset, user=user)
    pipeline.verify_asset(asset.pk)
    asset.refresh_from_db()
    assert asset.verify_requested_at is None
    return asset


def test_a_sound_file_is_verified_again(register: Register, admin_user: User) -> None:
    asset = register(verification="unverified")
    assert asset.verified_at is None
    asset = verify(asset, admin_user)
    assert asset.status == AssetStatus.ACTIVE
    assert asset.verified_at is not None
    assert asset.verification == Verification.UNVERIFIED


def test_damage_and_loss_are_found_and_heal(register: Register, admin_user: User) -> None:
    asset = register()
    path_of(asset).write_bytes(b"model bytez")
    assert verify(asset, admin_user).status == AssetStatus.CORRUPT
    path_of(asset).unlink()
    assert verify(asset, admin_user).status == AssetStatus.MISSING
    path_of(asset).write_bytes(b"model bytes")
    assert verify(asset, admin_user).status == AssetStatus.ACTIVE
    actions = AuditEvent.objects.order_by("pk").values_list("action", flat=True)
    assert [a for a in actions if a in {"asset.corrupt", "asset.missing", "asset.active"}] == [
        "asset.corrupt",
        "asset.missing",
        "asset.active",
    ]


def test_a_link_in_place_of_the_file_is_a_missing_file(
    register: Register, admin_user: User, tmp_path: Any
) -> None:
    asset = register()
    path_of(asset).rename(tmp_path / "real")
    path_of(asset).symlink_to(tmp_path / "real")
    assert verify(asset, admin_user).status == AssetStatus.MISSING


def test_a_flagged_asset_stays_flagged(flagged: Asset, admin_user: User) -> None:
    assert verify(flagged, admin_user).status == AssetStatus.FLAGGED


def test_a_root_that_is_away_says_nothing_about_its_files(
    register: Register, admin_user: User
) -> None:
    asset = register()
    services.request_verify(asset=asset, user=admin_user)
    shutil.rmtree(asset.root.path)
    with pytest.raises(RootUnavailable):
        pipeline.verify_asset(asset.pk)
    asset.refresh_from_db()
    assert asset.status == AssetStatus.ACTIVE
    assert asset.verify_requested_at is not None


def test_a_file_that_was_replaced_meanwhile_keeps_its_status(
    register: Register, admin_user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    asset = register()
    real = pipeline.file_sha256

    def slow(path: Any) -> str:
        digest = real(path)
        Asset.objects.filter(pk=asset.pk).update(checksum_sha256=hashlib.sha256(b"new").hexdigest())
        return digest[::-1]

    monkeypatch.setattr(pipeline, "file_sha256", slow)
    services.request_verify(asset=asset, user=admin_user)
    pipeline.verify_asset(asset.pk)
    asset.refresh_from_db()
    assert asset.status == AssetStatus.ACTIVE


# --- Edit and refresh ------------------------------------------------------------------------------


def test_edits_are_cleaned_and_remembered(register: Register, admin_user: User) -> None:
    asset = register()
    services.edit_asset(
        asset=asset,
        user=admin_user,
        changes={
            "name": "New\x00 name",
            "base_model": "Pony",
            "description": "<script>x</script><b>bold</b>",
            "trigger_words": ["a", "a", " b "],
        },
    )
    asset.refresh_from_db()
    assert asset.name == "New name"
    assert (asset.base_model, asset.base_model_family) == ("Pony", "SDXL")
    assert asset.description == "<b>bold</b>"
    assert asset.trigger_words == ["a", "b"]
    assert set(asset.edited_fields) == {
        "name",
        "base_model",
        "base_model_family",
        "description",
        "trigger_words",
    }
    assert AuditEvent.objects.filter(action="asset.edited", actor=admin_user).exists()


def test_a_direct_link_has_nothing_to_refresh(register: Register, admin_user: User) -> None:
    with pytest.raises(AssetStateRefused):
        services.request_refresh(asset=register(), user=admin_user)


def test_an_asset_being_deleted_takes_no_commands(register: Register, admin_user: User) -> None:
    asset = register(resolution=RESOLUTION)
    Asset.objects.filter(pk=asset.pk).update(status=AssetStatus.DELETING)
    asset.refresh_from_db()
    for command in (
        lambda: services.request_verify(asset=asset, user=admin_user),
        lambda: services.request_refresh(asset=asset, user=admin_user),
        lambda: services.request_previews(asset=asset, user=admin_user),
        lambda: services.edit_asset(asset=asset, user=admin_user, changes={"name": "x"}),
    ):
        with pytest.raises(AssetStateRefused):
            command()
