"""`manage.py verify_audit`: is the audit log as it was written?"""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ops import audit


class Command(BaseCommand):
    help = "Check the chain of the audit log; exit code 1 when an entry was changed or is missing."

    def handle(self, *args: Any, **options: Any) -> None:
        report = audit.verify()
        if report.is_whole:
            self.stdout.write(f"The audit log is whole: {report.entries} entries.")
            return
        where = f"At entry {report.broken_at}: " if report.broken_at else ""
        raise CommandError(f"The audit log is damaged. {where}{report.reason}.")
