"""Bad inputs B9, B12, B14 at every route that the API describes: a 4xx in the one shape, never a 5xx.

The routes and their fields come from the description, so a new one is met without a word here.
"""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from django.test import Client
from drf_spectacular.generators import SchemaGenerator

from tests.test_roles import World, world  # noqa: F401  (a fixture)

SCHEMA: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
VALUES = [
    None, "", " ", 0, -1, 10**12, 10**40, 1.5, 1e308, True, [], {}, [[]], {"a": {"b": 1}}, "x" * 10_000,
    "nul\0byte", "\u202egpj.exe", "line\r\nbreak", "' OR 1=1 --", "../../etc/passwd", "{0.__class__}",
    "%s%n", "😀" * 300, "NaN", ["x"] * 3000,
]  # fmt: skip
DIGESTS = ["", " ", "a" * 63, "a" * 65, "g" * 64, "0" * 64, "sha256:" + "a" * 64, "é" * 64, "%00"]
QUERIES = [
    "cursor=junk", "cursor=bz0tMQ%3D%3D", "cursor=cD1ub3RhZGF0ZQ%3D%3D", "cursor=%ff", "page_size=-1",
    "page_size=99999999999999999999", "page_size=1e9", "page=-1", "page=999999999999", "limit=x",
    "ordering=user__password", "ordering=-", "id=1%20OR%201=1", "search=%00", "search=%25%27%28%5B",
    "search=" + "a" * 5000, "status=junk", "status[$ne]=x", "status=queued&status=junk", "format=xml",
    "created_at__gt=never", "initiated_by=2", "model_type=%F0%9F%98%80", "is_active=maybe", "q=(((((a*)*)*)*)*",
]  # fmt: skip


def operations(method: str) -> list[tuple[str, dict[str, Any]]]:
    return [
        (path, methods[method]) for path, methods in SCHEMA["paths"].items() if method in methods
    ]


def fields_of(operation: dict[str, Any]) -> list[str]:
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    reference = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
    return sorted(SCHEMA["components"]["schemas"].get(reference, {}).get("properties", {}))


def address_of(path: str, world: World) -> str:  # noqa: F811
    pk = world.rule.pk if "placement" in path else world.asset.pk
    return (
        path.replace("{service}", "civitai")
        .replace("{key_id}", str(world.key_id))
        .replace("{digest}", world.asset.checksum_sha256)
        .replace("{position}", "0")
        .replace("{pk}", str(world.download.pk if "/downloads/" in path else pk))
        .replace("{id}", str(world.download.pk if "/downloads/" in path else pk))
    )


@pytest.fixture
def admin(world: World) -> Client:  # noqa: F811
    return world.client("admin")


def assert_refused(answer: Any, told: Any) -> None:
    assert 400 <= answer.status_code < 500, (told, answer.status_code, answer.content[:300])
    assert set(answer.json()) == {"code", "message", "details"}, told
    assert len(answer.content) < 20_000, told


WRITES = [
    pytest.param(method, path, operation, id=f"{method.upper()} {path}")
    for method in ("post", "patch")
    for path, operation in operations(method)
]


@pytest.mark.parametrize(("method", "path", "operation"), WRITES)
def test_b12_strange_bodies(
    world: World,  # noqa: F811
    admin: Client,
    method: str,
    path: str,
    operation: dict[str, Any],
) -> None:
    address = address_of(path, world)
    for body in (
        b"", b"{", b"[]", b"5", b"null", b'"x"', b'{"a": 1, "a": 2}', b"[" * 100_000, b'{"a": NaN}',
        b'{"surely_unknown": 1}', b"\xff\xfe", b'{"x": "\xed\xa0\x80"}', b"x" * 1_200_000,
    ):  # fmt: skip
        answer = admin.generic(method.upper(), address, body, content_type="application/json")
        if body == b"" and answer.status_code < 300:
            continue  # commands take no input
        assert_refused(answer, (path, body[:40]))


@pytest.mark.parametrize(("method", "path", "operation"), WRITES)
def test_b12_strange_values_of_every_field(
    world: World,  # noqa: F811
    admin: Client,
    method: str,
    path: str,
    operation: dict[str, Any],
) -> None:
    address = address_of(path, world)
    for name in fields_of(operation):
        for value in VALUES:
            answer = admin.generic(
                method.upper(), address, json.dumps({name: value}), content_type="application/json"
            )
            assert answer.status_code < 500, (path, name, value, answer.content[:300])


LISTS = [path for path, operation in operations("get") if "{" not in path]


@pytest.mark.parametrize("path", [path for path in LISTS if "events" not in path])
def test_b14_strange_pages_orders_and_filters(admin: Client, path: str) -> None:
    start = time.monotonic()
    for query in QUERIES:
        answer = admin.get(f"{path}?{query}")
        assert answer.status_code < 500, (query, answer.content[:300])
    assert time.monotonic() - start < 20


@pytest.mark.parametrize("digest", DIGESTS)
def test_b9_strange_digests(admin: Client, digest: str) -> None:
    found = admin.get(f"/api/assets/by-hash/{digest or '%20'}")
    assert found.status_code in {400, 404}, found.content
    for path, body in (
        ("/api/downloads/check-duplicate", {"sha256": digest}),
        ("/api/downloads", {"url": "civitai:1@1", "expected_hash": digest}),
    ):
        if digest == "0" * 64 or (path == "/api/downloads" and not digest.strip()):
            continue  # a digest like any other; no digest at all
        answer = admin.post(path, body, content_type="application/json")
        assert_refused(answer, (path, digest))


def test_b9_case_and_blanks_do_not_make_another_digest(world: World, admin: Client) -> None:  # noqa: F811
    digest = world.asset.checksum_sha256
    for text in (digest.upper(), f" {digest} "):
        answer = admin.post(
            "/api/downloads/check-duplicate", {"sha256": text}, content_type="application/json"
        )
        assert answer.json()["is_duplicate"] is True, answer.content
    assert admin.get(f"/api/assets/by-hash/{digest.upper()}").status_code == 200


@pytest.mark.parametrize(
    "number", ["0", "-1", "1.5", "1e3", "9" * 18, "9" * 30, "%00", "x", "1%20or%201"]
)
def test_b12_strange_ids(admin: Client, number: str) -> None:
    for address in (f"/api/downloads/{number}", f"/api/assets/{number}", f"/api/admin/placement-rules/{number}",
                    f"/downloads/{number}/picture", f"/library/{number}"):  # fmt: skip
        assert admin.get(address).status_code in {400, 404}, address
