"""The whole suite, as `make test` runs it: `python -m tests.run [arguments of pytest]`.

1. Everything, on PostgreSQL and Redis, in parallel.
2. What is marked `both_databases` again, on SQLite.

One summary at the end; the exit code is 0 only when both runs passed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests import needs

ROOT = Path(__file__).resolve().parent.parent
#: One more than there are cores, because many wait for processes that they started.
#: One at a time is handed out, the slow ones first, so that no process waits behind another.
PARALLEL = ("-n", str(min((os.cpu_count() or 2) + 1, 4)), "--dist", "loadgroup")
APT_SECONDS = 600


@dataclass(frozen=True)
class Outcome:
    title: str
    counts: dict[str, int]
    seconds: float
    exit_code: int

    def line(self) -> str:
        passed = self.counts["tests"] - self.counts["failures"] - self.counts["errors"]
        failed = self.counts["failures"] + self.counts["errors"]
        word = "ok" if self.exit_code == 0 else f"exit code {self.exit_code}"
        return (
            f"{self.title:34} {passed:5} passed  {failed:3} failed  {self.seconds:6.0f} s  {word}"
        )


def main(arguments: list[str]) -> int:
    install_chromium()
    chosen = bool(arguments)
    again = [*PARALLEL, "-m", "both_databases", *arguments]
    with tempfile.TemporaryDirectory(prefix="modelyard-report-") as folder:
        report = Path(folder) / "left-out"
        report.touch()
        outcomes = [
            run("on PostgreSQL", "postgresql", [*PARALLEL, *arguments], report, chosen=chosen)
        ]
        if outcomes[0].exit_code != pytest.ExitCode.INTERRUPTED:
            outcomes.append(
                run("on SQLite (claims, transitions)", "sqlite", again, report, chosen=chosen)
            )
        left_out = sorted(set(report.read_text(encoding="utf-8").splitlines()))
    print("\n" + "=" * 78)
    for outcome in outcomes:
        print(outcome.line())
    for line in left_out:
        print(f"NOT EXERCISED: {line}")
    failed = any(outcome.exit_code for outcome in outcomes)
    print(
        "FAILED" if failed else "Everything that ran passed." if left_out else "Everything passed."
    )
    return int(failed)


def run(title: str, database: str, arguments: list[str], report: Path, *, chosen: bool) -> Outcome:
    """One session of pytest. No test at all is a failure, unless the caller has `chosen` some."""
    print(f"\n--- The suite {title}", flush=True)
    results = report.with_name(f"{database}.xml")
    environ = {
        **os.environ,
        "MODELYARD_TEST_DATABASE": database,
        "MODELYARD_TEST_REPORT": str(report),
    }
    began = time.monotonic()
    command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={results}", *arguments]
    code = subprocess.run(command, cwd=ROOT, env=environ, check=False).returncode
    if code == pytest.ExitCode.NO_TESTS_COLLECTED and chosen:
        code = 0
    return Outcome(title, read_counts(results), time.monotonic() - began, code)


def read_counts(results: Path) -> dict[str, int]:
    totals = dict.fromkeys(("tests", "failures", "errors"), 0)
    if results.exists():
        for suite in ET.parse(results).iter("testsuite"):
            for name in totals:
                totals[name] += int(suite.get(name, "0"))
    return totals


def install_chromium() -> None:
    """On a new machine with apt, as root; what fails here is said at the end of the run."""
    if needs.find_chromium() or os.geteuid() != 0 or not shutil.which("apt-get"):
        return
    print("Installing Chromium for the browser tests …", flush=True)
    environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for command in (
        ["update", "-qq"],
        ["install", "-y", "-qq", "--no-install-recommends", "chromium"],
    ):
        try:
            subprocess.run(
                ["apt-get", *command],
                env=environ,
                stdout=subprocess.DEVNULL,
                timeout=APT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            print("apt-get did not finish in time.", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
