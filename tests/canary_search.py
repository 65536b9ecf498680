"""Searches for tokens of this run where none may lie: databases, Redis, files.

Each search gives sentences that name the place, never the token.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg import sql

from tests.canaries import MARK, traces

CHUNK_BYTES = 8 * 1024 * 1024


def in_rows(place: str, rows: Iterable[Iterable[Any]]) -> list[str]:
    """In the values of rows as a driver gives them; bytes are searched as bytes."""
    found = []
    for row in rows:
        for value in row:
            raw = bytes(value) if isinstance(value, bytes | bytearray | memoryview) else str(value)
            found += [f"{place}: {trace}" for trace in traces(raw)]
    return found


def in_sqlite(path: Path) -> list[str]:
    """In every table of a SQLite file, as a reader sees it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        ]
        return [
            hit
            for table in tables
            for hit in in_rows(
                f"{path.name}, {table}", connection.execute(f'SELECT * FROM "{table}"')
            )
        ]


def in_postgres(url: str) -> list[str]:
    """In every table of a PostgreSQL database."""
    with psycopg.connect(url) as connection:
        tables = connection.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
        ).fetchall()
        return [
            hit
            for (table,) in tables
            for hit in in_rows(
                f"PostgreSQL, {table}",
                connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))),
            )
        ]


def in_redis(url: str, pattern: str = "*") -> list[str]:
    """In the names and values of the keys that fit `pattern`."""
    found = []
    with redis.Redis.from_url(url) as client:
        for key in client.scan_iter(pattern, count=1000):
            found += in_rows(f"Redis, {key!r}", [[key, *_values(client, key)]])
    return found


def _values(client: redis.Redis, key: bytes) -> list[Any]:  # noqa: PLR0911  (one per type)
    match client.type(key):
        case b"string":
            return [client.get(key) or b""]
        case b"list":
            return list(client.lrange(key, 0, -1))
        case b"hash":
            return [part for pair in client.hgetall(key).items() for part in pair]
        case b"set":
            return list(client.smembers(key))
        case b"zset":
            return list(client.zrange(key, 0, -1))
        case b"stream":
            return [str(entry) for entry in client.xrange(key)]
        case _:
            return []


def in_tree(root: Path) -> list[str]:
    """In the names and the content of all files below a folder, however large they are."""
    found = []
    for path in _files_below(root):
        found += [f"name of {path}: {trace}" for trace in traces(str(path.relative_to(root)))]
        with contextlib.suppress(FileNotFoundError, PermissionError):
            found += [f"{path}: {trace}" for trace in _traces_in_file(path)]
    return found


def _files_below(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for path in (Path(folder, name) for name in names):
            if path.is_file() and not path.is_symlink():
                yield path


def _traces_in_file(path: Path) -> list[str]:
    found, tail = [], b""
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            found += traces(tail + chunk)
            tail = chunk[-8 * len(MARK) :]
    return found
