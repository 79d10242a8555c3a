# SPDX-License-Identifier: Apache-2.0
"""The network namespace of a user's bridges: entered, kept, left, and bound to its file again."""

import asyncio
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from podwatch.adapters import namespace
from podwatch.daemon.netns import NetnsWatch
from podwatch.report.status import ailing
from podwatch.words.errors import PodwatchError, RestoreFailed, RulesUnreadable
from podwatch.words.netns import Netns
from tests.unit.daemon.user_host import NUMBER, OTHER, User, one_user


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[User]:
    """One whose containers are on a bridge."""
    with one_user(tmp_path, monkeypatch) as made:
        yield made


class FakeInner:
    """A watcher of what is inside; `ended` is what it says when it hears no more."""

    def __init__(self, name: str, done: list[str], *, deaf: bool = False) -> None:
        self.name, self.done, self.deaf = name, done, deaf
        self.ended: asyncio.Future[None] | None = None

    def attach(self, loop: asyncio.AbstractEventLoop) -> "asyncio.Future[None] | None":
        """Listen in the namespace that is looked after now, unless it is deaf."""
        if self.deaf:
            raise RulesUnreadable(f"cannot listen to {self.name}")
        self.done.append(f"attach {self.name}")
        self.ended = None if self.name == "sysctls" else loop.create_future()
        return self.ended

    def close(self) -> None:
        """Stop listening, if it ever began."""
        if self.ended is not None:
            self.done.append(f"close {self.name}")
            self.ended = None

    def describe(self) -> str:
        """How it is."""
        return "listening" if self.ended or self.name == "sysctls" else "not listening"


