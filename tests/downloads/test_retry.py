"""Which error means what, and how long the next try waits."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.utils import timezone
from pytest_django import Settings

from config.errors import InternalError, ModelyardError
from downloads.errors import DatabaseAway, PartialLost, UserNotPermitted
from downloads.retry import Action, backoff_s, decide
from registry.errors import NotAModelFile, PathTaken, RootUnavailable
from sources.errors import EarlyAccess, LicenceRequired, NotFound, SourceUnavailable, TokenRequired
from transfer.errors import (
    AuthRequired,
    BadAnswer,
    ConnectFailed,
    DiskError,
    Interrupted,
    NoSpace,
    RedirectRefused,
    RemoteBusy,
    RemoteChanged,
    RemoteGone,
    TlsFailed,
    TooLarge,
    TooSlow,
    UrlNotAllowed,
)

RETRYABLE: list[ModelyardError] = [
    ConnectFailed("x"),
    Interrupted("x"),
    TooSlow("x"),
    BadAnswer("x"),
    RemoteChanged("x"),
    RemoteBusy("x", status=503),
    SourceUnavailable("x"),
    RootUnavailable("x"),
    PartialLost("x"),
    DatabaseAway("x"),
]
FINAL: list[ModelyardError] = [
    TlsFailed("x"),
    RedirectRefused("x"),
    UrlNotAllowed("x"),
    TooLarge("x"),
    NoSpace("x"),
    DiskError("x"),
    AuthRequired("x", status=401),
    RemoteGone("x", status=404),
    NotFound("x"),
    TokenRequired("x"),
    LicenceRequired("x"),
    EarlyAccess("x"),
    NotAModelFile("x"),
    PathTaken("x"),
    UserNotPermitted("x"),
    InternalError("x"),
]


@pytest.mark.parametrize("error", RETRYABLE, ids=lambda error: error.code)
def test_what_may_pass_is_tried_five_times_after_the_first(error: ModelyardError) -> None:
    assert [decide(error, tries_before=tries).action for tries in range(6)] == [
        *[Action.RETRY] * 5,
        Action.FAIL,
    ]
    assert decide(error, tries_before=5).message == "x Tried 6 times."


@pytest.mark.parametrize("error", FINAL, ids=lambda error: error.code)
def test_what_does_not_pass_by_waiting_is_final(error: ModelyardError) -> None:
    assert decide(error, tries_before=0).action is Action.FAIL


def test_early_access_waits_for_its_moment() -> None:
    until = timezone.now() + timedelta(days=2)
    decision = decide(EarlyAccess("x", until=until), tries_before=9)
    assert (decision.action, decision.until) == (Action.PARK, until)
    over = EarlyAccess("x", until=timezone.now() - timedelta(minutes=1))
    assert decide(over, tries_before=0).action is Action.FAIL


def test_the_distance_grows_to_its_end_and_leaves_a_quarter_to_chance(settings: Settings) -> None:
    settings.INITIAL_BACKOFF_SECS, settings.MAX_BACKOFF_SECS = 60.0, 3600.0
    settings.BACKOFF_MULTIPLIER = 2.0
    for tries, expected in enumerate((60, 120, 240, 480, 960, 1920, 3600, 3600)):
        waits = [backoff_s(tries, random.Random(seed)) for seed in range(200)]
        assert min(waits) >= expected * 0.75
        assert max(waits) <= min(3600, expected * 1.25)
        assert len({round(wait) for wait in waits}) > 10


@pytest.mark.parametrize(
    ("asked", "least", "most"), [(None, 45, 75), (5, 45, 75), (600, 600, 600), (10**9, 3600, 3600)]
)
def test_the_server_is_obeyed_up_to_an_hour(
    asked: float | None, least: float, most: float, settings: Settings
) -> None:
    settings.INITIAL_BACKOFF_SECS = 60.0
    error = RemoteBusy("x", status=429, retry_after_s=asked)
    assert least <= decide(error, tries_before=0).wait_s <= most


def test_lost_bytes_are_fetched_again_at_once() -> None:
    assert decide(PartialLost("x"), tries_before=0).wait_s == 0
