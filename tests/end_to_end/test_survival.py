"""What happens to the machine happens to no download: restarts, dead workers, lost messages."""

from __future__ import annotations

import os
import signal

import psutil
import pytest

from tests.end_to_end.harness import Running, begin
from tests.origin import Origin
from tests.origin import made_civitai as made

pytestmark = [
    pytest.mark.processes,
    pytest.mark.xdist_group("end_to_end"),
    pytest.mark.timeout(240),
]

MIB = 1024 * 1024


def broker_process(product: Running) -> psutil.Process:
    return next(
        child
        for child in psutil.Process(product.life.process.pid).children()
        if any(word in " ".join(child.cmdline()) for word in ("valkey-server", "redis-server"))
    )


def test_a_restart_goes_on_where_it_stopped(product: Running, sources: Origin) -> None:
    name = "restart_lora_sdxl.safetensors"
    row_id = begin(product, sources, name)
    seconds = product.stop()
    sent = sources.log.bytes_sent(name)
    sources.faults.clear()
    product.start()
    row = product.wait(row_id, "completed")
    assert seconds < 15
    assert row["actual_hash"] == sources.direct.file(name, 16 * MIB).sha256
    assert (row["crash_count"], row["auto_retry_count"]) == (0, 0)
    # What was sent before is on disk: at most what lay in the sockets comes twice.
    assert sources.log.bytes_sent(name) < 16 * MIB + 2 * MIB
    assert sent > MIB


def test_a_signed_link_that_runs_out_midway_is_asked_for_again(
    product: Running, sources: Origin
) -> None:
    content = sources.civitai.file(made.LARGE_FILE)
    slow = sources.faults.slow(content.name, 2 * MIB)
    row_id = product.enqueue(sources.links.large)["id"]
    product.wait_for_bytes(row_id, 4 * MIB)
    sources.cdn.expire_signatures()
    sources.drop_connections()
    slow.remove()
    row = product.wait(row_id, "completed")
    assert row["actual_hash"] == content.sha256
    assert row["auto_retry_count"] == 0
    assert sources.log.find(site="cdn", status=403)
    assert sources.log.bytes_sent(content.name) < content.size_bytes + 2 * MIB


def test_losing_every_message_delays_and_loses_nothing(product: Running, sources: Origin) -> None:
    rows = [
        begin(product, sources, f"flushed_{n}_lora_sdxl.safetensors", size=4 * MIB)
        for n in range(2)
    ]
    waiting = [
        product.enqueue(sources.direct.sized_link(f"flushed_{n}_lora_sdxl.safetensors", MIB), model_type="lora")["id"]
        for n in range(2, 6)
    ]  # fmt: skip
    product.flush_broker()
    sources.faults.clear()
    for row_id in rows + waiting:
        product.wait(row_id, "completed", timeout_s=60)


def test_a_message_that_dies_with_its_worker_costs_no_try(
    product: Running, sources: Origin
) -> None:
    worker = product.transfer_worker()
    worker.suspend()  # it has asked the broker for a message and will never read the answer
    link = sources.direct.sized_link("unread_lora_sdxl.safetensors", MIB)
    row_id = product.enqueue(link, model_type="lora")["id"]
    product.wait(row_id, "downloading")
    worker.kill()  # the supervisor starts another
    row = product.wait(row_id, "completed", timeout_s=60)
    assert (row["crash_count"], row["auto_retry_count"]) == (0, 0)
    assert ("downloading", "queued") in product.database.moves(row_id)


def test_a_broker_that_is_away_for_a_while_loses_nothing(product: Running, sources: Origin) -> None:
    running = begin(product, sources, "away_lora_sdxl.safetensors", size=4 * MIB)
    broker = broker_process(product)
    os.kill(broker.pid, signal.SIGKILL)  # the supervisor starts another, which takes its time
    waiting = product.enqueue(
        sources.direct.sized_link("asked_meanwhile_lora_sdxl.safetensors", MIB), model_type="lora"
    )["id"]
    sources.faults.clear()
    product.wait(running, "completed", timeout_s=60)
    product.wait(waiting, "completed", timeout_s=60)
    assert broker_process(product).pid != broker.pid


def test_a_killed_product_goes_on_at_the_next_start(product: Running, sources: Origin) -> None:
    name = "killed_lora_sdxl.safetensors"
    row_id = begin(product, sources, name, size=8 * MIB)
    family = product.life.family()
    product.life.process.kill()
    product.life.process.wait()
    assert psutil.wait_procs(family, timeout=10)[1] == []
    sources.faults.clear()
    product.start()
    row = product.wait(row_id, "completed", timeout_s=60)
    assert row["actual_hash"] == sources.direct.file(name, 8 * MIB).sha256
