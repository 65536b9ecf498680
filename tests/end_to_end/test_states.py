"""Every arrow of the state picture, drawn by the real processes and driven through the API.

The database itself notes each change of a status, so that none is missed however short it was.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from functools import partial

import pytest

from downloads.states import ALLOWED_FROM
from tests.end_to_end.harness import Running
from tests.origin import Origin
from tests.origin import made_civitai as made
from tests.product import wait_for

pytestmark = [
    pytest.mark.processes,
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.timeout(240),
]

MIB = 1024 * 1024
_numbers = itertools.count(1)


def fresh(sources: Origin, size_bytes: int = 2 * MIB) -> tuple[str, str]:
    """A direct link that nobody used yet, and the name of its file in the origin's log."""
    name = f"arrow_{next(_numbers)}_lora_sdxl.safetensors"
    return sources.direct.sized_link(name, size_bytes), name


def enqueue(product: Running, link: str, **options: object) -> int:
    row_id: int = product.enqueue(link, model_type="lora", **options)["id"]
    return row_id


def let_go(product: Running, row_id: int) -> Callable[[], bool]:
    """Whether no worker holds the row any more."""
    return lambda: (
        product.database("SELECT owner FROM downloads_download WHERE id = ?", row_id) == [("",)]
    )


def drew(product: Running, row_id: int, old: str, new: str) -> bool:
    """Whether the row has gone that way."""
    return (old, new) in product.database.moves(row_id)


# --- The scenes: each drives one or more downloads and looks at what it can see ------------------
def completes(product: Running, sources: Origin) -> None:
    link, _ = fresh(sources)
    row_id = enqueue(product, link)
    product.wait(row_id, "completed")
    assert product.database.moves(row_id) == [
        ("queued", "downloading"), ("downloading", "verifying"),
        ("verifying", "registering"), ("registering", "completed"),
    ]  # fmt: skip


def a_twin_waits_and_is_linked(product: Running, sources: Origin) -> None:
    link, name = fresh(sources)
    stall = sources.faults.stall(name, at=MIB)
    first = enqueue(product, link)
    product.wait(first, "downloading")
    second = enqueue(product, link)
    assert product.row(second)["status"] == "queued"
    stall.remove()
    done = product.wait(first, "completed")
    assert product.wait(second, "completed")["asset_id"] == done["asset_id"]
    assert product.database.moves(second) == [("queued", "completed")]


def pauses_within_a_second_and_goes_on(product: Running, sources: Origin) -> None:
    link, name = fresh(sources, 12 * MIB)
    slow = sources.faults.slow(name, 2 * MIB)
    row_id = enqueue(product, link)
    product.wait_for_bytes(row_id, MIB)
    began = time.monotonic()
    product.command("pause", row_id)
    wait_for(let_go(product, row_id), "the worker to let go", timeout_s=5)
    assert time.monotonic() - began < 1.5
    row = product.row(row_id)
    assert row["status"] == "paused"
    assert product.unfinished_files()
    product.command("pause", row_id)  # again is accepted
    slow.remove()
    product.command("resume", row_id)
    product.wait(row_id, "completed")
    assert sources.log.bytes_sent(name) < 12 * MIB + 2 * MIB


def cancel_leaves_no_byte(product: Running, sources: Origin) -> None:
    link, name = fresh(sources, 12 * MIB)
    sources.faults.slow(name, MIB)
    row_id = enqueue(product, link)
    product.wait_for_bytes(row_id, MIB)
    assert product.unfinished_files()
    began = time.monotonic()
    product.command("cancel", row_id)
    wait_for(lambda: not product.unfinished_files(), "the bytes to go", timeout_s=5)
    assert time.monotonic() - began < 1.5
    row = product.row(row_id)
    assert (row["status"], row["downloaded_bytes"]) == ("cancelled", 0)
    product.command("pause", row_id, status=409)
    sources.faults.clear()
    product.command("retry", row_id)
    product.wait(row_id, "completed")
    assert ("cancelled", "queued") in product.database.moves(row_id)


def waiting_ones_pause_and_cancel(product: Running, sources: Origin) -> None:
    blockers = []
    for _ in range(2):
        link, name = fresh(sources)
        sources.faults.stall(name, at=MIB)
        blockers.append(enqueue(product, link))
    for blocker in blockers:
        product.wait(blocker, "downloading")
    row_id = enqueue(product, fresh(sources)[0])
    product.command("pause", row_id)
    product.command("cancel", row_id)
    other = enqueue(product, fresh(sources)[0])
    product.command("cancel", other)
    assert product.database.moves(row_id) == [("queued", "paused"), ("paused", "cancelled")]
    assert product.database.moves(other) == [("queued", "cancelled")]
    for blocker in blockers:
        product.command("cancel", blocker)
    wait_for(lambda: not product.unfinished_files(), "the bytes to go", timeout_s=5)


