"""`manage.py create_api_key USER [--admin]`: one key on stdout, and nothing else."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from tokens import people, services
from tokens.errors import TokenError


class Command(BaseCommand):
    help = "Print a new API key of USER, who is made when missing and put into the group creator."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", metavar="USER")
        parser.add_argument("--name", default="", help="what the key is for")
        parser.add_argument(
            "--admin", action="store_true", help="make the user an admin (staff and superuser)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user = people.ensure_user(username=options["user"], admin=options["admin"])
        except TokenError as error:
            raise CommandError(error.message) from error
        _, plain = services.create_api_key(user=user, name=options["name"][:100])
        self.stdout.write(plain)
