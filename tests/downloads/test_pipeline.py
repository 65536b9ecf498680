"""A download from its first byte to its asset, with the real engine and a source that misbehaves."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from downloads import dispatcher, pipeline, reconciler, services, shutdown
from downloads.models import Download, PartialFile, Slot
from downloads.stages import Outcome
from downloads.states import DownloadStatus
from registry.models import Asset, AssetStatus, Companion
from registry.roots import default_root, quarantine_dir
from tests.downloads.driving import (
    fresh,
    in_thread,
    model_files,
    partial_files,
    reconcile_and_run,
    run_chain,
    wait_until,
    work_off,
)
from tests.factories import make_asset
from tests.origin import Origin
from tests.origin import made_civitai as made
from tests.origin import made_huggingface as hub
from tokens import services as token_services

pytestmark = pytest.mark.django_db(transaction=True)

S = DownloadStatus
MIB = 1024 * 1024


def enqueue(user: User, url: str, **said: Any) -> Download:
    return services.enqueue(user=user, url=url, send=False, **said)


def finish(user: User, url: str, **said: Any) -> Download:
    download = enqueue(user, url, **said)
    work_off()
    return fresh(download)


def civitai(origin: Origin, model_id: int) -> str:
    return f"{origin.civitai_url}/models/{model_id}"


# --- It works -------------------------------------------------------------------------------------
def test_a_checkpoint_arrives_checked_named_filed_and_known(
    wired: Origin, user: User, models_dir: Path
) -> None:
    download = finish(user, wired.links.checkpoint)
    content = wired.civitai.file(made.CHECKPOINT_FILE)
    assert (download.status, download.error_message) == (S.COMPLETED, None)
    assert download.actual_hash == download.expected_hash == content.sha256
    assert (download.hash_verified, download.hash_mismatch) == (True, False)
    assert download.verification == "verified"
    assert download.downloaded_bytes == download.file_size_bytes == content.size_bytes
    assert (download.owner, download.publish_path) == ("", "")
    asset = download.asset
    assert asset is not None
    assert (asset.status, asset.checksum_sha256) == (AssetStatus.ACTIVE, content.sha256)
    assert (asset.name, asset.asset_type, asset.added_by) == (
        "Made: checkpoint", "checkpoint", user,
    )  # fmt: skip
    assert f"/models/{asset.relative_path}" == download.target_path
    assert (models_dir / asset.relative_path).read_bytes() == content.read()
    assert partial_files() == []
    assert not PartialFile.objects.exists()
    assert not Slot.objects.filter(download__isnull=False).exists()


def test_a_file_behind_a_token_comes_with_the_token_of_its_user(wired: Origin, user: User) -> None:
    token_services.save_token(user=user, service_name="civitai", token=wired.civitai.token)
    download = finish(user, wired.links.lora_with_token)
    assert (download.status, download.model_type) == (S.COMPLETED, "lora")


@pytest.mark.parametrize("link", ["hub_file", "direct", "secret_direct"])
def test_other_sources(link: str, wired: Origin, user: User) -> None:
    download = finish(user, getattr(wired.links, link))
    assert (download.status, download.error_message) == (S.COMPLETED, None)
    expected = "verified" if link == "hub_file" else "unverified"
    assert download.verification == expected
    assert download.hash_verified == (link == "hub_file")


def test_a_bundle_brings_weights_and_companions(
    wired: Origin, user: User, models_dir: Path
) -> None:
    bundle = finish(user, wired.links.bundle)
    assert (bundle.status, bundle.progress) == (S.COMPLETED, 1.0)
    main, vae, config = bundle.children.order_by("pk")
    assert main.asset is not None
    assert vae.asset is not None
    assert (main.asset.asset_type, vae.asset.asset_type) == ("checkpoint", "vae")
    assert bundle.asset == main.asset
    companion = Companion.objects.get()
    assert companion.asset == main.asset
    assert config.asset is None
    assert len(model_files(models_dir)) == 3


def test_a_snapshot_is_filed_as_a_tree_and_checked_by_git_digests(
    wired: Origin, user: User, models_dir: Path
) -> None:
    bundle = finish(user, wired.links.hub_snapshot)
    assert (bundle.status, bundle.error_message) == (S.COMPLETED, None)
    children = list(bundle.children.all())
    assert {child.verification for child in children} == {"verified"} == {bundle.verification}
    small = [child for child in children if not child.expected_hash]
    assert small
    assert all(child.actual_git_sha1 == child.expected_git_sha1 for child in small)
    files = model_files(models_dir)
    assert len(files) == len(children)
    assert all("/made--tiny-sdxl-diffusers/" in f"/{name}" for name in files)
    assert not Companion.objects.filter(asset__isnull=True).exists()


def test_a_snapshot_is_whole_although_a_part_is_here_elsewhere(
    wired: Origin, user: User, models_dir: Path
) -> None:
    digest = wired.huggingface.file(hub.SNAPSHOT, "vae/diffusion_pytorch_model.safetensors").sha256
    make_asset(checksum_sha256=digest)
    first = finish(user, wired.links.hub_snapshot)
    files = model_files(models_dir)
    assert len(files) == first.children.count()
    # Once it is here, it is linked part by part, and replaced in its place.
    wired.log.clear()
    again = finish(user, wired.links.hub_snapshot)
    parts = {row.bundle_path: row.asset for row in first.children.filter(file_role="weights")}
    assert parts == {
        row.bundle_path: row.asset for row in again.children.filter(file_role="weights")
    }
    assert not wired.log.find(match="*.safetensors")
    replaced = finish(user, wired.links.hub_snapshot, on_duplicate="overwrite")
    assert replaced.status == S.COMPLETED
    assert model_files(models_dir) == files


def test_a_mirror_without_commits_gives_files_by_branch(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.hub_file)
    commit = download.source_version_id
    fault = wired.faults.fail(f"*/resolve/{commit}/*", status=404, times=None)
    work_off()
    assert fault.hits == 1
    assert (fresh(download).status, fresh(download).verification) == (S.COMPLETED, "verified")


# --- Digests --------------------------------------------------------------------------------------
def test_a_flipped_byte_is_fetched_once_more(wired: Origin, user: User) -> None:
    wired.faults.flip("/cdn/*", at=5000, times=1)
    download = enqueue(user, wired.links.checkpoint)
    (started,) = dispatcher.dispatch()
    run_chain(started)
    download = fresh(download)
    assert (download.status, download.mismatch_count, download.downloaded_bytes) == (S.QUEUED, 1, 0)
    work_off()
    download = fresh(download)
    assert (download.status, download.verification) == (S.COMPLETED, "verified")
    assert (download.auto_retry_count, download.retry_count) == (0, 0)


def test_a_digest_that_differs_twice_is_flagged_and_kept_in_quarantine(
    wired: Origin, user: User, models_dir: Path
) -> None:
    download = finish(user, civitai(wired, made.WRONG_HASH_MODEL))
    asset = download.asset
    assert asset is not None
    assert (download.status, download.mismatch_count) == (S.COMPLETED, 1)
    assert (download.hash_verified, download.hash_mismatch) == (True, True)
    assert (download.verification, asset.status) == ("mismatch", AssetStatus.FLAGGED)
    assert asset.expected_sha256 == download.expected_hash != asset.checksum_sha256
    assert model_files(models_dir) == []
    quarantined = quarantine_dir(default_root()) / asset.quarantine_path
    assert quarantined.stat().st_size == asset.file_size_bytes
    assert partial_files() == []


def test_a_git_digest_that_differs_is_a_mismatch_too(wired: Origin, user: User) -> None:
    wired.faults.flip("/huggingface/*/model_index.json", at=3, times=None)
    bundle = finish(user, wired.links.hub_snapshot)
    child = bundle.children.get(file_name="model_index.json")
    assert child.expected_git_sha1 != child.actual_git_sha1
    assert (child.mismatch_count, child.hash_mismatch) == (1, True)
    assert (child.status, child.error_code) == (S.FAILED, "not_a_model_file"), "it is no JSON now"


def test_a_config_that_differs_is_not_placed(wired: Origin, user: User, models_dir: Path) -> None:
    bundle = enqueue(user, wired.links.hub_snapshot)
    config = bundle.children.get(file_name="model_index.json")
    Download.objects.filter(pk=config.pk).update(expected_git_sha1="ab" * 20)
    work_off()
    config = fresh(config)
    assert (config.status, config.error_code) == (S.FAILED, "hash_mismatch")
    assert (config.hash_verified, config.hash_mismatch, config.mismatch_count) == (True, True, 1)
    assert not list(models_dir.rglob("model_index.json"))
    assert "second download" in config.warnings[0]


def test_a_page_in_place_of_what_needs_a_token_is_a_login(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.direct)
    said = {**download.source_metadata, "needs_token": "The creator asks for a login."}
    Download.objects.filter(pk=download.pk).update(source_metadata=said)
    wired.faults.fail("/direct/*", status=200, body=b"<!doctype html><p>Log in", times=None)
    work_off()
    assert fresh(download).error_code == "token_required"


def test_the_digest_that_a_person_gives_counts(wired: Origin, user: User) -> None:
    download = finish(user, wired.links.direct, expected_hash="ab" * 32)
    assert (download.hash_mismatch, download.verification) == (True, "mismatch")


def test_without_a_published_digest_our_own_is_kept(wired: Origin, user: User) -> None:
    download = finish(user, civitai(wired, made.NO_HASH_MODEL))
    assert (download.status, download.verification) == (S.COMPLETED, "unverified")
    assert (download.hash_verified, download.hash_mismatch) == (False, False)
    assert download.asset is not None
    assert download.asset.checksum_sha256 == download.actual_hash


# --- What is no model -----------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["login", "error-body"])
def test_a_web_page_is_never_a_model(how: str, wired: Origin, user: User, models_dir: Path) -> None:
    good = wired.direct.link("page_lora_sdxl.safetensors")
    download = enqueue(user, good)
    Download.objects.filter(pk=download.pk).update(
        source_reference=good.replace("/files/", f"/{how}/")
    )
    download.source_metadata["files"][0]["url"] = good.replace("/files/", f"/{how}/")
    download.source_metadata["files"][0]["size_bytes"] = None
    download.save(update_fields=["source_metadata"])
    work_off()
    download = fresh(download)
    assert (download.status, download.error_code) == (S.FAILED, "not_a_model_file")
    assert model_files(models_dir) == []
    assert partial_files() == []
    assert not Asset.objects.exists()


def test_a_page_of_the_cdn_is_refused_with_the_reason(wired: Origin, user: User) -> None:
    download = finish(user, civitai(wired, made.WEB_PAGE_MODEL))
    assert (download.status, download.error_code) == (S.FAILED, "not_a_model_file")
    assert download.error_message


def test_a_dangerous_pickle_is_flagged(wired: Origin, user: User, models_dir: Path) -> None:
    download = finish(user, civitai(wired, made.MALICIOUS_MODEL))
    assert download.asset is not None
    assert (download.status, download.asset.status) == (S.COMPLETED, AssetStatus.FLAGGED)
    assert model_files(models_dir) == []


# --- Review ---------------------------------------------------------------------------------------
def test_a_review_waits_for_a_person(wired: Origin, user: User, models_dir: Path) -> None:
    download = finish(user, wired.links.checkpoint, review=True)
    assert download.status == S.REVIEW
    assert len(partial_files()) == 1
    assert not Slot.objects.filter(download__isnull=False).exists()
    reconciler.reconcile()
    reconciler.delete_stale_partials(timedelta(0))
    services.finalize(download=download, user=user, model_name="Mine", folder="team")
    run_chain(download.pk, S.REGISTERING)
    download = fresh(download)
    assert download.asset is not None
    assert (download.status, download.asset.name) == (S.COMPLETED, "Mine")
    assert model_files(models_dir) == [f"team/{download.file_name}"]


def test_a_cancelled_review_leaves_no_bytes(wired: Origin, user: User, models_dir: Path) -> None:
    download = finish(user, wired.links.checkpoint, review=True)
    services.cancel(download=download, user=user)
    assert partial_files() == []


def test_a_header_that_contradicts_the_source_asks_for_a_review(wired: Origin, user: User) -> None:
    download = finish(user, civitai(wired, made.DISAGREES_MODEL))
    assert download.status == S.REVIEW
    assert download.warnings


# --- Errors ---------------------------------------------------------------------------------------
def test_a_cut_line_goes_on_where_it_was(wired: Origin, user: User) -> None:
    wired.faults.drop("/cdn/*", at=9 * MIB, times=1)
    download = finish(user, wired.links.large)
    if download.status == S.RETRY_WAITING:
        assert download.error_code == "interrupted"
        reconcile_and_run()
        work_off()
    download = fresh(download)
    assert (download.status, download.verification) == (S.COMPLETED, "verified")


def test_a_busy_server_is_tried_five_times_more(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.checkpoint)
    wired.faults.fail("/cdn/*", status=503, times=None)
    for tries in range(1, 6):
        reconcile_and_run()
        assert (fresh(download).status, fresh(download).auto_retry_count) == (
            S.RETRY_WAITING, tries,
        )  # fmt: skip
        assert not Slot.objects.filter(download__isnull=False).exists()
    reconcile_and_run()
    download = fresh(download)
    assert (download.status, download.error_code) == (S.FAILED, "remote_busy")
    assert "6 times" in str(download.error_message)
    wired.faults.clear()
    services.retry(download=download, user=user)
    work_off()
    assert fresh(download).status == S.COMPLETED


def test_a_server_says_when_to_come_back(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.checkpoint)
    wired.faults.fail("/cdn/*", status=429, times=1, retry_after=600)
    work_off()
    download = fresh(download)
    assert download.status == S.RETRY_WAITING
    assert download.retry_at is not None
    assert 590 < (download.retry_at - timezone.now()).total_seconds() < 610


def test_civitai_s_404_may_pass(wired: Origin, user: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "CIVITAI_PAUSE_SECONDS", 0.01)
    download = enqueue(user, wired.links.checkpoint)
    wired.faults.fail("/api/download/*", status=404, times=2)
    work_off()
    assert (fresh(download).status, fresh(download).attempt) == (S.COMPLETED, 1)


def test_civitai_s_third_404_is_the_end(
    wired: Origin, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "CIVITAI_PAUSE_SECONDS", 0.01)
    download = enqueue(user, wired.links.checkpoint)
    wired.faults.fail("/api/download/*", status=404, times=None)
    work_off()
    download = fresh(download)
    assert (download.status, download.error_code) == (S.FAILED, "remote_gone")
    asked = wired.log.find(match="/api/v1/model-versions/900011")
    assert len(asked) == 3, "once when it was queued, and twice for a new address"


def test_another_source_s_404_is_final_at_once(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.direct)
    fault = wired.faults.fail("/direct/files/*", status=404, times=None)
    work_off()
    assert (fresh(download).status, fresh(download).error_code) == (S.FAILED, "remote_gone")
    assert fault.hits == 1


def test_a_token_that_is_missing_is_said_and_retry_helps(wired: Origin, user: User) -> None:
    download = finish(user, wired.links.lora_with_token)
    assert (download.status, download.error_code) == (S.FAILED, "token_required")
    assert "CivitAI" in str(download.error_message)
    token_services.save_token(user=user, service_name="civitai", token=wired.civitai.token)
    services.retry(download=download, user=user)
    work_off()
    assert fresh(download).status == S.COMPLETED


def test_a_signed_link_that_ran_out_is_asked_for_again(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.checkpoint)
    wired.faults.fail("/cdn/*", status=403, times=1)
    work_off()
    assert (fresh(download).status, fresh(download).attempt) == (S.COMPLETED, 1)


def test_early_access_wakes_by_itself(wired: Origin, user: User) -> None:
    wired.civitai.end_early_access_in(3600)
    download = enqueue(user, wired.links.early_access)
    assert download.status == S.PARKED
    wired.civitai.end_early_access_in(-5)
    Download.objects.filter(pk=download.pk).update(retry_at=timezone.now())
    reconcile_and_run()
    assert fresh(download).status == S.COMPLETED


def test_early_access_that_is_only_seen_while_fetching_is_parked(wired: Origin, user: User) -> None:
    wired.civitai.end_early_access_in(3600)
    token_services.save_token(user=user, service_name="civitai", token=wired.civitai.token)
    download = enqueue(user, wired.links.early_access)
    assert download.status == S.QUEUED, "who has a token may have bought it"
    work_off()
    assert fresh(download).status in {S.PARKED, S.COMPLETED}


def test_a_full_disk_is_said_before_the_first_byte(
    wired: Origin, user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 10

    download = enqueue(user, wired.links.checkpoint)
    wired.log.clear()
    monkeypatch.setattr(pipeline.shutil, "disk_usage", lambda _path: Usage)
    work_off()
    download = fresh(download)
    assert (download.status, download.error_code) == (S.FAILED, "no_space")
    assert wired.log.find(site="cdn") == []


def test_a_user_who_was_disabled_meanwhile_gets_nothing(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.checkpoint)
    wired.log.clear()
    user.is_active = False
    user.save()
    work_off()
    assert (fresh(download).status, fresh(download).error_code) == (S.FAILED, "user_not_permitted")
    assert wired.log.find(site="cdn") == []


def test_a_user_who_was_disabled_before_registering_gets_nothing(
    wired: Origin, user: User, models_dir: Path
) -> None:
    download = finish(user, wired.links.checkpoint, review=True)
    user.is_active = False
    user.save()
    services.finalize(download=download, user=user)
    run_chain(download.pk, S.REGISTERING)
    assert fresh(download).status == S.FAILED
    assert model_files(models_dir) == []


def test_a_root_that_is_not_mounted_is_waited_for(
    wired: Origin, user: User, models_dir: Path
) -> None:
    default_root()
    first = finish(user, wired.links.checkpoint)
    assert first.status == S.COMPLETED
    download = enqueue(user, wired.links.hub_file)
    away = models_dir.rename(models_dir.with_name("unmounted"))
    models_dir.mkdir()
    work_off()
    assert (fresh(download).status, fresh(download).error_code) == (
        S.RETRY_WAITING, "root_unavailable",
    )  # fmt: skip
    assert list(models_dir.iterdir()) == []
    models_dir.rmdir()
    away.rename(models_dir)
    reconcile_and_run()
    assert fresh(download).status == S.COMPLETED


def test_a_partial_that_vanished_is_fetched_again(wired: Origin, user: User) -> None:
    download = enqueue(user, wired.links.checkpoint)
    dispatcher.dispatch()
    assert pipeline.fetch_stage(download.pk) is Outcome.NEXT
    partial_files()[0].unlink()
    assert pipeline.verify_stage(download.pk) is Outcome.LEFT
    assert fresh(download).status == S.RETRY_WAITING
    reconcile_and_run()
    assert fresh(download).status == S.COMPLETED


# --- Commands while it runs -----------------------------------------------------------------------
def running(wired: Origin, user: User) -> Download:
    """A download of 24 MiB that takes about 12 seconds."""
    wired.faults.slow("/cdn/*", 256 * 1024)
    download = enqueue(user, wired.links.large)
    assert dispatcher.dispatch() == [download.pk]
    return download


def has_bytes(download: Download) -> bool:
    return fresh(download).downloaded_bytes > 0


@pytest.mark.parametrize("command", ["pause", "cancel"])
def test_a_command_takes_effect_within_a_second(
    command: str, wired: Origin, user: User, models_dir: Path
) -> None:
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: has_bytes(download), "the first bytes")
        row = getattr(services, command)(download=fresh(download), user=user)
        began = time.monotonic()
        assert row.status == {"pause": S.PAUSED, "cancel": S.CANCELLED}[command]
        wait_until(lambda: not fresh(download).owner, "the worker lets go", 3)
        assert time.monotonic() - began < 1.5
    assert bool(partial_files()) == (command == "pause")
    assert PartialFile.objects.exists() == (command == "pause")
    assert model_files(models_dir) == []


def test_what_was_paused_goes_on_where_it_was(wired: Origin, user: User) -> None:
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: has_bytes(download), "the first bytes")
        services.pause(download=fresh(download), user=user)
    had = sum(end - start for start, end in PartialFile.objects.get().ranges)
    assert had > 0
    wired.faults.clear()
    wired.log.clear()
    services.resume(download=fresh(download), user=user)
    work_off()
    assert (fresh(download).status, fresh(download).verification) == (S.COMPLETED, "verified")
    sent = sum(entry.bytes_sent for entry in wired.log.find(site="cdn"))
    assert sent <= 24 * MIB - had + MIB


def test_pause_and_resume_before_the_worker_notices(wired: Origin, user: User) -> None:
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: has_bytes(download), "the first bytes")
        services.pause(download=fresh(download), user=user)
        services.resume(download=fresh(download), user=user)
        assert dispatcher.dispatch() == [], "the old worker still holds it"
    assert (fresh(download).status, fresh(download).owner) == (S.QUEUED, "")
    wired.faults.clear()
    work_off()
    assert fresh(download).status == S.COMPLETED


def test_a_stop_of_the_worker_puts_the_row_back_without_a_retry(wired: Origin, user: User) -> None:
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: has_bytes(download), "the first bytes")
        shutdown.request()
    download = fresh(download)
    assert (download.status, download.owner) == (S.QUEUED, "")
    assert (download.auto_retry_count, download.crash_count) == (0, 0)
    assert PartialFile.objects.get().ranges
    shutdown.clear()
    wired.faults.clear()
    work_off()
    assert fresh(download).status == S.COMPLETED


def test_a_worker_that_lost_its_row_writes_nothing_more(wired: Origin, user: User) -> None:
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: has_bytes(download), "the first bytes")
        Download.objects.filter(pk=download.pk).update(owner="other:1:x", attempt=7)
        before = PartialFile.objects.values().get()
    assert PartialFile.objects.values().get() == before
    assert (fresh(download).status, fresh(download).owner) == (S.DOWNLOADING, "other:1:x")


def test_a_row_that_is_deleted_ends_its_worker_quietly(wired: Origin, user: User) -> None:
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: has_bytes(download), "the first bytes")
        Download.objects.filter(pk=download.pk).delete()
    assert not Slot.objects.filter(download__isnull=False).exists()


def test_a_frozen_worker_and_its_successor_do_not_meet(wired: Origin, user: User) -> None:
    # The lease ran out while the first one was frozen; it wakes up while the second one writes.
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: has_bytes(download), "the first bytes")
        Download.objects.filter(pk=download.pk).update(
            lease_expires_at=timezone.now() - timedelta(seconds=1)
        )
        wired.faults.clear()
        reconcile_and_run()
    assert (fresh(download).status, fresh(download).verification) == (S.COMPLETED, "verified")
    assert fresh(download).crash_count == 1
    assert partial_files() == []


def test_progress_is_seen_while_it_runs(wired: Origin, user: User) -> None:
    download = running(wired, user)
    with in_thread(lambda: run_chain(download.pk)):
        wait_until(lambda: (fresh(download).download_speed_bps or 0) > 0, "a speed")
        row = fresh(download)
        assert row.progress is not None
        assert 0 < row.progress < 1
        assert row.eta_seconds is not None
        services.cancel(download=row, user=user)


# --- Twice ----------------------------------------------------------------------------------------
def test_twenty_messages_do_the_work_once(wired: Origin, user: User, models_dir: Path) -> None:
    from tests.downloads.driving import at_once

    download = enqueue(user, wired.links.checkpoint)
    dispatcher.dispatch()
    for stage in (pipeline.fetch_stage, pipeline.verify_stage, pipeline.register_stage):
        answers = at_once(*[lambda stage=stage: stage(download.pk)] * 10)
        answers += [stage(download.pk) for _number in range(10)]
        assert answers.count(Outcome.NEXT) == 1
        assert answers.count(Outcome.NOTHING) == 19
    assert fresh(download).status == S.COMPLETED
    assert Asset.objects.count() == len(model_files(models_dir)) == 1
    assert len([entry for entry in wired.log.find(site="cdn") if entry.bytes_sent > 1]) <= 8


def test_two_people_want_the_same_file_and_it_comes_once(wired: Origin, user: User) -> None:
    first, second = enqueue(user, wired.links.checkpoint), enqueue(user, wired.links.checkpoint)
    work_off()
    first, second = fresh(first), fresh(second)
    assert (first.status, second.status) == (S.COMPLETED, S.COMPLETED)
    assert first.asset == second.asset
    assert (first.attempt, second.attempt) == (1, 0)


# --- Names and duplicates -------------------------------------------------------------------------
def test_keep_saves_a_second_copy_beside(wired: Origin, user: User, models_dir: Path) -> None:
    finish(user, wired.links.checkpoint)
    second = finish(user, wired.links.checkpoint, on_duplicate="keep")
    assert second.status == S.COMPLETED
    names = model_files(models_dir)
    assert len(names) == 2
    assert any(name.endswith("-2.safetensors") for name in names)
    assert Asset.objects.count() == 2


def test_overwrite_replaces_the_file_and_keeps_the_asset(
    wired: Origin, user: User, models_dir: Path
) -> None:
    first = finish(user, wired.links.checkpoint)
    assert first.asset is not None
    (models_dir / first.asset.relative_path).write_bytes(b"damaged")
    second = finish(user, wired.links.checkpoint, on_duplicate="overwrite")
    content = wired.civitai.file(made.CHECKPOINT_FILE)
    assert (second.status, second.asset) == (S.COMPLETED, first.asset)
    assert model_files(models_dir) == [first.asset.relative_path]
    assert (models_dir / first.asset.relative_path).read_bytes() == content.read()
    trash = models_dir / ".modelyard" / "trash"
    assert [path.read_bytes() for path in trash.iterdir()] == [b"damaged"]


def test_a_mismatch_never_overwrites(wired: Origin, user: User, models_dir: Path) -> None:
    first = finish(user, wired.links.checkpoint)
    before = model_files(models_dir)
    wired.faults.flip("/cdn/*", at=90_000, times=None)
    second = finish(user, wired.links.checkpoint, on_duplicate="overwrite")
    assert second.asset is not None
    assert second.asset.status == AssetStatus.FLAGGED
    assert second.asset != first.asset
    assert model_files(models_dir) == before


def test_a_wrong_digest_of_a_person_does_not_spoil_what_is_here(
    wired: Origin, user: User, models_dir: Path
) -> None:
    first = finish(user, wired.links.checkpoint)
    second = finish(user, wired.links.checkpoint, on_duplicate="keep", expected_hash="ab" * 32)
    assert (second.status, second.hash_mismatch) == (S.COMPLETED, True)
    assert second.asset == first.asset
    assert list(quarantine_dir(default_root()).iterdir()) == []


def test_a_file_of_a_stranger_is_never_replaced(
    wired: Origin, user: User, models_dir: Path
) -> None:
    download = enqueue(user, wired.links.checkpoint, on_duplicate="overwrite")
    assert download.target_path is not None
    target = models_dir / download.target_path.removeprefix("/models/")
    target.parent.mkdir(parents=True)
    target.write_bytes(b"put here by hand")
    work_off()
    download = fresh(download)
    assert download.status == S.COMPLETED
    assert target.read_bytes() == b"put here by hand"
    assert download.target_path is not None
    assert download.target_path.endswith("-2.safetensors")
    assert any("name was taken" in warning for warning in download.warnings)


def test_the_same_bytes_that_lie_there_already_are_adopted(
    wired: Origin, user: User, models_dir: Path
) -> None:
    download = enqueue(user, wired.links.checkpoint)
    assert download.target_path is not None
    target = models_dir / download.target_path.removeprefix("/models/")
    target.parent.mkdir(parents=True)
    target.write_bytes(wired.civitai.file(made.CHECKPOINT_FILE).read())
    work_off()
    assert fresh(download).status == S.COMPLETED
    assert model_files(models_dir) == [download.target_path.removeprefix("/models/")]


def test_a_missing_asset_is_repaired_in_its_place(
    wired: Origin, user: User, models_dir: Path
) -> None:
    first = finish(user, wired.links.checkpoint)
    assert first.asset is not None
    (models_dir / first.asset.relative_path).unlink()
    Asset.objects.update(status=AssetStatus.MISSING)
    second = finish(user, wired.links.checkpoint)
    assert second.asset == first.asset
    assert second.asset is not None
    assert second.asset.status == AssetStatus.ACTIVE
    assert model_files(models_dir) == [first.asset.relative_path]
