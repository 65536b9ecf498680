"""The running product and its sources, as a test uses them: through the API, and through faults.

    with Running(folder, origin) as product:
        row = product.enqueue(origin.links.checkpoint)
        product.wait(row["id"], "completed")

`restart`, `kill` and `flush_broker` are what must not lose a download. When the product has ended,
`secrets_left` says where in its data directory, its database and its broker a token lies open.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import psutil
import psycopg
import redis
import requests

from tests import canary_search
from tests.canaries import MARK, traces, watch
from tests.origin import Origin
from tests.product import ROOT, Product, wait_for

#: Seconds that a laptop would count in minutes.
QUICK = {
    "INITIAL_BACKOFF_SECS": "1",
    "MAX_BACKOFF_SECS": "2",
    "RECONCILE_SECONDS": "1",
    "LEASE_SECONDS": "5",
    "PICKUP_SECONDS": "3",
    "IDLE_TIMEOUT_SECONDS": "5",
    "CONNECT_TIMEOUT_SECONDS": "5",
    "MAX_BUNDLES_PER_HOUR": "1000",
    "MAX_BUNDLES_PER_DAY": "1000",
    "USER_MAX_REQUESTS_PER_DAY": "1000",
}
MIB = 1024 * 1024
FINAL = ("completed", "failed", "cancelled")


class Database:
    """The product's own database, looked at from outside."""

    def __init__(self, *, path: Path | None = None, url: str = "") -> None:
        self._path = path
        self._url = url

    def __call__(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run one statement with `?` for values; the rows that it gives, if it gives any."""
        if self._path is not None:
            with closing(sqlite3.connect(self._path, timeout=20)) as connection:
                rows = connection.execute(statement, values).fetchall()
                connection.commit()
                return rows
        with psycopg.connect(self._url) as connection_pg:
            cursor = connection_pg.execute(statement.replace("?", "%s"), values or None)
            return cursor.fetchall() if cursor.description else []

    def secrets(self) -> list[str]:
        if self._path is not None:
            return canary_search.in_sqlite(self._path)
        return canary_search.in_postgres(self._url)

    def record_moves(self) -> None:
        """From now on the database itself notes every change of a status, however short."""
        if self._path is not None:
            self("CREATE TABLE seen_moves (download_id INTEGER, old TEXT, new TEXT)")
            self(
                "CREATE TRIGGER see_moves AFTER UPDATE OF status ON downloads_download "
                "WHEN OLD.status <> NEW.status AND NOT NEW.is_bundle "
                "BEGIN INSERT INTO seen_moves VALUES (NEW.id, OLD.status, NEW.status); END"
            )
            return
        self("CREATE TABLE seen_moves (download_id BIGINT, old TEXT, new TEXT)")
        self(
            "CREATE FUNCTION see_move() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            "INSERT INTO seen_moves VALUES (NEW.id, OLD.status, NEW.status); RETURN NEW; END $$"
        )
        self(
            "CREATE TRIGGER see_moves AFTER UPDATE OF status ON downloads_download FOR EACH ROW "
            "WHEN (OLD.status <> NEW.status AND NOT NEW.is_bundle) EXECUTE FUNCTION see_move()"
        )

    def moves(self, download_id: int | None = None) -> list[tuple[str, str]]:
        """(from, to) of every change so far, of one download or of all."""
        rows = self("SELECT download_id, old, new FROM seen_moves")
        return [(old, new) for pk, old, new in rows if download_id in (None, pk)]


class BrokerWatch:
    """Reads every command that a broker gets, and keeps the places where a token was in one."""

    def __init__(self, url: str) -> None:
        self.found: list[str] = []
        self.commands = 0
        self._url = urlsplit(url)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-watch")
        self._thread.start()

    def _connect(self) -> socket.socket:
        if self._url.scheme != "unix":
            return socket.create_connection((self._url.hostname, self._url.port or 6379), 1)
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(self._url.path)
        except OSError:
            connection.close()
            raise
        return connection

    def _run(self) -> None:
        while not self._stopped.wait(0.05):
            try:
                with self._connect() as connection:
                    connection.settimeout(0.1)
                    connection.sendall(b"MONITOR\r\n")
                    self._read(connection)
            except OSError:
                continue  # the broker is away; tests take it away

    def _read(self, connection: socket.socket) -> None:
        tail = b""
        while not self._stopped.is_set():
            try:
                data = connection.recv(1 << 20)
            except TimeoutError:
                continue
            if not data:
                return
            self.commands += data.count(b"\r\n")
            self.found += [f"command to the broker: {trace}" for trace in traces(tail + data)]
            tail = data[-8 * len(MARK) :]

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()


class Running:
    """The product as real processes, with a user who is an admin and has an API key."""

    def __init__(
        self,
        folder: Path,
        origin: Origin,
        *,
        database_url: str = "",
        redis_url: str = "",
        key_prefix: str = "modelyard:",
        **settings: str,
    ) -> None:
        self.data_dir = folder / "data"
        self.models_dir = folder / "models"
        self.origin = origin
        self.environ: dict[str, str] = {
            **origin.env(),
            **QUICK,
            "MODELYARD_MODELS_DIR": str(self.models_dir),
            **settings,
        }
        self.database = Database(path=self.data_dir / "modelyard.sqlite3")
        if database_url:
            self.environ |= {
                "DATABASE_URL": database_url,
                "SECRET_KEY": watch("end-to-end-" + "s" * 40),
                "ENCRYPTION_KEY": "ZW5kLXRvLWVuZC1lbmQtdG8tZW5kLWVuZC10by1lbmQ=",
            }
            self.database = Database(url=database_url)
        if redis_url:
            self.environ |= {"REDIS_URL": redis_url, "REDIS_KEY_PREFIX": key_prefix}
        self._redis_url = redis_url
        self._key_prefix = key_prefix if redis_url else ""
        self._life: Product | None = None
        self._watch: BrokerWatch | None = None
        self._found: list[str] = []
        self._session = requests.Session()
        self._session.trust_env = False

    # --- Its life --------------------------------------------------------------------------------
    def __enter__(self) -> Self:
        self.start()
        key = watch(self.manage("create_api_key", "tester", "--admin").strip())
        self._session.headers["Authorization"] = f"Bearer {key}"
        self._watch = BrokerWatch(self.broker_url)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._session.close()
        if self._watch is not None:
            self._watch.stop()
            self._found += self._watch.found
        if self._life is not None:
            self._found += self._in_broker()
            with self._life:
                pass

    @property
    def life(self) -> Product:
        assert self._life is not None
        return self._life

    def start(self) -> None:
        self._life = Product(self.data_dir, environ=self.environ)
        try:
            self._life.wait_until_ready()
        except BaseException:
            with self._life:
                raise

    def stop(self) -> float:
        """TERM to the whole product; the seconds until nothing is left of it."""
        self._found += self._in_broker()
        return self.life.stop()

    def restart(self) -> None:
        self.stop()
        self.start()

    def manage(self, *arguments: str) -> str:
        """Output of a command of the product."""
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env=self.life.environ, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    # --- Its broker ------------------------------------------------------------------------------
    @property
    def broker_url(self) -> str:
        if self._redis_url:
            return self._redis_url
        return self.manage_setting("REDIS_URL")

    def manage_setting(self, name: str) -> str:
        """A setting as the product itself reads it."""
        code = f"from config import settings; print(settings.{name})"
        done = subprocess.run(
            [sys.executable, "-c", code],
            cwd=ROOT, env=self.life.environ, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def _in_broker(self) -> list[str]:
        try:
            return canary_search.in_redis(self.broker_url, f"{self._key_prefix}*")
        except redis.exceptions.ConnectionError:
            return []

    def flush_broker(self) -> None:
        """Lose every message, as after a restart without persistence."""
        with redis.Redis.from_url(self.broker_url) as client:
            if not self._key_prefix:
                client.flushall()
            for key in client.scan_iter(f"{self._key_prefix}*", count=1000):
                client.delete(key)

    # --- Its processes ---------------------------------------------------------------------------
    def transfer_worker(self) -> psutil.Process:
        """The Celery parent of the queue `transfer`; its children run the transfers."""
        return next(
            child
            for child in psutil.Process(self.life.process.pid).children()
            if "transfer" in child.cmdline()
        )

    def owner_pid(self, download_id: int) -> int:
        """The process that holds the claim on a row."""

        def find() -> int | None:
            ((owner,),) = self.database(
                "SELECT owner FROM downloads_download WHERE id = ?", download_id
            )
            return int(owner.split(":")[1]) if owner else None

        return wait_for(find, f"an owner of download {download_id}")

    def kill_owner(self, download_id: int) -> None:
        """SIGKILL to the process that runs this download; it is one of ours."""
        pid = self.owner_pid(download_id)
        assert pid in {process.pid for process in self.life.family()}
        os.kill(pid, signal.SIGKILL)

    @property
    def authorization(self) -> str:
        """The header that names the user, for a client other than this one."""
        return str(self._session.headers["Authorization"])

    # --- Its API ---------------------------------------------------------------------------------
    def call(
        self, method: str, path: str, body: Any = None, *, status: int | Iterable[int] = ()
    ) -> Any:
        answer = self._session.request(method, f"{self.life.url}{path}", json=body, timeout=60)
        wanted = {status} if isinstance(status, int) else set(status)
        if wanted:
            assert answer.status_code in wanted, f"{answer.status_code} {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def save_token(self, service: str, token: str) -> Any:
        body = {"service_name": service, "token": token}
        return self.call("POST", "/api/user/api-tokens", body, status=(200, 201, 202))

    def enqueue(self, url: str, **options: Any) -> dict[str, Any]:
        row: dict[str, Any] = self.call(
            "POST", "/api/downloads", {"url": url, **options}, status=202
        )
        return row

    def command(self, name: str, download_id: int, *, status: int = 202, **body: Any) -> Any:
        return self.call("POST", f"/api/downloads/{download_id}/{name}", body, status=status)

    def row(self, download_id: int) -> dict[str, Any]:
        row: dict[str, Any] = self.call("GET", f"/api/downloads/{download_id}", status=200)
        return row

    def children(self, download_id: int) -> list[dict[str, Any]]:
        page = self.call("GET", f"/api/downloads/{download_id}/children", status=200)
        return list(page["results"])

    def asset(self, asset_id: int) -> dict[str, Any]:
        asset: dict[str, Any] = self.call("GET", f"/api/assets/{asset_id}", status=200)
        return asset

    def wait(self, download_id: int, *statuses: str, timeout_s: float = 40) -> dict[str, Any]:
        """The row as soon as it has one of these statuses; fails at another final one."""

        def find() -> dict[str, Any] | None:
            row = self.row(download_id)
            if row["status"] in statuses:
                return row
            assert row["status"] not in FINAL, f"{row}\n{self.log_tail()}"
            return None

        return wait_for(find, f"download {download_id} to be {statuses}\n", timeout_s)

    def wait_until(
        self, download_id: int, holds: Callable[[dict[str, Any]], bool], timeout_s: float = 30
    ) -> dict[str, Any]:
        def find() -> dict[str, Any] | None:
            row = self.row(download_id)
            return row if holds(row) else None

        return wait_for(find, f"download {download_id}: {self.row(download_id)}", timeout_s)

    def wait_for_bytes(self, download_id: int, at_least: int = 1) -> dict[str, Any]:
        """The row once so many bytes are counted in it."""
        return self.wait_until(download_id, lambda row: row["downloaded_bytes"] >= at_least)

    # --- What lies on its disk -------------------------------------------------------------------
    def path_of(self, row: Mapping[str, Any]) -> Path:
        """Where the file of a completed download lies on this machine."""
        return self.models_dir / str(row["target_path"]).removeprefix("/models/")

    def unfinished_files(self) -> list[Path]:
        folder = self.models_dir / ".modelyard" / "partials"
        return sorted(path for path in folder.rglob("*") if path.is_file())

    def log_tail(self, lines: int = 30) -> str:
        parts = []
        for path in sorted((self.data_dir / "logs").glob("*.log")):
            tail = path.read_text(errors="replace").splitlines()[-lines:]
            parts.append(f"--- {path.name}\n" + "\n".join(line[:400] for line in tail))
        return "\n".join(parts)

    def secrets_left(self) -> list[str]:
        """Where a token lies open, in all that this product kept, wrote and sent."""
        found = [*self._found, *self.database.secrets(), *canary_search.in_tree(self.data_dir)]
        found += [f"the terminal: {trace}" for trace in traces(self.life.output)]
        hidden = self.models_dir / ".modelyard"
        return sorted({*found, *canary_search.in_tree(hidden)})


def postgres_for(name: str, stack: ExitStack) -> str:
    """URL of an empty database on the suite's PostgreSQL; dropped when `stack` closes."""
    server = os.environ["DATABASE_URL"]
    head, _, query = server.partition("?")
    base, _, _ = head.rpartition("/")
    suffix = f"?{query}" if query else ""
    assert re.fullmatch(r"[a-z0-9_]+", name)

    def drop() -> None:
        with psycopg.connect(f"{base}/postgres{suffix}", autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")

    drop()
    with psycopg.connect(f"{base}/postgres{suffix}", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    stack.callback(drop)
    return f"{base}/{name}{suffix}"


def begin(product: Running, sources: Origin, name: str, *, size: int = 16 * MIB) -> int:
    """A download in the middle of its bytes, held back by a slow server."""
    sources.faults.slow(name, MIB)
    row_id: int = product.enqueue(sources.direct.sized_link(name, size), model_type="lora")["id"]
    product.wait_for_bytes(row_id, MIB)
    return row_id
