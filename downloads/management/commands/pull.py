"""`manage.py pull LINK`: the main job from a terminal, with nothing running."""

from __future__ import annotations

import json
import logging
import signal
import sys
from argparse import ArgumentParser
from types import FrameType
from typing import Any, Self

from celery import current_app
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from config.errors import ModelyardError, boundary
from config.logging import redact
from downloads import pull
from downloads.exit_codes import ExitCode, exit_code_of
from downloads.models import Download, OnDuplicate
from sources.resolution import ModelType
from tokens.people import ensure_user
from tokens.services import lend_tokens

DEFAULT_USER = "admin"


class Command(BaseCommand):
    help = (
        "Download one model: resolve LINK, fetch, verify, file and register it. Needs nothing "
        "running; interrupt it and call it again to go on. Exit codes: 0 done, 2 not understood "
        "or not allowed, 3 token or licence needed, 4 gone, 5 network or source, 6 integrity, "
        "7 disk, 130 interrupted."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "link", metavar="LINK", help="CivitAI, HuggingFace or direct link, AIR, or owner/name"
        )
        parser.add_argument("--file", metavar="ID", action="append", dest="files")
        parser.add_argument("--type", dest="model_type", choices=[*map(str, ModelType)])
        parser.add_argument("--base-model", metavar="B", dest="base_model")
        parser.add_argument("--name", metavar="N", dest="model_name")
        parser.add_argument("--folder", metavar="F", help="below the models directory")
        parser.add_argument("--sha256", metavar="H", dest="expected_hash")
        parser.add_argument("--on-duplicate", choices=OnDuplicate.values, default="link")
        parser.add_argument("--review", action="store_true", help="wait before registering")
        parser.add_argument("--user", default=DEFAULT_USER, help="whose tokens are used")
        parser.add_argument("--json", action="store_true", dest="as_json")
        parser.add_argument("--dry-run", action="store_true", help="say what would happen")

    def handle(self, *args: Any, **options: Any) -> None:
        self.exit_code: int = ExitCode.DONE
        self.as_json: bool = options["as_json"]
        self.console = Console(stderr=True)
        with boundary("pull", self._fail):
            self._run(options)
        if self.exit_code:
            sys.exit(self.exit_code)

    def _run(self, options: dict[str, Any]) -> None:
        logging.getLogger().setLevel(logging.ERROR)
        # Nothing has to run, so nobody is told: what a worker would do is done here.
        current_app.conf.update(broker_url="memory://")
        prepare_database()
        lend_tokens(settings.PULL_TOKENS)
        user = ensure_user(username=options["user"], admin=options["user"] == DEFAULT_USER)
        said = _said(options)
        if options["dry_run"]:
            for name in ("on_duplicate", "review"):
                said.pop(name, None)
            self._say_preview(pull.preview(user=user, url=options["link"], options=said))
            return
        stop = Interrupts()
        with Bar(self.console) as bar:
            report = pull.pull(
                user=user,
                url=options["link"],
                options=said,
                should_stop=stop.asked,
                on_start=bar.start,
                on_progress=bar.show,
            )
        self.exit_code = report.exit_code
        if self.as_json:
            self.stdout.write(json.dumps(report.as_dict()))
        self._say(report.sentence)

    def _fail(self, error: ModelyardError) -> None:
        self.exit_code = exit_code_of(error.code)
        if self.as_json:
            body = {**error.as_dict(), "exit_code": int(self.exit_code)}
            self.stdout.write(json.dumps(body, default=str))
        self._say(error.message)

    def _say(self, sentence: str) -> None:
        # Not as markup: a file may be called [red]. Nor as commands to the terminal.
        text = "".join(char if char.isprintable() or char == "\n" else " " for char in sentence)
        self.console.print(redact(text), markup=False, highlight=False, soft_wrap=True)

    def _say_preview(self, answer: dict[str, Any]) -> None:
        if self.as_json:
            self.stdout.write(json.dumps(answer, default=str))
            return
        resolved, duplicate = answer["resolved"], answer["duplicate"]
        size = resolved["total_size_bytes"]
        for label, value in (
            ("name", resolved["model_name"]),
            ("type", resolved["model_type"]),
            ("base model", resolved["base_model"]),
            ("file", resolved["file_name"]),
            ("bytes", "unknown" if size is None else size),
            ("goes to", f"{resolved['target_path']} ({resolved['target_reason']})"),
            ("needs a token", resolved["needs_token"]),
            ("already here", duplicate["message"]),
        ):
            if value not in {"", None}:
                self._say(f"{label:>14}  {value}")


def _said(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, under the names of `services.enqueue`."""
    names = (
        "files",
        "model_type",
        "base_model",
        "model_name",
        "folder",
        "expected_hash",
        "on_duplicate",
        "review",
    )
    return {name: options[name] for name in names if options[name] not in (None, False)}


def prepare_database() -> None:
    """Bring an embedded database up to date; a deployed one is its operator's to migrate."""
    executor = MigrationExecutor(connection)
    if not executor.migration_plan(executor.loader.graph.leaf_nodes()):
        return
    if not settings.EMBEDDED_DATABASE:
        raise CommandError("The database is not up to date. Run manage.py migrate first.")
    call_command("migrate", verbosity=0, interactive=False)


class Interrupts:
    """Ctrl-C and TERM ask for a stop that keeps the bytes; a second one ends at once."""

    def __init__(self) -> None:
        self._asked = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def asked(self) -> bool:
        return self._asked

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._asked:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._asked = True


class Bar:
    """The progress bar on stderr; a pipe gets only what `_say` says."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task("resolving", total=None)
        return self

    def __exit__(self, *exc: object) -> None:
        self._progress.stop()

    def start(self, download: Download) -> None:
        self._progress.update(self._task, description=download.file_name[:40])

    def show(self, done_bytes: int, total_bytes: int | None, _speed_bps: int | None) -> None:
        self._progress.update(self._task, completed=done_bytes, total=total_bytes)
