"""`manage.py pull` as a process of its own, in an environment that wants to lead it astray.

One row of each kind: the tables of the other modules call the same code in this process.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.downloads.test_pull import used_before  # noqa: F401  (a fixture)
from tests.hostile.listeners import Listeners
from tests.hostile.stage import LORA, Stage
from tests.product import ROOT, environment
from tests.registry import hostile as h

NAME = "../\x1b[2J\r\nforged\u202e;$(touch escaped).safetensors"


@pytest.fixture
def alone(
    stage: Stage,
    listeners: Listeners,
    tmp_path: Path,
    used_before: Path,  # noqa: F811
) -> Iterator[dict[str, str]]:
    """What the process gets: proxies and a netrc that must be ignored, and hidden in PATH a trap."""
    shutil.copytree(used_before, tmp_path / "data")
    home = tmp_path / "home"
    home.mkdir()
    (home / ".netrc").write_text("machine 127.0.0.1 login somebody password anything\n")
    proxy = f"http://127.0.0.1:{listeners.port}"
    names = ("http_proxy", "https_proxy", "all_proxy")
    proxies = {name: proxy for one in names for name in (one, one.upper())}
    given = {
        "CIVITAI_ENDPOINT": stage.url("civitai"),
        "HF_ENDPOINT": stage.url("hub"),
        "OUTBOUND_ALLOW": ",".join(stage.allow),
        "HOME": str(home),
        "NETRC": str(home / ".netrc"),
        "IDLE_TIMEOUT_SECONDS": "5",
    }
    yield environment(tmp_path / "data", {**given, **proxies})
    assert stage.authorizations() == set()
    assert not (ROOT / "escaped").exists()
    assert {path.name for path in tmp_path.iterdir()} == {"data", "home"}


def pull(environ: dict[str, str], *arguments: str) -> tuple[int, Any, str]:
    done = subprocess.run(
        [sys.executable, "manage.py", "pull", *arguments, "--json"],
        cwd=ROOT, env=environ, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=120,
    )  # fmt: skip
    out, err = done.stdout.decode(), done.stderr.decode()
    assert len(out.splitlines()) == 1, out
    assert not set(out + err) & set("\x1b\x07\r")
    assert "Traceback" not in err
    return done.returncode, json.loads(out), err


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("{redirect}", id="A7-pull-redirect"),
    ],
)
def test_a_forbidden_link_is_exit_code_2(
    alone: dict[str, str], stage: Stage, listeners: Listeners, link: str
) -> None:
    redirect = stage.redirect("/go", f"http://127.0.0.1:{listeners.port}/x.safetensors")
    code, said, _err = pull(alone, link.format(port=listeners.port, redirect=redirect))
    assert (code, said["exit_code"]) == (2, 2), said


def test_a27_a30_a_hostile_name_is_filed_harmlessly(alone: dict[str, str], stage: Stage) -> None:
    url = stage.civitai(1, LORA, name=NAME, model={"name": NAME})
    code, said, err = pull(alone, url)
    assert code == 0, (said, err)
    path = Path(said["path"])
    assert path.is_file()
    assert path.is_relative_to(Path(alone["MODELYARD_DATA_DIR"]) / "models")
    assert path.name.isprintable()


def test_a31_a_dangerous_pickle_is_exit_code_6(alone: dict[str, str], stage: Stage) -> None:
    body = h.torch_zip(h.calling("os", "system", "touch escaped"))
    code, said, _err = pull(alone, stage.civitai(1, body, name="x.pt"))
    assert (code, said["path"], said["status"]) == (6, None, "completed")
    models = Path(alone["MODELYARD_DATA_DIR"]) / "models"
    placed = [p for p in models.rglob("*") if p.is_file() and ".modelyard" not in p.parts]
    assert placed == []
