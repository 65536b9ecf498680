"""From a partial to a name: F27, F30, F33-F35, A27 and A28."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import threading
from pathlib import Path
from unittest.mock import Mock

import pytest

from transfer import publish as publishing
from transfer.errors import DiskError, NoSpace, TargetExists, UnsafePath
from transfer.publish import publish

CONTENT = os.urandom(3_000_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
PATH = "Lora/sub/x.safetensors"


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "models"
    (path / ".modelyard/partials").mkdir(parents=True, mode=0o700)
    (path / ".modelyard/trash").mkdir()
    return path


@pytest.fixture
def partial(root):
    path = root / ".modelyard/partials/abc.part"
    path.write_bytes(CONTENT)
    path.chmod(0o600)
    return path


@pytest.fixture
def trash(root):
    return root / ".modelyard/trash"


def place(partial: Path, root: Path, path: str = PATH, **values):
    return publish(partial, root=root, relative_path=path, sha256=DIGEST.upper(), **values)


def test_a_partial_becomes_a_whole_read_only_file(partial, root):
    published = place(partial, root)
    found = (root / PATH).stat()
    assert published.path == root / PATH
    assert published.path.read_bytes() == CONTENT
    assert (published.size_bytes, published.mtime_ns, published.inode) == (
        len(CONTENT), found.st_mtime_ns, found.st_ino,
    )  # fmt: skip
    assert found.st_mode & 0o777 == 0o444
    assert found.st_nlink == 1
    assert not partial.exists()


def test_the_file_is_synced_before_its_name_and_the_name_before_the_partial_goes(
    partial, root, monkeypatch
):
    events = []

    def record(name):
        real = getattr(os, name)

        def wrapper(*args, **kwargs):
            events.append(name)
            return real(*args, **kwargs)

        monkeypatch.setattr(os, name, wrapper)

    (root / "Lora/sub").mkdir(parents=True)
    for name in ("fsync", "link", "unlink"):
        record(name)
    place(partial, root)
    assert events == ["fsync", "link", "fsync", "unlink"]


@pytest.mark.parametrize("has_partial", [True, False])
def test_a_file_with_the_same_bytes_is_adopted(has_partial, partial, root):
    (root / "Lora/sub").mkdir(parents=True)
    (root / PATH).write_bytes(CONTENT)
    inode = (root / PATH).stat().st_ino
    if not has_partial:
        partial.unlink()
    assert place(partial, root).inode == inode
    assert not partial.exists()


def test_a_crash_between_link_and_unlink_is_finished(partial, root, monkeypatch):
    (root / "Lora/sub").mkdir(parents=True)
    os.link(partial, root / PATH)
    monkeypatch.setattr(publishing, "_digest", lambda descriptor: pytest.fail("not needed"))
    published = place(partial, root)
    assert published.path.stat().st_nlink == 1
    assert not partial.exists()


def test_publishing_a_file_where_it_is_keeps_it(partial, root):
    place(partial, root)
    assert place(root / PATH, root).path.read_bytes() == CONTENT


def test_publishing_moves_a_published_file_on(partial, root):
    place(partial, root)
    place(root / PATH, root, "Lora/sub/x-2.safetensors")
    assert not (root / PATH).exists()
    assert (root / "Lora/sub/x-2.safetensors").read_bytes() == CONTENT


@pytest.mark.parametrize("there", ["file", "empty", "directory", "symlink", "dangling", "fifo"])
def test_what_has_the_name_is_never_overwritten(there, partial, root, tmp_path):
    target = root / PATH
    target.parent.mkdir(parents=True)
    other = tmp_path / "other"
    other.write_bytes(CONTENT)
    {
        "file": lambda: target.write_bytes(b"mine"),
        "empty": target.touch,
        "directory": target.mkdir,
        "symlink": lambda: target.symlink_to(other),
        "dangling": lambda: target.symlink_to(tmp_path / "nothing"),
        "fifo": lambda: os.mkfifo(target),
    }[there]()
    before = os.lstat(target)
    with pytest.raises(TargetExists):
        place(partial, root)
    assert os.path.samestat(os.lstat(target), before)
    assert partial.read_bytes() == CONTENT
    partial.unlink()
    with pytest.raises(TargetExists):
        place(partial, root)


def test_nothing_to_place_and_nothing_there_is_an_error(partial, root):
    partial.unlink()
    with pytest.raises(DiskError):
        place(partial, root)
    assert not (root / PATH).exists()


def test_replacing_keeps_the_old_file_in_the_trash(partial, root, trash):
    (root / "Lora/sub").mkdir(parents=True)
    (root / PATH).write_bytes(b"old")
    published = place(partial, root, replace=True, trash=trash)
    assert published.path.read_bytes() == CONTENT
    (kept,) = trash.iterdir()
    assert kept.read_bytes() == b"old"
    assert kept.name.endswith("-x.safetensors")
    assert [path.name for path in (root / "Lora/sub").iterdir()] == ["x.safetensors"]
    assert not partial.exists()


def test_replacing_nothing_and_replacing_twice_are_fine(partial, root, trash):
    place(partial, root, replace=True, trash=trash)
    os.link(root / PATH, partial)
    place(partial, root, replace=True, trash=trash)
    assert (root / PATH).read_bytes() == CONTENT
    assert list(trash.iterdir()) == []


def test_a_swap_that_fails_leaves_the_old_file(partial, root, trash, monkeypatch):
    (root / "Lora/sub").mkdir(parents=True)
    (root / PATH).write_bytes(b"old")

    def broken(*args, **kwargs):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(os, "rename", broken)
    with pytest.raises(DiskError):
        place(partial, root, replace=True, trash=trash)
    assert [path.name for path in (root / "Lora/sub").iterdir()] == ["x.safetensors"]
    assert (root / PATH).read_bytes() == b"old"
    assert partial.read_bytes() == CONTENT


def test_a_directory_is_not_replaced(partial, root, trash):
    (root / PATH).mkdir(parents=True)
    with pytest.raises(TargetExists):
        place(partial, root, replace=True, trash=trash)
    with pytest.raises(RuntimeError):
        place(partial, root, replace=True)


@pytest.mark.parametrize(
    "path", ["", "/", "/etc/x", "../x", "a/../../x", "a/../x", "./x", "a//x", "a/", "a/.", "a\0b"]
)
def test_paths_that_lead_out_are_refused(path, partial, root):
    with pytest.raises(UnsafePath):
        place(partial, root, path)
    assert partial.exists()


@pytest.mark.parametrize("planted", ["Lora", "Lora/sub"])
def test_linked_directories_below_the_root_are_refused(planted, partial, root, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / planted).parent.mkdir(parents=True, exist_ok=True)
    (root / planted).symlink_to(outside)
    with pytest.raises(UnsafePath):
        place(partial, root)
    assert list(outside.rglob("*")) == []
    assert partial.exists()


def test_the_root_itself_may_be_a_link(partial, root, tmp_path):
    (tmp_path / "link").symlink_to(root)
    assert place(partial, tmp_path / "link").path.read_bytes() == CONTENT


def test_a_file_in_the_place_of_a_directory_and_long_names_are_refused(partial, root):
    (root / "Lora").write_bytes(b"x")
    with pytest.raises(UnsafePath):
        place(partial, root)
    with pytest.raises(UnsafePath):
        place(partial, root, "y" * 256)


@pytest.mark.parametrize("planted", ["symlink", "directory", "fifo"])
def test_what_is_planted_as_a_partial_is_refused(planted, partial, root, tmp_path):
    partial.unlink()
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    {
        "symlink": lambda: partial.symlink_to(secret),
        "directory": partial.mkdir,
        "fifo": lambda: os.mkfifo(partial),
    }[planted]()
    with pytest.raises(UnsafePath):
        place(partial, root)
    assert not (root / PATH).exists()


def test_a_partial_that_is_exchanged_while_it_is_placed_is_refused(partial, root, monkeypatch):
    real = os.link

    def link(source, *args, **kwargs):
        partial.rename(partial.with_suffix(".old"))
        partial.write_bytes(b"evil")
        real(source, *args, **kwargs)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(UnsafePath):
        place(partial, root)
    assert not (root / PATH).exists()


def test_a_directory_that_is_exchanged_while_a_file_is_placed(partial, root, tmp_path):
    """A28 as a race: whatever the attacker does, nothing lands outside, and the bytes are kept."""
    outside = tmp_path / "outside"
    outside.mkdir()
    stop = threading.Event()
    folder, aside = root / "Lora", root / "aside"

    def attack():
        while not stop.is_set():
            try:
                folder.rename(aside)
                folder.symlink_to(outside)
                folder.unlink()
                aside.rename(folder)
            except OSError:
                continue

    thread = threading.Thread(target=attack)
    folder.mkdir()
    thread.start()
    try:
        for n in range(150):
            try:
                place(partial, root, f"Lora/{n}.bin")
            except (UnsafePath, DiskError):
                assert partial.read_bytes() == CONTENT
            else:
                partial.write_bytes(CONTENT)
    finally:
        stop.set()
        thread.join(10)
    assert list(outside.iterdir()) == []


def test_ten_at_once_end_with_one_file(root):
    sources = []
    for n in range(10):
        source = root / f".modelyard/partials/{n}.part"
        source.write_bytes(CONTENT)
        sources.append(source)
    inodes = []
    threads = [
        threading.Thread(target=lambda one=one: inodes.append(place(one, root).inode))
        for one in sources
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(inodes) == 10
    assert len(set(inodes)) == 1
    assert not any(source.exists() for source in sources)


@pytest.fixture
def other_device(tmp_path, monkeypatch):
    """A second file system where there is one, else links between directories that say EXDEV."""
    shm = Path("/dev/shm")
    if os.access(shm, os.W_OK) and shm.stat().st_dev != tmp_path.stat().st_dev:
        path = shm / f"modelyard-test-{os.getpid()}"
    else:
        path, real = tmp_path / "other", os.link

        def link(source, *args, **kwargs):
            if Path(source).is_absolute():
                raise OSError(errno.EXDEV, "another device")
            real(source, *args, **kwargs)

        monkeypatch.setattr(os, "link", link)
    path.mkdir()
    yield path
    shutil.rmtree(path)


def test_another_file_system_gets_a_copy_that_was_read_back(root, other_device):
    source = other_device / "abc.part"
    source.write_bytes(CONTENT)
    published = place(source, root)
    assert published.path.read_bytes() == CONTENT
    assert published.path.stat().st_mode & 0o777 == 0o444
    assert not source.exists()
    assert [path.name for path in published.path.parent.iterdir()] == ["x.safetensors"]


def test_a_copy_that_differs_is_not_published(root, other_device):
    source = other_device / "abc.part"
    source.write_bytes(CONTENT[:-1])
    with pytest.raises(DiskError):
        place(source, root)
    assert list((root / "Lora/sub").iterdir()) == []
    assert source.exists()


@pytest.mark.parametrize(
    ("call", "number", "kind"),
    [("fsync", errno.EIO, DiskError), ("link", errno.ENOSPC, NoSpace),
     ("link", errno.EPERM, DiskError), ("link", errno.EDQUOT, NoSpace)],
)  # fmt: skip
def test_errors_of_the_disk_keep_the_partial(call, number, kind, partial, root):
    (root / "Lora/sub").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, call, Mock(side_effect=OSError(number, "broken")))
        with pytest.raises(kind):
            place(partial, root)
    assert not (root / PATH).exists()
    assert partial.stat().st_mode & 0o777 == 0o600  # it may be written again
    assert place(partial, root).path.read_bytes() == CONTENT


def test_a_missing_root_creates_nothing(partial, tmp_path):
    with pytest.raises(DiskError):
        place(partial, tmp_path / "unmounted")
    assert not (tmp_path / "unmounted").exists()
