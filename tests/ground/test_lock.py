"""One `up` for each data directory."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import psutil
import pytest

from config.up.lock import AlreadyRunning, DataDirLock

SLEEPER = [sys.executable, "-c", "import signal; print('up', flush=True); signal.pause()"]


@pytest.fixture
def sleeper():
    with subprocess.Popen(SLEEPER, stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        yield process
        process.kill()


def test_the_second_one_is_told_who_runs(tmp_path):
    with (
        DataDirLock(tmp_path, url="http://127.0.0.1:1"),
        pytest.raises(AlreadyRunning, match=rf"process {os.getpid()}, http://127.0.0.1:1"),
        DataDirLock(tmp_path, url="http://127.0.0.1:2"),
    ):
        pass


def test_it_is_free_again_afterwards(tmp_path):
    for _ in range(2):
        with DataDirLock(tmp_path, url="x"):
            pass


def test_what_the_one_before_left_running_is_ended(tmp_path, sleeper):
    with DataDirLock(tmp_path, url="x") as lock:
        lock.note([sleeper.pid])
    with DataDirLock(tmp_path, url="x"):
        assert sleeper.wait(5) < 0


def test_a_process_that_only_has_the_same_number_is_left_alone(tmp_path, sleeper):
    born = psutil.Process(sleeper.pid).create_time()
    children = [
        {"pid": sleeper.pid, "born": born - 100},
        {"pid": 2**22 + 1, "born": 1.0},
        "junk",
        {},
    ]
    (tmp_path / "up.lock").write_text(json.dumps({"pid": 1, "children": children}))
    with DataDirLock(tmp_path, url="x"):
        assert sleeper.poll() is None


def test_a_file_of_junk_does_not_matter(tmp_path):
    (tmp_path / "up.lock").write_bytes(b"\x00\xff not json")
    with DataDirLock(tmp_path, url="x"):
        assert json.loads((tmp_path / "up.lock").read_text())["pid"] == os.getpid()
