"""Tests of one group run in one process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INNER = """
import os, pytest
@pytest.mark.xdist_group("together")
@pytest.mark.parametrize("n", range(6))
def test_inner(n):
    with open("pids", "a") as file:
        file.write(f"{os.getpid()}\\n")
"""


def test_tests_of_one_group_share_a_process(tmp_path: Path) -> None:
    (tmp_path / "test_inner.py").write_text(INNER)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    plugins = ("-p", "tests.grouping", "-p", "no:django", "-p", "no:cacheprovider")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *plugins, "-n", "2", "--dist", "loadgroup"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    pids = (tmp_path / "pids").read_text().split()
    assert (len(pids), len(set(pids))) == (6, 1)
