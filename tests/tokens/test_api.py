"""`/api/user/api-tokens` and `/api/user/api-keys`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.models import AuditEvent
from tests.canaries import canary, traces
from tests.tokens.conftest import Services, client_of
from tokens import services
from tokens.models import ApiKey, ApiToken

pytestmark = pytest.mark.django_db

TOKENS = "/api/user/api-tokens"
KEYS = "/api/user/api-keys"


def save(client: Any, **body: Any) -> Any:
    return client.post(TOKENS, body, format="json")


def test_saving_answers_what_is_known_and_never_the_token(
    user: Any, known: Services, token: str
) -> None:
    answer = save(client_of(user), service_name="civitai", token=f' "Bearer {token}" ')
    assert answer.status_code == 201
    assert answer.json()["service_name"] == "civitai"
    assert answer.json()["token_hint"] == "..." + token[-4:]
    assert (answer.json()["is_valid"], answer.json()["validity"]) == (True, "valid")
    assert answer.json()["account"] == "alice-at-civitai"
    assert not traces(answer.content)


def test_the_list_is_the_users_own_and_write_only(
    user: Any, other: Any, known: Services, token: str
) -> None:
    save(client_of(user), service_name="civitai", token=token)
    answer = client_of(user).get(TOKENS)
    (row,) = answer.json()["results"]
    assert set(row) == {
        "service_name", "token_hint", "is_valid", "validity", "account", "last_used_at",
        "checked_at", "created_at", "updated_at",
    }  # fmt: skip
    assert not traces(answer.content)
    assert client_of(other).get(TOKENS).json()["results"] == []


def test_a_refused_token_is_a_400_and_nothing_is_stored(user: Any, known: Services) -> None:
    answer = save(client_of(user), service_name="civitai", token=canary("wrong"))
    assert (answer.status_code, answer.json()["code"]) == (400, "token_refused")
    assert not traces(answer.content)
    assert not ApiToken.objects.exists()


def test_an_unreachable_service_stores_the_token_unchecked(
    user: Any, known: Services, token: str
) -> None:
    known.is_down = True
    answer = save(client_of(user), service_name="civitai", token=token)
    assert (answer.status_code, answer.json()["validity"]) == (201, "unchecked")


@pytest.mark.parametrize("bad", ["", " ", "a b", "a\nb", "x" * 10_240, "ü" * 40, "a\u0001b"])
def test_b13_a_text_that_is_no_token_is_a_400_without_an_echo(
    user: Any, known: Services, bad: str
) -> None:
    answer = save(client_of(user), service_name="civitai", token=bad)
    assert (answer.status_code, answer.json()["code"]) == (400, "token_not_usable")
    assert known.asked == []
    assert not bad.strip() or bad not in answer.content.decode()


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"service_name": "civitai"},
        {"token": "abcdefgh"},
        {"service_name": "civitai", "token": None},
        {"service_name": "civitai", "token": 12345678},
        {"service_name": "civitai", "token": ["abcdefgh"]},
        {"service_name": ["civitai"], "token": "abcdefgh"},
        {"service_name": "github", "token": "abcdefgh"},
        {"service_name": "CivitAI", "token": "abcdefgh"},
        {"service_name": "x" * 5000, "token": "abcdefgh"},
        [],
        "civitai",
        None,
    ],
)  # fmt: skip
def test_b12_other_shapes_are_refused(user: Any, known: Services, body: Any) -> None:
    answer = client_of(user).post(TOKENS, json.dumps(body), content_type="application/json")
    assert answer.status_code == 400, answer.content
    assert set(answer.json()) == {"code", "message", "details"}
    assert not ApiToken.objects.exists()


@pytest.mark.parametrize(
    "extra",
    [{"user": 2}, {"user_id": 2}, {"is_valid": False}, {"validity": "valid"}, {"account": "root"},
     {"token_hint": "...0000"}, {"encrypted_token": ""}, {"id": 1}, {"key_id": "0"}],
)  # fmt: skip
def test_a20_no_other_field_can_be_written(
    user: Any, known: Services, token: str, extra: dict[str, Any]
) -> None:
    answer = save(client_of(user), service_name="civitai", token=token, **extra)
    assert answer.status_code == 400
    assert list(extra) == list(answer.json()["details"])
    assert not traces(answer.content)
    assert not ApiToken.objects.exists()


def test_deleting_is_204_then_404_and_touches_only_ones_own(
    user: Any, other: Any, known: Services, token: str
) -> None:
    save(client_of(user), service_name="civitai", token=token)
    assert client_of(other).delete(f"{TOKENS}/civitai").status_code == 404
    assert ApiToken.objects.count() == 1
    assert client_of(user).delete(f"{TOKENS}/civitai").status_code == 204
    gone = client_of(user).delete(f"{TOKENS}/civitai")
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")


@pytest.mark.parametrize("name", ["github", "..%2f", "%00", "civitai'--", "x" * 3000])
def test_deleting_a_service_that_is_none_is_refused(user: Any, name: str) -> None:
    assert client_of(user).delete(f"{TOKENS}/{name}").status_code in {400, 404}


# --- Keys of our own API ----------------------------------------------------------------------------


def test_a_new_key_is_shown_once(user: Any) -> None:
    client = client_of(user)
    answer = client.post(KEYS, {"name": "laptop"}, format="json")
    assert answer.status_code == 201
    assert answer["Cache-Control"] == "no-store"
    plain = answer.json()["key"]
    assert plain.startswith(f"my_{answer.json()['prefix']}_")
    listed = client.get(KEYS)
    assert plain.rpartition("_")[2] not in listed.content.decode()
    assert [row["name"] for row in listed.json()["results"]] == ["laptop"]
    assert ApiKey.objects.get().key_hash == services.hash_key(plain)


def test_a_key_is_revoked_by_its_owner_only(user: Any, other: Any) -> None:
    key, plain = services.create_api_key(user=user)
    assert client_of(other).delete(f"{KEYS}/{key.pk}").status_code == 404
    assert client_of(user).delete(f"{KEYS}/{key.pk}").status_code == 204
    assert client_of(user).delete(f"{KEYS}/{key.pk}").status_code == 404
    assert client_of(user).get(KEYS).json()["results"] == []
    assert (
        client_of(user).get(KEYS, headers={"Authorization": f"Bearer {plain}"}).status_code == 401
    )


@pytest.mark.parametrize("extra", [{"user": 1}, {"prefix": "aaaaaaaa"}, {"key_hash": "0" * 64}])
def test_a20_nothing_but_the_name_of_a_key_can_be_chosen(user: Any, extra: dict[str, Any]) -> None:
    assert client_of(user).post(KEYS, {"name": "x", **extra}, format="json").status_code == 400


@pytest.mark.parametrize("name", ["x" * 101, None, 5.5, ["a"], {"a": 1}, True])
def test_b12_a_key_with_a_strange_name_is_refused(user: Any, name: Any) -> None:
    answer = client_of(user).post(KEYS, {"name": name}, format="json")
    assert answer.status_code == (201 if name == 5.5 else 400)


@pytest.mark.parametrize("number", ["0", "-1", "1.5", "9" * 30, "1e3", "%00", "true"])
def test_b12_a_strange_id_is_refused(user: Any, number: str) -> None:
    assert client_of(user).delete(f"{KEYS}/{number}").status_code in {400, 404}


@pytest.mark.parametrize("query", ["cursor=junk", "cursor=cD1ub3RhZGF0ZQ%3D%3D", "cursor=%00",
    "cursor=bz0tMQ%3D%3D", "cursor=cD0lMDA%3D", "page_size=0", "page_size=-1", "page_size=many",
    "page_size=1e9", "page_size="])  # fmt: skip
@pytest.mark.parametrize("path", [TOKENS, KEYS])
def test_b14_a_strange_page_is_a_400(user: Any, path: str, query: str) -> None:
    services.create_api_key(user=user)
    answer = client_of(user).get(f"{path}?{query}")
    assert answer.status_code == 400, answer.content
    assert answer.json()["code"] in {"invalid", "bad_request"}


def test_b14_ordering_and_unknown_filters_change_nothing(user: Any) -> None:
    services.create_api_key(user=user)
    for query in (
        "ordering=user__password",
        "user=2",
        "name[$ne]=",
        "format=xml",
        "page_size=5000",
    ):
        assert client_of(user).get(f"{KEYS}?{query}").status_code == 200


def test_pages_follow_each_other(user: Any) -> None:
    for number in range(5):
        services.create_api_key(user=user, name=str(number))
    client, seen, url = client_of(user), [], f"{KEYS}?page_size=2"
    while url:
        page = client.get(url).json()
        seen += [row["name"] for row in page["results"]]
        url = page["next"]
    assert seen == ["4", "3", "2", "1", "0"]


# --- A21: forged requests ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain",
     "text/json", "application/xml", ""],
)  # fmt: skip
@pytest.mark.parametrize("path", [TOKENS, KEYS])
def test_a21_only_json_is_read(user: Any, path: str, content_type: str) -> None:
    body = b'{"service_name": "civitai", "token": "abcdefgh", "name": "x"}'
    answer = client_of(user).generic("POST", path, body, content_type=content_type)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert not ApiKey.objects.exists()
    assert not ApiToken.objects.exists()


def test_a21_a_session_needs_the_csrf_token(user: Any) -> None:
    from rest_framework.test import APIClient

    client = APIClient(enforce_csrf_checks=True)
    client.force_login(user)
    answer = client.post(KEYS, {"name": "x"}, format="json")
    assert (answer.status_code, answer.json()["code"]) == (403, "csrf_failed")
    assert not ApiKey.objects.exists()
    _, plain = services.create_api_key(user=user)
    bearer = APIClient(enforce_csrf_checks=True, headers={"Authorization": f"Bearer {plain}"})
    assert bearer.post(KEYS, {"name": "x"}, format="json").status_code == 201


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
def test_a21_reading_changes_nothing(user: Any, method: str) -> None:
    before = AuditEvent.objects.count()
    for path in (TOKENS, KEYS, f"{TOKENS}/civitai", f"{KEYS}/1"):
        client_of(user).generic(method, path)
    assert AuditEvent.objects.filter(action__startswith="t").count() == 0
    assert not ApiKey.objects.exists()
    assert AuditEvent.objects.exclude(action="login").count() == before


def test_methods_that_a_route_has_not_are_405_in_the_one_shape(user: Any) -> None:
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        answer = client_of(user).generic(method, TOKENS)
        assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
