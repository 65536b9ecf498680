"""Schemathesis against the running product: whatever the description allows, or does not, no 5xx."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.end_to_end.harness import Running
from tests.origin import Origin
from tests.product import ROOT

pytestmark = [
    pytest.mark.processes,
    pytest.mark.xdist_group("end_to_end_schema_fuzz"),
    pytest.mark.timeout(280),
]

#: Enough to meet every field of every route with strange values, and still short.
EXAMPLES = "10"


def test_schemathesis_finds_no_server_error(tmp_path: Path) -> None:
    with Origin() as origin, Running(tmp_path, origin) as product:
        run = subprocess.run(
            [
                str(Path(sys.executable).with_name("schemathesis")),
                "run",
                f"{product.life.url}/api/schema",
                f"--header=Authorization: {product.authorization}",
                "--checks=not_a_server_error",
                "--phases=examples,coverage,fuzzing",
                f"--max-examples={EXAMPLES}",
                # It would revoke the key that it comes with.
                "--exclude-path-regex=^/api/user/api-keys/",
                "--seed=1",
                "--workers=2",
                "--request-timeout=60",
                "--suppress-health-check=all",
                "--generation-database=none",
                "--no-color",
                "--max-time=25",
            ],
            cwd=tmp_path,
            env={**product.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        report = run.stdout.replace(product.authorization, "…")
        assert run.returncode == 0, report[-6000:]
        assert re.search(r"[0-9]+ passed", report), report[-2000:]
        still_there = product.call("GET", "/api/downloads/status")
        assert still_there["counts"]
