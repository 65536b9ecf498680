"""What must be there before the first request: tables, static files, somebody who may log in."""

from __future__ import annotations

import io
import secrets
import socket
from collections.abc import Callable

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connections, transaction
from django.db.backends.postgresql.base import DatabaseWrapper as PostgresConnection

from config.errors import ModelyardError
from tokens import people

ADMIN_NAME = "admin"


class PortTaken(ModelyardError):
    code = "port_taken"
    http_status = 409


def check_port(host: str, port: int) -> None:
    """Raises PortTaken when the web server could not listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((host, port))
        except OSError as exc:
            raise PortTaken(
                f"Cannot listen on {host}:{port}: {exc.strerror}. "
                "Choose another with --port, or stop what uses it."
            ) from exc


def tables() -> None:
    """Raises CommandError when a system check says that it cannot work."""
    call_command("migrate", interactive=False, verbosity=0)
    call_command("check", stdout=io.StringIO())


def files() -> None:
    """What the web process serves; it looks for them when it starts."""
    call_command("collectstatic", interactive=False, verbosity=0)


def admin_account(tell: Callable[[str, str], None]) -> None:
    """Make sure that somebody can log in as an admin; `tell` gets name and password, once.

    An admin whose account has no password (made by a command) gets one. When telling fails,
    nothing is changed.
    """
    admins = get_user_model().objects.filter(is_superuser=True, is_active=True).order_by("pk")
    with transaction.atomic():
        if any(admin.has_usable_password() for admin in admins):
            return
        password = secrets.token_urlsafe(12)
        admin = admins.first() or people.ensure_user(username=_free_name(), admin=True)
        admin.set_password(password)
        admin.save(update_fields=["password"])
        tell(admin.get_username(), password)


def let_go_of_the_database() -> None:
    """`up` only watches from here on; the processes have connections of their own."""
    for connection in connections.all(initialized_only=True):
        connection.close()
        if isinstance(connection, PostgresConnection):
            connection.close_pool()


def _free_name() -> str:
    taken = get_user_model().objects.filter(username=ADMIN_NAME).exists()
    return f"{ADMIN_NAME}-{secrets.token_hex(2)}" if taken else ADMIN_NAME
