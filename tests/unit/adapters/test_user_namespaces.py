# SPDX-License-Identifier: Apache-2.0
"""A user's Podman from outside: who is in its namespaces, by a /proc of the test's own."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest

from podwatch.adapters.paths import Rootless
from podwatch.adapters.user_namespaces import MemberWatch, find, keeper, member, no_reload, way_in
from tests.unit.waiting import until

HOSTS, USERS = "user:[4026531837]", "user:[4026532001]"
NUMBER = 4026532475


class Proc:
    """A /proc, and the runtime directory of the user podwatch runs as."""

    def __init__(self, top: Path) -> None:
        self.directory, self.proc = top / "run", top / "proc"
        self.rootless = Rootless(self.directory)
        self.directory.mkdir()
        self.add("self", "podwatch", namespace=HOSTS)

    def add(
        self,
        pid: int | str,
        name: str,
        *,
        uid: int | None = None,
        namespace: str = USERS,
        inner: str = "",
    ) -> None:
        """A process; `inner` is its number in a container's pid namespace."""
        place = self.proc / str(pid)
        (place / "ns").mkdir(parents=True)
        (place / "comm").write_text(f"{name}\n")
        owner = os.geteuid() if uid is None else uid
        (place / "status").write_text(f"Name:\t{name}\nUid:\t{owner}\nNSpid:\t{pid}{inner}\n")
        (place / "ns/user").symlink_to(namespace)
        (place / "mountinfo").write_text("")

    def name(self, file: Path, pid: str) -> None:
        """Write a pid file."""
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(pid)

    def mount(self, pid: int, file: Path) -> None:
        """A network namespace is mounted on a file, as this process sees it."""
        line = f"312 252 0:4 net:[{NUMBER}] {file} rw - nsfs nsfs rw\n"
        (self.proc / f"{pid}/mountinfo").write_text(line)

    def member(self) -> int:
        """Who is in the namespaces."""
        return member(self.rootless, proc=self.proc)

    def keeper(self) -> int:
        """By whom podman finds them."""
        return keeper(self.rootless, proc=self.proc)

    def find(self, pid: int) -> tuple[str, int]:
        """The network namespace's file, and its number."""
        return find(self.rootless, pid, proc=self.proc)

    def way_in(self) -> str:
        """The way by aardvark-dns."""
        return way_in(self.rootless.name_server, proc=self.proc)


@pytest.fixture
def host(tmp_path: Path) -> Proc:
    """A host on which the user's Podman has no process."""
    return Proc(tmp_path)


@pytest.mark.parametrize("ending", ["", "\n"])
def test_the_pause_process_is_a_member(host: Proc, ending: str) -> None:
    """By its pid file, which podman 4 writes without an end of line."""
    host.add(40, "conmon")
    host.add(41, "podman pause")
    host.name(host.rootless.pause, f"41{ending}")
    assert host.member() == 41


@pytest.mark.parametrize("name", ["conmon", "aardvark-dns", "rootlessport"])
def test_without_it_whoever_podman_started_is(host: Proc, name: str) -> None:
    """Its containers go on when the pause process has ended."""
    host.add(39, "bash")
    host.add(40, name)
    host.name(host.rootless.pause, "41")
    assert host.member() == 40


def test_podman_itself_finds_them_by_fewer(host: Proc) -> None:
    """Its pause process and conmon: beside any other one it would make new namespaces."""
    for pid, name in enumerate(("aardvark-dns", "rootlessport"), 40):
        host.add(pid, name)
    assert host.member()
    assert host.keeper() == 0
    host.add(50, "conmon")
    assert host.keeper() == 50
    host.add(51, "podman pause")
    host.name(host.rootless.pause, "51")
    assert host.keeper() == 51


def test_nobody_is_a_member_who_is_not_podmans(host: Proc) -> None:
    """Another user's, one of the host's own namespace, one in a container, any other program."""
    host.add(50, "conmon", uid=os.geteuid() + 1)
    host.add(51, "conmon", namespace=HOSTS)
    host.add(52, "conmon", inner="\t1")
    host.add(53, "bwrap")
    assert (host.member(), host.keeper()) == (0, 0)


@pytest.mark.parametrize("pid", ["50", "51", "52", "60", "", "x", "-1", "4294967296000"])
def test_a_pid_file_is_not_believed(host: Proc, pid: str) -> None:
    """A number is used again by others, and whoever writes the file may write anything."""
    host.add(50, "conmon", uid=os.geteuid() + 1)
    host.add(51, "bash", namespace=HOSTS)
    host.add(52, "bash", inner="\t1")
    host.name(host.rootless.pause, pid)
    assert host.member() == 0


