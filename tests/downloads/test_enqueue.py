"""From a link to rows, with a source that answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from downloads import services
from downloads.credentials import open_link
from downloads.errors import InvalidOption, QueueFull, UserNotPermitted
from downloads.models import Download
from downloads.states import DownloadStatus
from registry.errors import PlacementNotPossible
from sources.errors import NotFound, ReferenceNotUnderstood, SourceError, SourceUnavailable
from tests.factories import make_asset, make_download, make_user
from tests.origin import Origin
from tests.origin import made_civitai as made
from transfer.errors import TooLarge, UrlNotAllowed

pytestmark = pytest.mark.django_db

S = DownloadStatus


def enqueue(user: User, url: str, **said: Any) -> Download:
    return services.enqueue(user=user, url=url, **said)


def test_one_file_becomes_one_row_with_everything_that_is_known(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.checkpoint)
    content = wired.civitai.file(made.CHECKPOINT_FILE)
    assert (download.status, download.initiated_by, download.is_bundle) == (S.QUEUED, user, False)
    assert (download.source_type, download.source_file_id) == ("civitai", str(made.CHECKPOINT_FILE))
    assert (download.source_model_id, download.source_version_id) == ("90001", "900011")
    assert (download.model_name, download.model_type) == ("Made: checkpoint", "checkpoint")
    assert download.expected_hash == content.sha256
    assert download.file_size_bytes == pytest.approx(content.size_bytes, abs=1024)
    assert download.target_path is not None
    assert download.target_path.startswith("/models/checkpoints/")
    assert download.target_path.endswith(download.file_name)
    assert download.source_metadata["name"] == "Made: checkpoint"
    assert download.source_secret is None


def test_several_files_become_a_bundle(wired: Origin, user: User) -> None:
    bundle = enqueue(user, wired.links.bundle, priority=3)
    children = list(bundle.children.order_by("pk"))
    assert (bundle.is_bundle, bundle.status) == (True, S.QUEUED)
    assert [child.file_role for child in children] == ["weights", "weights", "companion"]
    assert [child.model_type for child in children] == ["checkpoint", "vae", "checkpoint"]
    assert all(child.priority == 3 and child.initiated_by == user for child in children)
    assert bundle.source_metadata["name"] == "Made: checkpoint with VAE and config"
    assert all(list(child.source_metadata) == ["file"] for child in children)
    assert bundle.file_size_bytes == sum(child.file_size_bytes or 0 for child in children)
    assert children[0].model_name == bundle.model_name


def test_a_snapshot_keeps_its_tree(wired: Origin, user: User) -> None:
    bundle = enqueue(user, wired.links.hub_snapshot)
    paths = {child.target_path for child in bundle.children.all()}
    assert bundle.bundle_folder == "made--tiny-sdxl-diffusers"
    assert all("/made--tiny-sdxl-diffusers/" in str(path) for path in paths)
    assert len(paths) == bundle.children.count() > 3
    assert any(
        child.expected_git_sha1 and not child.expected_hash for child in bundle.children.all()
    )


def test_a_snapshot_lies_in_one_folder_and_its_parts_keep_their_types(
    wired: Origin, user: User
) -> None:
    bundle = enqueue(user, wired.links.hub_snapshot)
    children = list(bundle.children.all())
    assert bundle.model_type == "checkpoint"
    folder = "/models/checkpoints/sdxl/made--tiny-sdxl-diffusers/"
    assert {str(row.target_path).removesuffix(row.bundle_path) for row in children} == {folder}
    weights = {row.bundle_path.split("/")[0]: row for row in children if row.file_role == "weights"}
    assert weights["unet"].model_type == "diffusion_model"
    assert weights["vae"].model_type == "vae"
    assert weights["vae"].model_name.endswith(f": {weights['vae'].bundle_path}")
    assert {row.model_type for row in children if row.file_role == "companion"} == {"checkpoint"}
    other = enqueue(user, wired.links.hub_snapshot, model_type="other", on_duplicate="keep")
    assert {str(row.target_path).split("/")[2] for row in other.children.all()} == {"other"}
    assert other.children.get(bundle_path=weights["vae"].bundle_path).model_type == "vae"


def test_another_digest_than_the_source_s_is_not_linked_by_the_source(
    wired: Origin, user: User
) -> None:
    content = wired.civitai.file(made.CHECKPOINT_FILE)
    asset = make_asset(checksum_sha256=content.sha256)
    assert enqueue(user, wired.links.checkpoint, expected_hash=content.sha256).asset == asset
    assert enqueue(user, wired.links.checkpoint, expected_hash="ab" * 32).status == S.QUEUED


def test_a_file_may_be_chosen(wired: Origin, user: User) -> None:
    chosen = enqueue(user, wired.links.bundle, file_id=str(made.BUNDLE_FILES[1]))
    assert (chosen.is_bundle, chosen.model_type) == (False, "vae")
    two = enqueue(user, wired.links.bundle, files=[str(number) for number in made.BUNDLE_FILES[:2]])
    assert two.children.count() == 2


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"file_id": "1"}, "file_id"),
        ({"file_id": "1", "files": ["2"]}, "files"),
        ({"files": []}, "files"),
        ({"model_type": "song"}, "model_type"),
        ({"model_name": ""}, "model_name"),
        ({"expected_hash": "abc"}, "expected_hash"),
        ({"on_duplicate": "maybe"}, "on_duplicate"),
        ({"priority": 1}, "priority"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(
    said: dict[str, Any], field: str, wired: Origin, user: User
) -> None:
    with pytest.raises(InvalidOption) as refused:
        enqueue(user, wired.links.checkpoint, **said)
    assert refused.value.field == field
    assert not Download.objects.exists()


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("hello world", ReferenceNotUnderstood),
        ("file:///etc/passwd", UrlNotAllowed),
        ("http://10.0.0.1/x.safetensors", UrlNotAllowed),
        ("https://civitai.com/models/1", NotFound),
    ],
)
def test_a_link_that_leads_nowhere_makes_no_row(
    url: str, error: type[Exception], wired: Origin, user: User
) -> None:
    with pytest.raises(error):
        enqueue(user, url)
    assert not Download.objects.exists()


def test_a_source_that_is_down_makes_no_row(wired: Origin, user: User) -> None:
    wired.faults.fail("/civitai/*", status=503, times=None)
    with pytest.raises(SourceUnavailable):
        enqueue(user, wired.links.checkpoint)
    assert not Download.objects.exists()


def test_what_a_person_says_beats_the_source(wired: Origin, user: User) -> None:
    download = enqueue(
        user, wired.links.checkpoint, model_name="Mine", model_type="vae", base_model="SD 1.5",
        folder="team/mine", expected_hash="AB" * 32, review=True,
    )  # fmt: skip
    assert (download.model_name, download.model_type) == ("Mine", "vae")
    assert (download.base_model, download.base_model_family) == ("SD 1.5", "SD 1.5")
    assert download.target_path == f"/models/team/mine/{download.file_name}"
    assert (download.expected_hash, download.review) == ("ab" * 32, True)


def test_a_folder_outside_is_refused(wired: Origin, user: User) -> None:
    with pytest.raises(PlacementNotPossible):
        enqueue(user, wired.links.checkpoint, folder="../../etc")


def test_a_file_beyond_the_largest_size_is_refused(
    wired: Origin, user: User, settings: Settings
) -> None:
    settings.MAX_FILE_BYTES = 1000
    with pytest.raises(TooLarge):
        enqueue(user, wired.links.checkpoint)


def test_a_link_that_is_a_secret_is_sealed(wired: Origin, user: User) -> None:
    link = wired.links.secret_direct
    download = enqueue(user, link)
    stored = " ".join(str(value) for value in Download.objects.values_list().get())
    assert wired.direct.key not in stored
    assert open_link(download) == link


def test_a_stranger_may_not_ask(wired: Origin) -> None:
    with pytest.raises(UserNotPermitted):
        enqueue(make_user(), wired.links.checkpoint)
    with pytest.raises(UserNotPermitted):
        enqueue(make_user("", "downloads.request_content", is_active=False), wired.links.checkpoint)


def test_limits_hold(wired: Origin, user: User, settings: Settings) -> None:
    settings.USER_MAX_QUEUE_SIZE = 1
    make_download(initiated_by=user)
    with pytest.raises(QueueFull):
        enqueue(user, wired.links.checkpoint)


# --- Duplicates: said, never blocking -------------------------------------------------------------
@pytest.mark.parametrize(
    ("wish", "status", "code", "linked"),
    [
        ("link", S.COMPLETED, "", True),
        ("skip", S.CANCELLED, "duplicate", True),
        ("keep", S.QUEUED, "", False),
        ("overwrite", S.QUEUED, "", False),
    ],
)
@pytest.mark.parametrize("by", ["hash", "source"])
def test_a_file_that_is_here_already(  # noqa: PLR0917
    wish: str, status: S, code: str, linked: bool, by: str, wired: Origin, user: User
) -> None:
    known: dict[str, Any] = {
        "source_type": "civitai",
        "source_version_id": str(made.CHECKPOINT_VERSION),
        "source_file_id": str(made.CHECKPOINT_FILE),
    }
    if by == "hash":
        known = {"checksum_sha256": wired.civitai.file(made.CHECKPOINT_FILE).sha256}
    asset = make_asset(**known)
    resolved = services.resolve_reference(user=user, url=wired.links.checkpoint)
    assert (resolved.duplicate.is_duplicate, resolved.duplicate.existing_asset) == (True, asset)
    download = enqueue(user, wired.links.checkpoint, on_duplicate=wish)
    assert (download.status, download.error_code) == (status, code)
    assert download.asset == (asset if linked else None)
    assert download.initiated_by == user
    if status == S.COMPLETED:
        assert download.actual_hash == asset.checksum_sha256
        assert download.hash_verified is (download.expected_hash == asset.checksum_sha256)
        assert download.hash_mismatch is False
        assert download.completed_at is not None


def test_a_flagged_asset_is_no_duplicate(wired: Origin, user: User) -> None:
    make_asset(status="flagged", checksum_sha256=wired.civitai.file(made.CHECKPOINT_FILE).sha256)
    assert enqueue(user, wired.links.checkpoint).status == S.QUEUED


def test_a_bundle_links_the_files_that_are_here(wired: Origin, user: User) -> None:
    make_asset(checksum_sha256=wired.civitai.file(made.BUNDLE_FILES[1]).sha256)
    bundle = enqueue(user, wired.links.bundle)
    assert sorted(bundle.children.values_list("status", flat=True)) == [
        "completed", "queued", "queued",
    ]  # fmt: skip
    assert bundle.status == S.DOWNLOADING


def test_duplicates_are_found_by_digest_and_by_link(wired: Origin, user: User) -> None:
    digest = wired.civitai.file(made.CHECKPOINT_FILE).sha256
    assert not services.check_duplicate(user=user, sha256=digest).is_duplicate
    asset = make_asset(checksum_sha256=digest)
    by_digest = services.check_duplicate(user=user, sha256=digest.upper())
    by_link = services.check_duplicate(user=user, url=wired.links.checkpoint)
    assert by_digest.existing_asset == by_link.existing_asset == asset


# --- Early access ---------------------------------------------------------------------------------
def test_early_access_is_parked_until_its_moment(wired: Origin, user: User) -> None:
    wired.civitai.end_early_access_in(3600)
    download = enqueue(user, wired.links.early_access)
    assert (download.status, download.error_code) == (S.PARKED, "early_access")
    assert download.retry_at is not None
    assert 3500 < (download.retry_at - timezone.now()).total_seconds() < 3700


def test_two_ways_to_name_one_file_have_one_key(wired: Origin, user: User) -> None:
    one = enqueue(user, wired.links.checkpoint)
    two = enqueue(
        user,
        f"{wired.civitai_url}/api/download/models/{made.CHECKPOINT_VERSION}"
        f"?fileId={made.CHECKPOINT_FILE}",
    )
    other = enqueue(user, wired.links.direct)
    assert one.source_key == two.source_key != other.source_key


def test_resolving_changes_nothing(wired: Origin, user: User, models_dir: Path) -> None:
    resolved = services.resolve_reference(user=user, url=wired.links.bundle, model_type="lora")
    assert resolved.is_bundle
    assert resolved.main.model_type == "lora"
    assert resolved.target_path.startswith("/models/loras/")
    assert not Download.objects.exists()
    with pytest.raises(SourceError):
        services.resolve_reference(user=user, url=wired.links.hub_private)
