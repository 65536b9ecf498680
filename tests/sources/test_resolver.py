"""The cache, the retries, the deadline, the budget, tokens and who gets them."""

from __future__ import annotations

from typing import Any

import pytest

from sources.calls import MemoryBudget, fingerprint, rate_limit_wait_s
from sources.errors import NotFound, SourceUnavailable, TokenRejected
from sources.parse import parse_reference
from sources.refs import Endpoints
from tests.sources.fakes import (
    CIVITAI,
    HUB,
    DictCache,
    FakeClient,
    FakeTime,
    Reply,
    Turns,
    civitai_routes,
    message,
    recorded,
    resolver,
)
from transfer.errors import BadAnswer, ConnectFailed, RedirectRefused, UrlNotAllowed

PUBLIC = Endpoints()
CIVITAI_TOKEN = PUBLIC.credential("civitai", "canary-civitai")
HUB_TOKEN = PUBLIC.credential("huggingface", "canary-hub")
MODEL = recorded("civitai/model_1231067_lora_2025.json")
URL = f"{CIVITAI}/api/v1/models/1231067"
REFERENCE = parse_reference("1231067", PUBLIC)


def test_an_answer_is_asked_for_once_in_five_minutes() -> None:
    client = FakeClient(civitai_routes(model=MODEL))
    cached = resolver(client, cache=DictCache())

    first = cached.resolve(REFERENCE)
    asked = len(client.asked)

    assert cached.resolve(REFERENCE) == first
    assert len(client.asked) == asked


def test_the_cache_knows_whose_token_it_was_and_where_it_was_asked() -> None:
    cache = DictCache()
    client = FakeClient(civitai_routes(model=MODEL))
    other = PUBLIC.credential("civitai", "canary-other")

    for credential in (None, CIVITAI_TOKEN, other, HUB_TOKEN):
        resolver(client, cache=cache).resolve(REFERENCE, credential=credential)
    here = Endpoints(civitai="http://127.0.0.1:1")
    client.routes["http://127.0.0.1:1/api/v1/models/1231067"] = MODEL
    resolver(client, cache=cache, endpoints=here).resolve(REFERENCE)

    assert len(cache) == 4  # the Hub's token says nothing at CivitAI
    assert all("canary" not in key + str(value) for key, value in cache.items())


def test_a_broken_cache_entry_is_asked_for_again() -> None:
    cache = DictCache()
    client = FakeClient(civitai_routes(model=MODEL))
    asking = resolver(client, cache=cache)
    found = asking.resolve(REFERENCE)
    for key in cache:
        cache[key] = {"source_type": "civitai"}

    assert asking.resolve(REFERENCE) == found


def test_an_incomplete_answer_is_not_cached() -> None:
    cache = DictCache()
    version = recorded("civitai/version_1387174_lora_2025.json")
    client = FakeClient(civitai_routes(version=version) | {URL: Reply({}, 503)})

    resolver(client, cache=cache).resolve(parse_reference("1231067@1387174", PUBLIC))

    assert cache == {}


def test_a_token_goes_with_its_own_service_only() -> None:
    client = FakeClient(civitai_routes(model=MODEL))

    resolver(client).resolve(REFERENCE, credential=HUB_TOKEN)
    assert {credential for _, credential in client.asked} == {None}

    resolver(client).resolve(REFERENCE, credential=CIVITAI_TOKEN)
    assert client.asked[-1][1] == CIVITAI_TOKEN


@pytest.mark.parametrize(
    "trouble",
    [Reply({}, 500), Reply({}, 429), Reply(b"<html>", 502), ConnectFailed("x"), BadAnswer("x")],
)
def test_a_busy_source_is_asked_again_with_back_off(trouble: Any) -> None:
    clock = FakeTime()
    client = FakeClient(civitai_routes(model=MODEL) | {URL: Turns([trouble, trouble, MODEL])})

    found = resolver(client, clock).resolve(REFERENCE)

    assert found.name == MODEL["name"]
    assert 0.25 <= clock.slept[0] <= 0.75
    assert 0.5 <= clock.slept[1] <= 1.5


def test_retry_after_is_obeyed() -> None:
    clock = FakeTime()
    busy = Reply({"error": "busy"}, 503, {"Retry-After": "7"})
    client = FakeClient(civitai_routes(model=MODEL) | {URL: Turns([busy, MODEL])})

    resolver(client, clock).resolve(REFERENCE)

    assert sum(clock.slept) == pytest.approx(7)


def test_a_source_that_stays_busy_is_given_up() -> None:
    clock = FakeTime()
    client = FakeClient({URL: Reply({}, 500)})

    with pytest.raises(SourceUnavailable) as caught:
        resolver(client, clock).resolve(REFERENCE)

    assert len(client.asked) == 3
    assert caught.value.retryable
    assert caught.value.http_status == 502


