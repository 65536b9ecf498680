"""Restarts, giving up, stopping: with small real processes."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time

import psutil
import pytest

from config.up import lifeline, supervisor
from config.up.output import Output
from config.up.plan import Program
from tests.product import wait_for

STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
GENTLE = "import signal, sys; print('up', flush=True); signal.pause()"
FORKING = "import os, signal; pid = os.fork(); print('up', os.getpid(), flush=True); signal.pause()"


@pytest.fixture
def terminal():
    return io.StringIO()


@pytest.fixture
def one(tmp_path, terminal, monkeypatch):
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_SECONDS", 0.05)
    output = Output(tmp_path / "logs", terminal=terminal)
    noted: list[list[int]] = []
    made = supervisor.Supervisor(
        output=output, cwd=tmp_path, environ=dict(os.environ), on_change=noted.append
    )
    made.noted = noted
    made.output = output
    yield made
    made.stop()
    output.close()


def python(name, code, **options):
    return Program(name, (sys.executable, "-c", code), **options)


def started(one, program):
    child = one.start(program)
    wait_for(lambda: one.output.tail(program.name), "the first line")
    return child


def test_a_process_that_dies_is_started_again(one, tmp_path):
    stop = threading.Event()
    mark = tmp_path / "mark"
    one.start(
        python("brief", f"import pathlib; f = pathlib.Path({str(mark)!r}); f.open('a').write('x')")
    )
    watcher = threading.Thread(
        target=lambda: (
            wait_for(lambda: mark.exists() and len(mark.read_text()) >= 3, "3 starts"),
            stop.set(),
        )
    )
    watcher.start()
    one.watch(stop)
    watcher.join()
    assert len(mark.read_text()) >= 3


def test_a_process_that_keeps_dying_ends_everything_with_its_last_lines(one, terminal):
    one.start(python("broken", "raise SystemExit('no such table')"))
    with pytest.raises(
        supervisor.GaveUp,
        match="broken ended 5 times within a minute, the last time with exit code 1",
    ):
        one.watch(threading.Event())
    assert "| no such table" in terminal.getvalue()


def test_stop_escalates_to_the_next_signal(one):
    steps = ((0, signal.SIGTERM), (0.2, signal.SIGKILL))
    child = started(one, python("stubborn", STUBBORN, stop=steps))
    began = time.monotonic()
    one.stop()
    assert 0.2 <= time.monotonic() - began < 5
    assert child.ending == "signal SIGKILL"
    assert one.names() == []


def test_stop_ends_only_who_is_named(one):
    first, second = started(one, python("first", GENTLE)), started(one, python("second", GENTLE))
    one.stop(["first"])
    assert first.has_ended()
    assert not second.has_ended()
    assert one.noted[-1] == [second.pid]


def test_children_of_a_killed_child_end_with_it(one):
    child = started(one, python("forking", FORKING))
    (grandchild,) = wait_for(lambda: psutil.Process(child.pid).children(), "the fork")
    os.kill(child.pid, signal.SIGKILL)
    child.has_ended(5)
    one.stop()
    wait_for(
        lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE,
        "its end",
    )


def test_a_child_lives_in_a_session_of_its_own(one):
    child = started(one, python("own", GENTLE))
    assert os.getsid(child.pid) == child.pid


def test_a_program_whose_parent_is_gone_does_not_start():
    with pytest.raises(SystemExit):
        lifeline.main(parent=1 if os.getppid() != 1 else 2, command=["/bin/true"])
