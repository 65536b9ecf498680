"""The documents say what is so: commands, files, routes, codes and names are looked up."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import tomllib
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class
from django.urls import get_resolver
from drf_spectacular.generators import SchemaGenerator

from config.errors import ModelyardError
from config.up import lock, prepare, supervisor
from downloads.states import DownloadStatus
from ops import health
from tests.ground.test_deploy import setting_names

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
FENCE = re.compile(r"```(\w*)\n(.*?)```", re.DOTALL)
#: Codes of the packages' base classes, which are never raised as they are.
BASES = {
    "error", "transfer_failed", "source_error", "token_error", "registry_error", "download_error"
}  # fmt: skip
#: Errors that end `manage.py up` and never reach the API.
OF_UP = {lock.AlreadyRunning, prepare.PortTaken, supervisor.GaveUp}


def text_of(name):
    return (ROOT / name).read_text()


def shell_lines():
    """Every command of every document, without comments and continuations."""
    for document in DOCUMENTS:
        for language, block in FENCE.findall(document.read_text()):
            if language == "sh":
                for line in block.replace("\\\n", " ").splitlines():
                    if line.strip():
                        yield pytest.param(line, id=f"{document.name}: {line[:60]}")


@pytest.mark.parametrize("line", list(shell_lines()))
def test_every_command_in_the_documents_exists(line):
    line = re.sub(r"^KEY=\$\((.*)\)$", r"\1", line.strip())
    words = shlex.split(line, comments=True)
    if "manage.py" in words:
        assert_management_command(words[words.index("manage.py") + 1 :])
    elif words[0] == "make":
        assert re.search(rf"^{words[1]}:", text_of("Makefile"), re.MULTILINE)
    elif words[0] == "cp":
        assert (ROOT / words[1]).is_file()
    elif words[:2] == [".venv/bin/python", "-m"]:
        assert importlib.util.find_spec(f"{words[2]}.__main__")
    elif words[0] == "curl":
        assert_route(words)
    else:
        assert words[:3] == ["docker", "compose", "up"]


def assert_management_command(words):
    name, *arguments = words
    command = get_commands().get(name)
    assert command, name
    parser = load_command_class(command, name).create_parser("manage.py", name)
    parser.parse_args(arguments)


def assert_route(words):
    path = re.sub(r"^https?://[^/]+", "", words[-1])
    assert get_resolver().resolve(path)


def test_every_link_between_the_documents_leads_somewhere():
    for document in DOCUMENTS:
        text = document.read_text()
        targets = re.findall(r"\]\(([^)\s]+)\)", text) + re.findall(r'src="([^"]+)"', text)
        for target in targets:
            path, _, anchor = target.partition("#")
            if "://" in path:
                continue
            file = document.parent / path if path else document
            assert file.is_file(), f"{document.name}: {target}"
            if anchor:
                assert anchor in anchors(file), f"{document.name}: {target}"


def anchors(document):
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_two_commands_stand_in_the_readme():
    assert {"make up", "make test"} <= set(re.findall(r"make \w+", text_of("README.md")))


def documented_routes():
    rows = re.findall(
        r"^\| `(GET|POST|PATCH|DELETE) (\S+)` \|", text_of("docs/api.md"), re.MULTILINE
    )
    assert len(rows) == len(set(rows))
    return set(rows)


def test_the_routes_are_those_of_the_schema():
    schema = SchemaGenerator().get_schema(request=None, public=True)
    real = {
        (method.upper(), path)
        for path, item in schema["paths"].items()
        for method in item
        if method in {"get", "post", "patch", "delete", "put"}
    }
    beside_the_schema = {("GET", "/api/downloads/events")}
    assert documented_routes() - beside_the_schema == real - beside_the_schema
    for _, path in beside_the_schema:
        assert get_resolver().resolve(path)


def all_errors(error=ModelyardError):
    yield error
    for below in error.__subclasses__():
        yield from all_errors(below)


def test_every_error_code_is_explained():
    get_resolver().url_patterns  # noqa: B018  (loads every package)
    rows = dict(
        re.findall(r"^\| `([a-z_]+)` \| (yes|no) \|", text_of("docs/operations.md"), re.MULTILINE)
    )
    raised = {
        error.code: error.retryable
        for error in set(all_errors()) - OF_UP
        if error.__module__.partition(".")[0] != "tests"
    }
    for code in BASES | {"broker_unavailable"}:
        del raised[code]
    assert rows == {code: "yes" if retryable else "no" for code, retryable in raised.items()}
    for error in OF_UP:
        assert f"`{error.code}`" in text_of("docs/operations.md")


def test_every_health_check_is_explained():
    table = text_of("docs/operations.md").split("| check | fails when |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `([\w-]+)` \|", table, re.MULTILINE)) == set(health.checks)


def test_every_state_is_in_the_picture_and_in_the_api():
    picture = next(
        block for _, block in FENCE.findall(text_of("docs/architecture.md")) if "verifying" in block
    )
    for status in DownloadStatus:
        assert status in picture
        assert status in text_of("docs/api.md")


def test_the_packages_are_those_that_the_contracts_name():
    project = tomllib.loads(text_of("pyproject.toml"))
    table = text_of("docs/architecture.md").split("| package | what it knows |")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(
        project["tool"]["importlinter"]["root_packages"]
    )


def test_every_setting_named_in_capitals_exists():
    known = setting_names() | {
        "FLOWER_BASIC_AUTH",
        "KEY",
        "PORT",
        "ARGS",
        "PG",
        "CI",
        "ID",
        "NAME",
        "USER",
    }
    for document in DOCUMENTS:
        for name in re.findall(r"`([A-Z][A-Z_]{3,})(?:=[^`]*)?`", document.read_text()):
            assert name in known | {"COMMIT", "UPDATE", "CHROMIUM", "INFO"}, (
                f"{document.name}: {name}"
            )


def test_every_setting_is_in_the_configuration():
    text = text_of("docs/configuration.md")
    assert {name for name in setting_names() if f"`{name}`" not in text} == set()


def test_help_of_up_names_its_options():
    parser = load_command_class("config", "up").create_parser("manage.py", "up")
    options = {option for action in parser._actions for option in action.option_strings}
    assert {"--host", "--port"} <= options
    assert isinstance(parser, argparse.ArgumentParser)
