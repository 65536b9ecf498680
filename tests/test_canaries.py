"""The search finds tokens wherever they lie; so that it finds nothing means something."""

from __future__ import annotations

import base64
import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import redis

from tests import canary_search
from tests.canaries import MARK, canary, traces

TOKEN = canary("huggingface-of-the-search")


@pytest.fixture
def folder() -> Iterator[Path]:
    """Outside pytest's own folders, which are searched at the end of the run."""
    with TemporaryDirectory(prefix="canaries-") as name:
        yield Path(name)


def test_tokens_have_the_shape_of_their_service() -> None:
    assert re.fullmatch(r"hf_[0-9a-zA-Z]{34}", canary("huggingface"))
    assert re.fullmatch(r"[0-9a-f]{32}", canary("civitai"))
    assert canary("civitai") == canary("civitai") != canary("civitai-other")
    assert MARK not in TOKEN[-8:]


@pytest.mark.parametrize(
    "text",
    [
        TOKEN,
        f"Authorization: Bearer {TOKEN}",
        TOKEN.upper(),
        TOKEN.encode().hex(),
        *(base64.b64encode(b"x" * shift + TOKEN.encode()).decode() for shift in range(6)),
    ],
)
def test_a_token_is_found_in_every_spelling_and_never_repeated(text: str) -> None:
    (trace,) = traces(f"before {text} after")
    assert MARK not in trace
    assert traces("nothing here") == []


def test_rows_of_a_database_are_searched(folder: Path) -> None:
    path = folder / "x.sqlite3"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE secrets (id INTEGER, text TEXT, data BLOB)")
        connection.execute("INSERT INTO secrets VALUES (1, 'clean', x'00')")
        connection.commit()
        assert canary_search.in_sqlite(path) == []
        connection.execute("INSERT INTO secrets VALUES (2, ?, ?)", (TOKEN, TOKEN.encode()))
        connection.commit()
    assert len(canary_search.in_sqlite(path)) == 2


def test_files_are_searched_across_the_border_of_two_pieces(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "deep" / "log").write_bytes(b" " * (canary_search.CHUNK_BYTES - 20) + TOKEN.encode())
    assert canary_search.in_tree(folder)
    (folder / "deep" / "log").write_bytes(b"clean")
    assert canary_search.in_tree(folder) == []
    (folder / TOKEN).touch()
    assert canary_search.in_tree(folder)


def test_keys_of_every_type_are_searched_in_redis() -> None:
    url, prefix = os.environ["REDIS_URL"], f"canaries-{os.getpid()}-"
    with redis.Redis.from_url(url) as client:
        try:
            client.set(f"{prefix}1", TOKEN)
            client.rpush(f"{prefix}2", "clean", TOKEN)
            client.hset(f"{prefix}3", "field", TOKEN)
            client.sadd(f"{prefix}4", TOKEN)
            client.zadd(f"{prefix}5", {TOKEN: 1})
            client.xadd(f"{prefix}6", {"field": TOKEN})
            client.set(f"{prefix}7", "clean")
            assert (
                len({hit.split(":")[0] for hit in canary_search.in_redis(url, f"{prefix}*")}) == 6
            )
        finally:
            client.delete(*client.keys(f"{prefix}*"))


def inner_run(folder: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A run of pytest with its own mark, so that ours does not find what it leaves on purpose."""
    environ |= {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).resolve().parent.parent),
        "MODELYARD_CANARY_RUN": f"inner-{os.getpid()}",
    }
    plugins = ("-p", "tests.canary_hooks", "-p", "no:cacheprovider", *arguments)
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "--basetemp", str(folder / "inner"), str(folder)],
        env=environ, capture_output=True, text=True, timeout=120, check=False, cwd=folder,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ("canary('x')", 0, "1 passed"),
        ("print(canary('x'))", 1, "Captured stdout call"),
        ("logging.getLogger('x').warning(canary('x'))", 1, "Captured log call"),
        ("(tmp_path / 'kept').write_text(canary('x'))", 1, "TOKEN FOUND"),
    ],
)
def test_a_run_that_leaves_a_token_fails(tmp_path: Path, body: str, status: int, said: str) -> None:
    (tmp_path / "test_inner.py").write_text(
        "import logging\nfrom tests.canaries import canary\n"
        f"def test_inner(tmp_path):\n    {body}\n"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    run = inner_run(tmp_path, "-p", "no:django")
    assert run.returncode == status, run.stdout + run.stderr
    assert said in run.stdout


STORES = """
import pytest
from django.contrib.auth.models import Group
from tests.canaries import canary

@pytest.mark.django_db
def test_inner():
    Group.objects.create(name=canary('x'))
"""


def test_a_row_with_a_token_is_seen_before_it_is_rolled_back(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(STORES)
    (tmp_path / "pytest.ini").write_text("[pytest]\nDJANGO_SETTINGS_MODULE = tests.settings\n")
    run = inner_run(
        tmp_path,
        MODELYARD_TEST_DATABASE="sqlite",
        MODELYARD_TEST_RUN=f"inner{os.getpid()}",
        MODELYARD_TEST_SERVERS="given",
        REDIS_URL=os.environ["REDIS_URL"],
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "Tokens lie open: table auth_group" in run.stdout
