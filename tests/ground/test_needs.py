from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import needs

HERE = Path(__file__)


@pytest.mark.browser
def test_a_browser_is_found():
    assert needs.find_chromium()


@pytest.mark.parametrize("ci", [False, True])
def test_what_could_not_be_run_is_said_at_the_end_and_fails_in_ci(ci, tmp_path):
    report = tmp_path / "report"
    environ = {
        **{key: value for key, value in os.environ.items() if key != "CI"},
        **({"CI": "true"} if ci else {}),
        "CHROMIUM": str(tmp_path / "no-browser"),
        "MODELYARD_TEST_RUN": f"needs{os.getpid()}",
        "MODELYARD_TEST_REPORT": str(report),
    }
    run = subprocess.run(
        [sys.executable, "-m", "pytest", str(HERE), "-q", "-k", "browser or absent"],
        env=environ,
        cwd=HERE.parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "NOT EXERCISED: 1 tests were not run, they need a Chromium browser." in run.stdout
    assert "they need a Chromium browser" in report.read_text()
    assert run.returncode == (1 if ci else 0), run.stdout + run.stderr


def test_absent_needs_name_a_remedy():
    for need in needs.NEEDS:
        assert need.remedy
        assert "tests were not run" in needs.left_out(need, 3)


@pytest.mark.parametrize(
    ("value", "expected"),
    [("", False), ("0", False), ("false", False), ("true", True), ("1", True)],
)
def test_ci_is_what_the_variable_says(value, expected):
    assert needs.is_ci({"CI": value}) is expected
