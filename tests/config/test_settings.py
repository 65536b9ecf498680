"""The settings as a start reads them, in processes of their own; and their documentation."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config import settings as config_settings

ROOT = Path(__file__).parents[2]
PRINT = """
import json
from config import settings
print(json.dumps({name: value for name, value in vars(settings).items()
                  if name.isupper() and isinstance(value, (str, int, float, bool, dict, list, tuple))},
                 default=str))
"""


def start(
    tmp_path: Path, *, toml: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME", "LANG"}}
    env |= {"MODELYARD_ENV_FILE": os.devnull, "MODELYARD_DATA_DIR": str(tmp_path / "data")}
    if toml:
        (tmp_path / "config.toml").write_text(toml)
        env["MODELYARD_CONFIG"] = str(tmp_path / "config.toml")
    return subprocess.run(
        [sys.executable, "-c", PRINT], cwd=ROOT, env=env | environment,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


def settings_of(tmp_path: Path, **options: str) -> dict[str, Any]:
    done = start(tmp_path, **options)
    assert done.returncode == 0, done.stderr
    values: dict[str, Any] = json.loads(done.stdout)
    return values


def test_a_fresh_laptop_needs_nothing(tmp_path: Path) -> None:
    values = settings_of(tmp_path)
    assert values["DATABASES"]["default"]["ENGINE"].endswith("sqlite3")
    assert values["EMBEDDED_BROKER"] is True
    assert values["DEBUG"] is False
    kept = tmp_path / "data" / "secrets.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert settings_of(tmp_path)["SECRET_KEY"] == values["SECRET_KEY"]


def test_the_toml_file_overrides_the_environment(tmp_path: Path) -> None:
    values = settings_of(
        tmp_path,
        toml='time_zone = "Europe/Berlin"\n'
        "[download_manager]\nmax_concurrent_downloads = 6\nuser_max_requests_per_day = 7\n"
        "backoff_multiplier = 3\n[background_jobs]\naudit_log_retention_days = 30\n",
        MAX_CONCURRENT_DOWNLOADS="2",
        MAX_RETRIES="9",
    )
    assert values["MAX_CONCURRENT_DOWNLOADS"] == 6
    assert values["USER_MAX_REQUESTS_PER_DAY"] == 7
    assert values["BACKOFF_MULTIPLIER"] == 3.0
    assert values["AUDIT_LOG_RETENTION_DAYS"] == 30
    assert values["MAX_RETRIES"] == 9
    assert values["TIME_ZONE"] == values["CELERY_TIMEZONE"] == "Europe/Berlin"


def test_a_misspelled_toml_name_is_reported(tmp_path: Path) -> None:
    assert settings_of(tmp_path, toml="[download_manager]\nmax_retrys = 1\n")[
        "UNKNOWN_TOML_NAMES"
    ] == ["max_retrys"]


@pytest.mark.parametrize("missing", ["SECRET_KEY", "ENCRYPTION_KEY"])
def test_a_deployment_without_a_secret_does_not_start(tmp_path: Path, missing: str) -> None:
    secrets = {"SECRET_KEY": "s" * 50, "ENCRYPTION_KEY": base64.b64encode(b"k" * 32).decode()}
    done = start(tmp_path, DATABASE_URL="postgres://u@127.0.0.1/x", **(secrets | {missing: ""}))
    assert done.returncode != 0
    assert "SECRET_KEY and ENCRYPTION_KEY must be set" in done.stderr


def test_a_wrong_value_stops_the_start(tmp_path: Path) -> None:
    done = start(tmp_path, MAX_CONCURRENT_DOWNLOADS="many")
    assert done.returncode != 0
    assert "MAX_CONCURRENT_DOWNLOADS must be a whole number" in done.stderr


def test_tokens_for_pull_come_from_the_environment(tmp_path: Path) -> None:
    values = settings_of(tmp_path, CIVITAI_TOKEN="c-1", HF_TOKEN="h-1")
    assert values["PULL_TOKENS"] == {"civitai": "c-1", "huggingface": "h-1"}


# --- docs/configuration.md --------------------------------------------------------------------------

ROW = re.compile(r"^\| `(\w+)` \| (–|`\w+`) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
ROWS = ROW.findall((ROOT / "docs/configuration.md").read_text())
#: Read before there are settings.
EARLY = {"MODELYARD_CONFIG", "MODELYARD_ENV_FILE"}


def test_the_documentation_has_every_setting_once_and_no_other() -> None:
    names = [row[0] for row in ROWS]
    assert sorted(names) == sorted({*config_settings._read.asked, *EARLY})


def test_the_toml_name_is_the_name_in_lower_case() -> None:
    assert [row[1] for row in ROWS] == [
        "–" if row[0] in EARLY else f"`{row[0].lower()}`" for row in ROWS
    ]


@pytest.mark.parametrize("row", ROWS, ids=[row[0] for row in ROWS])
def test_the_documented_default_is_the_real_one(row: tuple[str, ...]) -> None:
    name, _, unit, text, meaning = row
    default = config_settings._read.asked.get(name)
    assert unit.strip()
    assert meaning.strip()
    if isinstance(default, bool):
        assert text == ("yes" if default else "no")
    elif isinstance(default, int | float):
        assert float(text) == default
    elif text.startswith("`") and name not in EARLY and not name.startswith("MODELYARD_"):
        assert text.strip("`") == default
    elif text in {"none", "empty"} and name not in EARLY:
        assert default == ""
