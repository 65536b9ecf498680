"""Disks that are full, limited or broken (F26, F27), workers that die (F34) and workers that
freeze while another one takes over (F38)."""

from __future__ import annotations

import collections
import errno
import fcntl
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.transfer.ledgers import FileLedger, MemoryLedger
from tests.transfer.origin import ServedFile
from transfer import durable
from transfer.digest import file_sha256, git_blob_sha1
from transfer.errors import DiskError, NoSpace, StopRequested
from transfer.fetch import FetchLimits, FilePlan, fetch
from transfer.partial import Partial, PartialBusyError, check_space, disk_error, free_space
from transfer.ranges import RangeSet, parse_content_range

MIB = 1024 * 1024
CONTENT = os.urandom(24 * MIB + 3)
ROOT = Path(__file__).parents[2]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def directory(tmp_path):
    path = tmp_path / "partials"
    path.mkdir()
    return path


def go(client, origin, directory, ledger, **values):
    return fetch(
        FilePlan(origin.url("/f"), sha256=sha256(CONTENT)),
        client=client,
        directory=directory,
        ledger=ledger,
        limits=FetchLimits(connections=2),
        **{"on_progress": lambda done, total: None, "should_stop": lambda: False, **values},
    )


def child(origin, directory, ledger_path, *more):
    command = [sys.executable, "-m", "tests.transfer.fetch_child", origin.url("/f")]
    return subprocess.Popen(
        [*command, str(directory), str(ledger_path), origin.pair, *more],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("at", [3 * MIB, 17 * MIB])
def test_kill_9_costs_only_what_was_not_yet_noted(at, origin, client, directory, tmp_path):
    served = origin.serve("/f", ServedFile(CONTENT, pace=(128 * 1024, 0.005)))
    ledger_path = tmp_path / "ledger.json"
    with child(origin, directory, ledger_path) as process:
        for line in process.stdout:
            if int(line) >= at:
                break
        process.send_signal(signal.SIGKILL)
    ledger = FileLedger(ledger_path)
    noted = ledger.n_durable
    assert at - noted < durable.NOTE_BYTES
    served.sent, served.pace = 0, None
    fetched = go(client, origin, directory, ledger)
    assert fetched.sha256 == sha256(CONTENT)
    # The origin may still have been talking to the dead process.
    assert served.sent <= len(CONTENT) - noted + MIB
    assert len(list(directory.iterdir())) == 1


def test_a_disk_limit_keeps_what_fits(origin, client, directory, tmp_path):
    """EFBIG at an exact byte: NoSpace, and the next attempt goes on from there."""
    served = origin.serve("/f", ServedFile(CONTENT))
    ledger_path = tmp_path / "ledger.json"
    limit = 9 * MIB + 123
    with child(origin, directory, ledger_path, str(limit)) as process:
        output = process.stdout.read().splitlines()
    assert output[-1] == "no_space"
    ledger = FileLedger(ledger_path)
    assert 8 * MIB <= ledger.n_durable <= limit
    assert ledger.resets == []
    noted, served.sent = ledger.n_durable, 0
    assert go(client, origin, directory, ledger).sha256 == sha256(CONTENT)
    assert served.sent == len(CONTENT) - noted


def test_a_full_disk_ends_one_transfer_and_can_be_continued(origin, client, directory, monkeypatch):
    origin.serve("/f", ServedFile(CONTENT))
    ledger, real = MemoryLedger(), os.pwrite

    def full(fd, data, offset):
        if offset > 10 * MIB:
            raise OSError(errno.ENOSPC, "full")
        return real(fd, data[: len(data) // 2 or 1], offset)  # short writes as well

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(NoSpace):
        go(client, origin, directory, ledger)
    assert ledger.n_durable >= 9 * MIB
    monkeypatch.undo()
    assert go(client, origin, directory, ledger).sha256 == sha256(CONTENT)
    assert ledger.resets == []


@pytest.mark.parametrize("call", ["pwrite", "fsync", "preadv"])
def test_a_broken_disk_costs_the_partial(call, origin, client, directory, monkeypatch):
    """After a failed fsync a second one says yes, although the pages are gone."""
    origin.serve("/f", ServedFile(CONTENT))
    ledger, real, calls = MemoryLedger(), getattr(os, call), []
    go_on = {"fsync": 1}.get(call, 3)  # the first fsync is the directory's

    def broken(*args):
        calls.append(1)
        if len(calls) > go_on:
            raise OSError(errno.EIO, "broken")
        return real(*args)

    monkeypatch.setattr(os, call, broken)
    with pytest.raises(DiskError):
        go(client, origin, directory, ledger)
    assert ledger.resets == ["disk_error"]
    assert ledger.n_durable == 0
    assert list(directory.iterdir()) == []
    monkeypatch.undo()
    assert go(client, origin, directory, ledger).sha256 == sha256(CONTENT)


def test_nothing_is_noted_before_it_is_synced(origin, client, directory, monkeypatch):
    origin.serve("/f", ServedFile(CONTENT))
    events, real = [], os.fsync

    class Noting(MemoryLedger):
        def add_range(self, start, end):
            events.append("note")
            super().add_range(start, end)

    def fsync(fd):
        real(fd)
        events.append("sync")

    monkeypatch.setattr(os, "fsync", fsync)
    go(client, origin, directory, Noting())
    assert events[0] == "sync"
    assert all("sync" in events[:at] for at, event in enumerate(events) if event == "note")
    assert events.count("note") >= 1


def test_a_second_writer_gets_a_file_of_its_own(origin, client, directory):
    served = origin.serve("/f", ServedFile(CONTENT, cuts=collections.deque([9 * MIB] + [0] * 9)))
    ledger = MemoryLedger()
    with pytest.raises(Exception, match="Connection lost"):
        go(client, origin, directory, ledger)
    served.cuts.clear()
    served.sent = 0
    old = directory / ledger.state.file_name
    frozen = os.open(old, os.O_RDWR)  # the worker that is believed dead
    fcntl.flock(frozen, fcntl.LOCK_EX)
    fetched = go(client, origin, directory, ledger)
    assert fetched.sha256 == sha256(CONTENT)
    assert fetched.path != old
    assert ledger.state.file_name == fetched.path.name
    assert served.sent == len(CONTENT) - 9 * MIB
    assert [path.name for path in directory.iterdir()] == [fetched.path.name]
    os.pwrite(frozen, b"late" * MIB, 0)  # wakes up and writes into what nobody publishes
    os.close(frozen)
    assert sha256(fetched.path.read_bytes()) == sha256(CONTENT)


def test_the_lock_is_held_while_it_runs_and_given_back(origin, client, directory):
    origin.serve("/f", ServedFile(CONTENT))
    seen = []

    def watch(done, total):
        for path in directory.iterdir():
            try:
                Partial.take_over(directory, path.name)
            except PartialBusyError:
                seen.append("busy")

    fetched = go(client, origin, directory, MemoryLedger(), on_progress=watch)
    assert seen
    partial = Partial.take_over(directory, fetched.path.name)
    partial.close()


def test_a_late_thread_finds_a_closed_partial(directory):
    partial = Partial.create(directory, "x.part")
    partial.close()
    other = os.open(directory / "other", os.O_RDWR | os.O_CREAT)
    with pytest.raises(StopRequested):
        partial.write(memoryview(b"late"), 0)
    assert os.fstat(other).st_size == 0
    os.close(other)
    partial.close()


def test_copies_stop_when_they_are_asked_to(directory):
    source = directory / "old"
    source.write_bytes(CONTENT)
    partial = Partial.create(directory, "x.part")
    with pytest.raises(StopRequested):
        partial.copy_from(source, [(0, len(CONTENT))], lambda: True)
    partial.copy_from(source, [(5, 100), (MIB, 2 * MIB)], lambda: False)
    copied = (directory / "x.part").read_bytes()
    assert copied[5:100] == CONTENT[5:100]
    assert copied[MIB:] == CONTENT[MIB : 2 * MIB]
    assert copied[100:MIB] == bytes(MIB - 100)
    partial.close()


@pytest.mark.parametrize(
    ("number", "kind"),
    [(errno.ENOSPC, NoSpace), (errno.EDQUOT, NoSpace), (errno.EFBIG, NoSpace),
     (errno.EIO, DiskError), (errno.EROFS, DiskError), (errno.EACCES, DiskError)],
)  # fmt: skip
def test_errors_of_disks_have_two_kinds(number, kind, directory):
    error = disk_error(OSError(number, "x", str(directory)))
    assert type(error) is kind
    assert str(directory) not in str(error)


def test_a_missing_directory_is_an_error_of_the_disk(origin, client, tmp_path):
    origin.serve("/f", ServedFile(CONTENT))
    with pytest.raises(DiskError):
        go(client, origin, tmp_path / "unmounted", MemoryLedger())
    assert not (tmp_path / "unmounted").exists()


def test_space_is_what_the_file_system_says(tmp_path):
    free = shutil.disk_usage(tmp_path).free
    assert abs(free_space(tmp_path) - free) < 1 << 30
    check_space(tmp_path, 1)
    check_space(tmp_path, 0)
    with pytest.raises(NoSpace) as refused:
        check_space(tmp_path, 1 << 60)
    assert refused.value.details["missing_bytes"] > 1 << 59


def test_digests_of_files(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(CONTENT)
    seen = []
    assert file_sha256(path, seen.append) == sha256(CONTENT)
    assert seen[-1] == len(CONTENT)
    assert git_blob_sha1(path) == hashlib.sha1(b"blob %d\0" % len(CONTENT) + CONTENT).hexdigest()
    with pytest.raises(StopRequested):
        file_sha256(path, should_stop=lambda: True)
    (tmp_path / "link").symlink_to(path)
    for wrong in (tmp_path / "link", tmp_path / "nothing"):
        with pytest.raises(DiskError):
            file_sha256(wrong)


def test_a_set_of_ranges_agrees_with_a_set_of_bytes():
    dice = random.Random(4)
    for _ in range(300):
        ranges, model = RangeSet(), set()
        other, other_model = RangeSet(), set()
        for _ in range(dice.randrange(8)):
            start = dice.randrange(30)
            end = start + dice.randrange(10)
            ranges.add(start, end)
            model |= set(range(start, end))
            other.add(start + 3, end)
            other_model |= set(range(start + 3, end))

        def members(pairs):
            return {at for start, end in pairs for at in range(start, end)}

        assert members(ranges) == model
        assert ranges.n_bytes == len(model)
        assert ranges.front == next(at for at in range(50) if at not in model)
        assert members(ranges.missing(40)) == set(range(40)) - model
        assert members(ranges.clipped(15)) == {at for at in model if at < 15}
        assert members(ranges.without(other)) == model - other_model
        pairs = list(ranges)
        assert all(pairs[n][1] < pairs[n + 1][0] for n in range(len(pairs) - 1))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bytes 0-9/10", (0, 10, 10)), ("bytes 5-9/*", (5, 10, None)), ("BYTES  5 - 9 / 20", (5, 10, 20)),
        ("bytes */10", (None, None, 10)), ("bytes */*", (None, None, None)), ("bytes 9-5/10", None),
        ("bytes 0-10/10", None), ("bytes -5/10", None), ("items 0-9/10", None), ("", None),
        (None, None), ("bytes 0-9", None), ("bytes a-b/c", None), ("bytes 0-9/10, 20-29/30", None),
        ("bytes 0-" + "9" * 30 + "/*", None), ("bytes ٠-٩/١٠", None),
    ],
)  # fmt: skip
def test_content_range_is_read_strictly(text, found):
    assert parse_content_range(text) == found


def test_two_fetches_at_once_do_not_share_a_file(origin, client, directory):
    served = origin.serve("/f", ServedFile(CONTENT, pace=(256 * 1024, 0.002)))
    results = []

    def one():
        results.append(go(client, origin, directory, MemoryLedger()))

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [result.sha256 for result in results] == [sha256(CONTENT)] * 2
    assert results[0].path != results[1].path
    assert served.sent >= 2 * len(CONTENT)