class Watch:
    """A watch of this user's namespace, with all that it told."""

    def __init__(self, user: User, *deaf: str) -> None:
        self.user = user
        names = ("nftables", "links", "sysctls")
        self.inner = {name: FakeInner(name, user.done, deaf=name in deaf) for name in names}
        self.told: list[str] = []
        self.complaints: list[PodwatchError] = []
        self.rung = asyncio.Event()
        self.netns = NetnsWatch(user.rootless, self.inner, self.hear, self.complaints.append)

    def hear(self, what: str) -> None:
        """Take down what is told."""
        self.told.append(what)
        self.rung.set()

    def hint(self) -> None:
        """A mount or a pid file was changed, or the process that is asked has ended."""
        self.netns._heard()

    def listen(self, body: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Do this while it listens."""

        async def whole() -> None:
            self.netns.attach(asyncio.get_running_loop())
            try:
                if body is not None:
                    await body()
            finally:
                self.netns.close()

        asyncio.run(whole())


def test_what_is_there_is_entered_and_listened_to(user: User) -> None:
    """And when podwatch stops, nothing of it keeps the namespace."""
    watch = Watch(user)

    async def body() -> None:
        assert watch.netns.netns == Netns(user.path, NUMBER, NUMBER, has_file=True)
        assert namespace.is_there()
        assert watch.netns.describe() == "listening"

    watch.listen(body)
    assert user.done == [
        f"enter {user.path}",
        *("attach nftables", "attach links", "attach sysctls"),
        *("close nftables", "close links", f"left {NUMBER}"),
    ]
    assert not namespace.is_there()
    assert watch.complaints == []


def test_until_the_first_container_comes_nothing_is_entered(user: User) -> None:
    """A user without a bridge is no ill host; with the first one there is somewhere to listen."""
    user.pid = 0
    watch = Watch(user)

    async def body() -> None:
        assert watch.netns.netns == Netns()
        assert not namespace.is_there()
        assert ailing({"netns": watch.netns.describe()}) == {}
        assert user.done == []
        user.pid = os.getpid()
        watch.hint()
        assert watch.told == ["the user's network namespace came"]
        assert namespace.is_there()
        watch.hint()
        assert len(watch.told) == 1

    watch.listen(body)


def test_it_is_entered_once(user: User) -> None:
    """To enter takes a child: a look at what was entered before takes none."""
    watch = Watch(user)
    assert watch.netns.look() == watch.netns.look() == watch.netns.netns
    assert user.done == [f"enter {user.path}"]


def test_a_command_that_looks_once_listens_to_nothing(user: User) -> None:
    """It enters, and attaches no watcher."""
    watch = Watch(user)
    assert watch.netns.look().is_whole
    assert not [what for what in user.done if what.startswith("attach")]


def test_one_that_podman_dropped_is_left(user: User) -> None:
    """With the last container podman unmounts it, and it must not live on for podwatch's sake."""
    watch = Watch(user)

    async def body() -> None:
        user.containers, user.mounted = False, 0
        watch.hint()
        assert watch.netns.netns == Netns(user.path, 0, 0, has_file=True)
        assert watch.told == ["the user's network namespace went"]
        assert user.done[-1] == f"left {NUMBER}"
        assert not namespace.is_there()

    watch.listen(body)


def test_one_that_lost_its_file_is_kept_while_containers_are_in_it(user: User) -> None:
    """Without podwatch's descriptor nobody could ever find it again."""
    watch = Watch(user)

    async def body() -> None:
        user.mounted = 0
        watch.hint()
        assert watch.netns.netns == Netns(user.path, NUMBER, 0, has_file=True)
        assert watch.netns.netns.is_lost
        assert watch.told == ["the user's network namespace lost its file"]
        assert f"left {NUMBER}" not in user.done

    watch.listen(body)


def test_where_the_kernel_does_not_tell_who_is_in_it_it_is_kept(user: User) -> None:
    """Unknown is not empty."""
    watch = Watch(user)
    watch.netns.look()
    user.mounted, user.hides_links = 0, True
    assert watch.netns.look().inode == NUMBER


def test_a_file_that_was_removed_is_told_apart_from_one_that_is_empty(user: User) -> None:
    """Only the latter can be mounted on; the path is that of before."""
    watch = Watch(user)
    watch.netns.look()
    user.has_file = False
    found = watch.netns.look()
    assert (found.path, found.is_removed, found.is_lost) == (user.path, True, False)


@pytest.mark.parametrize("how", ["none is left", "it ended while it was asked"])
def test_where_nobody_can_be_asked_nothing_is_lost(user: User, how: str) -> None:
    """A pause process that ends takes no file with it: what was known last still holds."""
    watch = Watch(user)
    before = watch.netns.look()
    if how == "none is left":
        user.pid = 0
    else:
        user.has_ended = True
    assert watch.netns.look() == before
    user.containers = False
    assert watch.netns.look().is_gone, "once no container is in it, it is left all the same"


def test_two_namespaces_are_told_and_the_first_is_kept(user: User) -> None:
    """podman made another one beside that with the containers in it."""
    watch = Watch(user)

    async def body() -> None:
        user.mounted = OTHER
        watch.hint()
        assert watch.netns.netns.is_split
        assert watch.netns.netns.inode == NUMBER
        assert watch.told == ["the file of the user's network namespace is another one"]

    watch.listen(body)


def test_of_two_namespaces_the_empty_one_is_left(user: User) -> None:
    """With its last container gone, the one that podman finds is looked into."""
    watch = Watch(user)
    watch.netns.look()
    user.mounted, user.containers = OTHER, False
    assert watch.netns.look() == Netns(user.path, OTHER, OTHER, has_file=True)
    assert user.done == [f"enter {user.path}", f"left {NUMBER}", f"enter {user.path}"]


def test_a_lost_one_is_entered_by_way_of_the_name_server(user: User) -> None:
    """A podwatch that starts after the loss finds it by the one process that is in it."""
    user.mounted = 0
    watch = Watch(user)
    assert watch.netns.look().is_gone
    assert user.done == []
    user.name_server = "/proc/7/ns/net"
    assert watch.netns.look() == Netns(user.path, NUMBER, 0, has_file=True)
    assert user.done == ["enter /proc/7/ns/net"]


def test_one_that_cannot_be_entered_is_complained_of(user: User) -> None:
    """Nothing of it is looked into then, and the watch is ill."""
    user.refuses = True
    watch = Watch(user)
    found = watch.netns.look()
    assert (found.inode, found.mounted) == (0, NUMBER)
    (complaint,) = watch.complaints
    assert str(complaint) == (
        f"cannot enter the user's network namespace {user.path}: Permission denied"
    )
    assert "sandbox" in complaint.hint
    assert not namespace.is_there()
    assert ailing({"netns": watch.netns.describe()}) == {"netns": "not inside"}


def test_a_watcher_that_cannot_listen_does_not_keep_the_others(user: User) -> None:
    """It is complained of, and named."""
    watch = Watch(user, "links")

    async def body() -> None:
        assert [str(each) for each in watch.complaints] == ["cannot listen to links"]
        assert "attach sysctls" in user.done
        assert watch.netns.describe() == "not listening to links"

    watch.listen(body)


def test_a_watcher_that_hears_no_more_is_attached_anew(user: User) -> None:
    """The namespace is left for that, and entered by the look that follows."""
    watch = Watch(user)

    async def body() -> None:
        ended = watch.inner["nftables"].ended
        assert ended is not None
        ended.set_exception(RulesUnreadable("the socket is gone"))
        await asyncio.wait_for(watch.rung.wait(), 10)
        assert [str(each) for each in watch.complaints] == ["the socket is gone"]
        assert watch.told == ["nftables could be heard no more"]
        assert user.done[-1] == f"left {NUMBER}"
        assert watch.netns.look().is_whole
        assert watch.netns.describe() == "listening"

    watch.listen(body)


def test_a_watcher_that_is_closed_is_not_deaf(user: User) -> None:
    """Its end by podwatch's own will is told nobody."""
    watch = Watch(user)

    async def body() -> None:
        ended = watch.inner["links"].ended
        assert ended is not None
        failed: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, what: failed.append(what))
        ended.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (watch.told, watch.complaints, failed) == ([], [], [])
        assert namespace.is_there()

    watch.listen(body)


