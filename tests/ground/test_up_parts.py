"""Pieces of `manage.py up` that need no other process."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
from django.contrib.auth import authenticate, get_user_model

from config.management.commands import up
from config.up import prepare, readiness


@pytest.fixture
def told():
    return []


@pytest.fixture
def tell(told):
    return lambda name, password: told.append((name, password))


def test_the_first_start_makes_an_admin_whose_password_works(db, told, tell):
    prepare.admin_account(tell)
    ((name, password),) = told
    user = authenticate(username=name, password=password)
    assert user.is_superuser
    assert user.is_staff
    assert name == "admin"


def test_the_second_start_tells_nothing(db, told, tell):
    prepare.admin_account(tell)
    prepare.admin_account(tell)
    assert len(told) == 1


def test_an_admin_that_a_command_made_gets_a_password(db, told, tell):
    made = get_user_model().objects.create_superuser("ops", password=None)
    prepare.admin_account(tell)
    assert told[0][0] == "ops"
    made.refresh_from_db()
    assert made.check_password(told[0][1])


def test_a_user_who_is_called_admin_does_not_become_one(db, told, tell):
    plain = get_user_model().objects.create_user("admin", password="x")
    prepare.admin_account(tell)
    plain.refresh_from_db()
    assert not plain.is_superuser
    assert told[0][0].startswith("admin-")


def test_a_password_that_could_not_be_shown_is_not_set(db):
    def fail(name, password):
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        prepare.admin_account(fail)
    assert not get_user_model().objects.filter(is_superuser=True).exists()


def test_a_taken_port_is_named():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(prepare.PortTaken, match=f"127.0.0.1:{port}.*--port"):
            prepare.check_port("127.0.0.1", port)
    prepare.check_port("127.0.0.1", port)


@pytest.mark.parametrize("number", up.STOP_SIGNALS)
def test_every_way_to_stop_sets_the_event_and_a_second_one_changes_nothing(number):
    with up._stop_event() as stop:
        os.kill(os.getpid(), number)
        assert stop.wait(5)
        os.kill(os.getpid(), number)
    assert stop.is_set()


def test_a_closed_terminal_does_not_stop_it_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with up._stop_event() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.wait(5)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_children_get_whole_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MODELYARD_CONFIG", "modelyard.toml")
    environ = up._environ()
    assert environ["MODELYARD_CONFIG"] == str(tmp_path / "modelyard.toml")
    assert all(
        Path(environ[name]).is_absolute() for name in ("MODELYARD_DATA_DIR", "MODELYARD_MODELS_DIR")
    )


def test_a_sign_of_life_from_before_the_start_does_not_count(tmp_path):
    tick = tmp_path / "beat.tick"
    assert not readiness.beat_ticks(tick, 0)
    tick.touch()
    os.utime(tick, (100, 100))
    assert not readiness.beat_ticks(tick, 102)
    assert readiness.beat_ticks(tick, 100)


def test_a_page_that_is_not_there_does_not_answer():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert not readiness.page_answers("127.0.0.1", port, "/login")


@pytest.mark.parametrize("port", ["0", "65536", "-1"])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(ValueError):  # noqa: PT011  (argparse names the option)
        up._port(port)