def a_busy_server_is_asked_again(product: Running, sources: Origin) -> None:
    link, name = fresh(sources)
    product.call("POST", "/api/downloads/resolve", {"url": link, "model_type": "lora"}, status=200)
    sources.faults.fail(name, status=503, times=1, retry_after=1)
    row_id = enqueue(product, link)
    product.wait(row_id, "completed")
    assert product.database.moves(row_id)[:3] == [
        ("queued", "downloading"), ("downloading", "retry_waiting"), ("retry_waiting", "queued"),
    ]  # fmt: skip
    for command in ("pause", "cancel"):
        link, name = fresh(sources)
        product.call(
            "POST", "/api/downloads/resolve", {"url": link, "model_type": "lora"}, status=200
        )
        sources.faults.fail(name, status=429, times=None, retry_after=600)
        row_id = enqueue(product, link)
        row = product.wait(row_id, "retry_waiting")
        assert row["retry_at"]
        product.command(command, row_id)
        assert product.row(row_id)["status"] in {"paused", "cancelled"}
    sources.faults.clear()


def a_failed_one_goes_on_where_it_stopped(product: Running, sources: Origin) -> None:
    link, name = fresh(sources, 12 * MIB)
    slow = sources.faults.slow(name, 3 * MIB)
    row_id = enqueue(product, link)
    product.wait_for_bytes(row_id, 2 * MIB)
    gone = sources.faults.fail(name, status=410, times=None)
    sources.drop_connections()
    row = product.wait_until(row_id, lambda row: row["status"] == "failed")
    assert row["error_code"] == "remote_gone"
    for fault in (slow, gone):
        fault.remove()
    product.command("retry", row_id)
    row = product.wait(row_id, "completed")
    assert row["retry_count"] == 1
    assert ("failed", "queued") in product.database.moves(row_id)
    assert sources.log.bytes_sent(name) < 15 * MIB


def early_access_parks_and_wakes_by_itself(product: Running, sources: Origin) -> None:
    link = sources.links.early_access
    product.call("DELETE", "/api/user/api-tokens/civitai", status=(204, 404))
    without_token = product.enqueue(link)
    assert (without_token["status"], without_token["error_code"]) == ("parked", "early_access")
    product.command("cancel", without_token["id"])
    product.save_token("civitai", sources.civitai.token)
    row_id = product.enqueue(link)["id"]
    assert product.wait(row_id, "parked")["retry_at"]
    product.command("pause", row_id)
    sources.civitai.end_early_access_in(4)
    product.command("resume", row_id)
    product.wait(row_id, "completed")
    moves = product.database.moves(row_id)
    assert moves.count(("downloading", "parked")) == 2
    assert {("parked", "paused"), ("parked", "queued")} <= set(moves)


def a_wrong_digest_is_fetched_once_more(product: Running, sources: Origin) -> None:
    content = sources.civitai.file(made.LINKED_VAE_MAIN_FILE)
    sources.faults.flip(content.name, at=content.size_bytes - 10)
    link = f"{sources.civitai_url}/models/{made.LINKED_VAE_MODEL}"
    row_id = product.enqueue(link, file_id=str(made.LINKED_VAE_MAIN_FILE))["id"]
    row = product.wait(row_id, "completed")
    assert (row["hash_verified"], row["hash_mismatch"]) == (True, False)
    assert ("verifying", "queued") in product.database.moves(row_id)


def review_waits_for_a_person(product: Running, sources: Origin) -> None:
    row_id = enqueue(product, fresh(sources)[0], review=True)
    row = product.wait(row_id, "review")
    assert row["asset_id"] is None
    assert product.unfinished_files()
    product.command("finalize", row_id, model_name="Edited", base_model="Pony")
    row = product.wait(row_id, "completed")
    asset = product.asset(row["asset_id"])
    assert (asset["name"], asset["base_model"], asset["base_model_family"]) == (
        "Edited", "Pony", "SDXL",
    )  # fmt: skip
    other = enqueue(product, fresh(sources)[0], review=True)
    product.wait(other, "review")
    product.command("cancel", other)
    wait_for(lambda: not product.unfinished_files(), "the bytes to go", timeout_s=5)


