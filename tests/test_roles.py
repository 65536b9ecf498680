"""Who may call what: every route of the URL resolver, with a decision for every role.

A new route, or a method that a route begins to answer, fails here until its row stands in the table.
The five numbers are the answers for somebody who is not signed in, for the owner of the rows that
the address names, for another user (both in the group creator), for an operator, and for an admin.
A body is empty unless the row gives one: 400 then says that the caller got as far as the input.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from model_bakery import baker

from downloads.models import Download
from ops import audit, health
from registry.models import Asset, AssetPreview, PlacementRule
from registry.roots import default_root
from tests.factories import make_admin, make_asset, make_download, make_user
from tokens import clients, services
from tokens.models import Validity

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
ROLES = ("anonymous", "owner", "other", "operator", "admin")
CONSOLE = "admin/"


@dataclass(frozen=True)
class Decision:
    """`row` is the status of the download that the address names; `args` fills the address."""

    method: str
    route: str
    answers: tuple[int, int, int, int, int]
    row: str = "paused"
    args: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    query: str = ""

    def __str__(self) -> str:
        return f"{self.method} /{self.route}"


D = Decision
#: Everybody, even without an account; the signed in only, as JSON for machines and as a page.
ANYBODY = (200, 200, 200, 200, 200)
SIGNED_IN = (401, 200, 200, 200, 200)
PAGE = (302, 200, 200, 200, 200)
#: Somebody else's download is not there; who may see figures and activity sees all of them.
SEEN = (401, 200, 404, 200, 200)
SEEN_PAGE = (302, 200, 404, 200, 200)
#: Commands are the owner's and the admins'; operators only watch.
COMMAND = (401, 202, 404, 404, 202)
PRESSED = (302, 302, 404, 404, 302)
#: Who may request got as far as the input.
INPUT = (401, 400, 400, 400, 400)
#: Shared things that only admins change.
ADMIN = (401, 403, 403, 403, 200)
ADMIN_PAGE = (302, 403, 403, 403, 200)

TABLE = [
    # downloads: the API
    D("POST", "api/downloads/resolve", INPUT),
    D("POST", "api/downloads/check-duplicate", INPUT),
    D("GET", "api/downloads/status", SIGNED_IN),
    D("GET", "api/downloads/limits", SIGNED_IN),
    D("GET", "api/downloads/events", SIGNED_IN),
    D("GET", "api/downloads", SIGNED_IN),
    D("POST", "api/downloads", INPUT),
    D("GET", "api/downloads/<id:pk>", SEEN),
    D("PATCH", "api/downloads/<id:pk>", COMMAND, row="queued", body={"position": 1}),
    D("GET", "api/downloads/<id:pk>/children", SEEN),
    D("POST", "api/downloads/<id:pk>/pause", COMMAND, row="queued"),
    D("POST", "api/downloads/<id:pk>/resume", COMMAND, row="paused"),
    D("POST", "api/downloads/<id:pk>/cancel", COMMAND, row="queued"),
    D("POST", "api/downloads/<id:pk>/retry", COMMAND, row="failed"),
    D("POST", "api/downloads/<id:pk>/verify", COMMAND, row="completed"),
    D("POST", "api/downloads/<id:pk>/finalize", COMMAND, row="review"),
    # downloads: the pages
    D("GET", "", PAGE),
    D("GET", "downloads/queue", PAGE),
    D("GET", "downloads/limits", PAGE),
    D("POST", "downloads/resolve", PAGE),
    D("POST", "downloads/add", PAGE),
    D("POST", "downloads/token", PAGE),
    D("POST", "downloads/all/<slug:action>", (302, 302, 302, 302, 302), args={"action": "pause"}),
    D(
        "POST",
        "downloads/selected/<slug:action>",
        (302, 302, 302, 302, 302),
        args={"action": "pause"},
    ),
    D("POST", "downloads/<id:pk>/finalize", PRESSED, row="review"),
    D("POST", "downloads/<id:pk>/token", PRESSED, row="failed"),
    D("GET", "downloads/<id:pk>/picture", (302, 404, 404, 404, 404)),
    D("POST", "downloads/<id:pk>/<slug:action>", PRESSED, row="queued", args={"action": "pause"}),
    # registry: the API
    D("GET", "api/assets", SIGNED_IN),
    D("POST", "api/assets/refresh", (401, 403, 403, 403, 202)),
    D("GET", "api/assets/by-hash/<str:digest>", SIGNED_IN),
    D("GET", "api/assets/<id:pk>", SIGNED_IN),
    D("PATCH", "api/assets/<id:pk>", ADMIN, body={"name": "another"}),
    D("DELETE", "api/assets/<id:pk>", (401, 403, 403, 403, 204)),
    D("POST", "api/assets/<id:pk>/refresh", (401, 403, 403, 403, 202)),
    D("POST", "api/assets/<id:pk>/preview", (401, 403, 403, 403, 202)),
    D("POST", "api/assets/<id:pk>/verify", (401, 403, 403, 403, 202)),
    D("POST", "api/assets/<id:pk>/accept", (401, 403, 403, 403, 400)),
    D("GET", "api/assets/<id:pk>/previews/<id:position>", (401, 404, 404, 404, 404)),
    D("GET", "api/previews", (401, 404, 404, 404, 404)),
    D("GET", "api/admin/placement-rules", (401, 403, 403, 200, 200)),
    D("POST", "api/admin/placement-rules", (401, 403, 403, 403, 400)),
    D("POST", "api/admin/placement-rules/preview", (401, 403, 403, 400, 400)),
    D("GET", "api/admin/placement-rules/<id:pk>", (401, 403, 403, 200, 200)),
    D("PATCH", "api/admin/placement-rules/<id:pk>", ADMIN, body={"priority": 7}),
    D("DELETE", "api/admin/placement-rules/<id:pk>", (401, 403, 403, 403, 204)),
    # registry: the pages
    D("GET", "library", PAGE),
    D("GET", "library/<id:pk>", PAGE),
    D("POST", "library/<id:pk>/delete", (302, 403, 403, 403, 302)),
    D(
        "POST",
        "library/<id:pk>/<slug:action>",
        (302, 403, 403, 403, 302),
        args={"action": "verify"},
    ),
    D("GET", "settings/placement", ADMIN_PAGE),
    D("GET", "settings/placement/where", ADMIN_PAGE),
    D("POST", "settings/placement/rules", (302, 403, 403, 403, 400)),
    D(
        "POST",
        "settings/placement/rules/<id:pk>/<slug:action>",
        (302, 403, 403, 403, 302),
        args={"action": "delete"},
    ),
    # tokens: the API
    D("GET", "api/user/api-tokens", SIGNED_IN),
    D("POST", "api/user/api-tokens", INPUT),
    D("DELETE", "api/user/api-tokens/<str:service>", (401, 204, 404, 404, 404)),
    D("GET", "api/user/api-keys", SIGNED_IN),
    D("POST", "api/user/api-keys", (401, 201, 201, 201, 201)),
    D("DELETE", "api/user/api-keys/<id:key_id>", (401, 204, 404, 404, 404)),
    # tokens: the pages
    D("GET", "login", (200, 302, 302, 302, 302)),
    D("POST", "login", (200, 302, 302, 302, 302)),
    D("PUT", "login", (200, 302, 302, 302, 302)),
    D("POST", "logout", (302, 302, 302, 302, 302)),
    D("POST", "theme", (302, 302, 302, 302, 302)),
    D("GET", "settings", PAGE),
    D("POST", "settings/tokens/<slug:service>/save", (302, 400, 400, 400, 400)),
    D("POST", "settings/tokens/<slug:service>/check", (302, 302, 404, 404, 404)),
    D("POST", "settings/tokens/<slug:service>/delete", (302, 302, 404, 404, 404)),
    D("POST", "settings/keys", PAGE),
    D("POST", "settings/keys/<id:pk>/revoke", (302, 302, 404, 404, 404)),
    # ops and the description
    D("GET", "healthz", ANYBODY),
    D("GET", "metrics", (401, 403, 403, 200, 200)),
    D("GET", "api/schema", SIGNED_IN),
    D("GET", "api/docs", PAGE),
]


# --- What there is ----------------------------------------------------------------------------------


def walk(resolver: URLResolver, prefix: str = "") -> Iterator[str]:
    for part in resolver.url_patterns:
        route = prefix + str(part.pattern)
        if isinstance(part, URLPattern):
            yield route
        else:
            yield from walk(part, route)


#: Both converters of numbers are one here; the address is made with a number anyway.
ROUTES = sorted({route.replace("<int:", "<id:") for route in walk(get_resolver())})
#: Signing oneself out is everybody's.
CONSOLE_ROUTES = [r for r in ROUTES if r.startswith(CONSOLE) and r != "admin/logout/"]
OURS = [route for route in ROUTES if not route.startswith(CONSOLE)]


def test_every_route_has_a_decision_and_every_decision_a_route() -> None:
    assert {decision.route for decision in TABLE} == set(OURS)


def test_no_decision_stands_twice() -> None:
    rows = [(d.method, d.route, d.row, str(d.args), str(d.body), d.query) for d in TABLE]
    assert len(set(rows)) == len(rows)


# --- The world in which they are asked --------------------------------------------------------------


class Agreeable:
    """Stands in for the services that are asked about a token."""

    def check_token(self, service: str, credential: Any) -> str:
        return "account"


@dataclass
class World:
    people: dict[str, User | None]
    download: Download
    asset: Asset
    preview: AssetPreview
    rule: PlacementRule
    key_id: int

    def address(self, decision: Decision) -> str:
        values = {
            "service": "civitai",
            "key_id": self.key_id,
            "digest": self.asset.checksum_sha256,
            "position": self.preview.position,
            "picture_id": self.preview.pk,
            "pk": self._pk(decision.route),
        }
        address = "/" + decision.route
        for converter in ("id", "int", "str", "slug"):
            for name, value in (values | decision.args).items():
                address = address.replace(f"<{converter}:{name}>", str(value))
        assert "<" not in address, f"the table says nothing of a part of {decision.route}"
        return address + (f"?{decision.query}" if decision.query else "")

    def _pk(self, route: str) -> int:
        if "placement" in route:
            return self.rule.pk
        if "keys" in route:
            return self.key_id
        return self.download.pk if "downloads" in route else self.asset.pk

    def client(self, role: str) -> Client:
        client = Client(raise_request_exception=False)
        person = self.people[role]
        if person is not None:
            client.force_login(person)
        return client


@pytest.fixture
def world(db: None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(health, "checks", {"database": health.database})
    monkeypatch.setattr(clients, "resolver", lambda **_kwargs: Agreeable())
    decision = getattr(request, "param", None)
    owner, other, operator = make_user("owner"), make_user("other"), make_user("operator")
    for person, group in ((owner, "creator"), (other, "creator"), (operator, "operator")):
        person.groups.add(Group.objects.get(name=group))
    checked = services.CheckedToken("civitai", "abcdefgh", Validity.UNCHECKED, "")
    services.store_token(user=owner, checked=checked)
    key, _ = services.create_api_key(user=owner)
    asset = make_asset(
        root=default_root(), added_by=owner, source_type="civitai", source_reference="civitai:1@1"
    )
    row = decision.row if decision else "paused"
    return World(
        people={
            "anonymous": None,
            "owner": owner,
            "other": other,
            "operator": operator,
            "admin": make_admin(),
        },
        download=make_download(
            row, initiated_by=owner, asset=asset if row == "completed" else None
        ),
        asset=asset,
        preview=baker.make(AssetPreview, asset=asset, source_url="https://example.com/1.png"),
        rule=PlacementRule.objects.create(model_type="lora", target_directory="/models/loras/x/"),
        key_id=key.pk,
    )


@pytest.mark.parametrize(
    ("world", "decision"), [(d, d) for d in TABLE], indirect=["world"], ids=map(str, TABLE)
)
def test_the_answers_are_the_decided_ones(world: World, decision: Decision) -> None:
    answers = {}
    for role in ROLES:
        with transaction.atomic():
            answers[role] = ask(world, decision, role)
            transaction.set_rollback(True)
    statuses = tuple(answer.status_code for answer in answers.values())
    assert statuses == decision.answers, {role: a.content[:200] for role, a in answers.items()}
    anonymous = answers["anonymous"]
    if anonymous.status_code == 302 and decision.route != "theme":
        assert anonymous["Location"].startswith("/login")


def ask(world: World, decision: Decision, role: str) -> Any:
    options: dict[str, Any] = {}
    if decision.method != "GET":
        options["data"] = decision.body
        if decision.route.startswith("api/") or decision.method != "POST":
            options["content_type"] = "application/json"
    send = getattr(world.client(role), decision.method.lower())
    return send(world.address(decision), **options)


@pytest.mark.parametrize("route", OURS)
def test_a_method_without_a_decision_is_not_answered(world: World, route: str) -> None:
    decided = [decision for decision in TABLE if decision.route == route]
    for method in METHODS:
        if method in {decision.method for decision in decided}:
            continue
        # The login page sends away who is signed in, whatever the method.
        answer = world.client("anonymous" if route == "login" else "admin").generic(
            method, world.address(decided[0]), content_type="application/json"
        )
        assert answer.status_code == 405, (method, answer.content[:300])


# --- The console ------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["anonymous", "owner", "other", "operator"])
def test_the_console_is_closed_to_who_is_not_staff(world: World, role: str) -> None:
    client = world.client(role)
    for route in CONSOLE_ROUTES:
        address = "/" + route.split("<", 1)[0].split("(", 1)[0].rstrip("$")
        for method in ("GET", "POST"):
            answer = client.generic(method, address)
            assert answer.status_code in {302, 403, 404}, (route, answer.content[:300])
            if answer.status_code == 302:
                assert answer["Location"].startswith(("/login", "/admin/login"))


# --- Nobody without a group -------------------------------------------------------------------------


def test_somebody_without_a_group_sees_their_own_and_cannot_request(world: World) -> None:
    client = Client()
    client.force_login(make_user("newcomer"))
    assert client.get("/api/user/api-tokens").status_code == 200
    assert client.get("/api/downloads").status_code == 200
    post = {"url": "https://civitai.com/models/1"}
    for address in ("/api/downloads", "/api/downloads/resolve"):
        assert client.post(address, post, content_type="application/json").status_code == 403
    assert audit.verify().is_whole
