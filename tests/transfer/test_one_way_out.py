"""A9: nothing but the guarded client talks to other machines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("config", "ops", "sources", "tokens", "registry", "downloads", "workers")
TALKERS = {"requests", "urllib3", "http.client", "urllib.request", "httpx", "aiohttp", "ftplib",
           "smtplib", "telnetlib", "xmlrpc", "asyncio.streams"}  # fmt: skip
#: Asks the processes that it started itself whether they are ready.
EXCEPTIONS = {"config/up/readiness.py"}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_only_transfer_imports_what_opens_connections():
    offenders = {
        f"{path.relative_to(ROOT)}: {name}"
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if str(path.relative_to(ROOT)) not in EXCEPTIONS
        for name in imports(path)
        if name in TALKERS or name.split(".")[0] in TALKERS
    }
    assert offenders == set()