def test_a_lost_file_is_mounted_again(user: User) -> None:
    """On the file that podman looks for."""
    watch = Watch(user)
    watch.netns.look()
    user.mounted = 0
    done = watch.netns.bind()
    assert done == f"the user's network namespace is mounted on {user.path} again"
    assert watch.netns.netns.is_whole


@pytest.mark.parametrize("found", [NUMBER, OTHER])
def test_what_has_its_file_by_now_is_left_alone(user: User, found: int) -> None:
    """Be it that namespace or another one: a mount over podman's own would hide it."""
    watch = Watch(user)
    watch.netns.look()
    user.mounted = found
    assert watch.netns.bind() == "the user's network namespace has its file"
    assert f"bind {user.path}" not in user.done


def test_where_there_is_none_there_is_nothing_to_mount(user: User) -> None:
    """A namespace that was never entered cannot be given its file."""
    user.pid = 0
    assert Watch(user).netns.bind() == "the user's network namespace has its file"


def test_a_mount_that_is_refused_is_a_failed_repair(user: User) -> None:
    """In the kernel's words."""
    watch = Watch(user)
    watch.netns.look()
    user.mounted, user.refuses_to_bind = 0, True
    with pytest.raises(RestoreFailed, match=f"on {user.path}: Operation not permitted$"):
        watch.netns.bind()


def test_a_mount_that_does_not_show_is_a_failed_repair(user: User) -> None:
    """Nobody believes a mount(2) that said nothing."""
    watch = Watch(user)
    watch.netns.look()
    user.mounted, user.shows_mounts = 0, False
    with pytest.raises(RestoreFailed, match="nothing is mounted on"):
        watch.netns.bind()
