"""A11-A13: where a token goes, and where it stays. That none lies open afterwards is searched for
after every test that uses one (`tests/canary_hooks.py`)."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from django.contrib.auth.models import User

from downloads.models import Download
from tests.canaries import canary, traces
from tests.downloads.driving import model_files
from tests.hostile.doors import Doors
from tests.hostile.stage import LORA, Stage, served
from tests.origin.listener import Request, Response
from tokens import services
from tokens.models import Validity

CIVITAI, HUB = canary("civitai-hostile"), canary("hf-hostile")


def give_tokens(user: User) -> None:
    for name, token in (("civitai", CIVITAI), ("huggingface", HUB)):
        services.store_token(
            user=user, checked=services.CheckedToken(name, token, Validity.VALID, "account")
        )


def assert_tokens_stayed_home(stage: Stage) -> None:
    assert stage.authorizations(["civitai"]) <= {f"Bearer {CIVITAI}"}
    assert stage.authorizations(["hub"]) <= {f"Bearer {HUB}"}
    assert stage.authorizations(["files", "stranger"]) == set()
    for entry in stage.log.entries:
        if entry.site in {"files", "stranger"}:
            assert traces(str(entry.headers) + entry.path + entry.query) == []
        assert "token" not in entry.query.lower()


@pytest.mark.parametrize(
    ("service", "status"),
    [
        pytest.param("civitai", 302, id="A11-redirect-civitai"),
        pytest.param("civitai", 307, id="A11-redirect-307"),
        pytest.param("hub", 302, id="A11-redirect-hub"),
    ],
)
def test_a_token_does_not_follow_a_redirect(
    puller: Doors, wired: Stage, service: str, status: int
) -> None:
    give_tokens(puller.user)
    content = served(LORA)
    wired.file("/cdn/x.safetensors", content, "stranger")
    away = Response(status, [("Location", wired.url("stranger", "/cdn/x.safetensors"))])
    if service == "civitai":
        url = wired.civitai(download=away)
    else:
        url = wired.hub("made/token", {"x_lora.safetensors": LORA})
        for key in [key for key in wired.routes if "/resolve/" in key[1]]:
            wired.routes[key] = away
    pulled = puller.pull(url)
    assert pulled.exit_code == 0, pulled
    assert wired.log.find(site="stranger", match="/cdn/*")
    assert wired.authorizations([service])
    assert_tokens_stayed_home(wired)
    assert traces(json.dumps(pulled.values, default=str)) == []


HEADERS = [
    ("A11-challenge-bearer", 'Bearer realm="{stranger}/token",service="x"'),
    ("A11-challenge-basic", "Basic realm=x"),
    ("A11-challenge-twice", "Bearer, Bearer realm={stranger}/token"),
]


@pytest.mark.parametrize("challenge", [pytest.param(c, id=number) for number, c in HEADERS])
def test_a_challenge_does_not_lead_a_token_away(doors: Doors, wired: Stage, challenge: str) -> None:
    give_tokens(doors.user)
    header = challenge.format(stranger=wired.url("stranger"))
    refused = Response(
        401, [("WWW-Authenticate", header), ("Content-Type", "application/json")], b"{}"
    )
    for url in (wired.civitai(), wired.hub("made/challenge", {"x.safetensors": LORA})):
        for key in list(wired.routes):
            wired.routes[key] = refused
        answer = doors.post("/resolve", url=url)
        assert answer.status_code in {404, 422}, answer.data
    wired.file("/x.safetensors", refused)
    assert doors.post("/resolve", url=wired.url("files", "/x.safetensors")).status_code == 422
    assert wired.log.find(site="stranger") == []
    assert_tokens_stayed_home(wired)


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{stranger}/api/download/models/11", id="A11-path-of-the-service"),
        pytest.param("{stranger}/made/x/resolve/main/x_lora.safetensors", id="A11-path-of-the-hub"),
        pytest.param("{files}/to-civitai", id="A11-redirect-to-the-service"),
    ],
)
def test_a_plain_link_gets_no_token(doors: Doors, wired: Stage, form: str) -> None:
    """Not even where it leads to the service: only the user's own request for it would."""
    give_tokens(doors.user)
    wired.civitai()
    for path in ("/api/download/models/11", "/made/x/resolve/main/x_lora.safetensors"):
        wired.file(path, LORA, "stranger")
    wired.redirect("/to-civitai", wired.url("civitai", "/api/download/models/11"))
    url = form.format(stranger=wired.url("stranger"), files=wired.url("files"))
    assert doors.post("", url=url).status_code == 202
    assert wired.authorizations() == set()