def a_web_page_is_refused(product: Running, sources: Origin) -> None:
    row_id = product.enqueue(f"{sources.civitai_url}/models/{made.WEB_PAGE_MODEL}")["id"]
    row = product.wait_until(row_id, lambda row: row["status"] == "failed")
    assert row["error_code"] == "not_a_model_file"
    assert ("verifying", "failed") in product.database.moves(row_id)
    assert not list(product.models_dir.rglob("made-page*"))
    assert product.unfinished_files() == []


def a_user_who_was_disabled_gets_nothing_registered(product: Running, sources: Origin) -> None:
    row_id = enqueue(product, fresh(sources)[0], review=True)
    product.wait(row_id, "review")
    product.database(
        "UPDATE downloads_download SET initiated_by_id = "
        "(SELECT id FROM auth_user WHERE username = 'admin') WHERE id = ?", row_id,
    )  # fmt: skip
    product.database("UPDATE auth_user SET is_active = ? WHERE username = 'admin'", False)
    product.command("finalize", row_id)
    row = product.wait_until(row_id, lambda row: row["status"] == "failed")
    assert row["error_code"] == "user_not_permitted", row
    assert ("registering", "failed") in product.database.moves(row_id)
    product.database("UPDATE auth_user SET is_active = ? WHERE username = 'admin'", True)
    product.command("retry", row_id)
    product.wait(row_id, "review", "completed")


def a_models_directory_that_is_away_is_said(product: Running, sources: Origin) -> None:
    row_id = enqueue(product, fresh(sources)[0], review=True)
    product.wait(row_id, "review")
    marker = product.models_dir / ".modelyard" / "marker"
    aside = marker.with_name("marker-aside")
    marker.rename(aside)
    answer = product.command("finalize", row_id, status=503)
    aside.rename(marker)
    assert answer["code"] == "root_unavailable"
    product.command("finalize", row_id)
    product.wait(row_id, "completed")


def lost_bytes_are_fetched_again(product: Running, sources: Origin) -> None:
    """The ledger is lost in the moment before a stage begins."""
    for stage in ("verifying", "registering"):
        product.database(
            "CREATE TRIGGER lose_ledger AFTER UPDATE OF status ON downloads_download "
            f"WHEN NEW.status = '{stage}' "
            "BEGIN DELETE FROM downloads_partialfile WHERE download_id = NEW.id; END"
        )
        row_id = enqueue(product, fresh(sources)[0])
        wait_for(partial(drew, product, row_id, stage, "retry_waiting"), "retry_waiting")
        product.database("DROP TRIGGER lose_ledger")
        product.wait(row_id, "completed")


def a_killed_worker_costs_no_download(product: Running, sources: Origin) -> None:
    link, name = fresh(sources, 12 * MIB)
    slow = sources.faults.slow(name, MIB)
    row_id = enqueue(product, link)
    product.wait_for_bytes(row_id, MIB)
    product.kill_owner(row_id)
    slow.remove()
    row = product.wait(row_id, "completed")
    assert row["crash_count"] == 1
    assert ("downloading", "queued") in product.database.moves(row_id)


def a_bundle_follows_its_files(product: Running, sources: Origin) -> None:
    for file_id in made.BUNDLE_FILES[:2]:
        sources.faults.stall(sources.civitai.file(file_id).name, at=10_000)
    bundle = product.enqueue(sources.links.bundle)
    assert (bundle["is_bundle"], bundle["status"]) == (True, "queued")
    product.wait(bundle["id"], "downloading")
    product.command("pause", bundle["id"])
    product.wait(bundle["id"], "paused")
    sources.faults.clear()
    product.command("resume", bundle["id"])
    product.wait(bundle["id"], "completed")
    children = product.children(bundle["id"])
    assert {child["status"] for child in children} == {"completed"}
    assert len(children) == 3


SCENES = (
    completes,
    a_twin_waits_and_is_linked,
    pauses_within_a_second_and_goes_on,
    cancel_leaves_no_byte,
    waiting_ones_pause_and_cancel,
    a_busy_server_is_asked_again,
    a_failed_one_goes_on_where_it_stopped,
    early_access_parks_and_wakes_by_itself,
    a_wrong_digest_is_fetched_once_more,
    review_waits_for_a_person,
    a_web_page_is_refused,
    a_user_who_was_disabled_gets_nothing_registered,
    a_models_directory_that_is_away_is_said,
    lost_bytes_are_fetched_again,
    a_killed_worker_costs_no_download,
    a_bundle_follows_its_files,
)


def test_every_arrow_of_the_state_picture(product: Running, sources: Origin) -> None:
    for scene in SCENES:
        scene(product, sources)
        sources.faults.clear()
    arrows = {(str(old), str(new)) for new, olds in ALLOWED_FROM.items() for old in olds}
    assert set(product.database.moves()) == arrows
