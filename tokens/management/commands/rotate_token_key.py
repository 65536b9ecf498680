"""`manage.py rotate_token_key [--dry-run]`: after a new key was put in front of ENCRYPTION_KEY."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ops import audit
from tokens import crypto, rotation


class Command(BaseCommand):
    help = (
        "Encrypt every stored secret again with the newest key. Can be run again at any time; "
        "exit code 1 when a row cannot be decrypted with any loaded key."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--dry-run", action="store_true", help="count, but write nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        report = rotation.rotate(dry_run=options["dry_run"])
        newest = crypto.default_ring().newest_id
        verb = "would be encrypted again" if options["dry_run"] else "encrypted again"
        self.stdout.write(
            f"Newest key {newest}: {report.rotated} {verb}, {report.current} were already."
        )
        if not options["dry_run"]:
            audit.record(
                "encryption.rotated",
                newest=newest,
                rotated=report.rotated,
                unreadable=report.unreadable,
            )
        if report.unreadable:
            raise CommandError(
                "No loaded key opens: " + ", ".join(report.unreadable[:50]) + ". Load the key that "
                "they were encrypted with, or have their owners save them again."
            )
