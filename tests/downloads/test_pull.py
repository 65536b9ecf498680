"""`manage.py pull` as a person types it: a process of its own, nothing else running."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from config.errors import ModelyardError
from downloads.exit_codes import ExitCode, exit_code_of
from tests.origin import Origin
from tests.origin import made_civitai as made
from tests.product import ROOT, environment, wait_for

pytestmark = pytest.mark.xdist_group("pull")


class Shell:
    """A terminal with a data directory of its own."""

    def __init__(self, data_dir: Path, origin: Origin) -> None:
        self.data_dir = data_dir
        self.models = data_dir / "models"
        self.environ = environment(data_dir, {**origin.env(), "IDLE_TIMEOUT_SECONDS": "5"})

    def start(self, *arguments: str, **environ: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "manage.py", "pull", *arguments],
            cwd=ROOT,
            env={**self.environ, **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
        )

    def pull(self, *arguments: str, **environ: str) -> tuple[int, Any, str]:
        """Exit code, the JSON object on stdout (None without one), and stderr."""
        process = self.start(*arguments, "--json", **environ)
        out, err = process.communicate(timeout=120)
        assert len(out.splitlines()) <= 1, out
        return process.returncode, json.loads(out) if out.strip() else None, err


def sent(origin: Origin) -> int:
    """Bytes that the file host of the sources has given out so far."""
    return sum(entry.bytes_sent for entry in origin.log.find(site="cdn"))


@pytest.fixture(scope="module")
def used_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory as the first command leaves it, so that migrations run once."""
    data_dir = tmp_path_factory.mktemp("pull") / "data"
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=ROOT, env=environment(data_dir), check=True, timeout=120)
    return data_dir


@pytest.fixture
def shell(tmp_path: Path, origin: Origin, used_before: Path) -> Shell:
    shutil.copytree(used_before, tmp_path / "data")
    return Shell(tmp_path / "data", origin)


def test_the_first_command_on_a_machine_needs_no_set_up(tmp_path: Path, origin: Origin) -> None:
    code, answer, err = Shell(tmp_path / "new", origin).pull(origin.links.direct)
    assert code == 0, err
    assert Path(answer["path"]).is_file()


def test_a_pull_brings_registers_and_says_where(shell: Shell, origin: Origin) -> None:
    code, answer, err = shell.pull(origin.links.checkpoint)
    assert code == 0, err
    content = origin.civitai.file(made.CHECKPOINT_FILE)
    path = Path(answer["path"])
    assert path.is_relative_to(shell.models / "checkpoints")
    assert hashlib.sha256(path.read_bytes()).hexdigest() == content.sha256
    assert (answer["status"], answer["verification"]) == ("completed", "verified")
    assert answer["exit_code"] == 0
    code, again, _err = shell.pull(origin.links.checkpoint)
    assert (code, again["status"], again["asset_id"]) == (0, "completed", answer["asset_id"])
    assert list(shell.models.rglob("*.safetensors")) == [path]


def test_without_json_stdout_stays_empty(shell: Shell, origin: Origin) -> None:
    process = shell.start(origin.links.direct)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "")
    assert "/models/" in err


def test_a_dry_run_changes_nothing(shell: Shell, origin: Origin) -> None:
    code, answer, err = shell.pull(origin.links.checkpoint, "--dry-run")
    assert code == 0, err
    assert answer["resolved"]["target_path"].startswith("/models/checkpoints/")
    assert answer["duplicate"]["is_duplicate"] is False
    assert not list(shell.data_dir.rglob("*.safetensors"))


def test_a_snapshot_comes_whole(shell: Shell, origin: Origin) -> None:
    code, answer, err = shell.pull(origin.links.hub_snapshot)
    assert code == 0, err
    assert answer["is_bundle"] is True
    assert {file["status"] for file in answer["files"]} == {"completed"}
    folder = shell.models / "checkpoints" / "sdxl" / "made--tiny-sdxl-diffusers"
    kept = [p for p in shell.models.rglob("*.*") if p.is_file() and ".modelyard" not in p.parts]
    assert all(path.is_relative_to(folder) for path in kept)
    assert f"{len(kept)} files of" in err


