from __future__ import annotations

from contextlib import ExitStack

import psycopg
import pytest
import redis

from tests import servers


@pytest.fixture
def nothing_listens(monkeypatch):
    monkeypatch.setattr(servers, "CONNECT_SECONDS", 1)
    closed = servers.free_port()
    monkeypatch.setattr(servers, "DEFAULT_POSTGRES", f"postgres://postgres@127.0.0.1:{closed}/test")
    monkeypatch.setattr(servers, "DEFAULT_REDIS", f"redis://127.0.0.1:{closed}/0")
    return closed


def test_servers_of_our_own_are_started_when_there_are_none(nothing_listens, monkeypatch):
    environ: dict[str, str] = {}
    with ExitStack() as started:
        monkeypatch.setattr(servers, "_started", started)
        servers.provide(environ)
        assert_they_work(environ)
    assert servers._postgres_version(environ["DATABASE_URL"]) is None
    assert servers._redis_version(environ["REDIS_URL"]) is None


def assert_they_work(environ):
    with psycopg.connect(environ["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
    with redis.Redis.from_url(environ["REDIS_URL"]) as client:
        assert client.ping()
    assert "from its wheel" in environ[servers.CHOSEN]


def test_a_named_server_that_is_silent_stops_the_run(nothing_listens):
    with pytest.raises(RuntimeError, match="does not answer") as raised:
        servers.provide({"DATABASE_URL": f"postgres://u:secret@127.0.0.1:{nothing_listens}/x"})
    assert "secret" not in str(raised.value)


def test_the_usual_variables_name_the_server():
    environ = {"PGHOST": "db.local", "PGPORT": "6000", "PGUSER": "me", "PGPASSWORD": "a b"}
    assert servers._from_pg_variables(environ) == "postgres://me:a%20b@db.local:6000/postgres"


def test_the_choice_is_made_once():
    environ = {servers.CHOSEN: "made", "DATABASE_URL": "postgres://nowhere/x"}
    servers.provide(environ)
    assert environ == {servers.CHOSEN: "made", "DATABASE_URL": "postgres://nowhere/x"}
