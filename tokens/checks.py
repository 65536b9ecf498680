"""Checks at start: are the keys that rows need loaded, can the outbound settings be used?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import apps
from django.core.checks import CheckMessage, Error
from django.db import connections

from tokens import clients, crypto, rotation
from transfer.errors import UrlNotAllowed


def check_keys(
    app_configs: Any = None, databases: Sequence[str] | None = None, **_kwargs: Any
) -> list[CheckMessage]:
    """`tokens.E001` for a key id in use that `ENCRYPTION_KEY` does not hold."""
    if "default" not in (databases or ()) or not _tables_exist():
        return []
    return [
        Error(
            f"Stored secrets need the encryption key {key_id}, which is not loaded.",
            hint="Put the old key behind the new one in ENCRYPTION_KEY, separated by a comma, "
            "and run `manage.py rotate_token_key` before you take it away.",
            id="tokens.E001",
        )
        for key_id in sorted(rotation.missing_key_ids())
    ]


def check_outbound(app_configs: Any = None, **_kwargs: Any) -> list[CheckMessage]:
    """`tokens.E002` for an endpoint or an allowed address that cannot be read."""
    try:
        clients.outbound_policy()
    except (ValueError, UrlNotAllowed) as error:
        return [
            Error(
                f"CIVITAI_ENDPOINT, HF_ENDPOINT or OUTBOUND_ALLOW cannot be used: {error}",
                hint="Endpoints are https://host[:port], OUTBOUND_ALLOW is host:port,host:port.",
                id="tokens.E002",
            )
        ]
    return []


def _tables_exist() -> bool:
    """False before the first migration, and when a column is still to be added."""
    connection = connections["default"]
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        for column in crypto.columns.values():
            table = apps.get_model(column.model)._meta.db_table
            if table not in tables:
                return False
            described = connection.introspection.get_table_description(cursor, table)
            if column.field not in {info.name for info in described}:
                return False
    return True
