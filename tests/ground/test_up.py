"""`manage.py up` as its users meet it: real processes, from the first start to the last signal."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import threading
import urllib.request

import psutil
import psycopg
import pytest

from tests import servers
from tests.product import READY, ROOT, STOP_SECONDS, Product, environment, wait_for

pytestmark = [pytest.mark.processes, pytest.mark.xdist_group("product")]


def second_up(data_dir, *arguments, environ=None):
    return subprocess.run(
        [sys.executable, "manage.py", "up", *arguments],
        cwd=ROOT,
        env=environment(data_dir, environ),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def page_answers(url):
    try:
        with urllib.request.urlopen(f"{url}/healthz", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def broker_ends_last(product):
    """Watches until the broker is gone and says whether everybody else was gone before."""
    broker = product.child("unixsocket:" + product.environ["MODELYARD_DATA_DIR"] + "/broker.sock")
    others = [one for one in product.family() if one != broker]
    seen = []

    def watch():
        broker.wait(STOP_SECONDS + 10)
        seen.append(
            [one for one in others if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
        )

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()

    def verdict():
        thread.join(5)
        return seen == [[]]

    return verdict


def test_up_from_the_first_start_to_the_last_signal(tmp_path, record_property):
    data_dir = tmp_path / "data"
    with Product(data_dir) as product:
        product.wait_until_ready()
        record_property("seconds_to_ready", round(product.seconds_to_ready, 1))
        assert [line for line in product.lines if READY.match(line)] == [
            f"Modelyard is ready at {product.url}"
        ]
        wait_for(lambda: page_answers(product.url), "every health check to be well")
        first_password = product.password
        assert first_password
        assert_password_is_in_no_file(data_dir, first_password)
        assert stat.S_IMODE((data_dir / "broker.sock").stat().st_mode) == 0o700
        assert_only_the_page_listens(product)
        assert_second_up_is_refused(data_dir)
        assert_port_is_taken(tmp_path / "other", product.port)
        family = product.family()
        product.signal(signal.SIGKILL)
        assert psutil.wait_procs(family, timeout=5)[1] == [], "nothing may outlive up"

    manifest = data_dir / "broker" / "appendonlydir" / "appendonly.aof.manifest"
    assert manifest.is_file()
    manifest.write_bytes(b"\x00 what a full disk left\n")
    with Product(data_dir) as product:  # beside a socket and a lock that a killed process left
        product.wait_until_ready()
        product.wait_for_line(
            "The broker did not start; its old data is now in .*broker-unreadable"
        )
        assert product.password is None
        assert first_password not in product.output
        assert_killed_children_start_again(product)
        is_last = broker_ends_last(product)
        seconds = product.stop()
        record_property("seconds_to_stop", round(seconds, 1))
        assert seconds < STOP_SECONDS
        assert is_last()
        assert product.process.returncode == 0
        assert not (data_dir / "broker.sock").exists()


def assert_password_is_in_no_file(data_dir, password):
    for path in data_dir.rglob("*"):
        if path.is_file():
            assert password.encode() not in path.read_bytes(), path


def assert_only_the_page_listens(product):
    listening = [
        connection.laddr.port
        for process in [psutil.Process(product.process.pid), *product.family()]
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == [product.port]


def assert_second_up_is_refused(data_dir):
    second = second_up(data_dir, "--port", str(servers.free_port()))
    assert second.returncode == 1
    assert "Modelyard is already running from" in second.stderr
    assert "Traceback" not in second.stderr


def assert_port_is_taken(data_dir, port):
    second = second_up(data_dir, "--port", str(port))
    assert second.returncode == 1
    assert f"Cannot listen on 127.0.0.1:{port}" in second.stderr
    assert "Traceback" not in second.stderr
    assert not (data_dir / "modelyard.sqlite3").exists()


def assert_killed_children_start_again(product):
    web = product.child("uvicorn")
    broker = product.child("unixsocket:" + product.environ["MODELYARD_DATA_DIR"] + "/broker.sock")
    web.kill()
    broker.kill()
    product.wait_for_line("web ended with signal SIGKILL; starting again")
    product.wait_for_line("broker ended with signal SIGKILL; starting again")
    wait_for(lambda: page_answers(product.url), f"the page after a restart:\n{product.output}")


def test_a_named_database_and_broker_are_used_instead_of_our_own(tmp_path):
    name = f"modelyard_{os.environ['MODELYARD_TEST_RUN']}_up"
    base = os.environ.get("DATABASE_URL") or servers.DEFAULT_POSTGRES
    with psycopg.connect(servers.maintenance(base), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    environ = {
        "DATABASE_URL": servers.maintenance(base, database=name),
        "REDIS_URL": os.environ["REDIS_URL"],
        "REDIS_KEY_PREFIX": os.environ["REDIS_KEY_PREFIX"] + "up:",
        "SECRET_KEY": os.environ["SECRET_KEY"],
        "ENCRYPTION_KEY": os.environ["ENCRYPTION_KEY"],
    }
    with Product(tmp_path, environ=environ) as product:
        product.wait_until_ready()
        assert product.password
        assert not (tmp_path / "broker").exists()
        assert not (tmp_path / "modelyard.sqlite3").exists()
        assert_ctrl_c_twice_stops_once(product)
    assert_log_lines_are_json(tmp_path / "logs" / "web.log")


def assert_ctrl_c_twice_stops_once(product):
    family = product.family()
    product.signal(signal.SIGINT)
    product.wait_for_line("stopping")
    product.signal(signal.SIGINT)
    assert product.process.wait(STOP_SECONDS) == 0
    assert psutil.wait_procs(family, timeout=0.5)[1] == []
    assert "Traceback" not in product.output


def assert_log_lines_are_json(path):
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    assert {"event", "level", "logger", "timestamp"} <= set(entries[0])


def test_a_named_broker_that_is_silent_is_said(tmp_path):
    refused = second_up(
        tmp_path,
        *("--port", str(servers.free_port())),
        environ={"REDIS_URL": f"redis://127.0.0.1:{servers.free_port()}/0"},
    )
    assert refused.returncode == 1
    assert "The broker that REDIS_URL names does not answer" in refused.stderr
