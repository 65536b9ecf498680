"""A minute without the broker: requests are taken, running bytes go on, nothing is lost."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from config.broker import find_server
from tests import servers
from tests.end_to_end.harness import Running, begin
from tests.origin import Origin
from tests.product import wait_for

pytestmark = [
    pytest.mark.processes,
    pytest.mark.xdist_group("end_to_end_broker_away"),
    pytest.mark.timeout(280),
]

MIB = 1024 * 1024
AWAY_SECONDS = 60.0


class Broker:
    """A server of one's own that can go and come back, keeping what it had on disk."""

    def __init__(self, folder: Path) -> None:
        self.port = servers.free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen(
            [find_server(), "--port", str(self.port), "--bind", "127.0.0.1", "--dir",
             str(self._folder), "--appendonly", "yes", "--save", ""],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        with redis.Redis.from_url(self.url) as client:
            wait_for(lambda: answers(client), "the broker", 20)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    own = Broker(tmp_path)
    own.start()
    yield own
    own.kill()


def test_a_minute_without_the_broker_loses_no_download(tmp_path: Path, broker: Broker) -> None:
    with Origin() as sources, Running(tmp_path, sources, redis_url=broker.url) as product:
        running = begin(product, sources, "running_lora_sdxl.safetensors", size=8 * MIB)
        broker.kill()
        gone_since = time.monotonic()
        asked = [
            product.enqueue(sources.direct.link(f"asked_{number}_lora_sdxl.safetensors"))["id"]
            for number in range(3)
        ]
        sources.faults.clear()
        # The bytes of the running one come without any message.
        product.wait_until(running, lambda row: row["status"] not in {"queued", "downloading"})
        left = AWAY_SECONDS - (time.monotonic() - gone_since)
        wait_for(lambda: time.monotonic() - gone_since >= AWAY_SECONDS, "a minute", left + 5)
        assert {product.row(row_id)["status"] for row_id in asked} <= {"queued", "downloading"}
        broker.start()
        for row_id in (running, *asked):
            row = product.wait(row_id, "completed", timeout_s=90)
            assert row["verification"] == "unverified"
            assert row["auto_retry_count"] == 0
