"""How much one person may ask for."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.utils import timezone
from pytest_django import Settings

from downloads.errors import QueueFull
from downloads.limits import check_limits
from downloads.models import Download, Priority
from downloads.states import DownloadStatus
from tests.factories import make_admin, make_download, make_user

pytestmark = pytest.mark.django_db

S = DownloadStatus


def refused(user: User, *, is_bundle: bool = False) -> str:
    """The limit that says no, "" when none does."""
    try:
        check_limits(user, is_bundle=is_bundle)
    except QueueFull as error:
        return str(error.details["limit"])
    return ""


def test_the_queue_of_a_person_is_bounded(user: User, settings: Settings) -> None:
    settings.USER_MAX_QUEUE_SIZE = 2
    parent = make_download(S.PAUSED, initiated_by=user, is_bundle=True)
    make_download(initiated_by=user, parent=parent)  # the files of a bundle do not count
    make_download(S.COMPLETED, initiated_by=user)
    make_download(initiated_by=make_user())
    assert refused(user) == ""
    make_download(initiated_by=user)
    assert refused(user) == "queue_size"


def test_the_requests_of_a_day_are_bounded(user: User, settings: Settings) -> None:
    settings.USER_MAX_REQUESTS_PER_DAY = 2
    make_download(S.COMPLETED, initiated_by=user)
    make_download(S.COMPLETED, initiated_by=user, priority=Priority.REPAIR)
    assert refused(user) == ""
    oldest = make_download(S.FAILED, initiated_by=user)
    assert refused(user) == "requests_per_day"
    with pytest.raises(QueueFull) as error:
        check_limits(user, is_bundle=False)
    assert 86000 < (error.value.retry_after_s or 0) <= 86400
    Download.objects.filter(pk=oldest.pk).update(created_at=timezone.now() - timedelta(days=2))
    assert refused(user) == ""


@pytest.mark.parametrize("name", ["MAX_BUNDLES_PER_HOUR", "MAX_BUNDLES_PER_DAY"])
def test_bundles_are_bounded_and_single_files_are_not(
    name: str, user: User, settings: Settings
) -> None:
    setattr(settings, name, 1)
    make_download(S.COMPLETED, initiated_by=user, is_bundle=True)
    assert refused(user) == ""
    assert refused(user, is_bundle=True) == name.lower().removeprefix("max_")


def test_admins_are_not_bounded(settings: Settings) -> None:
    settings.USER_MAX_QUEUE_SIZE = 0
    assert refused(make_admin()) == ""