def test_a_namespace_that_cannot_be_read_is_none(host: Proc) -> None:
    """The process has ended, or is somebody else's."""
    host.add(41, "conmon")
    (host.proc / "41/ns/user").unlink()
    assert host.member() == 0


@pytest.mark.parametrize(
    "name", ["containers/networks/rootless-netns/rootless-netns", "netns/rootless-netns-1f2e"]
)
def test_a_mounted_namespace_is_found_by_its_file(host: Proc, name: str) -> None:
    """podman 5 has one place for it, podman 4 another."""
    host.add(41, "conmon")
    host.mount(41, host.directory / name)
    assert host.find(41) == (str(host.directory / name), NUMBER)


def test_a_file_on_which_nothing_is_mounted_is_told(host: Proc) -> None:
    """It is there for everybody to see; that of podman 5 comes first."""
    host.add(41, "conmon")
    host.mount(41, host.directory / "netns/netns-1f2e")
    assert host.find(41) == ("", 0)
    for name in ("netns/rootless-netns-1f2e", *host.rootless.netns[:1]):
        host.name(host.directory / name, "")
        assert host.find(41) == (str(host.directory / name), 0)


def test_a_process_that_has_ended_tells_nothing(host: Proc) -> None:
    """That is an error, and no namespace without a file."""
    with pytest.raises(OSError, match="No such file"):
        host.find(41)


def test_the_name_server_is_another_way_in(host: Proc) -> None:
    """The only process that is in the network namespace itself."""
    host.add(60, "aardvark-dns")
    assert host.way_in() == ""
    host.name(host.rootless.name_server, "60\n")
    assert host.way_in() == f"{host.proc}/60/ns/net"


@pytest.mark.parametrize(
    ("name", "namespace"), [("bash", USERS), ("aardvark-dns", HOSTS)], ids=["other", "root's"]
)
def test_who_is_not_the_users_name_server_is_no_way_in(
    host: Proc, name: str, namespace: str
) -> None:
    """The number in its pid file may be another process' by now."""
    host.add(60, name, namespace=namespace)
    host.name(host.rootless.name_server, "60")
    assert host.way_in() == ""


def test_the_end_of_a_member_is_heard() -> None:
    """Once, and nothing of it is held any more."""
    heard: list[int] = []
    rung = asyncio.Event()

    def hear() -> None:
        heard.append(watch.pid)
        rung.set()

    watch = MemberWatch(hear)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:

        async def body() -> None:
            watch.attach(asyncio.get_running_loop())
            watch.follow(process.pid)
            watch.follow(process.pid)
            assert watch.pid == process.pid
            process.kill()
            await until(rung, lambda: bool(heard))

        asyncio.run(body())
    assert heard == [0]
    watch.close()


def test_who_is_followed_no_more_is_let_go() -> None:
    """For another one, or for nobody; the end of the first is no news then."""
    heard: list[str] = []
    watch = MemberWatch(lambda: heard.append("it"))
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:

        async def body() -> None:
            watch.attach(asyncio.get_running_loop())
            watch.follow(process.pid)
            watch.follow(os.getpid())
            process.kill()
            process.wait()
            for _ in range(20):
                await asyncio.sleep(0.001)
            assert watch.pid == os.getpid()
            watch.follow(0)
            assert watch.pid == 0

        asyncio.run(body())
    assert heard == []


def test_one_that_has_ended_cannot_be_followed() -> None:
    """That is an error, and the watch is good for the next one."""
    watch = MemberWatch(lambda: None)
    process = subprocess.Popen(["true"])
    process.wait()

    async def body() -> None:
        watch.attach(asyncio.get_running_loop())
        with pytest.raises(OSError, match="No such process"):
            watch.follow(process.pid)
        assert watch.pid == 0
        watch.follow(os.getpid())
        assert watch.pid == os.getpid()
        watch.close()

    asyncio.run(body())


def test_without_a_loop_nobody_is_followed() -> None:
    """A command that looks once waits for nothing."""
    watch = MemberWatch(lambda: None)
    watch.follow(os.getpid())
    assert watch.pid == 0


def test_no_network_is_set_up_anew_without_namespace_and_uplink(host: Proc) -> None:
    """podman would make another namespace, or count wrong and take it from all."""
    assert "not mounted" in no_reload(host.rootless, proc=host.proc)
    host.add(41, "podman pause")
    host.name(host.rootless.pause, "41")
    host.mount(41, Path(host.rootless.netns[0]))
    assert "does not run" in no_reload(host.rootless, proc=host.proc)
    host.add(43, "pasta.avx2")
    host.name(host.rootless.uplinks[0], "43")
    assert no_reload(host.rootless, proc=host.proc) == ""