def test_a_wait_beyond_the_deadline_is_handed_on_at_once() -> None:
    clock = FakeTime()
    client = FakeClient({URL: Reply({}, 429, {"Retry-After": "120"})})
    asking = resolver(client, clock)

    with pytest.raises(SourceUnavailable) as caught:
        asking.resolve(REFERENCE, deadline_s=20)
    assert caught.value.retry_after_s == 120
    assert clock.slept == []

    # The next one does not even ask.
    with pytest.raises(SourceUnavailable):
        asking.resolve(REFERENCE, deadline_s=20)
    assert len(client.asked) == 1

    clock.now += 121
    client.routes = civitai_routes(model=MODEL)
    assert asking.resolve(REFERENCE).name == MODEL["name"]


def test_an_empty_budget_is_remembered_from_a_good_answer() -> None:
    clock = FakeTime()
    info = {"id": "o/n", "sha": "a" * 40, "siblings": [{"rfilename": "m.safetensors", "size": 5}]}
    headers = {"RateLimit": '"api";r=0;t=9', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}
    client = FakeClient({f"{HUB}/api/models/o/n": Reply(info, headers=headers)})
    asking = resolver(client, clock)

    asking.resolve(parse_reference("o/n", PUBLIC))
    asking.resolve(parse_reference("o/n", PUBLIC))
    assert clock.slept == [pytest.approx(9)]

    # Another token has a budget of its own.
    asking.resolve(parse_reference("o/n", PUBLIC), credential=HUB_TOKEN)
    assert len(clock.slept) == 1


def test_everything_ends_at_the_deadline() -> None:
    clock = FakeTime()
    client = FakeClient({URL: Turns([Reply({}, 503, {"Retry-After": "6"})] * 9)})

    with pytest.raises(SourceUnavailable):
        resolver(client, clock, retries=8).resolve(REFERENCE, deadline_s=20)

    assert clock.now - 1000 <= 20


@pytest.mark.parametrize("error", [UrlNotAllowed("x"), RedirectRefused("x")])
def test_a_forbidden_link_stays_what_it_is(error: Exception) -> None:
    client = FakeClient({"https://example.com/x.safetensors": error})
    with pytest.raises(type(error)):
        resolver(client).resolve(parse_reference("https://example.com/x.safetensors", PUBLIC))


@pytest.mark.parametrize(
    ("text", "wait"),
    [
        ('"api";r=0;t=201', 201),
        ('"api";r=494;t=201', 0),
        ("r=0, t=5", 5),
        ('"api";r=0;t=999999999', 3600),
        ("junk", 0),
        ("", 0),
        ('"api";r=0', 0),
        ('"api";r=-1;t=5', 0),
    ],
)
def test_rate_limit_headers(text: str, wait: float) -> None:
    assert rate_limit_wait_s(message({"RateLimit": text})) == wait


def test_a_budget_forgets_in_time() -> None:
    clock = FakeTime()
    budget = MemoryBudget(clock)
    budget.note("a", 5)
    budget.note("a", 2)
    assert budget.wait_s("a") == 5
    assert budget.wait_s("b") == 0
    clock.now += 6
    assert budget.wait_s("a") == 0


def test_a_fingerprint_is_not_the_secret() -> None:
    assert fingerprint(None) == ""
    assert fingerprint(HUB_TOKEN) != fingerprint(CIVITAI_TOKEN)
    assert "canary" not in fingerprint(HUB_TOKEN)


def test_a_good_token_has_an_account() -> None:
    client = FakeClient(
        {
            f"{CIVITAI}/api/v1/me": {"id": 1, "username": "ann"},
            f"{HUB}/api/whoami-v2": {"name": "ben"},
        }
    )
    asking = resolver(client)
    assert asking.check_token("civitai", CIVITAI_TOKEN) == "ann"
    assert asking.check_token("huggingface", HUB_TOKEN) == "ben"
    assert [credential for _, credential in client.asked] == [CIVITAI_TOKEN, HUB_TOKEN]


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (Reply(recorded("civitai/error_401_unauthorized.json"), 401), TokenRejected),
        (Reply({"error": "x"}, 403), TokenRejected),
        (Reply({}), TokenRejected),
        (Reply(None), TokenRejected),
        (Reply(b"<!DOCTYPE html>", 403), SourceUnavailable),
        (Reply({}, 404), SourceUnavailable),
        (Reply({}, 500), SourceUnavailable),
        (Reply({}, 429, {"Retry-After": "100"}), SourceUnavailable),
        (ConnectFailed("x"), SourceUnavailable),
        (BadAnswer("x"), SourceUnavailable),
    ],
)
def test_a_token_is_rejected_only_when_the_service_says_so(
    reply: Any, error: type[Exception]
) -> None:
    client = FakeClient({f"{CIVITAI}/api/v1/me": reply})
    with pytest.raises(error) as caught:
        resolver(client).check_token("civitai", CIVITAI_TOKEN)
    assert "canary" not in str(caught.value)


def test_locating_goes_past_the_cache() -> None:
    cache = DictCache()
    client = FakeClient(civitai_routes(model=MODEL))
    asking = resolver(client, cache=cache)
    asking.resolve(REFERENCE)
    client.routes = {}

    with pytest.raises(NotFound):
        asking.locate(REFERENCE, file_id="1289799")
