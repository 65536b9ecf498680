"""`manage.py spectacular --validate --fail-on-warn`, and what it must say."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from django.core.management import call_command


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("schema") / "schema.yaml"
    call_command("spectacular", "--validate", "--fail-on-warn", "--file", str(path))
    value: dict[str, Any] = yaml.safe_load(path.read_text())
    return value


def operations(schema: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method, path, operation)
        for path, methods in schema["paths"].items()
        for method, operation in methods.items()
        if method in {"get", "post", "put", "patch", "delete"}
    ]


def test_the_description_is_valid_without_a_warning(schema: dict[str, Any]) -> None:
    assert "/api/user/api-tokens" in schema["paths"]
    assert "/api/user/api-keys/{key_id}" in schema["paths"]


def test_every_operation_says_how_errors_look(schema: dict[str, Any]) -> None:
    for _, path, operation in operations(schema):
        error = operation["responses"]["default"]["content"]["application/json"]["schema"]
        assert error == {"$ref": "#/components/schemas/Error"}, path


def test_keys_and_sessions_are_the_two_ways_in(schema: dict[str, Any]) -> None:
    assert set(schema["components"]["securitySchemes"]) == {"apiKey", "session"}
    for _, path, operation in operations(schema):
        ways = operation["security"] if path != "/healthz" else [{"apiKey": []}, {"session": []}]
        assert {"apiKey": []} in ways
        assert {"session": []} in ways


def test_no_answer_describes_a_token(schema: dict[str, Any]) -> None:
    saved = schema["components"]["schemas"]["Token"]["properties"]
    assert not {"token", "encrypted_token", "key_id"} & set(saved)
