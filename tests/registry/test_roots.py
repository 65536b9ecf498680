from __future__ import annotations

import shutil
import stat
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.health import run_checks
from registry.checks import check_models_directory
from registry.errors import RootUnavailable
from registry.models import Root
from registry.roots import (
    default_root,
    partials_dir,
    quarantine_dir,
    read_marker,
    root_path,
    trash_dir,
)

pytestmark = pytest.mark.django_db


def test_the_first_call_makes_directory_row_and_marker(settings: Any) -> None:
    root = default_root()
    assert root.is_default
    assert read_marker(settings.MODELS_DIR) == root.marker
    assert root_path(root) == settings.MODELS_DIR
    assert default_root() == root
    assert Root.objects.count() == 1


def test_our_folders_are_private_and_on_the_same_file_system(settings: Any) -> None:
    root = default_root()
    for directory in (partials_dir(root), quarantine_dir(root), trash_dir(root)):
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert directory.stat().st_dev == settings.MODELS_DIR.stat().st_dev
    assert stat.S_IMODE((settings.MODELS_DIR / ".modelyard").stat().st_mode) == 0o700


def test_permissions_that_were_opened_are_closed_again() -> None:
    root = default_root()
    partials_dir(root).chmod(0o777)
    assert stat.S_IMODE(partials_dir(root).stat().st_mode) == 0o700


def test_an_empty_mount_point_is_never_written_to(
    register: Callable[..., Any], settings: Any
) -> None:
    register()
    root = default_root()
    shutil.rmtree(settings.MODELS_DIR)
    settings.MODELS_DIR.mkdir()
    for call in (default_root, lambda: root_path(root), lambda: partials_dir(root)):
        with pytest.raises(RootUnavailable) as caught:
            call()
        assert str(settings.MODELS_DIR) not in caught.value.message
    assert list(settings.MODELS_DIR.iterdir()) == []


def test_another_disk_at_the_same_place_is_not_our_root(
    register: Callable[..., Any], settings: Any
) -> None:
    register()
    (settings.MODELS_DIR / ".modelyard" / "marker").write_text(f"{uuid.uuid4()}\n")
    with pytest.raises(RootUnavailable):
        default_root()


def test_a_new_database_takes_over_a_directory_with_a_marker(settings: Any) -> None:
    marker = default_root().marker
    Root.objects.all().delete()
    assert default_root().marker == marker


def test_a_moved_directory_is_the_same_root(
    register: Callable[..., Any], settings: Any, tmp_path: Path
) -> None:
    asset = register()
    settings.MODELS_DIR.rename(tmp_path / "elsewhere")
    settings.MODELS_DIR = tmp_path / "elsewhere"
    assert default_root().pk == asset.root_id
    assert Root.objects.get().path == str(tmp_path / "elsewhere")


def test_another_directory_in_the_settings_becomes_the_default(
    register: Callable[..., Any], settings: Any, tmp_path: Path
) -> None:
    first = register().root
    settings.MODELS_DIR = tmp_path / "second"
    second = default_root()
    assert second.pk != first.pk
    assert list(Root.objects.filter(is_default=True)) == [second]
    assert root_path(first) == Path(first.path)


def test_a_planted_link_in_place_of_our_folder_is_refused(tmp_path: Path) -> None:
    root = default_root()
    partials_dir(root).rmdir()
    (root_path(root) / ".modelyard" / "partials").symlink_to(tmp_path)
    with pytest.raises(RootUnavailable):
        partials_dir(root)


def test_checks_are_silent_before_and_after_the_first_use(settings: Any) -> None:
    assert check_models_directory() == []
    assert not settings.MODELS_DIR.exists()
    partials_dir(default_root())
    assert check_models_directory() == []
    assert {path.name for path in (settings.MODELS_DIR / ".modelyard").iterdir()} == {
        "marker",
        "partials",
    }


def test_checks_name_a_models_directory_that_is_a_file(settings: Any) -> None:
    settings.MODELS_DIR.parent.mkdir(exist_ok=True)
    settings.MODELS_DIR.write_text("not a directory")
    assert [message.id for message in check_models_directory()] == ["registry.E001"]


def test_checks_find_a_folder_on_another_file_system(settings: Any) -> None:
    hidden = partials_dir(default_root()).parent
    (hidden / "trash").symlink_to("/dev/shm")
    assert [message.id for message in check_models_directory()] == ["registry.E002"]


def test_health_tells_a_root_that_is_away(register: Callable[..., Any], settings: Any) -> None:
    assert run_checks()["models_directory"]
    register()
    assert run_checks()["models_directory"]
    shutil.rmtree(settings.MODELS_DIR)
    assert not run_checks()["models_directory"]