def test_files_may_be_named(shell: Shell, origin: Origin) -> None:
    model, vae = (str(number) for number in made.BUNDLE_FILES[:2])
    code, answer, err = shell.pull(origin.links.bundle, "--file", vae)
    assert (code, answer["model_type"]) == (0, "vae"), err
    code, answer, err = shell.pull(origin.links.bundle, "--file", model, "--file", vae)
    assert (code, len(answer["files"])) == (0, 2), err
    code, answer, err = shell.pull(origin.links.bundle, "--file", "1")
    assert (code, answer["code"]) == (2, "invalid"), err


def test_name_type_and_base_model_are_the_person_s_words(shell: Shell, origin: Origin) -> None:
    code, answer, err = shell.pull(
        origin.links.direct, "--name", "Mine", "--type", "lora", "--base-model", "SDXL 1.0"
    )
    assert code == 0, err
    assert (answer["model_name"], answer["base_model"]) == ("Mine", "SDXL 1.0")
    assert answer["target_path"].startswith("/models/loras/sdxl/")


# The whole table of bad links runs without a process each, in tests/hostile.
@pytest.mark.parametrize(
    ("link", "code"),
    [
        ("http://127.0.0.1:1/x.safetensors", 2),
        ("https://civitai.com/images/1", 2),
        ("https://civitai.com/models/2147483000", 4),
    ],
)
def test_what_cannot_be_pulled_has_its_exit_code(shell: Shell, link: str, code: int) -> None:
    got, answer, err = shell.pull(link)
    assert got == code, err
    assert answer["exit_code"] == code
    assert answer["code"]
    assert answer["message"] in err
    assert "Traceback" not in err


def test_a_missing_token_is_code_3_and_one_in_the_environment_helps(
    shell: Shell, origin: Origin
) -> None:
    code, answer, err = shell.pull(origin.links.lora_with_token)
    assert code == 3, err
    assert answer["exit_code"] == 3
    code, answer, err = shell.pull(origin.links.lora_with_token, CIVITAI_TOKEN=origin.civitai.token)
    assert code == 0, err
    assert origin.civitai.token not in err + json.dumps(answer)


def test_a_wrong_digest_is_code_6_and_the_file_is_not_placed(shell: Shell, origin: Origin) -> None:
    code, answer, err = shell.pull(origin.links.direct, "--sha256", "ab" * 32)
    assert code == 6, err
    assert answer["hash_mismatch"] is True
    assert not [p for p in shell.models.rglob("*.safetensors") if ".modelyard" not in p.parts]


def test_a_source_that_is_down_is_code_5_and_the_next_call_goes_on(
    shell: Shell, origin: Origin
) -> None:
    fault = origin.faults.fail("/direct/*", status=503, times=None)
    code, _answer, err = shell.pull(origin.links.direct)
    assert code == 5, err
    fault.remove()
    assert shell.pull(origin.links.direct)[0] == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_pull_goes_on_where_it_was(
    shell: Shell, origin: Origin, number: signal.Signals
) -> None:
    slow = origin.faults.slow("/cdn/*", 8_000_000)
    process = shell.start(origin.links.large, "--json")
    wait_for(lambda: sent(origin) > 20_000_000, "some bytes", 60)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130, err
    assert json.loads(out)["status"] == "paused"
    slow.remove()
    before = sent(origin)
    code, answer, err = shell.pull(origin.links.large)
    assert code == 0, err
    again = sent(origin) - before
    assert again < answer["file_size_bytes"] - 4_000_000
    assert answer["verification"] == "verified"


def test_every_code_of_the_error_tree_has_an_exit_code() -> None:
    def tree(kind: type[ModelyardError]) -> set[type[ModelyardError]]:
        return {kind}.union(*(tree(child) for child in kind.__subclasses__()))

    codes = {exit_code_of(kind.code) for kind in tree(ModelyardError)}
    assert codes == set(ExitCode) - {ExitCode.DONE}
    assert exit_code_of("internal_error") == ExitCode.INTERNAL


def test_the_help_names_every_option_and_exit_code(shell: Shell) -> None:
    process = shell.start("--help")
    out, _err = process.communicate(timeout=60)
    for option in ("--file", "--type", "--base-model", "--name", "--sha256", "--on-duplicate",
                   "--json", "--dry-run"):  # fmt: skip
        assert option in out
    assert re.search(r"0 done.*130\s+interrupted", out, re.DOTALL)
