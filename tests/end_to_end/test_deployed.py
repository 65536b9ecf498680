"""The same product on PostgreSQL and Redis, as a deployment has them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.end_to_end.harness import Running, begin, postgres_for
from tests.origin import Origin
from tests.origin import made_civitai as made

pytestmark = [
    pytest.mark.processes,
    pytest.mark.xdist_group("end_to_end_deployed"),
    pytest.mark.timeout(240),
]

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """PostgreSQL and Redis as a deployment has them."""
    run = os.environ["MODELYARD_TEST_RUN"]
    with ExitStack() as stack:
        url = postgres_for(f"modelyard_{run}_end_to_end", stack)
        origin = stack.enter_context(Origin())
        with Running(
            tmp_path_factory.mktemp("deployed"),
            origin,
            database_url=url,
            redis_url=os.environ["REDIS_URL"],
            key_prefix=f"modelyard-{run}-end-to-end:",
        ) as running:
            running.database.record_moves()
            yield running
        assert running.secrets_left() == []


def test_the_same_on_postgresql_and_redis(deployed: Running) -> None:
    sources = deployed.origin
    deployed.save_token("civitai", sources.civitai.token)
    lora = deployed.enqueue(sources.links.lora_with_token)["id"]
    bundle = deployed.enqueue(sources.links.bundle)["id"]
    paused = begin(deployed, sources, "paused_lora_sdxl.safetensors", size=8 * MIB)
    deployed.command("pause", paused)
    deployed.flush_broker()
    sources.faults.clear()
    deployed.command("resume", paused)
    for row_id in (lora, bundle, paused):
        deployed.wait(row_id, "completed", timeout_s=60)
    content = sources.civitai.file(made.TOKEN_LORA_FILE)
    assert deployed.path_of(deployed.row(lora)).read_bytes() == content.read()


def test_a_killed_worker_costs_no_download_on_postgresql(deployed: Running) -> None:
    sources = deployed.origin
    row_id = begin(deployed, sources, "killed_lora_sdxl.safetensors", size=8 * MIB)
    deployed.kill_owner(row_id)
    sources.faults.clear()
    row = deployed.wait(row_id, "completed", timeout_s=60)
    assert row["crash_count"] == 1