def test_a11_no_other_header_carries_the_token(doors: Doors, wired: Stage) -> None:
    give_tokens(doors.user)
    assert doors.post("/resolve", url=wired.civitai()).status_code == 200
    assert wired.authorizations(["civitai"]) == {f"Bearer {CIVITAI}"}
    for entry in wired.log.entries:
        others = [value for name, value in entry.headers.items() if name != "Authorization"]
        assert traces("\n".join(others)) == []


# --- A12: a token that somebody pastes --------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        pytest.param("{civitai}/api/download/models/11?token={secret}", id="A12-civitai-download"),
        pytest.param("{civitai}/models/1?modelVersionId=11&token={secret}", id="A12-civitai-page"),
        pytest.param("{hub}/made/x?token={secret}", id="A12-hub"),
        pytest.param("{files}/x_lora_sdxl.safetensors?token={secret}", id="A12-direct"),
        pytest.param("{files}/x_lora_sdxl.safetensors?X-Amz-Signature={secret}", id="A13-signed"),
        pytest.param("{files}/missing?sig={secret}", id="A12-direct-missing"),
        pytest.param("{files}/refused?sig={secret}", id="A12-direct-refused"),
        pytest.param("ftp://example.com/{secret}?token={secret}", id="A12-not-allowed"),
        pytest.param("http://127.0.0.1:9/?token={secret}", id="A12-forbidden"),
        pytest.param("https://civitai.com/nothing?token={secret}", id="A12-not-understood"),
        pytest.param("https://user:{secret}@example.com/x", id="A12-user-info"),
    ],
)
def test_a_secret_in_a_link_is_not_shown_kept_or_logged(
    doors: Doors, wired: Stage, caplog: pytest.LogCaptureFixture, form: str
) -> None:
    caplog.set_level(logging.DEBUG)
    wired.civitai()
    wired.hub("made/x", {"x_lora.safetensors": LORA})
    wired.file("/x_lora_sdxl.safetensors")
    wired.file("/refused", Response(403, [("Content-Type", "text/plain")], b"no"))
    sites = {name: wired.url(name) for name in ("civitai", "hub", "files")}
    url = form.format(secret=canary("pasted"), **sites)
    answers: list[Any] = [doors.post(path, url=url).data for path in ("", "/resolve")]
    for row in Download.objects.all():
        answers.append(doors.api.get(f"/api/downloads/{row.pk}").data)
        assert traces(json.dumps([row.source_url, row.source_reference, row.source_metadata])) == []
    assert traces(json.dumps(answers, default=str)) == []
    assert traces(caplog.text) == []


def test_a12_a_secret_of_an_error_body_is_not_repeated(doors: Doors, wired: Stage) -> None:
    url = wired.civitai()
    body = json.dumps({"error": f"token {canary('echoed')} is wrong"}).encode()
    for status in (400, 401, 403, 404):
        for key in list(wired.routes):
            wired.routes[key] = Response(status, [("Content-Type", "application/json")], body)
        assert traces(json.dumps(doors.post("/resolve", url=url).data, default=str)) == []


# --- A13: signed addresses --------------------------------------------------------------------------


def test_a13_a_signed_address_is_in_no_row_and_no_answer(
    puller: Doors, wired: Stage, models_dir: Any
) -> None:
    signed = f"/cdn/x.safetensors?X-Amz-Signature={canary('signature')}"

    def cdn(request: Request) -> Response:
        assert canary("signature") in request.query_text
        return served(LORA)

    wired.file("/cdn/x.safetensors", cdn, "stranger")
    away = Response(302, [("Location", wired.url("stranger") + signed)])
    pulled = puller.pull(wired.civitai(download=away))
    assert pulled.exit_code == 0, pulled
    row = Download.objects.values().get()
    assert traces(json.dumps(row, default=str) + json.dumps(pulled.values, default=str)) == []
    assert len(model_files(models_dir)) == 1
