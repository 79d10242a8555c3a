# SPDX-License-Identifier: Apache-2.0
"""podwatch's own files where podwatch.service is not root, and root's commands open them, too.

The directory is another user's, who may have put anything there: nothing of that leads root
elsewhere, and what root leaves there that user can read. Run as root.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from podwatch.adapters.files import (
    make_own_directory,
    open_regular,
    read_whole,
    remove,
    write_whole,
)
from podwatch.adapters.lock import hold
from podwatch.daemon import pause
from podwatch.words.errors import PodwatchError, RestoreFailed, StateUnreadable

PODWATCH = 31337


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The run directory of a podwatch that is not root."""
    if os.geteuid() != 0:
        pytest.skip("needs root: files of two users")
    directory = tmp_path / "podwatch"
    directory.mkdir()
    os.chown(directory, PODWATCH, PODWATCH)
    return directory


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Path]:
    """A file of root's, which nobody touches."""
    file = tmp_path / "victim"
    file.write_text("untouched")
    yield file
    assert (file.read_text(), file.stat().st_uid) == ("untouched", 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["podwatch", "victim"]


def owner(path: Path) -> tuple[int, int]:
    """Whose it is."""
    info = path.lstat()
    return info.st_uid, info.st_gid


def test_what_root_writes_belongs_to_whom_the_directory_belongs(own: Path) -> None:
    """podwatch.service can read it, and nobody else can."""
    write_whole(own / "rules.json", "{}", mode=0o600, own=True)
    assert owner(own / "rules.json") == (PODWATCH, PODWATCH)
    assert stat.S_IMODE((own / "rules.json").stat().st_mode) == 0o600


def test_what_is_not_podwatchs_own_stays_with_who_wrote_it(own: Path) -> None:
    """As the drawing of `podwatch explain --svg` in a user's directory."""
    write_whole(own / "way.svg", "<svg/>")
    assert owner(own / "way.svg") == (0, 0)


def test_a_link_in_place_of_the_directory_is_not_followed(own: Path, victim: Path) -> None:
    """Neither to write a file there nor to remove one."""
    (own / "pause").symlink_to(victim.parent)
    with pytest.raises(PodwatchError, match="cannot write"):
        write_whole(own / "pause/victim", "gone", own=True)
    with pytest.raises(NotADirectoryError):
        remove(own / "pause/victim")


def test_a_link_in_place_of_a_file_goes(own: Path, victim: Path) -> None:
    """And what it points to stays; so does what a link in a directory points to."""
    for name in ("status.json", f".status.json.{os.getpid()}"):
        (own / name).symlink_to(victim)
    write_whole(own / "status.json", "{}", own=True)
    assert not (own / "status.json").is_symlink()
    (own / "directory").mkdir()
    (own / "directory/link").symlink_to(victim.parent)
    remove(own / "directory")
    assert [path.name for path in own.iterdir()] == ["status.json"]


@pytest.mark.parametrize("uid", [0, PODWATCH])
def test_a_lock_is_both_users(own: Path, uid: int) -> None:
    """Whoever made it, the other can hold it; and it is podwatch's afterwards."""
    lock = own / "restore.lock"
    if uid:
        lock.touch(mode=0o600)
        os.chown(lock, uid, uid)
    with hold(lock):
        assert lock.read_text() == f"{os.getpid()}\n"
    assert owner(lock)[0] == PODWATCH


def test_a_third_ones_lock_is_none(own: Path) -> None:
    """Nor is one in a directory of root's that is not root's."""
    for lock in (own / "run.lock", own.parent / "run.lock"):
        lock.touch()
        os.chown(lock, 4711 if lock.parent == own else PODWATCH, -1)
        with pytest.raises(RestoreFailed, match="cannot open the lock"):
            with hold(lock):
                pass


def test_another_name_of_a_file_is_no_file_of_podwatchs(own: Path, victim: Path) -> None:
    """Where the kernel lets anybody make one (fs.protected_hardlinks): root would write to it."""
    (own / "restore.lock").hardlink_to(victim)
    with pytest.raises(RestoreFailed, match="cannot open the lock"):
        with hold(own / "restore.lock"):
            pass
    with pytest.raises(StateUnreadable, match="other names"):
        read_whole(own / "restore.lock", limit_bytes=100, of_root=True)


def test_a_file_of_the_directorys_owner_is_read(own: Path) -> None:
    """By root's commands, from podwatch's directory; from root's own it is not."""
    file = own / "firewalld.json"
    file.write_text("{}")
    os.chown(file, PODWATCH, PODWATCH)
    assert read_whole(file, limit_bytes=100, of_root=True) == "{}"
    os.chown(own, 0, 0)
    with pytest.raises(OSError, match="belongs to uid"):
        open_regular(file, of_root=True)


def test_a_directory_that_root_makes_is_podwatchs(own: Path) -> None:
    """So is one that a pause makes, and the pause: podwatch.service knows when it ends."""
    make_own_directory(own / "other")
    with pytest.raises(FileExistsError):
        make_own_directory(own / "other")
    path = own / "pause/pause.json"
    pause.begin(path, pause.Pause(1000.0, 1060.0, "new firewall", "alice"))
    for made in (own / "other", path.parent, path):
        assert owner(made) == (PODWATCH, PODWATCH)
    assert pause.end(path)
    (own / "pause").rmdir()
    (own / "pause").symlink_to(own.parent)
    assert pause.end(path)
    assert owner(own / "pause") == (PODWATCH, PODWATCH)
