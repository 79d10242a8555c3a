# SPDX-License-Identifier: Apache-2.0
"""What root reads of users' podwatches: with real files, and whatever a user may put there.

As root the files are those of another user, and children become that user; else they are one's own.
"""

import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from podwatch.adapters import users
from podwatch.adapters.users import LIMIT_BYTES, Claim, read_claims
from podwatch.words.errors import StateUnreadable

IS_ROOT = os.geteuid() == 0
UID = 54321 if IS_ROOT else os.geteuid()
as_root = pytest.mark.skipif(not IS_ROOT, reason="needs root: files of two users")


def give(path: Path, uid: int = UID) -> None:
    """Make a file or directory that user's, not following it."""
    if IS_ROOT:
        os.chown(path, uid, uid, follow_symlinks=False)


def place(runtimes: Path, uid: int = UID) -> Path:
    """The directory of a user's podwatch, empty."""
    own = runtimes / str(uid) / "podwatch"
    own.mkdir(parents=True)
    for each in (own.parent, own):
        give(each, uid)
    own.parent.chmod(0o700)
    return own


def write(directory: Path, text: str, uid: int = UID) -> Path:
    """A status document of this user's."""
    file = directory / "status.json"
    file.write_text(text)
    give(file, uid)
    return file


@pytest.fixture
def runtimes() -> Iterator[Path]:
    """What /run/user is: everybody may pass, and root alone may write."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)
        yield directory


def test_a_document_is_handed_over_with_its_time(runtimes: Path) -> None:
    """Root gets the bytes as they are, and the heartbeat."""
    file = write(place(runtimes), '{"schema": 1}')
    os.utime(file, (1e9, 1e9))

    (claim,) = read_claims(runtimes)

    assert (claim.uid, claim.text, claim.written, claim.why) == (UID, '{"schema": 1}', 1e9, "")


def test_who_has_no_podwatch_is_no_error(runtimes: Path) -> None:
    """Neither a user without the directory, nor one whose podwatch has written nothing."""
    place(runtimes).rmdir()
    assert [(each.text, each.why) for each in read_claims(runtimes)] == [(None, "")]

    (runtimes / str(UID) / "podwatch").mkdir()
    give(runtimes / str(UID) / "podwatch")
    assert [(each.text, each.why) for each in read_claims(runtimes)] == [(None, "")]


def test_only_directories_of_users_count(runtimes: Path) -> None:
    """Not root's own, nor a file, a link, another name, or a directory of somebody else's."""
    for name in ("0", "u1", "١٢", f"0{UID}", "77777"):
        (runtimes / name).mkdir()
    (runtimes / "1").write_text("")
    (runtimes / "2").symlink_to("u1")

    assert read_claims(runtimes) == []
    assert read_claims(runtimes / "nowhere") == []


def _fifo(file: Path) -> None:
    os.mkfifo(file)


def _directory(file: Path) -> None:
    file.mkdir()


def _link(file: Path) -> None:
    file.symlink_to("/etc/passwd")


def _link_to_itself(file: Path) -> None:
    file.symlink_to(file)


def _endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def _huge(file: Path) -> None:
    with file.open("wb") as opened:
        opened.truncate(1 << 40)


def _a_little_too_large(file: Path) -> None:
    file.write_bytes(b" " * (LIMIT_BYTES + 1))


def _binary(file: Path) -> None:
    file.write_bytes(b"\xff\xfe{}")


@pytest.mark.parametrize(
    ("put", "why"),
    [
        (_fifo, "not a regular file"),
        (_directory, "not a regular file"),
        (_link, "Too many levels of symbolic links"),
        (_link_to_itself, "Too many levels of symbolic links"),
        (_endless, "Too many levels of symbolic links"),
        (_huge, f"larger than {LIMIT_BYTES} bytes"),
        (_a_little_too_large, f"larger than {LIMIT_BYTES} bytes"),
        (_binary, "not UTF-8"),
    ],
)
def test_what_a_user_may_put_there(runtimes: Path, put: Callable[[Path], None], why: str) -> None:
    """Nothing is waited for, nothing is followed, and no more than the limit is read."""
    file = place(runtimes) / "status.json"
    put(file)
    give(file)
    began = time.monotonic()

    (claim,) = read_claims(runtimes)

    assert (claim.text, claim.why) == (None, why)
    assert time.monotonic() - began < users.LIMIT_S


def test_the_largest_document_is_read_whole(runtimes: Path) -> None:
    """The limit itself is allowed."""
    write(place(runtimes), " " * LIMIT_BYTES)

    (claim,) = read_claims(runtimes)

    assert claim.text == " " * LIMIT_BYTES


def test_a_link_in_the_way_is_not_followed(runtimes: Path) -> None:
    """A user's directory of podwatch that leads elsewhere is none."""
    own = place(runtimes)
    write(own, "{}")
    own.rename(own.with_name("elsewhere"))
    own.symlink_to("elsewhere")
    give(own)

    (claim,) = read_claims(runtimes)

    assert (claim.text, claim.why) == (None, "Not a directory")


@as_root
def test_a_file_of_somebody_else_is_no_claim(runtimes: Path) -> None:
    """A hard link to a file of root's, or of another user's, says nothing of this user."""
    own = place(runtimes)
    write(own, "{}").chmod(0o644)
    os.chown(own / "status.json", 0, 0)

    (claim,) = read_claims(runtimes)

    assert (claim.text, claim.why) == (None, "it belongs to uid 0")


@as_root
def test_it_is_read_with_the_users_rights_alone(runtimes: Path) -> None:
    """What the user may not read himself, root does not read for him."""
    write(place(runtimes), "{}").chmod(0)

    (claim,) = read_claims(runtimes)

    assert (claim.text, claim.why) == (None, "Permission denied")


@as_root
def test_one_user_hides_no_other(runtimes: Path) -> None:
    """Each is read by a child of its own: a hundred are, whatever one of them has put there."""
    os.mkfifo(place(runtimes, 60000) / "status.json")
    for uid in range(60001, 60100):
        write(place(runtimes, uid), str(uid), uid)

    first, *others = read_claims(runtimes)

    assert first == Claim(60000, "", why=first.why)
    assert [each.text for each in others] == [str(uid) for uid in range(60001, 60100)]


def test_a_file_system_that_never_answers(runtimes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child is ended when its time is over; one cannot make a FUSE file system in a test."""

    def hang(*_: object, **__: object) -> NoReturn:
        time.sleep(60)
        raise AssertionError

    monkeypatch.setattr(users, "open_below", hang)
    place(runtimes)

    (claim,) = read_claims(runtimes, limit_s=0.1)

    assert (claim.text, claim.why) == (None, "reading it takes too long")


def test_a_child_that_the_user_kills(runtimes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the user's process, who may end it: that is told of this user."""
    monkeypatch.setattr(users, "open_below", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    place(runtimes)

    (claim,) = read_claims(runtimes)

    assert (claim.text, claim.why) == (None, "the process that read it has ended")


def test_where_no_child_can_be_started_it_says_so(
    runtimes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host without room for another process is told, not crashed at."""

    def full() -> NoReturn:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", full)
    place(runtimes)

    with pytest.raises(StateUnreadable, match="Resource temporarily unavailable"):
        read_claims(runtimes)
