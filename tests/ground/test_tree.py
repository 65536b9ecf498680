"""What is in the repository, and what must never be."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PICTURES = {".png", ".jpg", ".webp", ".ico", ".svg"}
#: Written in pieces, so that this file does not contain what it looks for.
REGISTRIES = (
    "python" + "hosted",
    "pypi" + ".org",
    "registry" + ".npmjs",
    "deb" + ".debian.org",
    "files." + "python",
)
FORBIDDEN = [re.compile(re.escape(host), re.IGNORECASE) for host in REGISTRIES] + [
    re.compile(r"(?<![\w./-])/(?:work|farm|home|Users|root)/"),
    re.compile(r"\bTO" + r"DO\b|\bFIX" + r"ME\b"),
]


def tracked():
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def texts():
    for path in tracked():
        if path.suffix in PICTURES or path.name.endswith((".min.js", ".min.css")):
            continue
        yield path.relative_to(ROOT), path.read_text(encoding="utf-8", errors="replace")


def test_no_file_names_a_registry_or_a_place_on_one_machine():
    found = [
        f"{path}:{number}: {line.strip()[:80]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if any(pattern.search(line) for pattern in FORBIDDEN)
    ]
    assert found == []


def test_no_lock_that_names_hosts_and_no_secret_is_tracked():
    names = {path.name for path in tracked()}
    assert not names & {"uv.lock", ".env", "secrets.json"}


@pytest.mark.parametrize("name", ["server", "dev"])
def test_requirements_are_exact_hashed_and_name_no_host(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert "://" not in text
    entries = re.split(r"\n(?=[a-z0-9])", text.strip())
    for entry in entries:
        assert re.match(r"[a-z0-9._-]+(\[[a-z0-9,_-]+\])?==\S+", entry), entry
        assert "--hash=sha256:" in entry, entry


def locked(name):
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", text, re.MULTILINE))


def test_the_tests_run_with_the_versions_of_the_service():
    server, dev = locked("server"), locked("dev")
    assert {name: dev.get(name) for name in server} == server


def plain(requirement):
    return re.split(r"[\[<>=!~; ]", requirement)[0].lower().replace("_", "-")


def test_every_declared_dependency_is_locked():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    server = [
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["server"],
    ]
    dev = project["dependency-groups"]["dev"]
    assert {plain(one) for one in server} <= set(locked("server"))
    assert {plain(one) for one in dev} <= set(locked("dev"))


def make(target):
    """The commands that `make` would run; `-B` as if nothing were installed."""
    run = subprocess.run(
        ["make", "-n", "-B", target], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return run.stdout


def test_make_up_installs_locked_packages_and_starts():
    commands = make("up")
    assert "--require-hashes --no-deps -r requirements/server.txt" in commands
    assert "manage.py up --port 8000" in commands
    assert "requirements/dev.txt" not in commands


def test_make_test_installs_and_runs_the_whole_suite():
    commands = make("test")
    assert "-r requirements/dev.txt" in commands
    assert "-m tests.run" in commands


@pytest.mark.parametrize("target", ["setup", "format", "check", "lock"])
def test_the_other_targets_exist(target):
    assert make(target)


def test_ci_runs_the_whole_suite_and_nothing_less():
    script = (ROOT / ".ci" / "run").read_text()
    assert re.search(r"^make test$", script, re.MULTILINE)
    assert "set -euo pipefail" in script
    assert "|| true" not in script
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
