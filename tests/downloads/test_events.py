"""The stream of changes, as a browser or a script reads it."""

from __future__ import annotations

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from downloads import events
from downloads.models import Download
from downloads.states import DownloadStatus as S
from tests.factories import make_download, make_user
from tokens.services import create_api_key

pytestmark = pytest.mark.django_db

PATH = "/api/downloads/events"


def rows_of(chunk: str) -> list[dict[str, Any]]:
    name, _, data = chunk.partition("\n")
    assert name == "event: downloads"
    rows: list[dict[str, Any]] = json.loads(data.removeprefix("data: "))
    return rows


def test_the_stream_says_what_changed_and_that_it_is_still_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    news = iter([[{"id": 7, "status": "queued"}], []])
    monkeypatch.setattr(events, "INTERVAL_S", 0.01)
    monkeypatch.setattr(events, "LONGEST_STREAM_S", 0.2)
    monkeypatch.setattr(events, "changes", lambda _user, _known: next(news, []))

    async def read() -> list[str]:
        return [chunk.decode() async for chunk in events.stream(User())]

    with ThreadPoolExecutor(1) as pool:  # A thread has no loop of anybody else's.
        first, second, *rest = pool.submit(asyncio.run, read()).result(30)
    assert first.startswith("retry: ")
    assert rows_of(second) == [{"id": 7, "status": "queued"}]
    assert set(rest) == {": still here\n\n"}


def test_only_one_s_own_rows_are_told_and_each_once() -> None:
    user = make_user("mara", "downloads.request_content")
    mine = make_download(S.QUEUED, initiated_by=user)
    make_download(S.QUEUED, initiated_by=make_user("otto"))
    known: dict[int, Any] = {}
    assert [row["id"] for row in events.changes(user, known)] == [mine.pk]
    assert events.changes(user, known) == []


def test_a_row_that_ends_is_told_once_more() -> None:
    user = make_user("mara")
    row = make_download(S.DOWNLOADING, initiated_by=user)
    known: dict[int, Any] = {}
    assert [told["status"] for told in events.changes(user, known)] == ["downloading"]
    assert events.changes(user, known) == []
    Download.objects.filter(pk=row.pk).update(status=S.PAUSED)
    assert [told["status"] for told in events.changes(user, known)] == ["paused"]
    Download.objects.filter(pk=row.pk).update(status=S.FAILED, error_code="no_space")
    assert [told["error_code"] for told in events.changes(user, known)] == ["no_space"]
    assert events.changes(user, known) == []


def test_nobody_and_a_wrong_key_get_401_and_a_right_key_gets_the_stream(client: Client) -> None:
    for headers in ({}, {"Authorization": "Bearer my_00000000_" + "x" * 32}):
        answer = client.get(PATH, headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "not_authenticated")
    _row, key = create_api_key(user=make_user("mara"))
    answer = client.get(PATH, headers={"Authorization": f"Bearer {key}"})
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    assert answer["Cache-Control"] == "no-store"
