"""The files of a deployment against the real settings, commands, routes and each other.

Containers cannot run here, so every name in these files is looked up where it must exist.
"""

from __future__ import annotations

import importlib
import re
import shlex
import tomllib
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest
import yaml
from celery.bin.base import CLIContext
from celery.bin.celery import celery as celery_command
from django.conf import settings
from django.core.management import load_command_class
from django.urls import resolve
from flower import options as flower_options
from tornado.options import options as tornado_options
from uvicorn.main import main as uvicorn_command

from config.celery import app
from config.up import plan

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
#: Read by compose, PostgreSQL, redis-cli, uvicorn and flower themselves.
FOREIGN = {
    "POSTGRES_DB", "POSTGRES_USER", "POSTGRES_PASSWORD", "REDIS_PASSWORD", "REDISCLI_AUTH",
    "PUBLIC_PORT", "FORWARDED_ALLOW_IPS", "FLOWER_BASIC_AUTH", "PYTHONUNBUFFERED", "PATH",
}  # fmt: skip
SECRETS = {
    "SECRET_KEY",
    "ENCRYPTION_KEY",
    "POSTGRES_PASSWORD",
    "REDIS_PASSWORD",
    "FLOWER_BASIC_AUTH",
}
VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)(?::([-?])([^}]*))?\}")
OWN = {name: one for name, one in SERVICES.items() if one["image"].startswith("modelyard:")}
QUEUES = {
    settings.CELERY_TASK_DEFAULT_QUEUE,
    *(route["queue"] for route in settings.CELERY_TASK_ROUTES.values()),
}


def setting_names():
    source = (ROOT / "config" / "settings.py").read_text()
    return set(re.findall(r"""(?:_read\.\w+|environ\.get)\(\s*["']([A-Z_]+)["']""", source))


def filled(text):
    """As a shell or compose fills it in when only what is required is set."""
    return VARIABLE.sub(lambda found: found[3] if found[2] == "-" else "x", str(text)).replace(
        "$$", "$"
    )


def procfile():
    lines = (ROOT / "Procfile").read_text().splitlines()
    return {
        name: shlex.split(filled(command))
        for name, command in (line.split(": ", 1) for line in lines)
    }


