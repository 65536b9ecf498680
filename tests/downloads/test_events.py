"""The stream of changes, as a browser or a script reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import User
from django.test import AsyncClient

from downloads import events
from downloads.models import Download
from downloads.states import DownloadStatus as S
from tests.factories import make_download, make_user
from tokens.services import create_api_key

pytestmark = pytest.mark.django_db

PATH = "/api/downloads/events"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "INTERVAL_S", 0.01)
    monkeypatch.setattr(events, "LONGEST_STREAM_S", 0.2)


async def read(user: User) -> list[str]:
    client = AsyncClient()
    await client.aforce_login(user)
    answer = await client.get(PATH)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/event-stream")
    assert answer["Cache-Control"] == "no-store"
    return [chunk.decode() async for chunk in answer.streaming_content]


def rows_of(chunk: str) -> list[dict[str, Any]]:
    name, _, data = chunk.partition("\n")
    assert name == "event: downloads"
    rows: list[dict[str, Any]] = json.loads(data.removeprefix("data: "))
    return rows


def test_the_stream_tells_of_one_s_own_rows_once() -> None:
    user = make_user("mara", "downloads.request_content")
    mine = make_download(S.QUEUED, initiated_by=user)
    make_download(S.QUEUED, initiated_by=make_user("otto"))
    first, *rest = async_to_sync(read)(user)
    assert first.startswith("retry: ")
    told = [row["id"] for chunk in rest if chunk.startswith("event") for row in rows_of(chunk)]
    assert told == [mine.pk]
    assert rest[-1] == ": still here\n\n"


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


def test_nobody_and_a_wrong_key_get_401_and_a_right_key_gets_the_stream() -> None:
    async def ask(key: str) -> Any:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return await AsyncClient().get(PATH, headers=headers)

    for key in ("", "my_00000000_" + "x" * 32):
        answer = async_to_sync(ask)(key)
        assert (answer.status_code, json.loads(answer.content)["code"]) == (
            401,
            "not_authenticated",
        )
    _row, key = create_api_key(user=make_user("mara"))
    assert async_to_sync(ask)(key).status_code == 200