def all_commands():
    yield from ((f"Procfile {name}", command) for name, command in procfile().items())
    yield from (
        (f"compose {name}", [filled(word) for word in one["command"]]) for name, one in OWN.items()
    )
    (image,) = re.findall(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    yield "Dockerfile", yaml.safe_load(image)
    made = (
        plan.web(host="127.0.0.1", port=8000),
        plan.beat(),
        *(plan.worker(queue=queue, port=1, processes=2) for queue in sorted(QUEUES)),
    )
    yield from ((f"up {program.name}", list(program.command[2:])) for program in made)


def celery_parsed(words):
    """(subcommand, its parsed options), by Celery's own parser."""
    assert words[:2] == ["-A", "config"]
    parent = click.Context(celery_command, obj=CLIContext(app=app, no_color=True, workdir=None))
    command = celery_command.get_command(parent, words[2])
    assert command is not None, words[2]
    return words[2], command.make_context(words[2], words[3:], parent=parent).params


@pytest.mark.parametrize(
    ("where", "command"), [pytest.param(*one, id=one[0]) for one in all_commands()]
)
def test_every_command_is_understood_by_its_program(where, command):
    program, *words = command
    if program == "uvicorn":
        params = uvicorn_command.make_context("uvicorn", words).params
        module, name = params["app"].split(":")
        assert hasattr(importlib.import_module(module), name)
        assert (ROOT / params["log_config"]).is_file()
        assert params["timeout_graceful_shutdown"] == plan.GRACEFUL_SECONDS
    elif program == "python":
        assert words[0] == "manage.py"
        load_command_class("django.core", words[1]).create_parser("manage.py", words[1]).parse_args(
            words[2:]
        )
    else:
        assert program == "celery"
        subcommand, params = celery_parsed(words)
        if subcommand == "worker":
            assert set(params["queues"]) <= QUEUES
            assert params["concurrency"] >= plan.GENERAL_PROCESSES
        if subcommand == "flower":
            assert_flower_knows(params["tornado_argv"])


def assert_flower_knows(words):
    assert flower_options.default_options
    for word in words:
        name, _, value = word.removeprefix("--").partition("=")
        assert name.replace("-", "_") in tornado_options.as_dict()
        assert value


@pytest.mark.parametrize(
    "commands",
    [procfile().values(), [one["command"] for one in OWN.values()]],
    ids=["Procfile", "compose"],
)
def test_every_queue_has_a_worker_and_nothing_is_missing(commands):
    parsed = [
        celery_parsed([filled(word) for word in words[1:]])
        for words in commands
        if words[0] == "celery"
    ]
    queues = [
        queue
        for subcommand, params in parsed
        if subcommand == "worker"
        for queue in params["queues"]
    ]
    assert sorted(queues) == sorted(QUEUES)
    assert {subcommand for subcommand, _ in parsed} == {"worker", "beat", "flower"}
    assert any(words[0] == "uvicorn" for words in commands)


def test_every_variable_is_a_setting():
    known = setting_names() | FOREIGN
    for name, one in SERVICES.items():
        assert set(one.get("environment", {})) <= known, name
    for text in (
        (ROOT / "docker-compose.yml").read_text(),
        (ROOT / "Procfile").read_text().replace("${PORT", "${PUBLIC_PORT"),
    ):
        assert {found[1] for found in VARIABLE.finditer(text)} <= known
    example = dict(
        line.split("=", 1)
        for line in (ROOT / ".env.example").read_text().splitlines()
        if line and line[0] != "#"
    )
    assert set(example) <= known
    assert set(example) >= SECRETS
    assert not any(example[name] for name in SECRETS)
    assert set(re.findall(r"\b(MODELYARD_[A-Z_]+)=", DOCKERFILE)) <= known


def test_secrets_are_required_and_stand_in_no_file():
    required = {
        found[1]
        for found in VARIABLE.finditer((ROOT / "docker-compose.yml").read_text())
        if found[2] == "?"
    }
    assert required == SECRETS
    for one in OWN.values():
        assert set(one["environment"]) >= {
            "SECRET_KEY",
            "ENCRYPTION_KEY",
            "DATABASE_URL",
            "REDIS_URL",
        }
    assert ".env" in (ROOT / ".gitignore").read_text().split()


def test_every_image_is_pinned_and_only_two_ports_are_published():
    images = [one["image"] for one in SERVICES.values()] + re.findall(
        r"^FROM (\S+)", DOCKERFILE, re.MULTILINE
    )
    for image in images:
        assert re.fullmatch(r"[a-z]+:[0-9][\w.-]*", image), image
    assert {image for image in images if image.startswith("modelyard")} == {
        f"modelyard:{PROJECT['project']['version']}"
    }
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published == {"flower": ["127.0.0.1:5555:5555"], "nginx": ["${PUBLIC_PORT:-8080}:8080"]}
    assert COMPOSE["networks"]["inside"] == {"internal": True}
    assert [name for name, one in SERVICES.items() if one["networks"] == ["inside"]] == [
        "postgres",
        "redis",
    ]


def test_volumes_networks_and_dependencies_exist():
    for one in SERVICES.values():
        for volume in one.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (ROOT / source).exists(), volume
        assert set(one["networks"]) <= set(COMPOSE["networks"])
        for name, needed in one.get("depends_on", {}).items():
            if needed["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name]
    mounted = {volume.split(":")[1] for one in OWN.values() for volume in one["volumes"]}
    environment = SERVICES["web"]["environment"]
    assert {environment["MODELYARD_DATA_DIR"], environment["MODELYARD_MODELS_DIR"]} == mounted


def test_everything_that_keeps_running_has_a_health_check_that_can_work():
    assert [name for name, one in SERVICES.items() if "healthcheck" not in one] == ["migrate"]
    for name, one in SERVICES.items():
        text = " ".join(one.get("healthcheck", {}).get("test", []))
        for url in re.findall(r"http://\S+?(?='|$| )", text):
            parts = urlsplit(url)
            if name in {"web", "nginx"}:
                assert resolve(parts.path)
            assert port_of(name) == parts.port
        for node in re.findall(r"-d (\w+)@\$\$HOSTNAME", text):
            assert f"{node}@%h" in one["command"]
        for path in re.findall(r"getmtime\('([^']+)'\)", text):
            assert Path(path).name == settings.BEAT_TICK_FILE.name
            assert str(Path(path).parent) == one["environment"]["MODELYARD_DATA_DIR"]


def port_of(name):
    if name == "nginx":
        return int(re.findall(r"listen (\d+);", nginx())[0])
    words = " ".join(SERVICES[name]["command"])
    return int(re.findall(r"--port[ =](\d+)", words)[0])


def nginx():
    return re.sub(r"#.*", "", (ROOT / "deploy" / "nginx.conf").read_text())


def test_nginx_points_at_what_is_there():
    text = nginx()
    assert text.count("{") == text.count("}")
    ((host, port),) = re.findall(r"server (\w+):(\d+);", text)
    assert int(port) == port_of(host)
    assert int(SERVICES[host]["expose"][0]) == int(port)
    assert (
        re.findall(r"proxy_pass http://(\w+);", text) == re.findall(r"upstream (\w+) \{", text) * 2
    )
    for path in re.findall(r"location = (\S+) \{", text):
        assert resolve(path)
    (alias,) = re.findall(r"alias (\S+);", text)
    assert f"models:{alias.rstrip('/')}:ro" in SERVICES["nginx"]["volumes"]
    assert re.search(r"location /_files/ \{\s+internal;", text)
    assert "types {}" in text
    assert "sandbox" in text
    assert int(SERVICES["nginx"]["ports"][0].rpartition(":")[2]) == port_of("nginx")
    limit = int(re.findall(r"client_max_body_size (\d+)m;", text)[0]) * 1024 * 1024
    assert limit == settings.DATA_UPLOAD_MAX_MEMORY_SIZE


def test_redis_keeps_every_message():
    words = SERVICES["redis"]["command"]
    given = dict(zip(words[1::2], words[2::2], strict=False))
    assert given["--maxmemory-policy"] == "noeviction"
    assert given["--appendonly"] == "yes"
    assert given["--requirepass"].startswith("${REDIS_PASSWORD:?")


def test_the_image_holds_every_package_and_does_not_run_as_root():
    packages = set(PROJECT["tool"]["importlinter"]["root_packages"])
    copied = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
    assert copied == packages | {"templates", "static"}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert {line[1:] for line in ignored if line.startswith("!")} == copied | {
        "manage.py",
        "requirements/server.txt",
    }
    assert "--require-hashes" in DOCKERFILE
    assert re.findall(r"^USER (\w+)$", DOCKERFILE, re.MULTILINE) == ["modelyard"]
    assert DOCKERFILE.index("\nUSER ") > DOCKERFILE.rindex("\nRUN ")
